"""One row: ask, decide, write, tell. The contract of the per-row sync."""

import logging
from datetime import datetime
from typing import Final

from rindle_sync.asset import By, Lack, ProviderAsset, Seen, Silence, Via, scrub
from rindle_sync.decide import Verdict, decide
from rindle_sync.errors import Gone, NoAnswer, Refused, RindleSyncError, Throttled
from rindle_sync.plan import ATTEMPTS, retry_gap
from rindle_sync.settle import Finding, Settled, settle
from rindle_sync.tools import Tools

_log: Final = logging.getLogger("rindle_sync")

THROTTLES: Final = 10
"""How often one sync waits for a provider that throttles, before it leaves the row to the sweep."""


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
        if attempts >= ATTEMPTS or throttles >= THROTTLES:
            return settled
        if not throttled:
            await tools.sleep(retry_gap(attempts, tools.schedule).total_seconds())
        row = settled.row


async def _attempt(tools: Tools, row: ProviderAsset, by: By) -> Settled | None:
    seen = await look(tools, row) if must_ask(tools, row) else None
    return next(iter(await settle(tools, [Finding(row, seen)], by)), None)


def must_ask(tools: Tools, row: ProviderAsset) -> bool:
    """Whether nothing can be said about `row` without the provider."""
    return decide(row, None, tools.now(), tools.policy).verdict is Verdict.ASK


async def look(tools: Tools, row: ProviderAsset) -> Seen | Silence:
    """Ask the provider about `row`, inside the budget; whatever goes wrong at the provider is a `Silence`."""
    await tools.budget.take()
    return await ask(tools, row)


async def ask(tools: Tools, row: ProviderAsset) -> Seen | Silence:
    """Ask the provider about `row` with a call that the budget has granted."""
    at = tools.now()
    try:
        return await _call(tools, row, at)
    except Gone:
        return Seen(via=Via.GET, at=at, gone=True)
    except NoAnswer as error:
        return _silence(tools, row, error, at)
    except RindleSyncError:
        raise
    except Exception as error:  # noqa: BLE001  a fault of ours about one answer must not keep other rows waiting
        _log.error("an answer about row %s was not understood: %s", row.id, type(error).__name__)
        return Silence(lack=Lack.UNREACHABLE, at=at, text=f"the answer was not understood ({type(error).__name__})")


async def _call(tools: Tools, row: ProviderAsset, at: datetime) -> Seen:
    if row.provider_asset_id:
        return await tools.provider.get_asset(row.provider_asset_id, at)
    if row.provider_upload_id:
        return await tools.provider.get_upload(row.provider_upload_id, at)
    return Seen(via=Via.GET, at=at, status="no id to ask by")


def _silence(tools: Tools, row: ProviderAsset, error: NoAnswer, at: datetime) -> Silence:
    text = scrub(str(error), row.provider_asset_id, row.provider_upload_id, row.passthrough)
    match error:
        case Throttled():
            wait = tools.budget.throttled(error.retry_after)
            _log.warning("%s throttles us: no call for %.0f s", tools.provider.name, wait.total_seconds())
            return Silence(lack=Lack.THROTTLED, at=at, text=text, wait=wait)
        case Refused():
            return Silence(lack=Lack.REFUSED, at=at, text=text)
        case _:
            return Silence(lack=Lack.UNREACHABLE, at=at, text=text)


def stop_if_refused(seen: Seen | Silence | None) -> None:
    """Raise `Refused` if that is what the provider said: it holds for every row."""
    if isinstance(seen, Silence) and seen.lack is Lack.REFUSED:
        raise Refused(seen.text)
