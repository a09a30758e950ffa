"""First use on an account with a library: a row for every asset that the provider has, page by page."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from rindle_sync.domain import Observation, Outcome, ProviderAsset, State, decide, next_check
from rindle_sync.errors import AuthenticationFailed
from rindle_sync.providers import Page
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.fetch import raise_if_authentication_failed, verify_identity
from rindle_sync.reconcile.full_scan import FullScan
from rindle_sync.reconcile.identity import note_identity
from rindle_sync.reconcile.list_pages import match, untracked
from rindle_sync.reconcile.new_row import ADOPTED, _is_text, new_row

BACKFILL: Final = "backfill"


@dataclass(slots=True)
class Filled:
    """What a backfill has done so far, that of one it goes on with included."""

    outcome: Outcome = Outcome.FAILED
    assets: int = 0
    adopted: int = 0
    known: int = 0
    """Assets that had a row before."""
    calls: int = 0
    pages: int = 0


async def backfill(
    context: Context,
    *,
    keep_going: Callable[[], bool] = lambda: True,
    dry_run: bool = False,
    on_progress: Callable[[Filled], None] = lambda _: None,
) -> Filled:
    """Make a row of every asset that has none; one that was broken off is gone on with.

    Rows that are there are left alone. A rehearsal writes nothing. `on_progress` hears of it after each page.
    Raises `AuthenticationFailed`, `DatabaseUnavailable`.
    """
    context = context.for_dry_run() if dry_run else context
    scan, filled = FullScan(context, BACKFILL, keep_going, dry_run), Filled()
    try:
        if (progress := await scan.begin()) is None:
            scan.outcome = Outcome.ALREADY_RUNNING
            return filled
        if failure := await verify_identity(context):
            raise_if_authentication_failed(failure)
            scan.break_off()
            return filled
        if progress.get("cursor") and (kept := progress.get("filled")):
            filled = Filled(**kept)
        await _fill_all(scan, filled, on_progress)
    except AuthenticationFailed:
        scan.outcome = Outcome.REFUSED
        raise
    except asyncio.CancelledError:
        scan.outcome = Outcome.STOPPED
        raise
    finally:
        filled.outcome = scan.outcome
        await scan.give_back()
    return filled


async def _fill_all(scan: FullScan, filled: Filled, on_progress: Callable[[Filled], None]) -> None:
    context = scan.context
    is_first = not await context.asset_queries.newest_created(
        context.provider.name, context.environment, 1
    )
    async for page in scan.each():
        await _fill(scan, page, filled)
        if filled.known or (
            is_first and filled.adopted
        ):  # else nothing tells that these are the assets of our rows
            await note_identity(context)
        await scan.keep({"filled": asdict(filled)})
        on_progress(filled)
    if scan.outcome is Outcome.DONE:
        await scan.end(asdict(filled) | {"outcome": scan.outcome.value})


async def _fill(scan: FullScan, page: Page, filled: Filled) -> None:
    context = scan.context
    fresh = await untracked(context, page, await match(context, page))
    filled.assets += len(page.entries)
    filled.adopted += len(fresh) if scan.dry_run else await adopt(context, fresh)
    filled.known += len(page.entries) - len(fresh)
    filled.calls += 1
    filled.pages += 1


async def adopt(context: Context, found: Sequence[Observation]) -> int:
    """Make rows of assets that the provider has and no row knows; how many.

    The app's own reference is what the asset was passed through with, where it is one that no row has; else it is made
    up, until `track` gives the row another.
    """
    rows = [
        _adopted_row(context, observation) for observation in found if observation.provider_asset_id
    ]
    if not rows:
        return 0
    added = await context.store.add_all(rows)
    known = {row.id for row in added}
    unnamed = [
        replace(row, reference=_made_up(row), passthrough=None, provider_upload_id=None)
        for row in rows
        if row.id not in known
    ]
    return len(added) + (len(await context.store.add_all(unnamed)) if unnamed else 0)


def _adopted_row(context: Context, observation: Observation) -> ProviderAsset:
    passthrough = (
        observation.passthrough
        if observation.passthrough and _is_text(observation.passthrough)
        else None
    )
    row = new_row(
        context,
        reference=passthrough or ADOPTED,
        profile="default",
        provider_asset_id=observation.provider_asset_id,
        provider_upload_id=observation.provider_upload_id,
        passthrough=passthrough,
        ingest_mode=ADOPTED,
        state=State.PROCESSING,
    )
    now = context.now()
    decision = decide(
        replace(row, reference=passthrough or _made_up(row)), observation, now, context.policy
    )
    check_at = next_check(decision, observation, now, context.policy, context.schedule)
    return replace(decision.row, check_at=check_at)


def _made_up(row: ProviderAsset) -> str:
    return f"{ADOPTED}:{row.id}"
