"""The part of the public object that lists rows."""

from collections.abc import AsyncIterator
from typing import Unpack

from rindle_sync.app.core import Core
from rindle_sync.domain import MOST_LISTED, ProviderAsset, RowFilters, RowPage, row_filter


class Listing(Core):
    """Lists of rows, in the order in which their assets were made (`provider_created_at`).

    Until a check or a webhook has told when an asset was made, its row counts as of when it was
    inserted: it may move once in the order.
    """

    async def list(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        newest_first: bool = True,
        **filters: Unpack[RowFilters],
    ) -> RowPage:
        """One page of rows: up to `limit` of them (1 to 1000), behind the cursor `after`.

        `after` is the `next` of the page before, with the same filters and the same order: no page
        repeats or skips a row while others are added. Filters are `state` and `error_kind` (one
        word or several), `references` (any number), `profile`, and `since`: rows whose asset was
        made at that time or later. Raises `ConfigurationError`, named after the argument, and
        `DatabaseUnavailable`.
        """
        return await self.store.queries.page(
            row_filter(**filters), limit=limit, after=after, newest_first=newest_first
        )

    async def list_all(
        self, *, newest_first: bool = True, **filters: Unpack[RowFilters]
    ) -> AsyncIterator[ProviderAsset]:
        """Every row with these filters of `list`, read by pages of 1,000 rows.

        Raises `ConfigurationError`, named after the argument, and `DatabaseUnavailable`.
        """
        wanted = row_filter(**filters)
        after: str | None = None
        while True:
            page = await self.store.queries.page(
                wanted, limit=MOST_LISTED, after=after, newest_first=newest_first
            )
            for row in page.rows:
                yield row
            after = page.next
            if after is None:
                return

    async def count(self, **filters: Unpack[RowFilters]) -> int:
        """The number of rows with these filters of `list`.

        Raises `ConfigurationError`, named after the argument, and `DatabaseUnavailable`.
        """
        return await self.store.queries.count(row_filter(**filters))
