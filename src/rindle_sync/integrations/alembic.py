"""Alembic in the app: what its autogenerate leaves alone, since it is of rindle-sync.

In `env.py`: `context.configure(..., include_name=include_name)`, or what `excluding` gives.
"""

from collections.abc import Callable, Mapping
from typing import Final

from rindle_sync.store.revisions import VERSION_TABLE
from rindle_sync.store.schema import metadata

IncludeName = Callable[[str | None, str, Mapping[str, str | None]], bool]
"""The hook of Alembic: the name, its type, and the names of what it is in.

https://alembic.sqlalchemy.org/en/latest/autogenerate.html#omitting-table-names-from-the-autogenerate-process
"""

OURS: Final = frozenset({*metadata.tables, VERSION_TABLE})
"""The names of the tables of rindle-sync."""

PROCRASTINATES: Final = frozenset(
    {
        *("procrastinate_jobs", "procrastinate_events", "procrastinate_periodic_defers"),
        *("procrastinate_workers", "rindle_sync_procrastinate"),
    }
)
"""Those that `rindle-sync migrate` makes with the engine Procrastinate."""


def excluding(
    *,
    database_schema: str | None = None,
    procrastinate: bool = False,
    include_name: IncludeName | None = None,
) -> IncludeName:
    """A hook that leaves the tables of rindle-sync alone, and asks `include_name` of all others.

    With the setting `database_schema`, tables of these names in another schema are the app's.
    `procrastinate` says that rindle-sync has made Procrastinate's tables, and not the app.
    """
    tables = OURS | PROCRASTINATES if procrastinate else OURS

    def included(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
        table = name if type_ == "table" else parent_names.get("table_name")
        # the default schema has no name here
        schema = parent_names.get("schema_name") or "public"
        if table in tables and database_schema in {None, schema}:
            return False
        return include_name is None or include_name(name, type_, parent_names)

    return included


include_name: Final = excluding()
"""Leaves the tables of rindle-sync alone, in whatever schema."""
