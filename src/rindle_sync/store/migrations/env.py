"""Run by Alembic: the migrations, on the connection that `upgrade` opened."""

from alembic import context

from rindle_sync.store.revisions import VERSION_TABLE
from rindle_sync.store.schema.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    version_table_schema=context.config.attributes["schema"],
)
context.run_migrations()
