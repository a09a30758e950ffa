"""Run by Alembic: the app's own migrations, on a database that has rindle-sync's tables as well."""

import os

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from videos.models import Base

from rindle_sync.integrations.alembic import include_name

url = make_url(os.environ.get("DATABASE_URL", "sqlite:///videos.sqlite3"))
drivers = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
engine = create_engine(url.set(drivername=drivers[url.get_backend_name()]))

with engine.begin() as connection:
    context.configure(
        connection=connection, target_metadata=Base.metadata, include_name=include_name
    )
    context.run_migrations()
engine.dispose()
