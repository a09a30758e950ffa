"""Stored webhook events, each applied to its row: at least once, with an effect exactly once."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final, NamedTuple, TypeVar
from uuid import uuid4

from rindle_sync.domain import (
    FINAL,
    NO_ROW,
    UNTRACKED,
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
    contradiction,
    next_wait,
    replace,
)
from rindle_sync.errors import DatabaseUnavailable, InvalidWebhook
from rindle_sync.reconcile import Applied, Context, Observed, apply, end_task
from rindle_sync.store import AssetStore
from rindle_sync.telemetry import (
    Event,
    WebhookException,
    WebhookIgnored,
    WebhookProcessed,
    milliseconds,
    scrub_traceback,
)

E = TypeVar("E", bound=StoredEvent)

_PROVIDER_IDS: Final = ("provider_asset_id", "provider_upload_id")
"""The provider's ids by which an event names its row, the strongest first."""

_IDS: Final = (*_PROVIDER_IDS, "passthrough")

BATCH: Final = 200
"""How many webhook events are applied at once."""

KNOWN_BEFORE: Final = frozenset({Verdict.UNCHANGED, Verdict.STALE})
"""The verdicts on a webhook event that reports what the row knew before."""

_log: Final = logging.getLogger("rindle_sync")


@dataclass(frozen=True, slots=True)
class _Outcome:
    webhook_event: WebhookEvent
    event: Event
    decided_at: datetime
    row: ProviderAsset | None = None


class Processed(NamedTuple):
    """How many webhook events were taken up, and whether more may be due."""

    number: int
    has_more: bool


async def process_webhook_events(context: Context) -> int:
    """Apply a batch of pending webhook events whose time has come, in their order; how many.

    Raises as `process_pending` does.
    """
    return (await process_pending(context, lambda: False)).number


async def process_pending(context: Context, keep_going: Callable[[], bool]) -> Processed:
    """Apply webhook events whose time has come, batch by batch, in their order.

    While a batch is applied, the next one is leased, and the outcomes of the one before are
    written. `keep_going` is asked between two batches. An event that fails never keeps others back.
    Raises `DatabaseUnavailable`; an event whose outcome was not written is applied again.
    """
    batches = _Batches(context)
    leasing: asyncio.Task[_Batch] | None = asyncio.create_task(batches.lease())
    ending: asyncio.Task[None] | None = None
    number, is_full = 0, False
    try:
        while leasing:
            batch = await leasing
            number, is_full = number + len(batch.events), len(batch.events) == BATCH
            goes_on = is_full and keep_going()
            leasing = asyncio.create_task(batches.lease()) if goes_on else None
            if not batch.events:
                break
            outcomes = await _process(context, batch.events)
            if ending:
                await ending
            ending = asyncio.create_task(batches.end(batch, outcomes))
        if ending:
            await ending
    except BaseException:
        for task in (leasing, ending):
            if task:
                await end_task(task)
        await batches.release()
        raise
    return Processed(number, is_full)


class _Batch(NamedTuple):
    token: str
    events: Sequence[WebhookEvent]


class _Batches:
    """What is leased, batch by batch, until its outcomes are written."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._inbox = context.store.inbox
        self._tokens: set[str] = set()

    async def lease(self) -> _Batch:
        """The next batch; it may be empty."""
        token, now = str(uuid4()), self._context.now()
        until = now + self._context.lease
        claimed = await self._inbox.claim(now=now, token=token, until=until, limit=BATCH)
        if claimed:
            self._tokens.add(token)
        return _Batch(token, claimed)

    async def end(self, batch: _Batch, outcomes: Sequence[_Outcome]) -> None:
        """Write what became of a batch, and emit it."""
        ended = [outcome.webhook_event for outcome in outcomes]
        await self._inbox.end(ended, batch.token)
        self._tokens.discard(batch.token)
        # once they are written: nothing is emitted that a crash would take back
        for outcome in outcomes:
            self._context.telemetry.emit(outcome.event, outcome.row, at=outcome.decided_at)
        await _revive_tracked(self._context, ended)

    async def release(self) -> None:
        """End the leases of all batches whose outcomes were not written."""
        for token in self._tokens:
            await self._inbox.release(token)


async def _revive_tracked(context: Context, ended: Sequence[WebhookEvent]) -> None:
    """Revive events that ended as untracked while their row was made."""
    untracked = [webhook_event for webhook_event in ended if webhook_event.reason == UNTRACKED]
    # only now: `track` revives what is untracked by then, and did not find these
    for _, row in await rows_about(context.store.assets, untracked) if untracked else ():
        if row:
            await context.store.inbox.revive_untracked([row], context.now())


async def _process(context: Context, webhook_events: Sequence[WebhookEvent]) -> list[_Outcome]:
    """Apply the events, those of each row in their order, and of many rows in few statements."""
    rows: dict[str, ProviderAsset] = {}
    by_row: dict[str, list[WebhookEvent]] = {}
    without_row = []
    for webhook_event, row in await rows_about(context.store.assets, webhook_events):
        if row:
            rows[row.id] = row
            by_row.setdefault(row.id, []).append(webhook_event)
        else:
            without_row.append(webhook_event)
    outcomes = await _process_without_row(context, without_row) if without_row else []
    # by turns: what an event means depends on what the one before it made of the row
    for turn in zip_longest(*by_row.values()):
        next_of_rows = zip(by_row, turn, strict=True)
        next_events = {row_id: event for row_id, event in next_of_rows if event}
        outcomes += await _process_turn(context, next_events, rows)
    return outcomes


async def _process_without_row(
    context: Context, webhook_events: Sequence[WebhookEvent]
) -> list[_Outcome]:
    names_former = await context.store.superseded.known(webhook_events)
    outcomes = []
    for webhook_event in webhook_events:
        if not any(getattr(webhook_event, name) for name in _IDS):
            outcomes.append(_put_off(context, webhook_event, "unreadable_data", ()))
            continue
        # what a row had before, no row will wait for, but that the app may track it again
        is_superseded = names_former(webhook_event)
        outcomes.append(_without_row(context, webhook_event, is_superseded=is_superseded))
    return outcomes


def _named(webhook_events: Sequence[StoredEvent], name: str) -> set[str]:
    """The ids of one kind that these events name."""
    return {getattr(webhook_event, name) for webhook_event in webhook_events} - {None, ""}


async def _process_turn(
    context: Context, next_events: Mapping[str, WebhookEvent], rows: dict[str, ProviderAsset]
) -> list[_Outcome]:
    """Apply one event of each row, and put the rows as they are then into `rows`."""
    outcomes: dict[str, _Outcome] = {}
    observed: dict[str, Observed] = {}
    for row_id, webhook_event in next_events.items():
        row = rows[row_id]
        try:
            seen = context.gateway.provider.read_observation(
                webhook_event.headers, webhook_event.body, webhook_event.received_at
            )
            observed[row_id] = Observed(row, seen)
        except InvalidWebhook as error:
            outcomes[row_id] = _put_off(context, webhook_event, error.reason, (), row)
        except Exception as error:  # noqa: BLE001  it must not keep other events back
            outcomes[row_id] = _failed(context, webhook_event, row, error)
    results = await _apply_each(context, observed)
    await _note_late(context, results.values())
    for row_id in observed:
        result = results.get(row_id)
        outcomes[row_id] = _outcome(context, next_events[row_id], rows[row_id], result)
        if isinstance(result, Applied):
            rows[row_id] = result.row
    return list(outcomes.values())


async def _apply_each(
    context: Context, observed: Mapping[str, Observed]
) -> dict[str, Applied | Exception]:
    """Apply all at once; if that fails, one by one, so that only the cause fails."""
    try:
        all_applied = await apply(context, list(observed.values()), Trigger.WEBHOOK)
        return {applied.row.id: applied for applied in all_applied}
    except DatabaseUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  it must not keep other events back
        if len(observed) == 1:
            return dict.fromkeys(observed, error)
    results: dict[str, Applied | Exception] = {}
    for row_id, of_row in observed.items():
        results |= await _apply_each(context, {row_id: of_row})
    return results


async def _note_late(context: Context, results: Iterable[Applied | Exception]) -> None:
    """Note the webhooks whose change a check had found before: they were late, not missed."""
    late = []
    outputs: dict[str, tuple[str, ...]] = {}
    for result in results:
        if not isinstance(result, Applied) or not isinstance(result.observation, Observation):
            continue
        observation = result.observation
        if observation.reported:
            outputs[result.row.id] = observation.reported
        if result.decision.verdict in KNOWN_BEFORE and observation.state in FINAL:
            late.append((result.row.id, observation.state))
    if late:
        await context.store.history.note_webhooks(late, context.now())
    if outputs:
        await context.store.history.note_outputs(outputs, context.now())


def _outcome(
    context: Context,
    webhook_event: WebhookEvent,
    row: ProviderAsset,
    result: Applied | Exception | None,
) -> _Outcome:
    if result is None:  # the row was deleted meanwhile
        return _without_row(context, webhook_event)
    if isinstance(result, Exception):
        return _failed(context, webhook_event, row, result)
    if isinstance(result.observation, FetchFailure):
        reason = result.observation.kind.value
        return _put_off(context, webhook_event, reason, WAITS_AFTER_FAILURE, row)
    now, decision = context.now(), result.decision
    occurred_at = webhook_event.occurred_at or webhook_event.received_at
    applied = replace(
        webhook_event,
        status=EventStatus.APPLIED,
        attempts=webhook_event.attempts + 1,
        next_attempt_at=None,
        reason=decision.reason,
    )
    event = WebhookProcessed(
        type=webhook_event.type,
        verdict=decision.verdict.value,
        lag_ms=milliseconds(now - occurred_at),
    )
    return _Outcome(applied, event, now, result.row)


def _failed(
    context: Context, webhook_event: WebhookEvent, row: ProviderAsset, error: Exception
) -> _Outcome:
    about = webhook_event.id, row.id, row.shown_reference
    shown = scrub_traceback(error, has_messages=False)
    _log.warning("webhook event %s about row %s (%s) could not be applied:\n%s", *about, shown)
    return _put_off(context, webhook_event, type(error).__name__, WAITS_AFTER_FAILURE, row)


def _without_row(
    context: Context, webhook_event: WebhookEvent, *, is_superseded: bool = False
) -> _Outcome:
    """Wait for the row: apps track an asset after they have created it. Else others track it."""
    attempts = webhook_event.attempts + 1
    if next_wait(attempts, WAITS_FOR_ROW) is not None and not is_superseded:
        return _put_off(context, webhook_event, NO_ROW, WAITS_FOR_ROW)
    ignored = replace(
        webhook_event,
        status=EventStatus.IGNORED,
        attempts=attempts,
        next_attempt_at=None,
        reason=UNTRACKED,
    )
    event = WebhookIgnored(type=webhook_event.type, reason=UNTRACKED)
    return _Outcome(ignored, event, context.now())


def _put_off(
    context: Context,
    webhook_event: WebhookEvent,
    reason: str,
    waits: tuple[timedelta, ...],
    row: ProviderAsset | None = None,
) -> _Outcome:
    """Try again later, or no more: then the event is dead, not lost."""
    now, attempts = context.now(), webhook_event.attempts + 1
    wait = next_wait(attempts, waits)
    put_off = replace(
        webhook_event,
        status=EventStatus.DEAD if wait is None else EventStatus.PENDING,
        attempts=attempts,
        next_attempt_at=None if wait is None else now + wait,
        reason=reason,
    )
    event = WebhookException(
        type=webhook_event.type, reason=reason, attempt=attempts, dead=wait is None
    )
    return _Outcome(put_off, event, now, row)


async def rows_about(
    assets: AssetStore, webhook_events: Sequence[E]
) -> list[tuple[E, ProviderAsset | None]]:
    """Each of these webhook events with the row that it is about, where there is one."""
    rows = await assets.match(
        provider_asset_ids=_named(webhook_events, "provider_asset_id"),
        provider_upload_ids=_named(webhook_events, "provider_upload_id"),
        passthroughs=_named(webhook_events, "passthrough"),
    )
    by_name: dict[tuple[str, str], list[ProviderAsset]] = {}
    for row in rows:
        for name in _IDS:
            by_name.setdefault((name, getattr(row, name)), []).append(row)
    return [(webhook_event, _row_of(webhook_event, by_name)) for webhook_event in webhook_events]


def _row_of(
    webhook_event: StoredEvent, rows: Mapping[tuple[str, str], Sequence[ProviderAsset]]
) -> ProviderAsset | None:
    """The row of an event: by asset, by upload, by passthrough; never one that it contradicts."""
    for name in _PROVIDER_IDS:
        value = getattr(webhook_event, name)
        for row in rows.get((name, value), ()) if value else ():
            if not contradiction(row, webhook_event):
                return row
    # many assets may carry one passthrough: it names only a row that waits for its first id
    text = webhook_event.passthrough
    named = rows.get(("passthrough", text), ()) if text else ()
    waiting = [row for row in named if not row.is_fetchable]
    return waiting[0] if len(waiting) == 1 else None
