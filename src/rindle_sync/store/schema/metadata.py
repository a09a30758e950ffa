"""What all tables belong to, and how their indexes are made."""

from typing import Final

import sqlalchemy as sa

metadata: Final = sa.MetaData()


def index(
    name: str,
    table: sa.Table,
    *names: str,
    here: bool = True,
    unique: bool = False,
    where: sa.ColumnElement[bool] | None = None,
) -> None:
    """Index columns, with `here` inside each environment; `where` makes it a partial index."""
    environment = (table.c.provider_name, table.c.environment) if here else ()
    columns = (*environment, *(table.c[column] for column in names))
    made = sa.Index(name, *columns, unique=unique)
    if where is None:
        return

    # not `sqlite_where` and `postgresql_where`: for each SQLAlchemy loads all it has for a database
    @sa.event.listens_for(table, "before_create")
    def creating(_: sa.Table, connection: sa.Connection, **__: object) -> None:
        made.dialect_options[connection.dialect.name]["where"] = where
