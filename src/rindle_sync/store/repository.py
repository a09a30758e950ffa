"""The base of the repositories, and what their statements have in common."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, cast

import sqlalchemy as sa

from rindle_sync.domain import LONGEST_WAIT, TOLERANCE, JobKind
from rindle_sync.store.database import Database
from rindle_sync.store.driver_errors import retried
from rindle_sync.store.raw_statements import insert_into
from rindle_sync.store.schema.json_rows import json_field, json_table


class SharedRepository:
    """The statements on `table`, which all environments share.

    Every method raises `DatabaseUnavailable` when the database does not answer.
    """

    table: ClassVar[sa.Table]

    def __init__(self, database: Database) -> None:
        self.database = database
        self.reading = database.reading
        self.writing = database.writing

    async def read(self, statement: sa.Executable, values: Any = None) -> Sequence[sa.Row[Any]]:
        """The rows that a statement finds."""
        async with self.reading() as connection:
            return (await connection.execute(statement, values)).all()

    @retried
    async def execute(
        self, statement: sa.Executable, values: Any = None, *, makes: Sequence[JobKind] = ()
    ) -> int:
        """Run a statement in a transaction of its own; the number of rows that it wrote.

        Other processes are told of the kinds of work that it `makes`.
        """
        is_told = self.database.notifications.are_due(*makes)
        # with several lines it is as many statements: all are kept, or none
        is_single = not (is_told or isinstance(values, list))
        async with self.writing(single=is_single) as connection:
            written = (await connection.execute(statement, values)).rowcount
            if written and is_told:
                await self.database.notifications.send(connection, *makes)
            return written

    def insert_once(self) -> sa.Insert:
        """An insert into `table` that does nothing where a unique key is there already.

        https://docs.sqlalchemy.org/en/20/core/connections.html: `preserve_rowcount`
        """
        new = insert_into(self.table, self.database.engine.dialect.name)
        return cast(
            sa.Insert, new.on_conflict_do_nothing().execution_options(preserve_rowcount=True)
        )


class Repository(SharedRepository):
    """The statements on `table`, for one environment of one provider.

    Every method raises `DatabaseUnavailable` when the database does not answer.
    """

    def __init__(self, database: Database, provider: str, environment: str) -> None:
        super().__init__(database)
        self.provider = provider
        self.environment = environment

    @property
    def key(self) -> dict[str, Any]:
        """The columns that name the environment, for an insert."""
        return {"provider_name": self.provider, "environment": self.environment}

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of `in_environment`."""
        return {"provider": self.provider, "in_environment": self.environment}

    @property
    def here(self) -> tuple[sa.ColumnElement[bool], ...]:
        """The conditions that a row of `table` is of this environment."""
        return self.here_in(self.table)

    @property
    def here_by_another_index(self) -> tuple[sa.ColumnElement[bool], ...]:
        """As `here`, where an index that does not begin with the environment is to be used.

        SQLite keeps no statistics, and takes the environment's index: it would read all its rows.
        """
        name, environment = _computed_key(self.table)
        return name == self.provider, environment == self.environment

    def here_in(self, table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
        """The conditions that a row of another table is of this environment."""
        return table.c.provider_name == self.provider, table.c.environment == self.environment

    async def release(self, token: str) -> None:
        """Release what is leased under `token`, or leave it to a later call on a database error."""
        self.database.release_later(self.table, token)
        await self.database.release_all()

    @retried
    async def lease(
        self, statement: sa.Executable, token: str, values: Mapping[str, Any]
    ) -> Sequence[sa.Row[Any]]:
        """Run a statement that leases under `token`; the rows that it returns."""
        async with self.database.leasing(token, self.table, single=True) as connection:
            return (await connection.execute(statement, {**values, "token": token})).all()


def in_environment(table: sa.Table, *, by_another_index: bool = False) -> sa.ColumnElement[bool]:
    """Whether a row is of the environment in the parameters `provider` and `in_environment`.

    `by_another_index` is as in `here_by_another_index`.
    """
    key = table.c.provider_name, table.c.environment
    name, environment = _computed_key(table) if by_another_index else key
    return sa.and_(name == sa.bindparam("provider"), environment == sa.bindparam("in_environment"))


def _computed_key(table: sa.Table) -> tuple[sa.ColumnElement[str], sa.ColumnElement[str]]:
    return table.c.provider_name.concat(""), table.c.environment.concat("")


def clock(now: datetime) -> dict[str, Any]:
    """The parameters of `is_free`, `has_come` and `is_ahead`."""
    return {"now": now, "ahead": now + TOLERANCE, "latest": now + LONGEST_WAIT + TOLERANCE}


def is_free(table: sa.Table) -> sa.ColumnElement[bool]:
    """Whether no unexpired lease is held on a row.

    A lease that ends later than any can is no lease: a clock was wrong that took it.
    """
    until = table.c.lease_until
    return sa.or_(until.is_(None), until < sa.bindparam("now"), until > sa.bindparam("latest"))


def has_come(moment: sa.ColumnElement[Any], latest: str = "latest") -> sa.ColumnElement[bool]:
    """Whether something that is put off until `moment` is due: now, or at no time to be believed.

    That it is not null is said for the sake of partial indexes. The parameter `latest` is the
    latest time that is believed.
    """
    come = sa.or_(moment <= sa.bindparam("now"), moment > sa.bindparam(latest))
    return moment.is_not(None) & come


def is_ahead(moment: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Whether `moment`, which says when something was, is further ahead than clocks may differ."""
    return moment > sa.bindparam("ahead")


def claim_statement(
    table: sa.Table,
    *due: sa.ColumnElement[bool],
    first: Sequence[sa.ColumnElement[Any]],
    returning: Sequence[sa.ColumnElement[Any]] = (),
) -> sa.Update:
    """Lease the `most` first rows that are `due` and free, and return them, or `returning`.

    The parameters beside those of `due` and `clock` are `provider`, `in_environment`, `token`,
    `until` and `most`.
    """
    free = sa.select(table.c.id).where(in_environment(table), *due, is_free(table))
    taken = free.order_by(*first).limit(sa.bindparam("most"))
    # rows that another process is leasing right now are skipped, not waited for
    chosen = taken.with_for_update(skip_locked=True).cte("due")
    lease: dict[str, Any] = {
        "lease_token": sa.bindparam("token"),
        "lease_until": sa.bindparam("until"),
    }
    leased = sa.update(table).where(table.c.id == chosen.c.id).values(lease)
    return leased.returning(*(returning or table.c))


def outcome_statement(table: sa.Table, names: Sequence[str]) -> sa.Update:
    """Write `names` of the JSON `rows` that are leased under `held`, and end their leases."""
    rows = json_table("rows", "r")
    values: dict[str, Any] = {name: json_field(rows, table.c[name]) for name in names}
    mine = table.c.lease_token == sa.bindparam("held")
    ended = values | {"lease_token": None, "lease_until": None}
    return sa.update(table).where(table.c.id == json_field(rows, table.c.id), mine).values(ended)
