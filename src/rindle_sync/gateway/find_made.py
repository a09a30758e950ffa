"""Finds assets whose creation nobody saw answered: by passthrough, in the newest list pages."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from rindle_sync.domain import (
    TOLERANCE,
    FailureKind,
    FetchFailure,
    Observation,
    ObservationSource,
    ProviderAsset,
    is_ahead,
)
from rindle_sync.providers import Page

MOST_PAGES: Final = 20
"""How many pages one look reads; where more assets are newer than the rows, it says nothing."""

NEXT_LOOK: Final = timedelta(minutes=10)
"""When to look again after that."""


async def find_made(
    rows: Sequence[ProviderAsset], at: datetime, fetch_page: Callable[[str | None], Awaitable[Page]]
) -> Mapping[str, Observation | FetchFailure]:
    """What the newest assets, back to when the first of the unclear `rows` was begun, say of each.

    Only a whole look says that an asset is not there.
    """
    waiting = {row.passthrough: row for row in rows}
    found: dict[str, Observation | FetchFailure] = {}
    since, cursor, is_whole, pages = _oldest(rows, at), None, False, 0
    while waiting and not is_whole and pages < MOST_PAGES:
        page = await fetch_page(cursor)
        pages, cursor = pages + 1, page.cursor
        for entry in page.entries:
            if entry.passthrough and entry.passthrough in waiting:
                found[waiting.pop(entry.passthrough).id] = entry
        is_whole = cursor is None or _ends_before(page, since)
    for row in waiting.values():
        gone = Observation(source=ObservationSource.LIST, at=at, gone=True)
        text = f"{row.provider_name} lists too many new assets to look for that of this row"
        # not a failure of the provider: the bound on our calls was reached
        unknown = FetchFailure(kind=FailureKind.THROTTLED, at=at, text=text, wait=NEXT_LOOK)
        found[row.id] = gone if is_whole else unknown
    return found


def _oldest(rows: Sequence[ProviderAsset], at: datetime) -> datetime | None:
    """When the first of these rows was begun, by whatever clock; None where that is not known."""
    begun = [row.begun_at for row in rows if row.begun_at]
    if not begun or is_ahead(max(begun), at):
        return None
    # the provider dates assets by its own clock
    return min(begun) - TOLERANCE


def _ends_before(page: Page, since: datetime | None) -> bool:
    """Whether no later page can list an asset that is newer; that a list is in order is no law."""
    created = page.created
    if since is None or not created or created != sorted(created, reverse=True):
        return False
    return created[-1] < since
