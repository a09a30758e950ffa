"""One row: ask, decide, write, tell. The contract of the per-row sync."""

from rindle_sync.domain import (
    ATTEMPTS,
    FailureKind,
    FetchFailure,
    ProviderAsset,
    Trigger,
    needs_fetch,
    retry_gap,
)
from rindle_sync.reconcile.apply import Applied, Observed, apply
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.fetch import RATE_LIMITED_ATTEMPTS, fetch, raise_if_authentication_failed


async def sync(
    context: Context, provider_asset_id: str, *, trigger: Trigger = Trigger.SYNC
) -> Applied | None:
    """Bring the row with this provider id into step; None where there is no such row any more.

    Raises `AuthenticationFailed` (the credentials are wrong: nothing else will work either), `Conflict`, `DatabaseUnavailable`.
    """
    row = await context.store.find_by_provider_asset_id(
        context.provider.name, context.environment, provider_asset_id
    )
    return await sync_row(context, row, trigger=trigger) if row else None


async def sync_row(context: Context, row: ProviderAsset, *, trigger: Trigger) -> Applied | None:
    """Bring `row` into step; asks up to three times, not counting the calls that the provider throttled."""
    attempts = throttles = 0
    while True:
        applied = await _attempt(context, row, trigger)
        if applied is None or not isinstance(applied.observation, FetchFailure):
            return applied
        raise_if_authentication_failed(applied.observation)
        throttled = applied.observation.kind is FailureKind.THROTTLED
        throttles, attempts = throttles + throttled, attempts + (not throttled)
        if (
            attempts >= ATTEMPTS
            or throttles >= RATE_LIMITED_ATTEMPTS
            or not applied.observation.called
        ):
            return applied
        if not throttled:
            await context.sleep(retry_gap(attempts, context.schedule).total_seconds())
        row = applied.row


async def _attempt(context: Context, row: ProviderAsset, trigger: Trigger) -> Applied | None:
    seen = (
        await fetch(context, row, trigger)
        if needs_fetch(row, context.now(), context.policy)
        else None
    )
    return next(iter(await apply(context, [Observed(row, seen)], trigger)), None)
