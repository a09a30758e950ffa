"""Run by Alembic: the migrations, on the connection that `upgrade` opened, or into a list."""

from alembic import context

from rindle_sync.store.revisions import VERSION_TABLE
from rindle_sync.store.schema import metadata

context.configure(
    **context.config.attributes["where"], target_metadata=metadata, version_table=VERSION_TABLE
)
context.run_migrations()
