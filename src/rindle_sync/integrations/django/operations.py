"""The operation of our Django migrations: it brings the tables to a revision of rindle-sync.

Each Django migration names the Alembic revision that it leads to. The statements are those of
`rindle-sync migrate`, run through Django's own connection: `sqlmigrate` shows them, and an atomic
migration is one transaction. Tables that are there already, or are further on, are left as they
are: a database that `rindle-sync migrate` has made can be taken over.
"""

from typing import Any

from django.core.management.base import CommandError
from django.db import router
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from rindle_sync.errors import RindleSyncError
from rindle_sync.integrations.django.conf import database_alias, database_url
from rindle_sync.store.django_tables import missing_in
from rindle_sync.store.migrations import statements


class UpgradeTables(Operation):
    """Brings the tables from the revision `before`, None for no tables, to `after`."""

    reversible = True
    reduces_to_sql = True

    def __init__(self, before: str | None, after: str) -> None:
        self.before = before
        self.after = after

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The models are in operations of their own."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Run what is missing, on the database of `RINDLE["DATABASE"]` alone."""
        connection = schema_editor.connection
        if connection.alias != database_alias():
            return
        if not router.allow_migrate(connection.alias, app_label):
            return
        try:
            for statement in self._needed(connection, is_shown=schema_editor.collect_sql):
                schema_editor.execute(statement, params=None)
        except RindleSyncError as error:
            raise CommandError(str(error)) from None

    def _needed(self, connection: Any, *, is_shown: bool) -> list[str]:
        database_url(connection.alias)  # raises for a database that cannot be used
        if is_shown:  # `sqlmigrate` asks no database
            return statements(connection.vendor, self.before, self.after)
        return missing_in(connection, self.after)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Nothing: no table and no column is dropped; what is there is taken over again."""

    def describe(self) -> str:
        """What `migrate --plan` shows."""
        return f"Bring the tables of rindle-sync to {self.after}"
