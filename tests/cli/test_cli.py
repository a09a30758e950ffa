"""The commands, against an emulator over HTTP; those that take signals are real processes.

That no traceback is shown, `Shell` checks for all.
"""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from rindle_sync.app import connect
from rindle_sync.config import Settings
from rindle_sync.domain import ErrorKind, State, replace
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.errors import ConfigurationError
from rindle_sync.store import Store
from tests.support.processes import (
    FarEnd,
    Running,
    Shell,
    a_store,
    add_due,
    all_rows,
    eventually,
    free_port,
    holding,
    refusing_postgres,
    serving,
    settings_for,
)
from tests.support.rows import a_row
from tests.support.webhooks import a_kept_notice
from tests.support.world import READY, unknown_id

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LONG_ID = "long" * 20_000


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator()) as far_end:
        yield far_end


@pytest.fixture
def shell(tmp_path: Path, sqlite_url: str, far_end: FarEnd) -> Shell:
    """Commands on SQLite."""
    return Shell(tmp_path, settings_for(sqlite_url, far_end))


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    """The tables that `shell` works on."""
    async with a_store(sqlite_url) as store:
        yield store


def down() -> str:
    return f"http://127.0.0.1:{free_port()}"


# migrate


async def test_migrate_makes_the_tables_and_says_so_once(database_url: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"database_url": database_url})

    first = await shell.alone().run("migrate", "--json")
    again = await shell.run("migrate")

    assert (first.code, again.code) == (0, 0)
    assert first.json == {"from": None, "to": "rindle_5"}
    assert again.out == "the tables are at rindle_5 already\n"


async def test_two_migrations_at_once_are_safe(database_url: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"database_url": database_url})

    both = await shell.alone().run_all(["migrate", "--json"], ["migrate", "--json"])

    assert [ended.code for ended in both] == [0, 0]
    assert sorted(str(ended.json["from"]) for ended in both) == ["None", "rindle_5"]


async def test_without_tables_a_command_says_how_to_make_them(shell: Shell) -> None:
    for ended in await shell.run_all(
        ["status"], ["track", "--reference", "a", "--upload-id", "u"], ["run"]
    ):
        assert (ended.code, ended.out) == (1, "")
        assert "rindle-sync migrate" in ended.complaint


# track


async def test_track_keeps_all_that_it_is_told(tables_url: str, tmp_path: Path) -> None:
    options = {
        "--reference": "video-1",
        "--profile": "hls",
        "--provider-asset-id": unknown_id(),
        "--upload-id": unknown_id(),
        "--state": "pending",
        "--playback-policy": "signed",
    }
    async with a_store(tables_url) as store:
        ended = (
            await Shell(tmp_path, {"database_url": tables_url})
            .alone()
            .run("track", "--json", *(word for option in options.items() for word in option))
        )
        [row] = await all_rows(store)

    assert ended.code == 0
    assert (ended.json["row_id"], ended.json["reference"], ended.json["state"]) == (
        row.id,
        "video-1",
        "pending",
    )
    assert (row.reference, row.profile, row.state, row.playback_policy) == (
        "video-1",
        "hls",
        State.PENDING,
        "signed",
    )
    assert row.provider_asset_id == options["--provider-asset-id"]
    assert row.provider_upload_id == options["--upload-id"]
    assert row.check_at


async def test_track_of_an_upload_alone_is_uploading(store: Store, shell: Shell) -> None:
    ended = await shell.run("track", "--reference", "video-1", "--upload-id", unknown_id())

    [row] = await all_rows(store)
    assert (ended.code, ended.complaint) == (0, "")
    assert ended.out == f"row {row.id} is tracked as uploading\n"
    assert (row.state, row.profile) == (State.UPLOADING, "default")


async def test_track_without_what_it_needs_names_the_option(store: Store, shell: Shell) -> None:
    by_nothing, of_nothing, odd_state = await shell.run_all(
        ["track", "--reference", "video-1"],
        ["track", "--provider-asset-id", "x"],
        ["track", "--reference", "video-1", "--provider-asset-id", "x", "--state", "lost"],
    )

    assert [ended.code for ended in (by_nothing, of_nothing, odd_state)] == [2, 2, 2]
    assert "--provider-asset-id" in by_nothing.complaint
    assert "--upload-id" in by_nothing.complaint
    assert "--reference" in of_nothing.complaint
    assert "--state" in odd_state.complaint
    assert await all_rows(store) == []


async def test_track_of_the_same_twice_is_refused(tables_url: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"database_url": tables_url})
    provider_id = unknown_id()
    async with a_store(tables_url) as store:
        [row] = await add_due(store, provider_id)

        same_id, same_asset = await shell.run_all(
            ["track", "--reference", "another", "--provider-asset-id", provider_id],
            ["track", "--reference", row.reference, "--provider-asset-id", unknown_id(), "--json"],
        )

        assert await all_rows(store) == [row]
    assert (same_id.code, same_asset.code) == (1, 1)
    has = f"error row {row.id} has this"
    assert same_id.complaint == f"{has} provider_asset_id, and another reference"
    told = f"{has} reference and profile, and another provider_asset_id"
    assert (same_asset.out, same_asset.complaint) == ("", told)


async def test_track_takes_no_odd_text(store: Store, shell: Shell) -> None:
    good = {"--reference": "video-1", "--profile": "hls", "--provider-asset-id": unknown_id()}
    odd = {
        "--reference": "",
        "--provider-asset-id": LONG_ID,
        "--upload-id": "  ",
        "--playback-policy": LONG_ID,
    }

    told = await shell.run_all(
        *(track_with(good | {option: value}) for option, value in odd.items())
    )

    assert await all_rows(store) == []
    for ended, option in zip(told, odd, strict=True):
        assert ended.code in {1, 2}, option
        assert option.strip("-").replace("-", "_") in ended.complaint
        assert "longlong" not in ended.complaint


async def test_track_takes_no_text_that_is_no_text(store: Store, shell: Shell) -> None:
    ended = await shell.run(*track_with({"--reference": b"\xff\xfe", "--upload-id": unknown_id()}))

    assert (ended.code, ended.out) == (2, "")
    assert "reference" in ended.complaint
    assert await all_rows(store) == []


def track_with(options: Mapping[str, str | bytes]) -> list[str | bytes]:
    return ["track", *(word for option in options.items() for word in option)]


@pytest.mark.parametrize(
    "name", ["reference", "profile", "provider_asset_id", "provider_upload_id", "passthrough"]
)
async def test_no_text_of_a_row_may_hold_a_nul(name: str, tables_url: str) -> None:
    values: dict[str, Any] = {
        "reference": "video-1",
        "provider_asset_id": unknown_id(),
        name: "a\x00b",
    }
    async with a_store(tables_url) as store, connect(Settings(database_url=tables_url)) as rindle:
        with pytest.raises(ConfigurationError, match=name):
            await rindle.track(**values)

        assert await all_rows(store) == []


# sync


async def test_sync_brings_a_row_in_sync_and_then_has_nothing_to_do(
    tables_url: str, tmp_path: Path
) -> None:
    with serving(MuxEmulator()) as far_end:
        shell = Shell(tmp_path, settings_for(tables_url, far_end))
        provider_id = far_end.emulator.create_asset(life=READY)
        async with a_store(tables_url) as store:
            [row] = await add_due(store, provider_id)

            changed = await shell.alone().run("sync", provider_id, "--json")
            unchanged = await shell.run("sync", provider_id)

            after = await store.assets.get(row.id)
    assert (changed.code, unchanged.code) == (0, 0)
    assert (
        changed.json | {"row_id": row.id, "verdict": "changed", "from": "processing", "to": "ready"}
        == changed.json
    )
    assert (changed.json["error_kind"], changed.json["last_sync_error"]) == (None, None)
    assert unchanged.out.startswith(f"row {row.id}: ready -> ready")
    assert after
    assert after.state is State.READY


async def test_sync_of_an_id_that_is_not_tracked_is_a_finding(store: Store, shell: Shell) -> None:
    for ended in await shell.run_all(["sync", unknown_id()], ["sync", "", "--json"]):
        assert (ended.code, ended.out) == (1, "")
        assert "no row of this environment has this id" in ended.complaint


async def test_sync_takes_every_id_that_explain_takes(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    provider_id = far_end.emulator.create_asset(life=READY)
    [row] = await add_due(store, provider_id)

    by_row, by_reference = await shell.run_all(
        ["sync", row.id, "--json"], ["sync", row.reference, "--json"]
    )

    assert (by_row.code, by_reference.code) == (0, 0)
    assert (by_row.json["row_id"], by_reference.json["row_id"]) == (row.id, row.id)


async def test_sync_of_a_row_without_an_asset_checks_its_upload(store: Store, shell: Shell) -> None:
    tracked = await shell.run("track", "--reference", "video-1", "--upload-id", unknown_id())

    ended = await shell.run("sync", "video-1", "--json")

    assert tracked.code == 0
    assert (ended.code, ended.json["error_kind"]) == (0, "not_found")
    assert ended.json["last_sync_error"] == "mux upload not found"


async def test_sync_of_an_ambiguous_id_names_the_rows_and_changes_none(
    store: Store, shell: Shell
) -> None:
    for profile in ("hls", "preview"):
        ids = ["--upload-id", unknown_id(), "--profile", profile]
        await shell.run("track", "--reference", "video-1", *ids)
    before = await all_rows(store)

    ended = await shell.run("sync", "video-1", "--json")

    assert (ended.code, ended.out) == (2, "")
    for row in before:
        assert f"{row.id} ({row.profile})" in ended.complaint
    assert await all_rows(store) == before


async def test_sync_without_an_answer_says_so_and_leaves_the_state(
    store: Store, shell: Shell
) -> None:
    [row] = await add_due(store, unknown_id())

    ended = await shell.but(mux_base_url=down()).run("sync", row.provider_asset_id or "", "--json")

    after = await store.assets.get(row.id)
    assert ended.code == 1
    assert (ended.json["verdict"], ended.json["to"]) == ("unanswered", "processing")
    assert "reached" in ended.json["last_sync_error"]
    assert after
    assert (after.state, after.updated_at, after.check_failures) == (
        State.PROCESSING,
        row.updated_at,
        3,
    )


async def test_sync_with_a_wrong_token_names_the_settings(store: Store, shell: Shell) -> None:
    [row] = await add_due(store, unknown_id())

    ended = await shell.but(mux_token_secret="wrong").run("sync", row.provider_asset_id or "")

    assert (ended.code, ended.out) == (1, "")
    assert "401" in ended.complaint
    assert "mux_token_id" in ended.complaint


async def test_sync_and_sweep_without_credentials_name_the_setting(
    store: Store, shell: Shell
) -> None:
    without_id, without_secret = shell.but(mux_token_id=" "), shell.but(mux_token_secret=None)

    told = [
        *await without_id.run_all(["sync", "x"], ["sweep"], ["run"]),
        await without_secret.run("run"),
    ]

    for ended, name in zip(told, ["ID", "ID", "ID", "SECRET"], strict=True):
        assert (ended.code, ended.out) == (2, "")
        assert f"RINDLE_MUX_TOKEN_{name}" in ended.complaint


# sweep


async def test_sweep_brings_every_due_row_in_sync(tables_url: str, tmp_path: Path) -> None:
    with serving(MuxEmulator()) as far_end:
        shell = Shell(tmp_path, settings_for(tables_url, far_end))
        async with a_store(tables_url) as store:
            await add_due(store, *far_end.emulator.create_assets(3, life=READY))

            first = await shell.alone().run("sweep", "--json")
            again = await shell.run("sweep")

            assert {row.state for row in await all_rows(store)} == {State.READY}
    assert (first.code, again.code) == (0, 0)
    assert (first.json["outcome"], first.json["checked"], first.json["changed"]) == ("done", 3, 3)
    assert again.out == "0 rows checked with 0 calls, 0 changed: done\n"


async def test_sweep_with_a_wrong_token_names_the_settings_and_keeps_every_row_due(
    store: Store, shell: Shell
) -> None:
    await add_due(store, *(unknown_id() for _ in range(3)))

    ended = await shell.but(mux_token_id="wrong").run("sweep", "--json")

    assert (ended.code, ended.json["outcome"]) == (1, "refused")
    assert "401" in ended.complaint
    assert "mux_token_id" in ended.complaint
    for row in await all_rows(store):
        assert (row.state, row.lease_until) == (State.PROCESSING, None)
        assert row.check_at


@pytest.mark.parametrize("rows", [1, 5])
async def test_sweep_while_the_provider_is_down_is_a_failure(
    rows: int, store: Store, shell: Shell
) -> None:
    await add_due(store, *(unknown_id() for _ in range(rows)))

    ended = await shell.but(mux_base_url=down(), sweep_batch=1).run("sweep", "--json")

    assert ended.code == 1
    assert ended.json["outcome"] == "unreachable"
    assert {row.state for row in await all_rows(store)} == {State.PROCESSING}


# status


async def test_status_needs_no_credentials(tables_url: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"database_url": tables_url})
    async with a_store(tables_url) as store:
        await add_due(store, unknown_id(), unknown_id())
        await add_due(store, unknown_id(), state=State.ERRORED)

        as_json, as_text = await shell.alone().run_all(["status", "--json"], ["status"])

    assert (as_json.code, as_text.code) == (0, 0)
    figures = as_json.json
    assert (
        figures["rows"],
        figures["by_state"]["processing"],
        figures["errored_by_kind"]["provider"],
    ) == (3, 2, 1)
    assert (figures["last_checked_at"], figures["unanswered"]) == (None, 0)
    assert "last answered check: never" in as_text.out
    assert "state" in as_text.out.splitlines()[1]
    assert as_text.out.startswith(f"default on {figures['database']}, ")


# run


@pytest.mark.parametrize("number", SIGNALS)
async def test_run_works_and_a_signal_ends_it(
    number: signal.Signals, far_end: FarEnd, store: Store, shell: Shell
) -> None:
    await add_due(store, *far_end.emulator.create_assets(3, life=READY))
    async with shell.but(provider_timeout_seconds=300).alone().started("run", "--json") as running:
        await eventually(lambda: all_ready(store))
        await eventually(lambda: a_pass_is_told(running))

        running.send(number)
        ended = await running.ended()  # at once, then: what were under way would have 305 seconds

    assert ended.code == 0
    passes = [json.loads(line) for line in ended.out.splitlines()]
    assert sum(each["changed"] for each in passes) == 3
    assert {each["event"] for each in passes} == {"rindle.provider.sweep.completed"}
    assert ended.complaint.endswith("ended; nothing is lost")


async def all_ready(store: Store) -> None:
    assert {row.state for row in await all_rows(store)} == {State.READY}


async def a_pass_is_told(running: Running) -> None:
    assert "sweep.completed" in running.out


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    "fault", [{"kind": "silence"}, {"kind": "rate_limited", "retry_after": 3600}]
)
async def test_run_ends_within_its_bound_in_the_middle_of_a_sweep(
    fault: dict[str, Any], number: signal.Signals, far_end: FarEnd, store: Store, shell: Shell
) -> None:
    await add_due(store, *far_end.emulator.create_assets(3, life=READY))
    far_end.emulator.add_fault(**fault)
    timeout = 1.0
    async with shell.but(provider_timeout_seconds=timeout, sweep_batch=1).started("run") as running:
        await eventually(lambda: asked(far_end))

        running.send(number)
        ended = await running.ended(
            within=timeout + 5 + 20
        )  # a busy machine takes its time to end a process

    assert ended.code == 0
    assert {(row.state, row.lease_until) for row in await all_rows(store)} == {
        (State.PROCESSING, None)
    }


async def asked(far_end: FarEnd) -> None:
    assert far_end.emulator.calls.total() > 0


async def test_a_second_run_goes_on_where_the_first_was_ended(
    far_end: FarEnd, store: Store, shell: Shell
) -> None:
    await add_due(store, *far_end.emulator.create_assets(20, life=READY))
    far_end.emulator.add_fault("server_error", operation="list_assets")
    slow = shell.but(sweep_batch=2, provider_timeout_seconds=300)
    with holding(far_end.emulator, "get_asset", after=3) as gate:
        async with slow.started("run") as first:
            await first.waits_at(gate)
            first.send(signal.SIGTERM)
            gate.open()
            assert (await first.ended()).code == 0
    assert {row.state for row in await all_rows(store)} == {State.PROCESSING, State.READY}

    async with slow.started("run"):
        await eventually(lambda: all_ready(store))

    assert set(far_end.looks.values()) == {1}


async def test_run_goes_on_when_the_token_is_wrong_and_says_which_settings(
    far_end: FarEnd, store: Store, shell: Shell
) -> None:
    await add_due(store, *far_end.emulator.create_assets(1, life=READY))
    async with shell.but(mux_token_secret="wrong", provider_timeout_seconds=300).started(
        "run"
    ) as running:
        await running.says("mux_token_id")
        running.send(signal.SIGTERM)

        assert (await running.ended()).code == 0


# emulator


async def test_the_emulator_answers_and_refuses_a_port_in_use(tmp_path: Path) -> None:
    shell, port = Shell(tmp_path).alone(), free_port()
    async with (
        shell.started("emulator", "--port", str(port)) as running,
        httpx.AsyncClient() as client,
    ):
        url = f"http://127.0.0.1:{port}"

        await running.says("in a browser; controls: curl")
        await eventually(lambda: answers(client, url))
        made = (await client.post(f"{url}/_emulator/assets", json={"n": 1})).json()
        answer = await client.get(
            f"{url}/video/v1/assets/{made['ids'][0]}",
            auth=("emulator-token-id", "emulator-token-secret"),
        )
        second = await shell.run("emulator", "--port", str(port))

    assert answer.json()["data"]["status"] == "preparing"
    assert second.code == 2
    assert "in use" in second.complaint
    assert str(port) in second.complaint


async def test_run_refuses_a_port_in_use(store: Store, shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await shell.but(mux_webhook_secrets="secret", listen_port=port).run("run")

    assert (ended.code, ended.out) == (2, "")
    assert "listen_port" in ended.complaint
    assert str(port) in ended.complaint


async def answers(client: httpx.AsyncClient, url: str) -> None:
    try:
        assert (await client.get(f"{url}/_emulator/")).status_code == 200
    except httpx.TransportError as error:
        raise AssertionError(url) from error


# demo


async def test_the_demo_ends_in_sync_and_needs_no_settings(tmp_path: Path) -> None:
    ended = await Shell(tmp_path).alone().run("demo", "--assets", "20", "--json")

    report = ended.json
    assert ended.code == 0
    assert (report["assets"], report["in_sync"], report["out_of_sync"]) == (20, 20, 0)


# wrong usage


async def test_what_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    commands = [["frobnicate"], ["status", "--frobnicate"], ["sync"], ["emulator", "--port", "0"]]

    for ended in await Shell(tmp_path).run_all(*commands):
        assert (ended.code, ended.out) == (2, "")
        assert "Usage" in ended.complaint


# wrong settings


async def test_a_database_url_that_names_no_database_of_ours_is_a_wrong_setting(
    tmp_path: Path,
) -> None:
    urls = [
        "nonsense",
        "mysql://app:planted-pw@localhost/app",
        "postgresql://app:planted-pw@localhost:port/app",
    ]

    told = await asyncio.gather(
        *(Shell(tmp_path, {"database_url": url}).run("status") for url in urls)
    )

    for ended, url in zip(told, urls, strict=True):
        assert (ended.code, ended.out) == (2, ""), url
        assert "database_url" in ended.complaint
        assert "planted-pw" not in ended.complaint


async def test_a_sqlite_file_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    no_database = tmp_path / "letter.txt"
    no_database.write_text("Dear reader, " * 100)
    ours = tmp_path / "ours.sqlite3"
    async with a_store(f"sqlite:///{ours}"):
        pass
    read_only = f"sqlite:///file:{ours}?mode=ro&uri=true"
    shell = Shell(tmp_path)
    cases = {
        f"sqlite:///{tmp_path}/missing/x.sqlite3": (2, "database_url", ["status"]),
        f"sqlite:///{tmp_path}": (2, "database_url", ["migrate"]),
        f"sqlite:///{no_database}": (1, "no SQLite database", ["migrate"]),
        read_only: (1, "read-only", ["track", "--reference", "a", "--upload-id", "u"]),
    }

    told = await asyncio.gather(
        *(shell.but(database_url=url).run(*command) for url, (*_, command) in cases.items())
    )

    for ended, (code, sentence, _) in zip(told, cases.values(), strict=True):
        assert (ended.code, ended.out) == (code, "")
        assert sentence in ended.complaint
        assert len(ended.err.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file")
async def test_a_file_that_we_may_not_write_is_one_sentence(
    sqlite_url: str, store: Store, shell: Shell
) -> None:
    os.chmod(sqlite_url.removeprefix("sqlite:///"), 0o444)  # noqa: PTH101  the event loop has nothing else to do

    ended = await shell.run("track", "--reference", "a", "--upload-id", "u")

    assert (ended.code, ended.out) == (1, "")
    assert "read-only" in ended.complaint


async def test_a_postgresql_that_does_not_take_us_is_one_sentence_without_the_password(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(refusing_postgres())
        refused, nobody = [
            Shell(
                tmp_path, {"database_url": f"postgresql://app:planted-password@127.0.0.1:{p}/app"}
            )
            for p in (port, free_port())
        ]
        told = await asyncio.gather(
            refused.run("status"), refused.run("migrate"), nobody.run("status")
        )

    for ended in told:
        assert (ended.code, ended.out) == (1, "")
        assert "planted-password" not in ended.complaint
    assert "password authentication failed" in told[0].complaint
    assert "password authentication failed" in told[1].complaint
    assert "refused" in told[2].complaint


async def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    pairs = [
        ("sweep_batch", "many"),
        ("provider_timeout_seconds", "nan"),
        ("stuck_policy", "guess"),
        ("mux_base_url", "mux.com"),
    ]

    told = await asyncio.gather(
        *(Shell(tmp_path, {name: value}).run("status") for name, value in pairs)
    )

    for ended, (name, value) in zip(told, pairs, strict=True):
        assert (ended.code, ended.out) == (2, ""), (name, value)
        assert f"RINDLE_{name.upper()}" in ended.complaint


async def test_a_mistyped_setting_is_told_what_it_should_be(tmp_path: Path) -> None:
    ended = await Shell(tmp_path, {"mux_tokn_id": "x"}).run("status")

    assert (ended.code, ended.out) == (2, "")
    assert "did you mean RINDLE_MUX_TOKEN_ID?" in ended.complaint


async def test_an_address_of_the_provider_that_is_none_is_a_wrong_setting(
    store: Store, shell: Shell
) -> None:
    [row] = await add_due(store, unknown_id())
    urls = ["http://[::1", "http://127.0.0.1:99999999"]

    told = await asyncio.gather(
        *(shell.but(mux_base_url=u).run("sync", row.provider_asset_id or "") for u in urls)
    )

    for ended, url in zip(told, urls, strict=True):
        assert ended.code == 2, url
        assert "mux_base_url" in ended.complaint


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"sweep_batch = ", "TOML"),
        (b"sweep_batch = 'many'", "sweep_batch"),
        (b"sweep_bacth = 10", "did you mean sweep_batch?"),
        (b"environment = '\xff\xfe'", "TOML"),
    ],
)
async def test_a_wrong_file_of_settings_is_a_wrong_setting(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "rindle-sync.toml").write_bytes(content)

    ended = await Shell(tmp_path).run("status")

    assert (ended.code, ended.out) == (2, "")
    assert sentence in ended.complaint


async def test_the_environment_wins_over_the_file_and_a_missing_file_is_named(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.toml").write_text("environment = 'from-the-file'\nsweep_batch = 0\n")
    async with a_store(f"sqlite:///{tmp_path / 'rindle-sync.sqlite3'}"):
        pass
    shell = Shell(tmp_path, {"config": str(tmp_path / "mine.toml"), "sweep_batch": "10"})

    ended, missing = (
        await shell.run("status", "--json"),
        await shell.but(config="none.toml").run("status"),
    )

    assert (ended.code, ended.json["environment"]) == (0, "from-the-file")
    assert missing.code == 2
    assert "RINDLE_CONFIG" in missing.complaint


async def test_a_row_that_is_stuck_or_not_found_is_told_by_sync(
    far_end: FarEnd, store: Store, shell: Shell
) -> None:
    gone, waiting = unknown_id(), far_end.emulator.create_asset(life=Life(ends="never"))
    await add_due(store, gone, waiting)

    not_found, stuck = await asyncio.gather(
        shell.run("sync", gone, "--json"),
        shell.but(provider_stuck_threshold_seconds=1800).run("sync", waiting),
    )

    assert (not_found.code, not_found.json["to"], not_found.json["error_kind"]) == (
        0,
        "errored",
        ErrorKind.NOT_FOUND,
    )
    assert not_found.json["last_sync_error"] == "mux asset not found"
    assert stuck.code == 0
    assert "stuck in :processing past threshold" in stuck.out


async def test_sync_asks_about_a_row_past_the_stuck_threshold_before_it_is_declared_stuck(
    far_end: FarEnd, store: Store, shell: Shell
) -> None:
    finished = far_end.emulator.create_asset(life=READY)
    await add_due(store, finished)

    ended = await shell.but(provider_stuck_threshold_seconds=1800).run("sync", finished, "--json")

    assert (ended.code, ended.json["to"], ended.json["error_kind"]) == (0, "ready", None)


async def test_a_video_is_explained_by_the_apps_own_id_and_without_the_providers(
    shell: Shell, far_end: FarEnd
) -> None:
    await shell.run("migrate")
    asset = far_end.emulator.create_asset(life=READY)
    await shell.run("track", "--reference", "video-1", "--provider-asset-id", asset)
    await shell.run("sync", asset)

    told, json_, revealed, unknown, by_asset = await shell.run_all(
        ["explain", "video-1"],
        ["explain", "video-1", "--json"],
        ["explain", "video-1", "--reveal"],
        ["explain", "nobody"],
        ["explain", asset],
    )

    assert "processing -> ready: the provider says ready" in told.out
    assert "reference: video-1 (default)" in by_asset.out
    assert asset not in told.out + json_.out + by_asset.out
    assert [line["state"] for line in json_.json] == ["ready"]
    assert f"provider_asset_id: {asset}" in revealed.out
    assert (
        f"the provider's ids of row {json_.json[0]['row_id']} (video-1) were revealed"
        in revealed.err
    )
    assert (unknown.code, asset in revealed.err) == (1, False)


async def test_status_can_be_watched_until_it_is_ended(shell: Shell) -> None:
    await shell.run("migrate")

    async with shell.started("status", "--watch", "--every", "0.5") as running:

        async def shown() -> None:
            assert running.out.count("rate limit:") >= 2

        await eventually(shown)
        running.send(signal.SIGINT)
        ended = await running.ended()

    assert ended.code == 0


async def test_a_watch_goes_on_though_a_query_fails(shell: Shell, sqlite_url: str) -> None:
    await shell.run("migrate")
    file = Path(sqlite_url.removeprefix("sqlite:///"))

    async def failed() -> None:
        assert "the database lacks the tables of rindle-sync" in running.out

    async def shown_again() -> None:
        assert (
            "rate limit:"
            in running.out.partition("the database lacks the tables of rindle-sync")[2]
        )

    with closing(sqlite3.connect(file)) as connection:
        connection.execute("ALTER TABLE provider_webhook_events RENAME TO for_a_while")
        async with shell.started("status", "--watch", "--every", "0.5") as running:
            await eventually(failed)
            connection.execute("ALTER TABLE for_a_while RENAME TO provider_webhook_events")
            await eventually(shown_again)
            running.send(signal.SIGINT)
            assert (await running.ended()).code == 0


async def test_the_worst_news_comes_first(shell: Shell, store: Store) -> None:
    await store.environments.note_circuit("refused", datetime.now(UTC))
    await store.assets.add(a_row(State.READY, environment="another"))

    lines = (await shell.run("status")).out.splitlines()

    assert lines[1].startswith("circuit open: refused, for ")
    assert (
        lines[2] == "no row is of default, but 1 is of another: is the setting `environment` right?"
    )


async def test_without_a_secret_status_says_that_no_webhooks_are_taken(
    shell: Shell, store: Store
) -> None:
    told, taking = await shell.run_all(["status"], ["status", "--json"])

    assert "missed webhooks: none are received, since no webhook secret is set" in told.out
    assert not taking.json["takes_webhooks"]


async def test_a_delivery_is_told_with_its_asset_and_row_and_reveals_what_to_track(
    shell: Shell, store: Store
) -> None:
    row = a_row(reference="video\x1b[2J-1\u202e")
    await store.assets.add(row)
    inbox, now = store.inbox, datetime.now(UTC)
    ours, other = (
        a_kept_notice(row, now),
        a_kept_notice(a_row(provider_asset_id="asset-of-others-XY12"), now),
    )
    for webhook_event in (ours, other):
        await inbox.storing(replace(webhook_event, type="odd\x1b[2J[/bold]"))

    listed, shown, revealed, explained = await shell.run_all(
        ["events", "list"],
        ["events", "show", other.id, "--json"],
        ["events", "show", other.id, "--reveal"],
        ["explain", row.id],
    )

    tag = f"...{(row.provider_asset_id or '')[-4:]}"
    lines = {line.split()[0]: line for line in listed.out.splitlines()}
    assert (tag in lines[ours.id], row.id in lines[ours.id]) == (True, True)
    assert "...XY12" in lines[other.id]
    assert "odd\\x1b[2J[/bold]" in lines[other.id]
    assert (shown.json["asset"], shown.json["row_id"]) == ("...XY12", None)
    assert "asset-of-others-XY12" not in listed.out + shown.out
    assert "provider_asset_id: asset-of-others-XY12" in revealed.out
    assert re.search(r"^received_at: [-\d]+ [:\d]+ UTC$", revealed.out, re.MULTILINE)
    assert f"the provider's ids of webhook event {other.id} were revealed" in revealed.err
    assert "reference: video\\x1b[2J-1\\u202e (default)" in explained.out


SEVERAL = """
[environments.acme]
mux_base_url = "{url}"
mux_token_id = "{emulator.token_id}"
mux_token_secret = "{emulator.token_secret}"

[environments.beta]
mux_base_url = "{url}"
"""


async def test_status_says_that_webhook_events_wait_where_nothing_applies_them(
    shell: Shell, store: Store
) -> None:
    row = a_row()
    await store.inbox.storing(a_kept_notice(row, row.updated_at))

    told = await shell.run("status")

    assert "1 webhook event waits, and nothing has applied any yet: start `rindle-sync run`" in (
        told.out
    )


async def test_of_several_environments_status_tells_a_line_each(
    shell: Shell, far_end: FarEnd
) -> None:
    (shell.folder / "rindle-sync.toml").write_text(
        SEVERAL.format(url=far_end.url, emulator=far_end.emulator)
    )
    several = shell.but(mux_token_id=None, mux_token_secret=None, mux_base_url=None)
    await several.run("migrate")
    await several.run(
        "--environment",
        "beta",
        "track",
        "--reference",
        "video-1",
        "--provider-asset-id",
        unknown_id(),
    )

    as_json, as_text = await several.run_all(["status", "--json"], ["status"])

    assert {line["environment"]: line["rows"] for line in as_json.json} == {"acme": 0, "beta": 1}
    first, *lines = as_text.out.splitlines()
    assert first.startswith(f"2 environments on {as_json.json[0]['database']}, ")
    assert [line.split()[:2] for line in lines[1:]] == [["acme", "0"], ["beta", "1"]]


async def test_an_environment_without_a_token_keeps_no_other_from_its_work(
    shell: Shell, far_end: FarEnd
) -> None:
    (shell.folder / "rindle-sync.toml").write_text(
        SEVERAL.format(url=far_end.url, emulator=far_end.emulator)
    )
    several = shell.but(
        mux_token_id=None,
        mux_token_secret=None,
        mux_base_url=None,
        provider_polling_floor_seconds=0.1,
    )
    await several.run("migrate")
    for name in ("acme", "beta"):
        asset = far_end.emulator.create_asset(life=READY)
        await several.run(
            "--environment", name, "track", "--reference", name, "--provider-asset-id", asset
        )

    async with several.started("run") as running:
        await running.says("beta is not checked: its mux_token_id or mux_token_secret is not set")

        async def in_sync() -> None:
            told = (await several.run("status", "--json")).json
            assert {line["environment"]: line["by_state"]["ready"] for line in told} == {
                "acme": 1,
                "beta": 0,
            }
            assert {line["circuit"] for line in told} == {"closed"}

        await eventually(in_sync)
        assert "Refused" not in running.err
        running.send(signal.SIGTERM)
        assert (await running.ended()).code == 0
