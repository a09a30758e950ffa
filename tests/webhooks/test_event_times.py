"""What an event means beats what its time says, on both databases."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from rindle_sync.domain import ProviderAsset, State, replace
from rindle_sync.store import Write
from rindle_sync.webhooks import process_webhook_events
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import READY, World

ABSURD = [
    "0001-01-01T00:00:00.000000Z",
    "1970-01-01T00:00:00.000000Z",
    "2031-01-01T00:00:00.000000Z",
    "9999-12-31T23:59:59.999999Z",
]


@pytest.fixture(autouse=True)
def _takes_deliveries(world: World) -> None:
    with_secrets(world)


async def applied(world: World, *events: dict[str, Any]) -> None:
    """Each event, processed before the next one comes."""
    for event in events:
        await deliver(world, event)
        await process_webhook_events(world.context)


def playback(name: str) -> dict[str, Any]:
    return {"status": "ready", "playback_ids": [{"id": name, "policy": "public"}]}


def stamped(row: ProviderAsset, kind: str, at: str, **values: Any) -> dict[str, Any]:
    return an_event(row, f"video.asset.{kind}", at=at, **values)


async def test_a_deletion_stamped_a_moment_before_the_last_update_deletes_the_row(
    world: World,
) -> None:
    row = await world.track(State.READY, check_at=None)

    await applied(
        world,
        stamped(row, "updated", "2026-11-23T11:59:00.501000Z", status="ready"),
        stamped(row, "deleted", "2026-11-23T11:59:00.500000Z"),
    )

    after = await world.now_is(row)
    assert (after.state, after.check_at) == (State.DELETED, None)


async def test_ready_stamped_before_the_last_event_makes_the_row_ready_and_due(
    world: World,
) -> None:
    row = await world.track(life=READY)

    await applied(
        world,
        stamped(row, "updated", "2026-11-23T11:59:00.501000Z", **playback("one") | PREPARING),
        stamped(row, "ready", "2026-11-23T11:59:00.500000Z", **playback("two")),
    )
    doubtful = await world.now_is(row)
    world.clock.move(60)
    await world.sweep()
    since = world.clock.now() - MINUTE
    # the ids of both events are another asset's: a second answer without them removes them
    world.clock.move(world.context.policy.confirm.total_seconds() + 60)
    await world.sweep()

    assert (doubtful.state, doubtful.check_at) == (State.READY, since)
    confirmed = await world.now_is(row)
    assert (confirmed.state, confirmed.check_at) == (State.READY, None)
    assert [p.id for p in confirmed.playback_ids] == [
        p.id for p in world.emulator.truth(row.provider_asset_id or "").playback_ids
    ]


PREPARING = {"status": "preparing"}
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("time", ABSURD)
@pytest.mark.parametrize("first", ["created", "updated", "ready"])
async def test_no_time_of_an_event_shuts_out_later_ones(
    world: World, time: str, first: str
) -> None:
    row = await world.track(State.UPLOADING)
    now = world.clock.now()

    await applied(
        world,
        stamped(row, first, time, playback_ids=[{"id": "early", "policy": "public"}]),
        stamped(row, "ready", now.isoformat(), **playback("late")),
        stamped(row, "deleted", (now - timedelta(seconds=1)).isoformat()),
    )

    after = await world.now_is(row)
    assert after.state is State.DELETED
    assert after.last_event_at is not None
    assert after.last_event_at <= now


@pytest.mark.parametrize("time", ABSURD)
async def test_an_absurd_time_is_neither_stored_nor_counted_as_lateness(
    world: World, time: str
) -> None:
    row = await world.track(State.UPLOADING)

    await applied(world, stamped(row, "ready", time))

    [webhook_event] = await world.context.store.inbox.list()
    [change] = await world.context.store.assets.changes_of(row.id)
    assert webhook_event.occurred_at is None
    assert 0 <= change.late_ms <= 3_600_000  # since the row's last change, an hour ago


@pytest.mark.parametrize("time", ABSURD)
async def test_an_event_that_changed_nothing_does_not_move_the_time_of_the_last_one(
    world: World, time: str
) -> None:
    row = await world.track(State.READY, check_at=None)
    known = stamped(row, "updated", time, status="ready")
    await world.context.store.assets.write(
        [Write(replace(row, version=row.version + 1, raw_provider_metadata=known["data"]))]
    )

    await applied(world, known)

    assert (await world.now_is(row)).last_event_at is None


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_events_of_one_moment_in_any_order_end_in_the_truth(
    world: World, order: tuple[int, ...]
) -> None:
    row = await world.track(State.UPLOADING, life=READY)
    kinds = ["created", "updated", "ready", "deleted"]
    times = ["503", "502", "501", "500"]  # just the wrong way round
    events = [
        stamped(row, kind, f"2026-11-23T11:59:00.{time}000Z")
        for kind, time in zip(kinds, times, strict=True)
    ]

    await applied(world, *(events[number] for number in order))

    assert (await world.now_is(row)).state is State.DELETED
