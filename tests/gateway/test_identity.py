"""Whose environment the token opens: in another one, no row must be believed to be deleted."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from rindle_sync.app import connect
from rindle_sync.config import plain_settings
from rindle_sync.diagnostics import environment_status
from rindle_sync.domain import ErrorKind, Outcome, ProviderAsset, State
from rindle_sync.emulator import MuxEmulator
from rindle_sync.errors import AuthenticationFailed, EnvironmentMismatch, RindleSyncError
from rindle_sync.gateway import FIRST_GAP, LONGEST_GAP
from rindle_sync.reconcile import audit, backfill
from rindle_sync.telemetry import Audited, BreakerClosed, BreakerOpened, Failed
from tests.support.world import NEVER, READY, World, unknown_id

OURS = "emulator-environment"
THEIRS = "QkX7vSomebodyElse9Wp2"


def another(world: World) -> MuxEmulator:
    """Another environment of the same provider, with assets of its own."""
    emulator = MuxEmulator(
        now=world.clock.seconds, sleep=world.clock.sleep, seed=99, environment_id=THEIRS
    )
    emulator.create_assets(30, life=READY)
    return emulator


async def pinned(world: World) -> str | None:
    return (await world.context.store.environments.get()).provider_environment_id


async def circuit_of(world: World) -> str:
    return (await environment_status(world.context)).circuit


async def settle_in(world: World) -> list[ProviderAsset]:
    """A library of ours: rows at rest and rows that are due, and the environment is known."""
    await world.sync(await world.track())
    rows = await world.shelve(15)
    return rows + [await world.track(life=NEVER) for _ in range(5)]


async def sync_first(world: World) -> None:
    [row, *_] = [
        row async for row in world.context.store.assets.rows() if row.state is State.PROCESSING
    ]
    await world.sync(row)


async def sweep_all(world: World) -> None:
    await world.sweep()


async def sweep_by_id(world: World) -> None:
    world.without_pages()
    await world.sweep()


async def audit_all(world: World) -> None:
    await audit(world.context)


async def audit_and_adopt(world: World) -> None:
    await audit(world.context, adopt=True, accept_mass_change=True)


async def fill(world: World) -> None:
    await backfill(world.context)


PATHS = [sync_first, sweep_all, sweep_by_id, audit_all, audit_and_adopt, fill]
Path = Callable[[World], Awaitable[None]]


# a 404 in our own environment


async def test_a_404_is_believed_in_the_environment_of_the_rows(world: World) -> None:
    await world.sync(await world.track())
    gone = await world.track(provider_asset_id=unknown_id())

    await world.sync(gone)

    after = await world.now_is(gone)
    assert (after.state, after.error_kind) == (State.ERRORED, ErrorKind.NOT_FOUND)


async def test_who_we_are_is_asked_once_however_many_rows_are_gone(world: World) -> None:
    world.without_pages()
    await world.sync(await world.track())
    for _ in range(20):
        await world.track(provider_asset_id=unknown_id())

    await world.sweep()

    assert world.emulator.calls["whoami"] == 1


@pytest.mark.parametrize(
    "fault", ["server_error", "bad_gateway", "broken_json", "truncated", "rate_limited"]
)
async def test_a_404_is_not_believed_while_nobody_says_who_we_are(world: World, fault: str) -> None:
    world.emulator.add_fault(fault, operation="whoami")
    row = await world.track(provider_asset_id=unknown_id())
    world.without_pages()

    await world.sweep()

    after = await world.now_is(row)
    assert (after.state, after.updated_at, after.error_kind) == (
        State.PROCESSING,
        row.updated_at,
        None,
    )
    assert after.last_sync_error
    [failed] = world.events(Failed)
    assert isinstance(failed, Failed)
    assert failed.reason in {"unreachable", "throttled"}


async def test_a_404_that_was_not_believed_is_when_we_know_who_we_are(world: World) -> None:
    rule = world.emulator.add_fault("server_error", operation="whoami", times=1)
    row = await world.track(provider_asset_id=unknown_id())
    world.without_pages()
    await world.sweep()

    world.clock.move(60)
    await world.sweep()

    assert rule.fired == 1
    assert (await world.now_is(row)).error_kind is ErrorKind.NOT_FOUND


async def test_rows_that_are_there_need_nobody_to_say_who_we_are(world: World) -> None:
    world.emulator.add_fault("server_error", operation="whoami")
    rows = [await world.track() for _ in range(30)]

    await world.sweep()

    assert {(await world.now_is(row)).state for row in rows} == {State.READY}
    assert world.emulator.calls["whoami"] <= 3


# what is known of the environment


async def test_the_environment_is_known_once_one_of_our_rows_was_seen_by_id(world: World) -> None:
    await world.sync(await world.track(provider_asset_id=unknown_id()))
    before = await pinned(world)

    await world.sync(await world.track())

    assert (before, await pinned(world)) == (None, OURS)


async def test_the_environment_is_known_once_one_of_our_rows_was_seen_on_a_page(
    world: World,
) -> None:
    for _ in range(3):
        await world.track()

    await world.sweep()

    assert (world.emulator.calls["get_asset"], await pinned(world)) == (0, OURS)


async def test_a_page_of_untracked_assets_says_nothing_of_our_environment(world: World) -> None:
    world.emulator.create_assets(150, life=READY)
    for _ in range(3):
        await world.track(provider_asset_id=unknown_id())

    await world.sweep()
    await audit(world.context)

    assert world.emulator.calls["list_assets"] >= 2
    assert await pinned(world) is None


async def test_a_backfill_that_finds_no_asset_says_nothing_of_our_environment(world: World) -> None:
    await world.shelve(3)
    world.with_token_of(
        MuxEmulator(now=world.clock.seconds, sleep=world.clock.sleep, environment_id=THEIRS)
    )

    await backfill(world.context)

    assert await pinned(world) is None


async def test_what_is_known_of_the_environment_is_never_overwritten(world: World) -> None:
    await settle_in(world)
    world.with_token_of(another(world))

    for path in (sweep_all, audit_all, fill):
        with pytest.raises(AuthenticationFailed):
            await path(world)
        world.clock.move(LONGEST_GAP)

    assert await pinned(world) == OURS


# a token of another environment


async def test_one_row_that_is_synced_with_a_token_of_another_environment_keeps_its_state(
    world: World,
) -> None:
    await world.sync(await world.track())
    row = await world.track(life=NEVER)
    world.with_token_of(another(world))

    with pytest.raises(AuthenticationFailed):
        await world.sync(row)

    after = await world.now_is(row)
    assert (after.state, after.updated_at, after.check_at) == (
        State.PROCESSING,
        row.updated_at,
        row.check_at,
    )
    assert (after.check_failures, after.error_kind, after.missing_since) == (0, None, None)
    assert await circuit_of(world) == "other_environment"


@pytest.mark.parametrize("path", PATHS[1:])
async def test_a_token_of_another_environment_changes_no_row(world: World, path: Path) -> None:
    await settle_in(world)
    world.with_token_of(another(world))
    world.told.clear()
    before = await world.tables(
        "provider_rate_limits", "provider_environments", "provider_job_runs"
    )

    with pytest.raises(AuthenticationFailed, match="environment"):
        await path(world)

    assert (
        await world.tables("provider_rate_limits", "provider_environments", "provider_job_runs")
        == before
    )
    assert await circuit_of(world) == "other_environment"
    assert [e.reason for e in world.told if isinstance(e, BreakerOpened)] == ["other_environment"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_token_of_another_environment_changes_no_row_when_nobody_says_so_at_first(
    world: World, path: Path
) -> None:
    await settle_in(world)
    there = another(world)
    there.add_fault("server_error", operation="whoami", times=1)
    world.with_token_of(there)
    before = await world.tables()

    try:
        await path(world)
    except AuthenticationFailed:
        assert await circuit_of(world) == "other_environment"

    after = await world.tables()
    assert len(after["media_provider_assets"]) == len(before["media_provider_assets"])
    assert after["provider_deletion_candidates"] == []
    assert await world.states() == {State.READY: 16, State.PROCESSING: 5}


async def test_a_backfill_of_an_empty_environment_does_not_make_it_that_of_the_rows(
    world: World,
) -> None:
    right = world.emulator
    world.with_token_of(
        MuxEmulator(now=world.clock.seconds, sleep=world.clock.sleep, environment_id=THEIRS)
    )
    await backfill(world.context)
    await world.track()
    world.with_token_of(right)

    report = await audit(world.context)

    assert report.outcome is Outcome.DONE


@pytest.mark.parametrize("path", [sweep_all, sweep_by_id, audit_all])
async def test_as_long_as_the_token_is_wrong_the_circuit_stays_open(
    world: World, path: Path
) -> None:
    await settle_in(world)
    world.with_token_of(there := another(world))
    world.told.clear()

    for _ in range(6):
        with suppress(AuthenticationFailed):
            await path(world)
        assert await circuit_of(world) == "other_environment"
        world.clock.move(LONGEST_GAP)

    assert not world.events(BreakerClosed)
    assert len(world.events(BreakerOpened)) == 1
    assert world.calls == 1
    assert sum(n for kind, n in there.calls.items() if kind != "whoami") <= 18
    assert await world.states() == {State.READY: 16, State.PROCESSING: 5}


async def test_days_with_a_token_of_another_environment_end_no_row(world: World) -> None:
    await settle_in(world)
    world.with_token_of(another(world))

    for _ in range(10):  # not so long that the rows are stuck
        for path in (sweep_all, audit_all):
            with suppress(AuthenticationFailed):
                await path(world)
        world.clock.move(timedelta(minutes=5))

    assert await world.states() == {State.READY: 16, State.PROCESSING: 5}
    assert not [row async for row in world.context.store.assets.rows() if row.missing_since]


async def test_with_the_right_token_everything_goes_on(world: World) -> None:
    rows = await settle_in(world)
    world.with_token_of(another(world))
    with pytest.raises(AuthenticationFailed):
        await world.sweep()
    world.emulator.delete_asset(rows[3].provider_asset_id or "")

    world.with_token_of(world.emulator)
    result = await world.sweep()
    report = await audit(world.context)

    assert (result.outcome, result.checked, await circuit_of(world)) == (Outcome.DONE, 5, "closed")
    assert (report.outcome, report.ended) == (Outcome.DONE, 1)


async def test_a_service_with_the_right_token_is_not_shown_as_refused_for_another_ones_sake(
    world: World,
) -> None:
    """Somebody runs a command with a wrong token, beside a service that checks rows."""
    await settle_in(world)
    await world.sweep()
    service = world.context
    world.with_token_of(another(world))
    await world.track()
    with pytest.raises(AuthenticationFailed):
        await audit(world.context)

    world.context = service
    for _ in range(3):
        world.clock.move(LONGEST_GAP)
        await world.track()
        assert (await world.sweep()).checked

    assert await circuit_of(world) == "closed"


async def test_a_library_that_nobody_has_checked_yet_does_not_end_by_a_wrong_token(
    world: World,
) -> None:
    """Rows that came by webhooks or by hand.

    No check has told yet which environment they were made in.
    """
    rows = await world.shelve(15)
    world.with_token_of(another(world))

    for _ in range(3):
        try:
            await audit(world.context)
            world.clock.move(world.context.policy.confirm + timedelta(minutes=1))
            await world.sweep()
        except AuthenticationFailed:
            pass

    assert {(await world.now_is(row)).state for row in rows} == {State.READY}


# what the settings say


async def test_an_environment_that_the_settings_name_wins_over_what_was_seen(world: World) -> None:
    await world.sync(await world.track())
    gone = await world.track(provider_asset_id=unknown_id())
    world.with_gateway(expected_environment=THEIRS)

    with pytest.raises(AuthenticationFailed):
        await world.sync(gone)

    assert (await world.now_is(gone)).state is State.PROCESSING
    assert await circuit_of(world) == "other_environment"


async def test_rows_that_have_moved_are_believed_where_the_settings_say_so(world: World) -> None:
    await world.context.store.environments.identify(THEIRS)
    gone = await world.track(provider_asset_id=unknown_id())
    world.with_gateway(expected_environment=OURS)

    await world.sync(gone)

    assert (await world.now_is(gone)).error_kind is ErrorKind.NOT_FOUND


async def test_the_app_takes_the_environment_from_its_settings(database_url: str) -> None:
    emulator = MuxEmulator(environment_id=THEIRS)
    settings = plain_settings(
        database_url=database_url,
        mux_token_id=emulator.token_id,
        mux_token_secret=emulator.token_secret,
        mux_environment_id=OURS,
    )
    async with connect(settings, transport=httpx.ASGITransport(app=emulator.app)) as rindle:
        await rindle.migrate()
        row = await rindle.track(reference="video-1", provider_asset_id="asset-1")
        with pytest.raises(AuthenticationFailed):
            await rindle.sync("asset-1")
        told, kept = await rindle.status(), await rindle.get(row.id)

    assert told.circuit == "other_environment"
    assert kept
    assert (kept.state, kept.error_kind) == (State.PROCESSING, None)


# secrets


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_that_is_said_holds_an_id_of_either_environment(
    world: World, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rows = await settle_in(world)
    world.emulator.whoami = replace(
        world.emulator.whoami, environment_id=(ours := "Zr8OurOwnEnvironment5Tq")
    )
    await world.context.store.environments.identify(ours)
    world.with_token_of(there := another(world))
    said: list[str] = []

    for _ in range(2):
        try:
            await path(world)
        except RindleSyncError as error:
            said += [str(error), repr(error)]
        world.clock.move(LONGEST_GAP)
    said += [repr(event) for event in world.told] + [
        record.getMessage() for record in caplog.records
    ]
    said += [
        repr(await environment_status(world.context)),
        repr(world.context.gateway.identity),
        repr(world.context.gateway.circuit.opened),
    ]

    assert said
    secrets = [THEIRS, ours, *(row.provider_asset_id or "" for row in rows), *there.truths()]
    assert not [text for text in said for secret in secrets if secret in text]


# at once


async def test_many_checks_at_once_ask_once_who_we_are(world: World) -> None:
    rows = await settle_in(world)
    world.with_token_of(there := another(world))

    answers = await asyncio.gather(*(world.sync(row) for row in rows), return_exceptions=True)

    assert {type(answer) for answer in answers} == {EnvironmentMismatch}
    assert there.calls["whoami"] == 1


async def test_the_first_probe_after_a_wrong_token_is_one_call_at_most(world: World) -> None:
    await settle_in(world)
    world.with_token_of(there := another(world))
    with pytest.raises(AuthenticationFailed):
        await world.sweep()
    there.reset_calls()
    world.clock.move(FIRST_GAP)

    with pytest.raises(AuthenticationFailed):
        await world.sweep()

    assert sum(there.calls.values()) <= 1


async def test_an_audit_with_a_wrong_token_is_told_as_refused(world: World) -> None:
    await settle_in(world)
    world.with_token_of(another(world))

    with pytest.raises(AuthenticationFailed):
        await audit(world.context)

    [told] = world.events(Audited)
    assert isinstance(told, Audited)
    assert (told.outcome, told.ended, told.seen) == ("refused", 0, 0)
