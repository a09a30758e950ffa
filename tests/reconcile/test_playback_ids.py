"""Playback ids that the provider has no more: kept at first, then removed by a second answer."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from rindle_sync.domain import (
    ChangeKind,
    ObservationSource,
    PlaybackId,
    ProviderAsset,
    State,
    Trigger,
)
from rindle_sync.emulator.lifecycle import PlaybackId as Shown
from rindle_sync.reconcile import Observed, apply, audit
from rindle_sync.webhooks import process_webhook_events
from tests.support.rows import PUBLIC, SIGNED, a_look
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import READY, World

CONFIRM = timedelta(minutes=10)


async def a_video(world: World, **values: Any) -> ProviderAsset:
    """A row at rest that is as its asset, whose playback ids are a public and a signed one."""
    values = {"check_at": None, "playback_ids": (PUBLIC, SIGNED)} | values
    row = await world.track(State.READY, life=READY, **values)
    at_provider(world, row, PUBLIC, SIGNED)
    return row


def at_provider(world: World, row: ProviderAsset, *playback_ids: PlaybackId) -> None:
    """The asset has these playback ids from now on."""
    asset = world.emulator.environment.assets[row.provider_asset_id or ""]
    shown = tuple(Shown(p.id, p.policy) for p in playback_ids)
    version = dataclasses.replace(asset.versions.latest, playback_ids=shown)
    asset.versions.change(world.clock.seconds(), version)


async def changes(world: World, row: ProviderAsset) -> list[tuple[State, State, str]]:
    """Those of the state: the first answer brings media, too."""
    made = await world.context.store.assets.changes_of(row.id)
    return [
        (change.from_state, change.to_state, change.reason)
        for change in made
        if change.kind is ChangeKind.STATE
    ]


async def test_an_id_that_one_answer_lacks_is_kept_and_the_row_is_checked_again(
    world: World,
) -> None:
    row = await a_video(world)
    at_provider(world, row, SIGNED)

    applied = await world.sync(row)

    after, now = await world.now_is(row), world.clock.now()
    assert applied
    assert not applied.changed
    assert set(after.playback_ids) == {PUBLIC, SIGNED}
    assert (after.updated_at, after.check_at) == (row.updated_at, now + CONFIRM)
    assert (after.absent_playback_ids, after.playback_absent_since) == ((PUBLIC.id,), now)


@pytest.mark.parametrize("left", [(SIGNED,), ()], ids=["one is left", "none is left"])
async def test_a_second_answer_without_it_far_enough_from_the_first_removes_it(
    world: World, left: tuple[PlaybackId, ...]
) -> None:
    row = await a_video(world)
    at_provider(world, row, *left)

    await world.sync(row)
    world.clock.move(CONFIRM)
    await world.sweep()

    after = await world.now_is(row)
    assert (after.state, after.playback_ids) == (State.READY, left)
    assert (after.updated_at, after.check_at) == (world.clock.now(), None)
    assert (after.absent_playback_ids, after.playback_absent_since) == ((), None)
    assert await changes(world, row) == [(State.READY, State.READY, "playback ids are gone")]


async def test_a_second_answer_too_soon_removes_nothing(world: World) -> None:
    row = await a_video(world)
    at_provider(world, row)

    await world.sync(row)
    world.clock.move(CONFIRM - timedelta(seconds=1))
    await world.sync(row)

    after = await world.now_is(row)
    assert set(after.playback_ids) == {PUBLIC, SIGNED}
    assert after.check_at
    assert after.check_at > world.clock.now()


async def test_ids_that_others_replaced_are_removed_and_the_others_are_there_at_once(
    world: World,
) -> None:
    row, new = await a_video(world), PlaybackId("playback-0003", "public")
    at_provider(world, row, new)

    await world.sync(row)
    at_first = await world.now_is(row)
    world.clock.move(CONFIRM)
    await world.sync(row)

    assert at_first.playback_ids[0] == new
    assert set(at_first.playback_ids) == {new, PUBLIC, SIGNED}
    assert (await world.now_is(row)).playback_ids == (new,)


async def test_ids_that_come_back_are_no_more_absent(world: World) -> None:
    row = await a_video(world)
    for shown in ((SIGNED,), (PUBLIC, SIGNED), (SIGNED,)):
        at_provider(world, row, *shown)
        await world.sync(row)
        world.clock.move(CONFIRM)

    assert set((await world.now_is(row)).playback_ids) == {PUBLIC, SIGNED}


async def test_another_id_that_is_absent_now_has_its_own_second_answer(world: World) -> None:
    row = await a_video(world)
    at_provider(world, row, SIGNED)
    await world.sync(row)
    world.clock.move(CONFIRM)
    at_provider(world, row, PUBLIC)

    await world.sync(row)

    assert set((await world.now_is(row)).playback_ids) == {PUBLIC, SIGNED}


async def test_a_time_that_a_clock_ahead_has_left_removes_nothing_and_holds_up_nothing(
    world: World,
) -> None:
    ahead = world.clock.now() + timedelta(days=365)
    row = await a_video(world, absent_playback_ids=(PUBLIC.id,), playback_absent_since=ahead)
    at_provider(world, row, SIGNED)

    await world.sync(row)
    at_first = await world.now_is(row)
    world.clock.move(CONFIRM)
    await world.sync(row)

    assert set(at_first.playback_ids) == {PUBLIC, SIGNED}
    assert (await world.now_is(row)).playback_ids == (SIGNED,)


@pytest.mark.parametrize("shown", [[], [{"id": SIGNED.id, "policy": "signed"}], None])
@pytest.mark.parametrize("type_", ["video.asset.ready", "video.asset.updated"])
async def test_no_webhook_ever_removes_an_id(
    world: World, type_: str, shown: list[dict[str, str]] | None
) -> None:
    with_secrets(world)
    row = await a_video(world)
    values = {} if shown is None else {"playback_ids": shown}

    for _ in range(3):
        await deliver(
            world, an_event(row, type_, status="ready", at=f"{world.clock.now():%FT%TZ}", **values)
        )
        await process_webhook_events(world.context)
        world.clock.move(CONFIRM)

    assert set((await world.now_is(row)).playback_ids) == {PUBLIC, SIGNED}


async def test_a_webhook_that_lacks_an_id_makes_the_row_due(world: World) -> None:
    with_secrets(world)
    row = await a_video(world)

    await deliver(world, an_event(row, "video.asset.updated", status="ready"))
    await process_webhook_events(world.context)

    assert (await world.now_is(row)).check_at == world.clock.now()


@pytest.mark.parametrize(
    "source", [ObservationSource.UPLOAD, ObservationSource.WEBHOOK, ObservationSource.APP]
)
async def test_an_answer_that_is_not_the_whole_asset_removes_nothing(
    world: World, source: ObservationSource
) -> None:
    row = await a_video(world)
    for _ in range(2):
        look = a_look(State.READY, source=source, at=world.clock.now(), playback_ids=())
        await apply(world.context, [Observed(row, look)], Trigger.SYNC)
        world.clock.move(CONFIRM)
        row = await world.now_is(row)

    assert set(row.playback_ids) == {PUBLIC, SIGNED}


async def test_an_audit_finds_ids_that_are_gone_and_the_sweep_removes_them(world: World) -> None:
    row = await a_video(world)
    world.clock.move(timedelta(hours=1))
    at_provider(world, row, SIGNED)

    report = await audit(world.context)
    pending = await world.now_is(row)
    world.clock.move(CONFIRM)
    await world.sweep()

    assert (report.drift["playback_ids"], report.changed) == (1, 0)
    assert set(pending.playback_ids) == {PUBLIC, SIGNED}
    assert (await world.now_is(row)).playback_ids == (SIGNED,)


async def test_ids_are_absent_of_a_row_that_an_answer_makes_ready_without_them(
    world: World,
) -> None:
    row = await world.track(State.PROCESSING, life=READY, playback_ids=(PUBLIC,))
    at_provider(world, row, SIGNED)

    await world.sync(row)
    world.clock.move(CONFIRM)
    await world.sweep()

    assert (await world.now_is(row)).playback_ids == (SIGNED,)


async def test_a_time_that_a_clock_ahead_has_left_makes_no_calls_without_end(world: World) -> None:
    ahead = world.clock.now() + timedelta(hours=3)
    absent = {"absent_playback_ids": (PUBLIC.id,), "playback_absent_since": ahead}
    row = await a_video(world, check_at=ahead + CONFIRM, **absent)
    world.emulator.add_fault("unknown_status", operation="get_asset")
    world.without_pages()
    world.with_reads(5, 0.001)

    await world.sweep()

    after, now = await world.now_is(row), world.clock.now()
    assert world.calls == 1
    assert (after.absent_playback_ids, after.check_at) == ((PUBLIC.id,), now + CONFIRM)
