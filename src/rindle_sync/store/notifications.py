"""How a process tells the others of work that it has made."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import JobKind
from rindle_sync.store.schema.core_engine import CoreConnection

CHANNEL: Final = "rindle_sync"
"""Of NOTIFY. Nothing comes with it: whoever hears it asks the tables."""

NOTIFYING: Final[sa.ColumnElement[Any]] = sa.literal_column(f"pg_notify('{CHANNEL}', '')")
"""Heard once the transaction is committed, and once however often it is called in one."""

_NOTIFY: Final = sa.select(NOTIFYING)


class Notifications:
    """What other processes are told; nothing on SQLite, where they watch the file."""

    def __init__(self, dialect: str) -> None:
        self._is_heard = dialect == "postgresql"
        self._taken: list[Collection[JobKind]] = []

    @contextmanager
    def taking(self, kinds: Collection[JobKind]) -> Iterator[None]:
        """While jobs of `kinds` run in this process: no other is told of work for them."""
        self._taken.append(kinds)
        try:
            yield
        finally:
            self._taken.remove(kinds)

    def are_due(self, *kinds: JobKind) -> bool:
        """Whether others are to be told of work of these kinds."""
        return self._is_heard and bool(set(kinds).difference(*self._taken))

    async def send(self, connection: CoreConnection, *kinds: JobKind) -> None:
        """Tell them of work of these kinds, once the transaction of `connection` is committed."""
        if self.are_due(*kinds):
            await connection.execute(_NOTIFY)
