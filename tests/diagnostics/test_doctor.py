"""Doctor: each finding is provoked for real, and an installation that is sound has none."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from rindle_sync.config import Settings, plain_settings
from rindle_sync.diagnostics import Check
from rindle_sync.diagnostics.doctor import OF_PING, OF_TABLES, Diagnosis
from rindle_sync.domain import ErrorKind, State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.faults import FaultKind
from rindle_sync.errors import ConfigurationError, ProviderUnavailable
from rindle_sync.gateway import Reason
from rindle_sync.installation import Installation, connect_all
from rindle_sync.providers import knock
from rindle_sync.providers.mux.webhooks import test_delivery as a_delivery
from rindle_sync.runtime import Heartbeat, last_heartbeat
from rindle_sync.store import Database
from rindle_sync.store.revisions import VERSION_TABLE, revisions
from rindle_sync.store.schema import BUSY_SECONDS, open_engine
from tests.support.processes import (
    FarEnd,
    Shell,
    a_store,
    eventually,
    free_port,
    serving,
    settings_for,
)
from tests.support.rows import a_row

SECRET = "a-webhook-secret-of-this-test-01"
ADDRESS = "https://app.example.com/webhooks/mux"


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    """A provider that sends its webhooks somewhere."""
    with serving(MuxEmulator()) as far_end:
        far_end.emulator.add_webhook(ADDRESS, SECRET)
        yield far_end


def sound(url: str, far_end: FarEnd, **values: Any) -> Settings:
    told = settings_for(url, far_end, mux_webhook_secrets=SECRET) | values
    return plain_settings(**{name: value for name, value in told.items() if value is not None})


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[Installation]:
    """An installation on which an engine has just had its heartbeat."""
    async with connect_all(settings) as all_:
        await all_.migrate()
        await Heartbeat(all_.database, "mux").beat(datetime.now(UTC))
        yield all_


def told(diagnosis: Diagnosis) -> list[tuple[Check, str]]:
    return [(finding.check, finding.text) for finding in diagnosis.findings]


async def test_a_sound_installation_has_no_finding(database_url: str, far_end: FarEnd) -> None:
    async with at_work(sound(database_url, far_end)) as all_:
        offline = await all_.doctor()
        assert far_end.emulator.calls.total() == 0
        asked = await all_.doctor(ping=True)

    assert (told(offline), told(asked)) == ([], [])
    assert set(OF_TABLES) <= set(offline.checked)
    assert {*offline.checked, *OF_PING} == set(asked.checked)


@pytest.mark.parametrize(
    ("values", "check", "words"),
    [
        ({"mux_token_id": None}, Check.CREDENTIALS, "mux_token_id is not set"),
        ({"mux_webhook_secrets": None}, Check.WEBHOOK_SECRETS, "no webhooks are accepted"),
        (
            {"mux_webhook_secrets": "short"},
            Check.WEBHOOK_SECRETS,
            "mux_webhook_secrets has a secret of less",
        ),
        ({"mux_signing_key_id": "key-1"}, Check.SIGNING_KEY, "mux_signing_private_key: is not set"),
        (
            {"mux_signing_key_id": "key-1", "mux_signing_private_key": "no key"},
            Check.SIGNING_KEY,
            "mux_signing_private_key",
        ),
    ],
)
async def test_what_is_wrong_with_a_setting_is_found(
    sqlite_url: str, far_end: FarEnd, values: dict[str, Any], check: Check, words: str
) -> None:
    async with at_work(sound(sqlite_url, far_end, **values)) as all_:
        [finding] = (await all_.doctor()).findings

    assert finding.check is check
    assert words in finding.text
    assert finding.remedy


async def test_a_secret_that_two_environments_share_is_found(
    sqlite_url: str, far_end: FarEnd
) -> None:
    table = {
        "mux_token_id": far_end.emulator.token_id,
        "mux_token_secret": far_end.emulator.token_secret,
        "mux_webhook_secrets": SECRET,
    }
    settings = plain_settings(database_url=sqlite_url, environments={"acme": table, "beta": table})
    async with at_work(settings) as all_:
        found = told(await all_.doctor())

    assert [check for check, _ in found] == [Check.WEBHOOK_SECRETS, Check.CREDENTIALS]
    assert not any(secret in str(found) for secret in (SECRET, far_end.emulator.token_secret))


async def test_a_database_that_is_gone_lacks_tables_or_is_behind_is_found(
    postgres_url: str, far_end: FarEnd
) -> None:
    nobody = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    async with connect_all(sound(nobody, far_end)) as all_:
        gone = await all_.doctor(ping=True)
    async with connect_all(sound(postgres_url, far_end)) as all_:
        empty = await all_.doctor()
        await all_.migrate()
        async with all_.database.writing() as connection:
            await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = 'rindle_0'"))
        behind = await all_.doctor()

    assert [check for check, _ in told(gone)] == [Check.DATABASE]
    assert Check.ENGINE not in gone.checked
    assert told(empty) == [(Check.TABLES, "the database lacks the tables of rindle-sync")]
    assert [finding.remedy for finding in empty.findings] == ["run `rindle-sync migrate`"]
    assert told(behind) == [
        (Check.TABLES, "the tables are at rindle_0, and rindle_5 is the newest")
    ]


async def test_an_engine_that_never_ran_or_fell_silent_is_found(
    sqlite_url: str, far_end: FarEnd
) -> None:
    async with connect_all(sound(sqlite_url, far_end)) as all_:
        await all_.migrate()
        never = told(await all_.doctor())
        await Heartbeat(all_.database, "mux").beat(datetime.now(UTC) - timedelta(minutes=5))
        silent = told(await all_.doctor())

    assert never == [(Check.ENGINE, "no engine has ever run on this database")]
    assert silent == [(Check.ENGINE, "no engine heartbeat for 300 s")]


async def test_how_the_rows_stand_is_found(sqlite_url: str, far_end: FarEnd) -> None:
    now = datetime.now(UTC)
    async with at_work(sound(sqlite_url, far_end)) as all_:
        context = all_["default"].context
        await context.store.assets.add(a_row(State.ERRORED, error_kind=ErrorKind.STUCK))
        await context.store.assets.add(a_row(check_at=now - timedelta(minutes=30)))
        await context.gateway.circuit.open(Reason.REFUSED, "no")

        found = [check for check, _ in told(await all_.doctor())]

    assert found == [Check.CIRCUIT, Check.OVERDUE, Check.STUCK]


async def test_the_question_for_the_revision_waits_for_no_writer(sqlite_tables_url: str) -> None:
    engine = open_engine(sqlite_tables_url)
    async with Database(engine).writing(), asyncio.timeout(BUSY_SECONDS / 3):
        assert await revisions(engine) == ("rindle_5", "rindle_5")
    await engine.dispose()


async def test_a_token_that_is_refused_and_one_of_another_environment_are_told_apart(
    sqlite_url: str, far_end: FarEnd
) -> None:
    async with at_work(sound(sqlite_url, far_end)) as all_:
        rule = far_end.emulator.add_fault(FaultKind.UNAUTHORIZED)
        refused = await all_.doctor(ping=True)
        far_end.emulator.remove_fault(rule)
        assert told(await all_.doctor(ping=True)) == []
        await all_["default"].context.store.environments.identify("env-of-somebody-else")
        other = await all_.doctor(ping=True)

    assert [check for check, _ in told(refused)] == [Check.PROVIDER]
    assert "401" in refused.findings[0].text
    assert "the token belongs to" in other.findings[0].text
    assert "env-of-somebody-else" not in str(other)


async def test_a_ping_keeps_nothing(sqlite_url: str, far_end: FarEnd) -> None:
    async with at_work(sound(sqlite_url, far_end)) as all_:
        far_end.emulator.add_fault(FaultKind.UNAUTHORIZED)
        await all_.doctor(ping=True)

        assert (await all_.overview())[0].circuit == "closed"


async def test_a_clock_that_is_wrong_is_found(sqlite_url: str, far_end: FarEnd) -> None:
    def ahead() -> datetime:
        return datetime.now(UTC) + timedelta(minutes=3)

    async with connect_all(sound(sqlite_url, far_end), clock=ahead) as all_:
        await all_.migrate()
        await Heartbeat(all_.database, "mux").beat(ahead())
        [finding] = (await all_.doctor(ping=True)).findings

    assert finding.check is Check.CLOCK
    assert "ahead of the provider's" in finding.text


async def has_heartbeat(url: str) -> None:
    """An engine has run on the database: it is told to listen before."""
    async with a_store(url) as store:
        assert await last_heartbeat(store)


async def test_an_endpoint_is_tried_with_a_delivery_that_changes_nothing(
    tmp_path: Path, sqlite_url: str, far_end: FarEnd
) -> None:
    port = free_port()
    shell = Shell(
        tmp_path, settings_for(sqlite_url, far_end, mux_webhook_secrets=SECRET, listen_port=port)
    )
    await shell.run("migrate")
    address = f"http://127.0.0.1:{port}/webhooks/mux"
    async with shell.started("run") as running:
        await running.says("webhooks at http://")
        await eventually(partial(has_heartbeat, sqlite_url))
        async with httpx.AsyncClient() as client:
            assert (await client.get(address)).status_code == 405
        other = shell.but(mux_webhook_secrets="another-secret-than-that-of-the-endpoint")
        well, wrong, nowhere, usage = await shell.run_all(
            ["doctor", "--endpoint", address, "--json"],
            ["doctor", "--endpoint", f"{address}/x", "--json"],
            ["doctor", "--endpoint", "http://127.0.0.1:1/", "--json"],
            ["doctor", "--endpoint", "nonsense"],
        )
        kept = await shell.run("status", "--json")
        secret = await other.run("doctor", "--endpoint", address, "--json")

    assert (well.code, well.json["findings"]) == (0, []), well.out
    assert "signed with the secret of these settings" in well.json["notes"][0]["text"]
    assert "answered 404" in wrong.out
    assert "cannot be reached" in nowhere.out
    assert kept.json["webhook_events"]["ignored"] == 1
    assert usage.code == 2
    assert (secret.code, "it refused the webhook: its secret" in secret.out) == (1, True)


async def test_the_command_tells_what_was_found_and_what_to_do(
    tmp_path: Path, sqlite_url: str, far_end: FarEnd
) -> None:
    shell = Shell(tmp_path, settings_for(sqlite_url, far_end))

    unmigrated = await shell.run("doctor")
    await shell.run("migrate")
    idle = await shell.run("doctor", "--ping")

    assert unmigrated.code == idle.code == 1
    assert "`rindle-sync migrate` makes a new one" in unmigrated.out
    assert "no engine has ever run on this database" in idle.out
    assert "ok       provider" in idle.out


@pytest.mark.parametrize("address", ["nonsense", "", "http://127.0.0.1:99999/", "http://[::1"])
async def test_no_address_is_wrong_usage(sqlite_url: str, far_end: FarEnd, address: str) -> None:
    async with at_work(sound(sqlite_url, far_end)) as all_:
        with pytest.raises(ConfigurationError, match="must be an address"):
            await all_.doctor(endpoint=address)


@asynccontextmanager
async def answering(*parts: bytes, every: float = 0) -> AsyncIterator[str]:
    """The address of a server that answers everybody with these parts."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        with closing(writer), suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), every)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks/mux"
        ended.set()
        await asyncio.sleep(0.05)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"


@pytest.mark.parametrize(
    "body", [b"<h1>welcome</h1>", b'"stored"', b"[" * 1000, b'{"status": "stored"}' + b" " * 5000]
)
async def test_another_server_that_says_200_is_not_taken_for_our_endpoint(
    sqlite_url: str, far_end: FarEnd, body: bytes
) -> None:
    async with at_work(sound(sqlite_url, far_end)) as all_, answering(HEAD, body) as address:
        found = told(await all_.doctor(endpoint=address))

    assert found == [(Check.ENDPOINT, "what answered 200 there is not an endpoint of rindle-sync")]


async def test_an_endpoint_that_drips_its_answer_is_waited_for_no_longer_than_others() -> None:
    async with answering(HEAD, *[b" "] * 1000, every=0.05) as address:
        with pytest.raises(ProviderUnavailable, match="no whole answer within"):
            await knock(address, a_delivery(SECRET, None, datetime.now(UTC)), within=0.3)


async def test_what_was_not_asked_is_not_said_to_be_well(sqlite_url: str, far_end: FarEnd) -> None:
    async with at_work(sound(sqlite_url, far_end, mux_token_id=None)) as all_:
        without_token = await all_.doctor(ping=True)
    body = b'{"data": {"environment_id": "env-1"}}'
    head = b"HTTP/1.1 200 OK\r\ndate: some day\r\nconnection: close\r\n\r\n"
    async with (
        answering(head, body) as address,
        at_work(sound(sqlite_url, far_end, mux_base_url=address)) as all_,
    ):
        without_date = await all_.doctor(ping=True)

    assert not {*OF_PING} & {*without_token.checked}
    assert [(note.check, note.text) for note in without_token.notes] == [
        (check, "not checked: no token is set") for check in OF_PING
    ]
    assert Check.PROVIDER in without_date.checked
    assert Check.CLOCK not in without_date.checked
    # what answers any call with an environment lists no endpoints
    notes = [note.check for note in without_date.notes]
    assert notes == [Check.CLOCK, Check.PROVIDER_ENDPOINT]


async def test_a_name_of_an_environment_that_no_row_has_is_found(
    sqlite_url: str, far_end: FarEnd
) -> None:
    async with at_work(sound(sqlite_url, far_end)) as all_:
        await all_["default"].context.store.assets.add(a_row(State.READY))
        assert told(await all_.doctor()) == []
    async with at_work(sound(sqlite_url, far_end, environment="defualt")) as all_:
        [finding] = (await all_.doctor()).findings

    assert (finding.check, finding.text) == (
        Check.ENVIRONMENT,
        "no row is of defualt, but 1 is of default",
    )
    assert "`environment`" in finding.remedy


async def test_a_question_makes_no_database(
    tmp_path: Path, sqlite_url: str, far_end: FarEnd
) -> None:
    file = tmp_path / "rindle.sqlite3"
    shell = Shell(tmp_path, settings_for(sqlite_url, far_end))

    for command in ("status", "doctor", "run"):
        ended = await shell.run(command)
        assert ended.code == 1
        assert f"there is no database at {file}" in ended.out + ended.complaint
        assert "RINDLE_DATABASE_URL" in ended.out + ended.complaint
        assert not file.exists()
    assert (await shell.run("migrate")).code == 0
    assert file.exists()


async def test_a_name_of_an_environment_is_shown_as_it_is(
    tmp_path: Path, sqlite_url: str, far_end: FarEnd
) -> None:
    shell = Shell(tmp_path, settings_for(sqlite_url, far_end, environment="[/bold]\x1b[2J\u202e"))
    await shell.run("migrate")

    doctor, status = await shell.run_all(["doctor"], ["status"])

    for ended in (doctor, status):
        assert ended.out.startswith(f"[/bold]\\x1b[2J\\u202e on {tmp_path}")
        assert "\u202e" not in ended.out
    assert "engine" in doctor.out


# the provider's endpoints


def endpoints(far_end: FarEnd, *given: tuple[str, bool]) -> None:
    """These and no others are at the provider, each with whether it is enabled."""
    far_end.emulator.clear_webhooks()
    for address, is_enabled in given:
        far_end.emulator.add_webhook(address, SECRET).change(0, enabled=is_enabled)


OTHER = "https://staging.example.com/webhooks/mux"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([(ADDRESS, True)], None),
        ([("https://APP.example.com:443/webhooks/mux/", True)], None),
        ([(ADDRESS, True), (OTHER, True), (f"{ADDRESS}/x", False)], None),
        ([(ADDRESS, True), (f"{ADDRESS}/", False)], None),
        ([], "has no webhook endpoint"),
        ([(OTHER, True)], f"no endpoint of the provider has the address {ADDRESS}"),
        ([(f"{ADDRESS}?key=1", True)], f"has the address {ADDRESS}"),
        ([(ADDRESS, False)], "is disabled"),
        ([(ADDRESS, False), (OTHER, True)], "is disabled"),
        ([(ADDRESS, True), (f"{ADDRESS}/", True)], "2 endpoints lead to"),
    ],
)
async def test_an_address_in_the_settings_is_compared_with_the_endpoints(
    sqlite_url: str, far_end: FarEnd, given: list[tuple[str, bool]], words: str | None
) -> None:
    endpoints(far_end, *given)
    async with at_work(sound(sqlite_url, far_end, webhook_public_url=ADDRESS)) as all_:
        assert told(await all_.doctor()) == []
        diagnosis = await all_.doctor(ping=True)

    assert Check.PROVIDER_ENDPOINT in diagnosis.checked
    assert [check for check, _ in told(diagnosis)] == [Check.PROVIDER_ENDPOINT] * bool(words)
    assert not words or words in told(diagnosis)[0][1]
    assert all(finding.remedy for finding in diagnosis.findings)


@pytest.mark.parametrize(
    ("given", "finding", "note"),
    [
        ([(OTHER, True)], None, None),
        ([(OTHER, True), ("https://a.example/", False), (ADDRESS, False)], None, None),
        ([], "has no webhook endpoint", None),
        ([(OTHER, False), ("https://a.example/", False)], "every endpoint", None),
        ([("https://a.example/", True)], None, "has 1 endpoint, and none ends in /webhooks/mux"),
        ([("https://a.example/", True), (OTHER, False)], None, "what ends in /webhooks/mux is"),
        ([(OTHER, True), (ADDRESS, True)], None, "2 endpoints end in /webhooks/mux"),
    ],
)
async def test_without_an_address_nothing_is_found_that_cannot_be_known(
    sqlite_url: str,
    far_end: FarEnd,
    given: list[tuple[str, bool]],
    finding: str | None,
    note: str | None,
) -> None:
    endpoints(far_end, *given)
    async with at_work(sound(sqlite_url, far_end)) as all_:
        diagnosis = await all_.doctor(ping=True)

    found, notes = [text for _, text in told(diagnosis)], [line.text for line in diagnosis.notes]
    assert (len(found), len(notes)) == (bool(finding), bool(note))
    assert (finding or "") in "".join(found)
    assert (note or "") in "".join(notes)


async def test_an_endpoint_that_is_tried_is_compared_where_the_provider_has_it(
    sqlite_url: str, far_end: FarEnd
) -> None:
    closed = f"http://127.0.0.1:{free_port()}/webhooks/mux"
    async with at_work(sound(sqlite_url, far_end)) as all_:
        endpoints(far_end, (closed, False), (OTHER, True))
        disabled = await all_.doctor(ping=True, endpoint=closed)
        endpoints(far_end, (OTHER, True))
        unknown = await all_.doctor(ping=True, endpoint=closed)

    assert [check for check, _ in told(disabled)] == [Check.PROVIDER_ENDPOINT, Check.ENDPOINT]
    # it may be the way inside to the same endpoint
    assert [check for check, _ in told(unknown)] == [Check.ENDPOINT]


async def test_without_a_webhook_secret_no_endpoint_is_missed(
    sqlite_url: str, far_end: FarEnd
) -> None:
    endpoints(far_end)
    async with at_work(sound(sqlite_url, far_end, mux_webhook_secrets=None)) as all_:
        found = told(await all_.doctor(ping=True))

    assert [check for check, _ in found] == [Check.WEBHOOK_SECRETS]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (FaultKind.SERVER_ERROR, "answered 500"),
        (FaultKind.BROKEN_JSON, "no JSON"),
        (None, "may not"),
    ],
)
async def test_endpoints_that_cannot_be_listed_are_a_note(
    sqlite_url: str, far_end: FarEnd, fault: FaultKind | None, words: str
) -> None:
    emulator = far_end.emulator
    if fault:
        emulator.add_fault(fault, operation="list_webhooks")
    else:
        emulator.whoami = replace(emulator.whoami, permissions=("video:read", "video:write"))
    async with at_work(sound(sqlite_url, far_end, webhook_public_url=ADDRESS)) as all_:
        diagnosis = await all_.doctor(ping=True)

    assert told(diagnosis) == []
    assert [note.check for note in diagnosis.notes] == [Check.PROVIDER_ENDPOINT]
    assert words in diagnosis.notes[0].text
    assert Check.PROVIDER_ENDPOINT not in diagnosis.checked


async def test_each_environment_has_an_address_of_its_own(sqlite_url: str, far_end: FarEnd) -> None:
    other = MuxEmulator(token_id="other-id", token_secret="other-secret")
    with serving(other) as elsewhere:
        tables = {
            name: {
                "mux_base_url": at.url,
                "mux_token_id": at.emulator.token_id,
                "mux_token_secret": at.emulator.token_secret,
                "mux_webhook_secrets": f"a-webhook-secret-of-{name}",
            }
            for name, at in {"acme": far_end, "beta": elsewhere}.items()
        }
        moved = "https://beta.example.com/hooks"
        tables["beta"]["webhook_public_url"] = moved
        endpoints(far_end, (f"{ADDRESS}/acme", True))
        endpoints(elsewhere, (f"{ADDRESS}/beta", True))
        values = {"database_url": sqlite_url, "environments": tables}
        async with at_work(plain_settings(**values, webhook_public_url=ADDRESS)) as all_:
            [finding] = (await all_.doctor(ping=True)).findings
            endpoints(elsewhere, (moved, True))
            assert told(await all_.doctor(ping=True)) == []

    assert (finding.environment, finding.check) == ("beta", Check.PROVIDER_ENDPOINT)
    assert moved in finding.text


@pytest.mark.parametrize(
    "address", ["nonsense", "ftp://a.example/", "https://u:p@a.example/", "https://a.example/?k=1"]
)
def test_no_public_address_is_a_wrong_setting(sqlite_url: str, address: str) -> None:
    with pytest.raises(ConfigurationError, match="webhook_public_url: must be an address like"):
        plain_settings(database_url=sqlite_url, webhook_public_url=address)
