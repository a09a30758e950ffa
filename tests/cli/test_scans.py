"""Commands about the provider's whole list, and rehearsals; what is killed is a real process.

`Shell` checks for tracebacks.
"""

import re
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec import Struct
from sqlalchemy import select

from rindle_sync.domain import ErrorKind, PlaybackId, ProviderAsset, State, media_fields
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.providers.mux import asset_media
from rindle_sync.reconcile import Drift, Filled, Note, Report
from rindle_sync.store import Store
from rindle_sync.store.schema import metadata
from tests.support.processes import (
    Ended,
    FarEnd,
    Shell,
    a_store,
    add_due,
    all_rows,
    eventually,
    holding,
    serving,
    settings_for,
)
from tests.support.rows import a_row
from tests.support.world import ERRORED, NEVER, READY, body_of, unknown_id

HOUR = timedelta(hours=1)
OTHER_ENVIRONMENT = "QkX7vSomebodyElse9Wp2"


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator()) as far_end:
        yield far_end


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """Where the rows are.

    On SQLite, unless a test wants both databases, as processes start slowly.
    """
    return str(request.getfixturevalue(getattr(request, "param", "sqlite_tables_url")))


@pytest.fixture
def shell(tmp_path: Path, url: str, far_end: FarEnd) -> Shell:
    return Shell(tmp_path, settings_for(url, far_end))


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """The tables that `shell` works on."""
    async with a_store(url) as store:
        yield store


async def shelve(
    store: Store, emulator: MuxEmulator, count: int, **values: Any
) -> list[ProviderAsset]:
    """Rows at rest, oldest first, that are just as their assets are."""
    began = int(emulator.now()) - 90_000 - 60 * count
    rows = []
    for place, asset in enumerate(
        emulator.create_assets(count, life=READY, created_at=began, every=60)
    ):
        body = body_of(emulator, asset)
        row = a_row(
            State.READY,
            provider_asset_id=asset,
            playback_ids=tuple(
                PlaybackId(p.id, p.policy) for p in emulator.truth(asset).playback_ids
            ),
            provider_created_at=datetime.fromtimestamp(began + 60 * place, UTC),
            raw_provider_metadata=body,
            updated_at=datetime.now(UTC) - HOUR,
            **media_fields(asset_media(body)),
            **values,
        )
        rows.append(row)
    await store.assets.add_all(rows)
    return rows


async def a_mess(store: Store, emulator: MuxEmulator) -> list[ProviderAsset]:
    """Three lost deletions, one row with another playback id, and two assets without a row."""
    rows = await shelve(store, emulator, 130)
    for row in rows[10:13]:
        emulator.delete_asset(row.provider_asset_id or "")
    asset = emulator.create_asset(life=READY)
    now = datetime.now(UTC)
    drifted = a_row(
        State.READY,
        provider_asset_id=asset,
        playback_ids=(PlaybackId("other-1", "signed"),),
        updated_at=now - HOUR,
    )
    await store.assets.add(drifted)
    emulator.create_assets(2, life=READY)
    return [*rows[10:13], drifted]


async def tables(store: Store, *but: str) -> dict[str, list[str]]:
    async with store.database.engine.connect() as connection:
        return {
            table.name: sorted(str(tuple(line)) for line in await connection.execute(select(table)))
            for table in metadata.sorted_tables
            if table.name not in but
        }


def hides(ended: Ended, emulator: MuxEmulator, *more: str) -> bool:
    """No id of the provider's, and no key, stands in what was said."""
    secrets = {
        *more,
        emulator.token_id,
        emulator.token_secret,
        emulator.whoami.environment_id,
        *emulator.truths(),
    }
    secrets |= {
        playback.id for truth in emulator.truths().values() for playback in truth.playback_ids
    }
    assert not [secret for secret in secrets if secret in ended.out + ended.err]
    return True


def names(kind: type[Struct]) -> set[str]:
    return set(kind.__struct_fields__)


# audit


async def test_audit_once_reports_what_it_found_and_ends_with_1(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    await a_mess(store, far_end.emulator)

    ended = await shell.run("audit")
    again = await shell.run("audit", "--adopt")
    at_last = await shell.run("audit")

    assert (ended.code, again.code) == (1, 1)
    assert (
        "131 of 131 rows compared by 5 calls; 1 changed; 3 not found; 2 assets without a row: done"
        in ended.out
    )
    assert "provider_confirm_seconds" in ended.complaint
    assert "2 assets without a row, 2 adopted: done" in again.out
    assert at_last.code == 0, at_last.out
    assert hides(ended, far_end.emulator)
    assert hides(again, far_end.emulator)


@pytest.mark.parametrize("command", [["audit"], ["backfill"], ["sweep"]])
async def test_a_pass_that_is_refused_says_so_in_its_report(
    store: Store, shell: Shell, far_end: FarEnd, command: list[str]
) -> None:
    await add_due(store, far_end.emulator.create_asset(life=READY))

    ended = await shell.but(mux_token_secret="wrong").run(*command, "--json")

    assert (ended.code, ended.json["outcome"]) == (1, "refused")
    assert "mux_token_secret" in ended.complaint


@pytest.mark.parametrize("command", [["audit"], ["backfill"]])
async def test_a_pass_that_is_made_elsewhere_says_when_to_come_again(
    store: Store, shell: Shell, command: list[str]
) -> None:
    now = datetime.now(UTC)
    await store.job_runs.take(command[0], now=now, token=str(uuid4()), until=now + HOUR / 6)

    ended = await shell.run(*command)

    assert (ended.code, ended.out.strip().endswith("already_running")) == (1, True)
    assert "less than a minute ago" in ended.complaint


async def test_an_audit_that_shall_adopt_and_write_nothing_is_wrong_usage(
    store: Store, shell: Shell
) -> None:
    ended = await shell.run("audit", "--dry-run", "--adopt")

    assert ended.code == 2
    assert "--adopt" in ended.complaint


async def test_audit_of_a_library_in_sync_ends_with_0(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    await shelve(store, far_end.emulator, 20)

    ended = await shell.run("audit")

    assert (ended.code, ended.err) == (0, "")
    assert "20 of 20 rows compared by 1 call" in ended.out


async def test_audit_as_json_has_the_keys_of_the_report_alone(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    gone = await a_mess(store, far_end.emulator)

    ended = await shell.run("audit", "--json")

    assert ended.code == 1
    assert set(ended.json) == names(Report)
    assert ended.json["drift"] == dict.fromkeys(Drift, 0) | {
        "missing": 3,
        "playback_ids": 1,
        "orphan": 2,
    }
    assert {tuple(note) for note in ended.json["notes"]} == {Note.__struct_fields__}
    assert {note["row_id"] for note in ended.json["notes"]} == {None, *(row.id for row in gone)}
    assert all(re.fullmatch(r"\.\.\..{4}", note["tag"]) for note in ended.json["notes"])
    assert hides(ended, far_end.emulator)


async def test_the_documented_keys_are_those_of_the_report() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "commands.md").read_text()
    sections = dict(re.findall(r"^## `(\S+)`\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))

    for command, kind in (("audit", Report), ("backfill", Filled)):
        assert command in sections, f"docs/commands.md says nothing of {command}"
        assert [name for name in names(kind) if name not in sections[command]] == []
    assert "--dry-run" in sections["sweep"]


@pytest.mark.parametrize("url", ["sqlite_tables_url", "postgres_tables_url"], indirect=True)
async def test_audit_dry_run_tells_what_the_audit_then_does(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    await shelve(store, far_end.emulator, 3)
    await shell.run("sync", (await all_rows(store))[0].provider_asset_id or "")
    await a_mess(store, far_end.emulator)
    before = await tables(store, "provider_rate_limits")

    previewed = await shell.run("audit", "--dry-run", "--json")
    told = await shell.run("audit", "--dry-run")
    untouched = await tables(store, "provider_rate_limits")
    done = await shell.run("audit", "--json")

    assert untouched == before
    assert previewed.json == done.json
    assert previewed.code == done.code == told.code == 1
    assert "1 would be changed; 3 not found" in told.out


async def test_audit_that_finds_too_much_gone_changes_nothing_until_it_is_accepted(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    rows = await shelve(store, far_end.emulator, 60)
    await shell.run("sync", rows[0].provider_asset_id or "")
    for row in rows[5:45]:
        far_end.emulator.delete_asset(row.provider_asset_id or "")
    before = await tables(store, "provider_rate_limits", "provider_job_runs")

    alarm = await shell.run("audit")
    untouched = await tables(store, "provider_rate_limits", "provider_job_runs")
    status = await shell.run("status", "--json")
    accepted = await shell.run("audit", "--accept-mass-change", "--json")
    suspects = [row for row in await all_rows(store) if row.missing_since]

    assert (alarm.code, accepted.code) == (1, 1)
    assert "--accept-mass-change" in alarm.complaint
    assert untouched == before
    assert status.json["last_audit"]["outcome"] == "alarm"
    assert (accepted.json["outcome"], accepted.json["drift"]["missing"], len(suspects)) == (
        "done",
        40,
        40,
    )
    assert hides(alarm, far_end.emulator)


async def test_the_service_audits(store: Store, shell: Shell, far_end: FarEnd) -> None:
    row = (await shelve(store, far_end.emulator, 3))[1]
    far_end.emulator.delete_asset(row.provider_asset_id or "")
    async with shell.alone().started("run") as running:

        async def suspected() -> None:
            kept = await store.assets.get(row.id)
            assert kept
            assert kept.missing_since or kept.state is State.DELETED

        await eventually(suspected)
        running.send(signal.SIGTERM)
        ended = await running.ended()

    assert ended.code == 0
    assert hides(ended, far_end.emulator)


# wrong credentials, no database, no answer


@pytest.mark.parametrize("command", [("audit",), ("audit", "--dry-run"), ("backfill",)])
async def test_a_wrong_token_is_one_sentence(
    store: Store, shell: Shell, far_end: FarEnd, command: list[str]
) -> None:
    await shelve(store, far_end.emulator, 3)
    before = await tables(
        store, "provider_rate_limits", "provider_environments", "provider_job_runs"
    )

    ended = await shell.but(mux_token_secret="wrong-token-secret-1").run(*command)

    assert (ended.code, ended.out) == (1, "")
    assert "mux_token_id" in ended.complaint
    assert len(sentences(ended)) == 1
    assert hides(ended, far_end.emulator, "wrong-token-secret-1")
    assert (
        await tables(store, "provider_rate_limits", "provider_environments", "provider_job_runs")
        == before
    )


def sentences(ended: Ended) -> list[str]:
    """What it complained of, without the log."""
    return [line for line in ended.err.splitlines() if line.strip()]


@pytest.mark.parametrize("command", [("audit",), ("backfill",), ("sweep", "--dry-run")])
async def test_a_token_of_another_environment_is_one_sentence_and_ends_no_row(
    store: Store, shell: Shell, far_end: FarEnd, command: list[str]
) -> None:
    emulator = far_end.emulator
    rows = await shelve(store, emulator, 5)
    await shell.run("sync", rows[0].provider_asset_id or "")
    await add_due(store, *emulator.create_assets(3, life=NEVER))
    there = MuxEmulator(seed=99, environment_id=OTHER_ENVIRONMENT)
    there.create_assets(20, life=READY)
    before = await tables(
        store, "provider_rate_limits", "provider_environments", "provider_job_runs"
    )

    with serving(there) as elsewhere:
        ended = await shell.but(mux_base_url=elsewhere.url).run(*command)
    status = await shell.run("status", "--json")
    told = await shell.run("status")

    assert ended.code == 1
    assert "environment" in ended.complaint
    assert len(sentences(ended)) == 1
    assert hides(ended, emulator, OTHER_ENVIRONMENT, *there.truths())
    assert (
        await tables(store, "provider_rate_limits", "provider_environments", "provider_job_runs")
        == before
    )
    if "--dry-run" not in command:
        assert status.json["circuit"] == "other_environment"
        assert "other_environment" in told.out


async def test_with_the_right_token_again_status_is_well(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    rows = await shelve(store, far_end.emulator, 5)
    await shell.run("sync", rows[0].provider_asset_id or "")
    with serving(MuxEmulator(seed=99, environment_id=OTHER_ENVIRONMENT)) as elsewhere:
        await shell.but(mux_base_url=elsewhere.url).run("audit")
    before = (await shell.run("status", "--json")).json["circuit"]

    audit = await shell.run("audit")
    after = (await shell.run("status", "--json")).json["circuit"]

    assert (before, audit.code, after) == ("other_environment", 0, "closed")


async def test_missing_settings_end_with_2_and_no_tables_with_1(
    tmp_path: Path, sqlite_url: str
) -> None:
    shell = Shell(tmp_path, {"database_url": sqlite_url})
    for command in (["audit"], ["backfill"]):
        without_tables = await shell.but(mux_token_id="a", mux_token_secret="b").run(*command)
        assert (without_tables.code, without_tables.out) == (1, "")
        assert "rindle-sync migrate" in without_tables.complaint
    await shell.run("migrate")
    for command in (["audit", "--dry-run"], ["backfill"], ["sweep", "--dry-run"]):
        without_token = await shell.run(*command)
        assert (without_token.code, without_token.out) == (2, "")
        assert "mux_token_id" in without_token.complaint


@pytest.mark.parametrize("command", [("audit",), ("backfill",)])
async def test_a_provider_that_is_down_ends_with_1_and_says_so(
    store: Store, shell: Shell, far_end: FarEnd, command: list[str]
) -> None:
    await shelve(store, far_end.emulator, 3)
    far_end.emulator.add_fault("bad_gateway")

    ended = await shell.run(*command, "--json")

    assert (ended.code, ended.json["outcome"]) == (1, "unreachable")
    assert hides(ended, far_end.emulator)


@pytest.mark.parametrize("command", ["audit", "backfill"])
async def test_ctrl_c_ends_it_and_it_can_be_gone_on_with_at_once(
    store: Store, shell: Shell, far_end: FarEnd, command: str
) -> None:
    emulator, patient = far_end.emulator, shell.but(provider_timeout_seconds=300)
    await shelve(store, emulator, 450)
    with holding(emulator, "list_assets", after=1) as gate:
        async with patient.started(command) as running:
            await running.waits_at(gate)
            running.send(signal.SIGINT)
            ended = await running.ended()
    emulator.reset_calls()

    done = await shell.run(command, "--json")

    assert ended.code == 130
    assert (done.code, done.json["outcome"]) == (0, "done")
    assert emulator.calls["list_assets"] == 4


async def test_sigterm_ends_it_and_it_can_be_gone_on_with_at_once(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    """As a container or a job runner ends it."""
    await shelve(store, far_end.emulator, 450)
    patient = shell.but(provider_timeout_seconds=300)
    with holding(far_end.emulator, "list_assets", after=1) as gate:
        async with patient.started("audit") as running:
            await running.waits_at(gate)
            running.send(signal.SIGTERM)
            ended = await running.ended()

    done = await shell.run("audit", "--json")

    assert ended.code == 143
    assert (done.code, done.json["outcome"]) == (0, "done")


async def test_two_audits_at_once_one_says_that_another_is_under_way(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    await shelve(store, far_end.emulator, 350)
    patient = shell.but(provider_timeout_seconds=300)
    with holding(far_end.emulator, "list_assets", after=1) as gate:
        async with patient.started("audit", "--json") as first:
            await first.waits_at(gate)
            second = await shell.run("audit", "--json")
            gate.open()
            done = await first.ended()

    assert (done.json["outcome"], second.json["outcome"]) == ("done", "already_running")


# backfill


async def test_backfill_makes_a_row_of_every_asset(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    ids = far_end.emulator.create_assets(220, life=lambda i: (READY, ERRORED, NEVER)[i % 3])

    previewed = await shell.alone().run("backfill", "--dry-run", "--json")
    none = await all_rows(store)
    ended = await shell.run("backfill")
    again = await shell.run("backfill", "--json")

    rows = await all_rows(store)
    assert (previewed.code, previewed.json["adopted"], none) == (0, 220, [])
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "220 assets on 3 pages: 220 rows made, 0 had one: done\n"
    assert (again.code, again.json["adopted"], again.json["known"]) == (0, 0, 220)
    assert set(again.json) == names(Filled)
    assert {row.provider_asset_id for row in rows} == set(ids)
    assert hides(ended, far_end.emulator)


async def test_a_row_that_backfill_made_is_named_by_track(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    asset = far_end.emulator.create_asset(life=READY, passthrough="Zr8OurOwnPassthrough5Tq")
    await shell.run("backfill")

    ended = await shell.run(
        "track", "--reference", "video-1", "--provider-asset-id", asset, "--json"
    )

    [row] = await all_rows(store)
    assert (ended.code, ended.json["row_id"], ended.json["state"], row.reference) == (
        0,
        row.id,
        "ready",
        "video-1",
    )


# sweep --dry-run


async def due_of_all_kinds(store: Store, emulator: MuxEmulator) -> None:
    """Rows that become ready, errored, missing, deleted and stuck, and some that do not change."""
    lives = [READY, ERRORED, NEVER]
    await add_due(store, *emulator.create_assets(60, life=lambda i: lives[i % 3]))
    await add_due(store, unknown_id(), unknown_id())
    now = datetime.now(UTC)
    await store.assets.add(
        a_row(
            State.READY,
            provider_asset_id=unknown_id(),
            check_at=now,
            missing_since=now - HOUR,
            updated_at=now - HOUR,
        )
    )
    await store.assets.add(
        a_row(provider_asset_id=unknown_id(), check_at=now, updated_at=now - 3 * HOUR)
    )
    await store.assets.add(
        a_row(
            State.ERRORED,
            error_kind=ErrorKind.STUCK,
            provider_asset_id=emulator.create_asset(life=READY),
            check_at=now,
            updated_at=now - HOUR,
        )
    )
    upload = emulator.create_upload(life=READY)
    emulator.finish_upload(upload)
    await store.assets.add(
        a_row(
            State.UPLOADING,
            provider_asset_id=None,
            provider_upload_id=upload,
            check_at=now,
            updated_at=now - HOUR,
        )
    )


@pytest.mark.parametrize("url", ["sqlite_tables_url", "postgres_tables_url"], indirect=True)
async def test_sweep_dry_run_prints_what_the_sweep_then_does(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    [first] = await add_due(store, far_end.emulator.create_asset(life=READY))
    await shell.run("sync", first.provider_asset_id or "")
    await due_of_all_kinds(store, far_end.emulator)
    before = await tables(store, "provider_rate_limits")

    previewed = await shell.run("sweep", "--dry-run", "--json")
    printed = await shell.run("sweep", "--dry-run")
    untouched = await tables(store, "provider_rate_limits")
    done = await shell.run("sweep", "--json")

    assert (previewed.code, printed.code, done.code) == (0, 0, 0)
    assert untouched == before
    changes = {
        (change["row_id"], change["from"], change["to"], change["reason"])
        for change in previewed.json["changes"]
    }
    written = [
        change for row in await all_rows(store) for change in await store.assets.changes_of(row.id)
    ]
    assert changes == {
        (change.row_id, change.from_state.value, change.to_state.value, change.reason)
        for change in written
        if change.trigger == "sweep"
    }
    assert {change["to"] for change in previewed.json["changes"]} >= {"ready", "errored", "deleted"}
    assert {key: previewed.json[key] for key in done.json} == done.json
    for row_id, _, to, reason in changes:
        [line] = [line for line in printed.out.splitlines() if line.startswith(row_id)]
        assert to in line
        assert reason in line
    assert hides(previewed, far_end.emulator)
    assert hides(printed, far_end.emulator)


async def test_the_first_sweep_dry_run_writes_nothing_either(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    await due_of_all_kinds(store, far_end.emulator)
    before = await tables(store, "provider_rate_limits")

    ended = await shell.run("sweep", "--dry-run")

    assert ended.code == 0
    assert await tables(store, "provider_rate_limits") == before


async def test_sweep_dry_run_of_a_large_backlog_tells_all_of_it(
    store: Store, shell: Shell, far_end: FarEnd
) -> None:
    emulator = far_end.emulator
    began = int(emulator.now()) - 3_000_000
    for part in range(3):
        ids = emulator.create_assets(40, life=READY, created_at=began + part * 1_000_000, every=60)
        emulator.create_assets(
            300, life=READY, created_at=began + part * 1_000_000 + 9000, every=60
        )
        await add_due(store, *ids)

    previewed = await shell.run("sweep", "--dry-run", "--json")
    done = await shell.run("sweep", "--json")

    assert (previewed.json["checked"], previewed.json["changed"]) == (
        done.json["checked"],
        done.json["changed"],
    )
    assert previewed.json["calls"] == done.json["calls"]
    assert previewed.json["changed"] >= 110


async def test_sweep_dry_run_with_nothing_due_says_so(store: Store, shell: Shell) -> None:
    ended = await shell.run("sweep", "--dry-run")

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("0 rows due")


async def test_the_help_of_each_command_names_its_options(shell: Shell) -> None:
    audit, backfill, sweep = await shell.run_all(
        ["audit", "--help"], ["backfill", "--help"], ["sweep", "--help"]
    )

    for option in ("--dry-run", "--adopt", "--accept-mass", "--json"):
        assert option in audit.out
    for option in ("--dry-run", "--json"):
        assert option in backfill.out
        assert option in sweep.out
