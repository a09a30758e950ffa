"""A library of a million videos with a past: rows in every state, changes, and webhook events."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa

from benchmarks.tables import BULK, a_settled_row, fill
from rindle_sync.domain import ErrorKind, EventStatus, ProviderAsset, State, Trigger, replace
from rindle_sync.store import Store
from rindle_sync.store.schema import changes, webhook_events

DAYS: Final = 3
"""For how long changes and webhook events lie back."""


async def fill_library(store: Store, rows: int, moment: datetime) -> None:
    """So many rows, as many changes, and a fifth as many webhook events."""
    await fill(store, library_rows(rows, moment))
    await _fill(store, changes, rows, lambda place: _change(place, rows, moment))
    await _fill(store, webhook_events, rows // 5, lambda place: _event(place, rows // 5, moment))
    await store.statistics.merge_counts()


def library_rows(number: int, moment: datetime) -> Iterator[ProviderAsset]:
    """Rows of a year: nine of ten ready, the oldest deleted, the newest in flight."""
    for place in range(number):
        created_at = moment - timedelta(days=365) * (1 - place / number)
        ready = a_settled_row(f"library{place:09}", created_at)
        yield replace(ready, **_special(place, number, moment))


def _special(place: int, number: int, moment: datetime) -> dict[str, Any]:
    checked_at, share = moment - timedelta(minutes=place % 3000), place / number
    if share < 0.04:
        return {"state": State.DELETED, "checked_at": checked_at}
    if share > 0.97:
        due = moment + timedelta(seconds=place % 7200 - 2400)
        failures = int(place % 20 == 0)
        values = {"check_at": due, "checked_at": checked_at, "check_failures": failures}
        if share > 0.995:
            return values | {"state": State.UPLOADING, "provider_asset_id": None}
        return values | {"state": State.PROCESSING}
    if place % 50 == 0:
        kind = list(ErrorKind)[place // 50 % len(ErrorKind)]
        return {"state": State.ERRORED, "error_kind": kind, "last_sync_error": "it failed"}
    return {"checked_at": checked_at, "profile": "trailer" if place % 100_000 == 7 else "default"}


def _change(place: int, number: int, moment: datetime) -> dict[str, Any]:
    at = moment - timedelta(days=DAYS) * (1 - place / number)
    trigger = (Trigger.WEBHOOK, Trigger.WEBHOOK, Trigger.WEBHOOK, Trigger.SWEEP)[place % 4]
    is_late = trigger is Trigger.SWEEP and place % 8 == 3
    return {
        "row_id": str(uuid4()),
        "reference": f"video-{place}",
        "provider_name": "mux",
        "environment": "default",
        "version": 2,
        "kind": "state",
        "from_state": State.PROCESSING.value,
        "to_state": State.READY.value,
        "trigger": trigger.value,
        "reason": "the provider says ready",
        "at": at,
        "late_ms": place * 7919 % 60_000,
        "webhook_at": at + timedelta(minutes=1) if is_late else None,
        "position": 0,
    }


def _event(place: int, number: int, moment: datetime) -> dict[str, Any]:
    status = EventStatus.DEAD if place % 1000 == 0 else EventStatus.APPLIED
    return {
        "id": str(uuid4()),
        "provider_name": "mux",
        "environment": "default",
        "event_id": f"event-{place}",
        "type": "video.asset.ready",
        "provider_asset_id": f"library{place:09}",
        "received_at": moment - timedelta(days=DAYS) * (1 - place / number),
        "body": b"x" * 800,
        "status": status.value,
        "attempts": 1,
        "reason": "no row of ours" if status is EventStatus.DEAD else None,
        "for_app": False,
    }


async def _fill(
    store: Store, table: sa.Table, number: int, line: Callable[[int], dict[str, Any]]
) -> None:
    left: Iterable[dict[str, Any]] = iter(map(line, range(number)))
    async with store.database.engine.begin() as connection:
        while bulk := list(islice(left, BULK)):
            await connection.execute(sa.insert(table), bulk)
