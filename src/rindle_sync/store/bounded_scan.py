"""Lists that are read along an index, and look through so many lines of it at most."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.store.repository import Repository
from rindle_sync.store.schema.types import UtcTime

SEARCHED: Final = 10_000
"""How many lines are looked through for one page, in all ranges."""

Condition = sa.ColumnElement[bool]
Line = tuple[datetime, Any]
"""The moment and the id of a line."""


@dataclass(frozen=True, slots=True)
class Found:
    """The lines of a page."""

    lines: Sequence[Line]
    next: Line | None
    """The line behind which the next page begins; None at the end of the list."""
    searched: int | None
    """How many lines were looked through, where that ended before the page was full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Those lines in ranges of an index that fit, in the order of `moment`.

    Each range is some conditions that an index answers. Where there are no `others`, every line
    fits: then no more are read than are listed.
    """

    moment: sa.Column[Any]
    """The time by which the index orders each range."""
    id: sa.Column[Any]
    ranges: Sequence[Sequence[Condition]]
    constant: Sequence[sa.Column[Any]] = ()
    """Columns of the index before `moment` that are NULL in a range: else PostgreSQL sorts it."""
    index: str | None = None
    """The index, where SQLite would take another one, as it keeps no statistics."""
    others: Sequence[Condition] = ()
    is_descending: bool = True

    async def page(
        self, repository: Repository, limit: int, after: Line | None, values: Any = None
    ) -> Found:
        """Up to `limit` lines, behind `after`."""
        # one more tells whether there is a next page
        read = await repository.read(self._found(limit + 1, after), values)
        lines = [(line.moment, line.id) for line in read]
        if len(lines) > limit:
            return Found(lines[:limit], lines[limit - 1], None)
        if not self.others:
            return Found(lines, None, None)
        last = await repository.read(self._last_searched(after), values)
        if not last:
            return Found(lines, None, None)
        return Found(lines, (last[0].moment, last[0].id), self._most_searched)

    @property
    def _most_searched(self) -> int:
        # each range may hold all of them
        return max(SEARCHED // len(self.ranges), 1)

    def _found(self, limit: int, after: Line | None) -> sa.Select[Any]:
        scanned = self._scanned(self._most_searched if self.others else limit, after)
        listed = sa.select(scanned.c.moment, scanned.c.id).order_by(*self._order(scanned.c))
        return (listed.where(scanned.c.fits == 1) if self.others else listed).limit(limit)

    def _last_searched(self, after: Line | None) -> sa.Select[Any]:
        """The last line that is looked through, if there may be more."""
        scanned = self._scanned(self._most_searched, after)
        last = sa.select(scanned.c.moment, scanned.c.id).order_by(*self._order(scanned.c))
        return last.offset(self._most_searched - 1).limit(1)

    def _scanned(self, most: int, after: Line | None) -> sa.Subquery:
        fits = sa.case((sa.and_(sa.true(), *self.others), 1), else_=0).label("fits")
        columns = self.moment.label("moment"), self.id.label("id"), fits
        parts = []
        for conditions in self.ranges:
            part = sa.select(*columns).where(*conditions)
            if self.index:
                part = part.with_hint(self.moment.table, f"INDEXED BY {self.index}", "sqlite")
            if after is not None:
                part = part.where(self._is_behind(after))
            outer = [c.desc() if self.is_descending else c.asc() for c in self.constant]
            ordered = part.order_by(*outer, *self._order(part.selected_columns)).limit(most)
            # SQLite takes no order inside a union, but for that of a subquery
            parts.append(sa.select(ordered.subquery()))
        if len(parts) == 1:
            return parts[0].subquery("scanned")
        merged = sa.union_all(*parts).subquery("merged")
        first = sa.select(merged).order_by(*self._order(merged.c)).limit(most)
        return first.subquery("scanned")

    def _is_behind(self, after: Line) -> Condition:
        at, last_id = after
        # lines of one moment are told apart by their id, so that no page repeats or skips one
        ended = sa.tuple_(sa.literal(at, UtcTime()), sa.literal(last_id, self.id.type))
        place = sa.tuple_(self.moment, self.id)
        return place < ended if self.is_descending else place > ended

    def _order(self, columns: Any) -> tuple[sa.ColumnElement[Any], ...]:
        if self.is_descending:
            return columns.moment.desc(), columns.id.desc()
        return columns.moment, columns.id
