"""First use on an account that has assets: a row for each of them, page by page."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from rindle_sync.domain import (
    ADOPTED,
    Media,
    Observation,
    Outcome,
    ProviderAsset,
    State,
    decide,
    is_text,
    media_fields,
    next_check,
    replace,
)
from rindle_sync.reconcile.apply import refusal_text
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.full_scan import FullScan, read_report
from rindle_sync.reconcile.list_pages import match, untracked
from rindle_sync.reconcile.new_row import new_row
from rindle_sync.reconcile.sweep_run import noting_outcome

BACKFILL: Final = "backfill"

_log: Final = logging.getLogger("rindle_sync")


class Filled(Struct):
    """What a backfill has done so far, with what an interrupted one that it resumes had done."""

    outcome: Outcome = Outcome.FAILED
    assets: int = 0
    """Assets that the list had."""
    adopted: int = 0
    """Rows that were made; with `--dry-run`, that would be."""
    known: int = 0
    """Assets that had a row before, or are waited for."""
    calls: int = 0
    pages: int = 0
    retry_after: float | None = None
    """Seconds until the next call is allowed, where the rate limit ended the backfill."""


async def backfill(
    context: Context,
    *,
    keep_going: Callable[[], bool] = lambda: True,
    on_progress: Callable[[Filled], None] = lambda _: None,
) -> Filled:
    """Make a row of every asset that has none; an interrupted backfill is resumed.

    Existing rows are left alone. A dry run writes nothing. `on_progress` is called after each page.
    Raises `AuthenticationFailed`, `DatabaseUnavailable`.
    """
    scan, filled = FullScan(context, BACKFILL, keep_going), Filled()
    try:
        with noting_outcome(scan):
            progress = await scan.begin()
            if progress is not None:
                resumed = read_report(progress.get("filled"), Filled)
                filled = resumed if resumed and progress.get("cursor") else filled
                await _fill_all(scan, filled, on_progress)
    finally:
        filled.outcome, filled.retry_after = scan.outcome, scan.retry_after
        await scan.release()
    return filled


async def _fill_all(scan: FullScan, filled: Filled, on_progress: Callable[[Filled], None]) -> None:
    context = scan.context
    is_first = not await context.store.queries.newest_created(1)
    async for page in scan.each():
        fresh = await untracked(context, page, await match(context, page))
        filled.assets += len(page.entries)
        filled.adopted += len(fresh) if context.dry_run else await _adopt(context, fresh)
        filled.known += len(page.entries) - len(fresh)
        filled.calls += 1
        filled.pages += 1
        # else nothing tells that these are the assets of our rows
        if filled.known or (is_first and filled.adopted):
            await context.gateway.identity.learn()
        await scan.save({"filled": asdict(filled)})
        on_progress(filled)
    if scan.outcome is Outcome.DONE:
        await scan.end(asdict(filled) | {"outcome": scan.outcome.value})


async def _adopt(context: Context, found: Sequence[Observation]) -> int:
    """Make rows of assets that the provider has and no row knows; how many.

    The app's own reference is the passthrough of the asset, where no row has it; else it is made
    up, until `track` gives the row another.
    """
    rows = [_adopted_row(context, entry) for entry in found if entry.provider_asset_id]
    left = await _add(context, rows)
    # another row has the reference of the rest, or else their upload: they are added without
    left = await _add(context, [replace(row, reference=f"{ADOPTED}:{row.id}") for row in left])
    left = await _add(context, [replace(row, provider_upload_id=None) for row in left])
    for row in left:
        if row.last_sync_error:
            _log.error("no row was made of asset %s: %s", row.tag, row.last_sync_error)
    # asked again, since the app may have tracked and untracked one of them meanwhile
    refused = {row.id for row in left}
    made = [row.provider_asset_id or "" for row in rows if row.id not in refused]
    forgotten = await context.store.removal.remove_superseded(made, ADOPTED) if made else 0
    return len(made) - forgotten


async def _add(context: Context, rows: Sequence[ProviderAsset]) -> Sequence[ProviderAsset]:
    """Insert rows; those of them that were not inserted, since a row has a key of theirs.

    Those whose values the database refused come back without what may be why.
    """
    added = await context.store.assets.add_all(rows)
    known = {row.id for row in added.rows}
    return [_accepted(row, added.refused) for row in rows if row.id not in known]


def _accepted(row: ProviderAsset, refused: Mapping[str, str]) -> ProviderAsset:
    reason = refused.get(row.id)
    if reason is None:
        return row
    error = refusal_text(reason)
    _log.warning("row %s is made without the provider's metadata: %s", row.id, error)
    unknown = media_fields(Media()) | {"media_updated_at": None}
    unknown |= {"passthrough": None, "raw_provider_metadata": None}
    return replace(row, **unknown, last_sync_error=error)


def _adopted_row(context: Context, observation: Observation) -> ProviderAsset:
    row = new_row(
        context, reference=ADOPTED, profile="default", ingest_mode=ADOPTED, state=State.PROCESSING
    )
    passthrough = observation.passthrough or ""
    row = replace(
        row,
        # what the provider says is kept exactly; a reference is only made of what is text
        reference=passthrough if is_text(passthrough) else f"{ADOPTED}:{row.id}",
        provider_asset_id=observation.provider_asset_id,
        provider_upload_id=observation.provider_upload_id,
        passthrough=passthrough or None,
    )
    now = context.now()
    decision = decide(row, observation, now, context.policy)
    check_at = next_check(decision, observation, now, context.policy, context.schedule)
    return replace(decision.row, check_at=check_at)
