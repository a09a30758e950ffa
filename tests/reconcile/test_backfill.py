"""First use on an account with a library: a row for every asset, once."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rindle_sync.domain import (
    ADOPTED,
    ErrorKind,
    Outcome,
    PlaybackId,
    ProviderAsset,
    State,
    is_text,
)
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.errors import AlreadyTracked, AuthenticationFailed
from rindle_sync.reconcile import BACKFILL, Drift, Filled, audit, backfill
from rindle_sync.store import JobRuns
from tests.support.processes import Shell, a_store, all_rows, holding, serving, settings_for
from tests.support.world import ERRORED, NEVER, READY, World, unknown_id


async def rows_of(world: World) -> dict[str | None, ProviderAsset]:
    return {row.provider_asset_id: row async for row in world.context.store.assets.rows()}


class EnoughError(Exception):
    """Whoever watches has seen enough."""


def enough(_: Filled) -> None:
    raise EnoughError


async def test_every_asset_becomes_a_row_that_says_what_the_provider_says(world: World) -> None:
    emulator = world.emulator
    ready = emulator.create_assets(3, life=READY, policies=["public", "signed"])
    failed = emulator.create_asset(life=Life("errored", after=0, error_message="no video in it"))
    waiting = emulator.create_asset(life=NEVER)

    filled = await backfill(world.context)

    rows = await rows_of(world)
    assert (filled.outcome, filled.assets, filled.adopted, filled.known) == (Outcome.DONE, 5, 5, 0)
    for asset in ready:
        truth = tuple(PlaybackId(p.id, p.policy) for p in emulator.truth(asset).playback_ids)
        assert (rows[asset].state, rows[asset].playback_ids, rows[asset].check_at) == (
            State.READY,
            truth,
            None,
        )
    assert (rows[failed].state, rows[failed].error_kind) == (State.ERRORED, ErrorKind.PROVIDER)
    assert "no video in it" in (rows[failed].last_sync_error or "")
    assert rows[failed].check_at is None
    assert (rows[waiting].state, rows[waiting].error_kind) == (State.PROCESSING, None)
    assert rows[waiting].check_at
    assert {row.ingest_mode for row in rows.values()} == {ADOPTED}


async def test_an_asset_that_was_preparing_is_followed_to_its_end(world: World) -> None:
    """Also one that was made hours ago: its row is new, and not stuck at once."""
    asset = world.emulator.create_asset(
        life=Life(after=10_860), created_at=world.clock.seconds() - 10_800
    )
    await backfill(world.context)
    row = (await rows_of(world))[asset]
    world.clock.move(timedelta(seconds=70))

    await world.sweep()

    assert row.check_at
    assert row.check_at <= row.inserted_at + timedelta(minutes=1)
    assert (await world.now_is(row)).state is State.READY


async def test_rows_remember_when_their_assets_were_made(world: World) -> None:
    made = world.clock.seconds() - 864_000
    asset = world.emulator.create_asset(life=READY, created_at=made)

    await backfill(world.context)

    assert (await rows_of(world))[asset].provider_created_at == datetime.fromtimestamp(
        int(made), UTC
    )


async def test_the_first_audit_after_a_backfill_finds_nothing_and_asks_about_nothing(
    world: World,
) -> None:
    world.emulator.create_assets(450, life=READY, every=600)
    await backfill(world.context)
    world.clock.move(60)
    world.emulator.reset_calls()

    report = await audit(world.context)

    assert (report.outcome, report.seen, report.calls, sum(report.drift.values())) == (
        Outcome.DONE,
        450,
        5,
        0,
    )


async def test_the_apps_own_reference_is_what_the_asset_was_passed_through_with(
    world: World,
) -> None:
    asset = world.emulator.create_asset(life=READY, passthrough="video-7")
    plain = world.emulator.create_asset(life=READY)

    await backfill(world.context)

    rows = await rows_of(world)
    assert (rows[asset].reference, rows[asset].passthrough) == ("video-7", "video-7")
    assert rows[plain].passthrough is None
    assert rows[plain].reference


@pytest.mark.parametrize(
    "passthrough",
    [
        *("x" * 255, " ", "two\nlines", '{"user": 1}', '{\n "user": 1\n}', "é" * 255, "\u2028"),
        *("s3://bucket/one.mp4?key=1", "\u202e", "می\u200cخواهم", "nul\x00"),
    ],
)
async def test_every_asset_gets_a_row_whatever_it_was_passed_through_with(
    world: World, passthrough: str
) -> None:
    asset = world.emulator.create_asset(life=READY, passthrough=passthrough)

    filled = await backfill(world.context)

    row, kept = (await rows_of(world))[asset], passthrough.replace("\x00", "\ufffd")
    assert filled.adopted == 1
    assert (row.state, row.passthrough) == (State.READY, kept)
    assert (row.raw_provider_metadata or {})["passthrough"] == kept
    assert row.reference == (kept if is_text(kept) else f"{ADOPTED}:{row.id}")


async def test_assets_of_one_passthrough_all_get_a_row(world: World) -> None:
    assets = world.emulator.create_assets(
        250, life=READY, passthrough=lambda i: f"album-{i % 3}", every=60
    )

    filled = await backfill(world.context)

    rows = await rows_of(world)
    assert filled.adopted == 250
    assert set(rows) == set(assets)
    assert {"album-0", "album-1", "album-2"} < {row.reference for row in rows.values()}
    assert len({row.reference for row in rows.values()}) == 250


async def test_a_passthrough_that_is_another_rows_name_is_no_hindrance(world: World) -> None:
    other = await world.track(reference="video-7", passthrough="row-8", check_at=None)
    named = world.emulator.create_asset(life=READY, passthrough="video-7")
    passed = world.emulator.create_asset(life=READY, passthrough="row-8")

    filled = await backfill(world.context)

    rows = await rows_of(world)
    assert (filled.adopted, filled.known) == (2, 1)
    assert {named, passed} < set(rows)
    assert (await world.now_is(other)).version == 1


async def test_rows_that_are_there_are_left_alone(world: World) -> None:
    rows = await world.shelve(120)
    due = await world.track()
    gone = await world.track(State.DELETED, check_at=None)
    lost = await world.track(State.READY, provider_asset_id=unknown_id(), check_at=None)
    before = await rows_of(world)

    filled = await backfill(world.context)

    assert (filled.outcome, filled.assets, filled.adopted, filled.known) == (
        Outcome.DONE,
        122,
        0,
        122,
    )
    assert await rows_of(world) == before
    assert len(before) == len(rows) + len([due, gone, lost])


async def test_an_upload_that_a_row_waits_for_gets_no_second_row(world: World) -> None:
    upload = world.emulator.create_upload(life=READY)
    world.emulator.finish_upload(upload)
    await world.track(State.UPLOADING, provider_asset_id=None, provider_upload_id=upload)
    passed = world.emulator.create_upload(life=READY, passthrough="row-1")
    world.emulator.finish_upload(passed)
    await world.track(State.PENDING, provider_asset_id=None, passthrough="row-1")

    filled = await backfill(world.context)

    assert (filled.adopted, filled.known) == (0, 2)
    assert len(await rows_of(world)) == 1  # both are without an asset yet


async def test_the_figures_of_the_last_backfill_are_kept_with_its_outcome(world: World) -> None:
    world.emulator.create_assets(3, life=READY)

    await backfill(world.context)

    kept = await world.context.store.job_runs.get(BACKFILL)
    assert kept.progress
    assert (kept.progress["outcome"], kept.progress["adopted"]) == ("done", 3)


async def test_a_second_backfill_makes_nothing(world: World) -> None:
    world.emulator.create_assets(250, life=READY)
    await backfill(world.context)
    before = await rows_of(world)

    again = await backfill(world.context)

    assert (again.outcome, again.assets, again.adopted, again.known) == (Outcome.DONE, 250, 0, 250)
    assert await rows_of(world) == before


async def test_a_large_library_takes_a_call_for_a_hundred_assets(world: World) -> None:
    world.emulator.create_assets(2500, life=lambda i: (READY, ERRORED, NEVER)[i % 3], every=60)

    filled = await backfill(world.context)

    assert (filled.outcome, filled.adopted, filled.pages, filled.calls) == (
        Outcome.DONE,
        2500,
        25,
        25,
    )
    assert world.calls == 25


async def test_an_empty_library_is_done(world: World) -> None:
    filled = await backfill(world.context)

    assert (filled.outcome, filled.assets, filled.calls) == (Outcome.DONE, 0, 1)


@pytest.mark.parametrize("fault", ["repeated_entries", "out_of_order"])
async def test_a_list_that_is_not_right_makes_each_row_once(world: World, fault: str) -> None:
    world.emulator.create_assets(250, life=READY, every=60)
    world.emulator.add_fault(fault)

    filled = await backfill(world.context)
    previewed = await backfill(world.context.for_dry_run())

    assert (filled.adopted, len(await rows_of(world))) == (250, 250)
    assert previewed.adopted == 0


async def test_a_status_that_we_do_not_know_makes_a_row_that_is_due(world: World) -> None:
    world.emulator.add_fault("unknown_status", operation="list_assets")
    asset = world.emulator.create_asset(life=READY)

    await backfill(world.context)
    row = (await rows_of(world))[asset]
    world.emulator.clear_faults()
    world.clock.move(60)
    await world.sweep()

    assert row.state is State.PROCESSING
    assert (await world.now_is(row)).state is State.READY


async def test_what_the_list_does_not_say_of_playback_is_filled_in_by_the_audit(
    world: World,
) -> None:
    world.emulator.add_fault("missing_playback_ids", operation="list_assets")
    asset = world.emulator.create_asset(life=READY)
    await backfill(world.context)
    world.emulator.clear_faults()
    world.clock.move(60)

    report = await audit(world.context)

    assert report.drift[Drift.PLAYBACK_IDS] == 1
    assert (await rows_of(world))[asset].playback_ids


# a dry run


async def test_a_dry_run_counts_and_writes_nothing(world: World) -> None:
    await world.sync(await world.track())
    await world.shelve(30)
    world.emulator.create_assets(220, life=READY, every=60)
    before = await world.tables("provider_rate_limits")

    previewed = await backfill(world.context.for_dry_run())
    untouched = await world.tables("provider_rate_limits")
    filled = await backfill(world.context)

    assert untouched == before
    assert previewed == filled
    assert (filled.adopted, filled.known) == (220, 31)


async def test_the_first_dry_run_writes_nothing_either(world: World) -> None:
    world.emulator.create_assets(20, life=READY)
    before = await world.tables("provider_rate_limits")

    await backfill(world.context.for_dry_run())

    assert await world.tables("provider_rate_limits") == before


# going on


async def test_a_backfill_that_was_broken_off_goes_on_where_it_was(world: World) -> None:
    world.emulator.create_assets(950, life=READY, every=60)
    for _ in range(4):
        with pytest.raises(EnoughError):
            await backfill(world.context, on_progress=enough)

    filled = await backfill(world.context)

    assert (filled.outcome, filled.assets, filled.adopted, filled.known) == (
        Outcome.DONE,
        950,
        950,
        0,
    )
    assert (filled.pages, filled.calls) == (10, 10)
    assert world.calls == 10
    assert len(await rows_of(world)) == 950


async def test_a_backfill_that_was_stopped_says_so(world: World) -> None:
    world.emulator.create_assets(350, life=READY)

    stopped = await backfill(world.context, keep_going=lambda: world.calls < 2)
    done = await backfill(world.context)

    assert (stopped.outcome, stopped.adopted) == (Outcome.STOPPED, 200)
    assert (done.outcome, done.adopted, world.calls) == (Outcome.DONE, 350, 4)


async def test_an_outage_keeps_what_was_done(world: World) -> None:
    world.emulator.create_assets(350, life=READY)
    await backfill(world.context, keep_going=lambda: world.calls < 2)
    world.emulator.add_fault("server_error", operation="list_assets")
    down = await backfill(world.context)
    world.emulator.clear_faults()
    world.clock.move(timedelta(minutes=10))
    world.emulator.reset_calls()

    done = await backfill(world.context)

    assert down.outcome is Outcome.UNREACHABLE
    assert (done.outcome, done.assets, world.calls) == (Outcome.DONE, 350, 2)
    assert len(await rows_of(world)) == 350


async def test_refused_credentials_make_no_row(world: World) -> None:
    world.emulator.create_assets(20, life=READY)
    world.emulator.add_fault("unauthorized")

    with pytest.raises(AuthenticationFailed):
        await backfill(world.context)

    assert await rows_of(world) == {}


async def test_of_two_backfills_at_once_one_says_that_the_other_is_under_way(world: World) -> None:
    world.emulator.create_assets(450, life=READY)

    first, second = await asyncio.gather(backfill(world.context), backfill(world.context))

    assert {first.outcome, second.outcome} == {Outcome.DONE, Outcome.ALREADY_RUNNING}
    assert (world.calls, len(await rows_of(world))) == (5, 450)


async def test_a_backfill_beside_rows_that_the_app_tracks_makes_each_row_once(world: World) -> None:
    assets = world.emulator.create_assets(300, life=READY, every=60)

    async def app() -> None:
        for asset in assets[::10]:
            with suppress(AlreadyTracked):
                await world.track(provider_asset_id=asset)

    filled, _ = await asyncio.gather(backfill(world.context), app())

    assert filled.outcome is Outcome.DONE
    assert set(await rows_of(world)) == set(assets)


async def test_a_backfill_beside_an_audit_that_adopts_makes_each_row_once(world: World) -> None:
    assets = world.emulator.create_assets(300, life=READY, every=60)

    filled, report = await asyncio.gather(backfill(world.context), audit(world.context, adopt=True))

    assert (filled.outcome, report.outcome) == (Outcome.DONE, Outcome.DONE)
    assert filled.adopted + report.adopted == 300
    assert set(await rows_of(world)) == set(assets)


async def test_a_backfill_that_is_killed_is_gone_on_with(tables_url: str, tmp_path: Path) -> None:
    emulator = MuxEmulator()
    ids = emulator.create_assets(1500, life=READY, every=60)
    async with a_store(tables_url) as store:
        with serving(emulator) as far_end:
            shell = Shell(tmp_path, settings_for(tables_url, far_end))
            for pages in (2, 4):
                with holding(emulator, "list_assets", after=pages) as gate:
                    async with shell.but(provider_timeout_seconds=300).started(
                        "backfill"
                    ) as running:
                        await running.waits_at(gate)
                        running.process.kill()
                        await running.process.wait()
                await lease_ends(store.job_runs)

            done = await shell.run("backfill", "--json")

        rows = await all_rows(store)
        assert (done.code, done.json["outcome"]) == (0, "done")
        assert emulator.calls["list_assets"] <= 15 + 2
        assert sorted(row.provider_asset_id or "" for row in rows) == sorted(ids)
        assert done.json["assets"] == 1500
        assert done.json["adopted"] + done.json["known"] == 1500
        assert {row.state for row in rows} == {State.READY}


async def lease_ends(job_runs: JobRuns) -> None:
    """As if the time of the lease had passed."""
    later, token = datetime.now(UTC) + timedelta(days=1), "00000000-0000-4000-8000-000000000000"
    assert await job_runs.take(BACKFILL, now=later, token=token, until=later)
    await job_runs.release(token)
