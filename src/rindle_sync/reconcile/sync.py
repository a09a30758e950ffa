"""One row: fetch, decide, write, emit. The contract of the per-row sync."""

from datetime import timedelta

from rindle_sync.domain import (
    FailureKind,
    FetchFailure,
    Observation,
    ProviderAsset,
    Trigger,
    needs_fetch,
    retry_gap,
)
from rindle_sync.errors import AuthenticationFailed, RateLimited
from rindle_sync.gateway import LONGEST_WAIT, Attempts
from rindle_sync.reconcile.apply import Applied, Observed, apply
from rindle_sync.reconcile.context import Context


async def sync(
    context: Context, provider_asset_id: str, *, trigger: Trigger = Trigger.SYNC
) -> Applied | None:
    """Bring the row with this provider id in sync; None where there is no such row any more.

    Raises `AuthenticationFailed` (no other row will fare better), `Conflict` and
    `DatabaseUnavailable`.
    """
    row = await context.store.assets.find_by_provider_asset_id(provider_asset_id)
    return await sync_row(context, row, trigger=trigger) if row else None


async def sync_row(context: Context, row: ProviderAsset, *, trigger: Trigger) -> Applied | None:
    """Bring `row` in sync; makes up to three calls, not counting those that were rate limited."""
    attempts = Attempts()
    while True:
        applied = await _attempt(context, row, trigger)
        if applied is None or not isinstance(applied.observation, FetchFailure):
            return applied
        failure = applied.observation
        is_far = failure.wait is not None and failure.wait > LONGEST_WAIT
        if attempts.count(failure) or not failure.called or is_far:
            return applied
        if failure.kind is not FailureKind.THROTTLED:
            gap = retry_gap(attempts.failures, context.schedule)
            await context.gateway.sleep(gap.total_seconds())
        row = applied.row


async def _attempt(context: Context, row: ProviderAsset, trigger: Trigger) -> Applied | None:
    at, gateway = context.now(), context.gateway
    observation: Observation | FetchFailure | None = None
    refusal: AuthenticationFailed | None = None
    if needs_fetch(row, at, context.policy):
        try:
            if gateway.circuit.room(1):
                await gateway.reads.take(trigger=trigger)
            observation = await gateway.fetch(row)
        except RateLimited as error:
            # postponed as by a 429 of its own; nobody waits here for as long
            wait = timedelta(seconds=error.retry_after or 0)
            observation = FetchFailure(
                kind=FailureKind.THROTTLED, at=at, text=str(error), wait=wait, called=False
            )
        except AuthenticationFailed as error:
            # the row that was asked for says why it was not answered; then the whole run ends
            refusal, text, called = error, str(error), error.was_called
            observation = FetchFailure(kind=FailureKind.REFUSED, at=at, text=text, called=called)
    applied = await apply(context, [Observed(row, observation)], trigger)
    if refusal:
        raise refusal
    return applied[0] if applied else None
