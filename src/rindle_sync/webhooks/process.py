"""Kept notices, each to its row, and to settle: at least once, with an effect exactly once."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final, TypeVar
from uuid import uuid4

from rindle_sync.domain import (
    FINAL,
    NO_ROW,
    WAITS_AFTER_FAILURE,
    WAITS_FOR_ROW,
    EventStatus,
    FetchFailure,
    Observation,
    ProviderAsset,
    StoredEvent,
    Trigger,
    Verdict,
    WebhookEvent,
    next_wait,
)
from rindle_sync.errors import DatabaseUnavailable, InvalidWebhook
from rindle_sync.reconcile import Applied, Context, Observed, apply
from rindle_sync.telemetry import (
    Event,
    WebhookException,
    WebhookProcessed,
    milliseconds,
    nanoseconds,
)

N = TypeVar("N", bound=StoredEvent)

_NAMED_BY: Final = ("provider_asset_id", "provider_upload_id", "passthrough")

BATCH: Final = 50
"""How many notices are taken up at once."""

STALE: Final = frozenset({Verdict.UNCHANGED, Verdict.STALE})
"""What a webhook comes to that tells what the row has known before."""

_log: Final = logging.getLogger("rindle_sync")


@dataclass(frozen=True, slots=True)
class _Ended:
    webhook_event: WebhookEvent
    event: Event


async def process_webhook_events(context: Context) -> int:
    """Take up the pending notices whose time has come, in the order of their events; how many.

    A notice that fails never keeps others back. Raises `DatabaseUnavailable`; what was not written down is taken up again.
    """
    token, now = str(uuid4()), context.now()
    webhook_events = await context.inbox.claim(
        context.provider.name,
        context.environment,
        now=now,
        token=token,
        until=now + context.lease,
        limit=BATCH,
    )
    if not webhook_events:
        return 0
    try:
        ended = await _apply(context, webhook_events)
        await context.inbox.end([one.webhook_event for one in ended], token)
    except BaseException:
        await context.inbox.release(token)
        raise
    for one in ended:
        context.telemetry.emit(one.event)
    return len(webhook_events)


async def _apply(context: Context, webhook_events: Sequence[WebhookEvent]) -> list[_Ended]:
    """Settle the notices, of each row in their order, and of many rows in few statements."""
    about = await rows_about(context, webhook_events)
    rows = {row.id: row for _, row in about if row}
    ended = [_without_row(context, webhook_event) for webhook_event, row in about if row is None]
    for turn in _turns([(webhook_event, row.id) for webhook_event, row in about if row]):
        ended += await _apply_turn(context, turn, rows)
    return ended


def _without_row(context: Context, webhook_event: WebhookEvent) -> _Ended:
    """Its row may be there in a moment; one that names nothing at all will never have any."""
    if any(getattr(webhook_event, name) for name in _NAMED_BY):
        return _put_off(context, webhook_event, NO_ROW, WAITS_FOR_ROW)
    return _put_off(context, webhook_event, "unreadable_data", ())


def _turns(about: Sequence[tuple[WebhookEvent, str]]) -> Iterator[list[tuple[WebhookEvent, str]]]:
    """The notices and their rows, in turns that hold each row once."""
    queues: dict[str, list[tuple[WebhookEvent, str]]] = {}
    for webhook_event, row_id in about:
        queues.setdefault(row_id, []).append((webhook_event, row_id))
    for turn in zip_longest(*queues.values()):
        yield [one for one in turn if one]


async def _apply_turn(
    context: Context, turn: Sequence[tuple[WebhookEvent, str]], rows: dict[str, ProviderAsset]
) -> list[_Ended]:
    read = [
        (webhook_event, row_id, _read(context, webhook_event)) for webhook_event, row_id in turn
    ]
    ended = [result for *_, result in read if isinstance(result, _Ended)]
    observed = {
        row_id: Observed(rows[row_id], observation)
        for _, row_id, observation in read
        if isinstance(observation, Observation)
    }
    applied = await _apply_all(context, observed)
    await _note_late(context, [one for one in applied.values() if isinstance(one, Applied)])
    rows.update((one.row.id, one.row) for one in applied.values() if isinstance(one, Applied))
    return ended + [
        _ended(context, webhook_event, applied.get(row_id))
        for webhook_event, row_id, _ in read
        if row_id in observed
    ]


def _read(context: Context, webhook_event: WebhookEvent) -> Observation | _Ended:
    try:
        return context.provider.read_observation(webhook_event.body, webhook_event.received_at)
    except InvalidWebhook as error:
        return _put_off(context, webhook_event, error.reason, ())
    except Exception as error:  # noqa: BLE001  one notice must not keep the others back, whatever it meets
        return _failed(context, webhook_event, error)


async def _note_late(context: Context, applied: Sequence[Applied]) -> None:
    """What a look had found before its webhook came was not missed, but late."""
    told = [
        (one.row.id, one.observation.state)
        for one in applied
        if one.decision.verdict in STALE
        and isinstance(one.observation, Observation)
        and one.observation.state in FINAL
    ]
    if told:
        await context.history.note_webhooks(told, context.now())


async def _apply_all(
    context: Context, observed: Mapping[str, Observed]
) -> dict[str, Applied | Exception]:
    """All at once; where that fails, each for itself, so that only the one at fault fails."""
    try:
        return {
            one.row.id: one
            for one in await apply(context, list(observed.values()), Trigger.WEBHOOK)
        }
    except DatabaseUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  one notice must not keep the others back, whatever it meets
        if len(observed) == 1:
            return dict.fromkeys(observed, error)
    apart = [await _apply_all(context, {row_id: item}) for row_id, item in observed.items()]
    return {row_id: one for some in apart for row_id, one in some.items()}


def _ended(
    context: Context, webhook_event: WebhookEvent, applied: Applied | Exception | None
) -> _Ended:
    if applied is None:
        return _put_off(context, webhook_event, NO_ROW, WAITS_FOR_ROW)
    if isinstance(applied, Exception):
        return _failed(context, webhook_event, applied)
    if isinstance(applied.observation, FetchFailure):
        return _put_off(context, webhook_event, applied.observation.kind.value, WAITS_AFTER_FAILURE)
    now, decision = context.now(), applied.decision
    done = replace(
        webhook_event, status=EventStatus.APPLIED, next_attempt_at=None, reason=decision.reason
    )
    return _Ended(
        replace(done, attempts=webhook_event.attempts + 1),
        WebhookProcessed(
            system_time=nanoseconds(now),
            row_id=applied.row.id,
            reference=applied.row.shown_reference,
            provider=webhook_event.provider_name,
            type=webhook_event.type,
            verdict=decision.verdict.value,
            lag_ms=max(
                0, milliseconds(now - (webhook_event.occurred_at or webhook_event.received_at))
            ),
        ),
    )


def _failed(context: Context, webhook_event: WebhookEvent, error: Exception) -> _Ended:
    _log.warning("notice %s could not be applied: %s", webhook_event.id, type(error).__name__)
    return _put_off(context, webhook_event, type(error).__name__, WAITS_AFTER_FAILURE)


async def rows_about(
    context: Context, webhook_events: Sequence[N]
) -> list[tuple[N, ProviderAsset | None]]:
    """Each of these notices with the row that it is about, where there is one."""

    def all_of(name: str) -> set[str]:
        return {
            value for webhook_event in webhook_events if (value := getattr(webhook_event, name))
        }

    rows = await context.store.match(
        context.provider.name,
        context.environment,
        **{f"{name}s": all_of(name) for name in _NAMED_BY},
    )
    return [(webhook_event, _row_of(webhook_event, rows)) for webhook_event in webhook_events]


def _row_of(webhook_event: StoredEvent, rows: Sequence[ProviderAsset]) -> ProviderAsset | None:
    """The row that a notice is about: by asset, by upload, by passthrough; never one that holds another asset."""
    for name in _NAMED_BY:
        for row in rows:
            if (
                getattr(row, name) == getattr(webhook_event, name)
                and getattr(row, name)
                and _may_be(row, webhook_event)
            ):
                return row
    return None


def _may_be(row: ProviderAsset, webhook_event: StoredEvent) -> bool:
    return webhook_event.provider_asset_id is None or row.provider_asset_id in {
        None,
        webhook_event.provider_asset_id,
    }


def _put_off(
    context: Context, webhook_event: WebhookEvent, reason: str, waits: tuple[timedelta, ...]
) -> _Ended:
    """Try again later, or no more: then the notice is dead, not lost."""
    now, attempts = context.now(), webhook_event.attempts + 1
    wait = next_wait(attempts, waits)
    status = EventStatus.DEAD if wait is None else EventStatus.PENDING
    return _Ended(
        replace(
            webhook_event,
            status=status,
            attempts=attempts,
            next_attempt_at=None if wait is None else now + wait,
            reason=reason,
        ),
        _exception(webhook_event, reason, now, attempts, dead=wait is None),
    )


def _exception(
    webhook_event: WebhookEvent, reason: str, now: datetime, attempt: int, *, dead: bool
) -> WebhookException:
    return WebhookException(
        system_time=nanoseconds(now),
        provider=webhook_event.provider_name,
        type=webhook_event.type,
        reason=reason,
        attempt=attempt,
        dead=dead,
    )
