"""A library with a day behind it, for the console: each state, changes, a dead webhook event."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from rindle_sync.domain import ErrorKind, ProviderAsset, State, Trigger
from rindle_sync.providers.mux import Mux, MuxPlayback
from rindle_sync.runtime import Heartbeat
from rindle_sync.store.schema import changes
from rindle_sync.webhooks import process_webhook_events
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import READY, World

HOURS: Final = 24
NAMES: Final = ("harbour", "ridge", "lantern", "orchard", "signal", "meadow", "quarry", "tide")
_BY: Final = (Trigger.WEBHOOK,) * 14 + (Trigger.SWEEP,) * 4 + (Trigger.AUDIT, Trigger.APP)


async def a_library(world: World, *, videos: int = 60) -> ProviderAsset:
    """The library; the row that a person looks at, which was synced."""
    now = world.clock.now()
    with_secrets(world)
    provider = world.context.gateway.provider
    assert isinstance(provider, Mux)
    provider.playback = MuxPlayback()
    store = world.context.store
    await Heartbeat(store.database, store.provider).beat(now)
    await store.environments.identify("environment-1")
    rows = list[ProviderAsset]()
    for place in range(videos):
        age = timedelta(minutes=37 * place + 5)
        row = await world.track(
            State.READY,
            reference=f"{NAMES[place % len(NAMES)]}-{240 - place}",
            profile="trailer" if place % 5 == 4 else "default",
            provider_created_at=now - age,
            inserted_at=now - age,
            updated_at=now - age + timedelta(minutes=3),
            checked_at=now - age / 2,
            check_at=None,
        )
        rows.append(row)
    await _troubled(world)
    await _a_day_of_changes(world, rows)
    await deliver(world, an_event("nobody") | {"data": {}, "object": None})
    await process_webhook_events(world.context)
    row = await world.track(
        life=READY,
        reference="harbour-interview-final",
        provider_created_at=now - timedelta(minutes=2),
        inserted_at=now - timedelta(minutes=2),
        updated_at=now - timedelta(minutes=2),
    )
    await world.sync(row)
    return await world.now_is(row)


async def _troubled(world: World) -> None:
    now = world.clock.now()
    texts = {
        ErrorKind.PROVIDER: "the input file has no video track",
        ErrorKind.STUCK: "stuck in :processing past threshold",
        ErrorKind.NOT_FOUND: "mux asset not found",
        ErrorKind.UPLOAD: "the upload timed out",
    }
    for place, (kind, text) in enumerate(texts.items()):
        made = now - timedelta(minutes=11 + 13 * place)
        await world.track(
            State.ERRORED,
            reference=f"errored-{kind}",
            provider_created_at=made,
            inserted_at=made,
            updated_at=made,
            error_kind=kind,
            last_sync_error=text,
            check_at=None,
        )
    for place, state in enumerate((State.PENDING, State.UPLOADING, State.PROCESSING)):
        made = now - timedelta(minutes=1 + place)
        await world.track(
            state,
            reference=f"new-{state}",
            provider_created_at=made,
            inserted_at=made,
            updated_at=made,
            check_at=now + timedelta(minutes=place + 1),
            check_failures=int(state is State.PROCESSING),
            last_sync_error="no answer within 10 s" if state is State.PROCESSING else None,
        )
    await world.track(State.DELETED, reference="old-trailer", check_at=None)


async def _a_day_of_changes(world: World, rows: Sequence[ProviderAsset]) -> None:
    now, lines = world.clock.now(), list[dict[str, object]]()
    for place in range(HOURS * 24):
        hour, minute = divmod(place * 7 % (HOURS * 60), 60)
        if (hour * 5 + minute) % 9 > 2 + hour % 5:
            continue  # some hours are busier than others
        trigger = _BY[place % len(_BY)]
        late = {Trigger.WEBHOOK: 900, Trigger.APP: 0}.get(trigger, 28_000)
        lines.append(
            {
                "row_id": rows[place % len(rows)].id,
                "reference": rows[place % len(rows)].reference,
                "provider_name": "mux",
                "environment": "default",
                "version": 2 + place,
                "kind": "state",
                "from_state": State.PROCESSING.value,
                "to_state": State.READY.value,
                "trigger": trigger.value,
                "reason": "the provider says ready",
                "at": now - timedelta(hours=hour, minutes=minute),
                "late_ms": late + place % 17 * 400,
                "webhook_at": None if place % 3 else now,
                "position": 0,
            }
        )
    async with world.context.store.database.writing() as connection:
        await connection.execute(sa.insert(changes), lines)
