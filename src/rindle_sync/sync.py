"""One row: ask, decide, write, tell. The contract of the per-row sync."""

from rindle_sync.asset import By, Lack, ProviderAsset, Silence
from rindle_sync.decide import must_ask
from rindle_sync.look import THROTTLES, look, stop_if_refused
from rindle_sync.plan import ATTEMPTS, retry_gap
from rindle_sync.settle import Finding, Settled, settle
from rindle_sync.tools import Tools


async def sync(tools: Tools, provider_asset_id: str, *, by: By = By.SYNC) -> Settled | None:
    """Bring the row with this provider id into step; None where there is no such row any more.

    Raises `Refused` (the credentials are wrong: nothing else will work either), `Conflict`, `StoreUnavailable`.
    """
    row = await tools.store.find(tools.provider.name, tools.environment, provider_asset_id)
    return await sync_row(tools, row, by=by) if row else None


async def sync_row(tools: Tools, row: ProviderAsset, *, by: By) -> Settled | None:
    """Bring `row` into step; asks up to three times, not counting the calls that the provider throttled."""
    attempts = throttles = 0
    while True:
        settled = await _attempt(tools, row, by)
        if settled is None or not isinstance(settled.seen, Silence):
            return settled
        stop_if_refused(settled.seen)
        throttled = settled.seen.lack is Lack.THROTTLED
        throttles, attempts = throttles + throttled, attempts + (not throttled)
        if attempts >= ATTEMPTS or throttles >= THROTTLES or not settled.seen.asked:
            return settled
        if not throttled:
            await tools.sleep(retry_gap(attempts, tools.schedule).total_seconds())
        row = settled.row


async def _attempt(tools: Tools, row: ProviderAsset, by: By) -> Settled | None:
    seen = await look(tools, row, by) if must_ask(row, tools.now(), tools.policy) else None
    return next(iter(await settle(tools, [Finding(row, seen)], by)), None)
