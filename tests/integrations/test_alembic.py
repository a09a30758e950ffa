"""The app's own autogenerate, beside our tables: it proposes nothing about them."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from rindle_sync.app import connect
from rindle_sync.config import EngineName, plain_settings
from rindle_sync.integrations.alembic import IncludeName, excluding, include_name

SCHEMA = "rindle_own"


def app_metadata() -> sa.MetaData:
    """The app's own tables, one of which has a name of Procrastinate's."""
    metadata = sa.MetaData()
    sa.Table("videos", metadata, sa.Column("id", sa.Integer(), primary_key=True))
    return metadata


def proposed(url: str, metadata: sa.MetaData, **options: Any) -> list[Any]:
    """What an autogenerate proposes for the database at `url`."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        found = compare_metadata(context, metadata)
    engine.dispose()
    return list(found)


async def prepared(url: str, **values: Any) -> sa.MetaData:
    """A database with our tables and the app's; the metadata of the app."""
    async with connect(plain_settings(database_url=url, **values)) as rindle:
        await rindle.migrate()
    metadata = app_metadata()
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    metadata.create_all(engine)
    engine.dispose()
    return metadata


def names(found: list[Any]) -> set[str]:
    return {change[1].name for change in found if change[0] in {"remove_table", "add_table"}}


@pytest.mark.parametrize("include_schemas", [True, False])
async def test_nothing_is_proposed(database_url: str, *, include_schemas: bool) -> None:
    metadata = await prepared(database_url)

    without = proposed(database_url, metadata, include_schemas=include_schemas)
    assert "media_provider_assets" in names(without)
    options = {"include_schemas": include_schemas, "include_name": include_name}
    assert proposed(database_url, metadata, **options) == []


@pytest.mark.parametrize("include_schemas", [True, False])
@pytest.mark.parametrize("hook", [include_name, excluding(database_schema=SCHEMA)])
async def test_nothing_is_proposed_with_a_schema(
    postgres_url: str, hook: IncludeName, *, include_schemas: bool
) -> None:
    metadata = await prepared(postgres_url, database_schema=SCHEMA)

    options = {"include_schemas": include_schemas, "include_name": hook}
    assert proposed(postgres_url, metadata, **options) == []


async def test_tables_of_the_app_with_a_name_of_ours_are_the_apps_in_another_schema(
    postgres_url: str,
) -> None:
    metadata = await prepared(postgres_url, database_schema=SCHEMA)
    engine = sa.create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:", 1))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE media_provider_assets (id INT)"))
    engine.dispose()

    hook = excluding(database_schema=SCHEMA)
    for include_schemas in (True, False):
        options = {"include_schemas": include_schemas, "include_name": hook}
        assert names(proposed(postgres_url, metadata, **options)) == {"media_provider_assets"}


@pytest.mark.parametrize("schema", [None, SCHEMA])
async def test_procrastinates_tables_are_left_alone_where_they_are_ours(
    postgres_url: str, schema: str | None
) -> None:
    values: dict[str, Any] = {"database_schema": schema, "engine": EngineName.PROCRASTINATE}
    metadata = await prepared(postgres_url, **values)

    def options(**given: Any) -> dict[str, Any]:
        return {"include_schemas": True, "include_name": excluding(**given)}

    with_ours = options(database_schema=schema, procrastinate=True)
    assert proposed(postgres_url, metadata, **with_ours) == []
    assert "procrastinate_jobs" in names(
        proposed(postgres_url, metadata, **options(database_schema=schema))
    )


async def test_the_hook_of_the_app_is_asked_about_all_else(database_url: str) -> None:
    metadata = await prepared(database_url)
    asked = []

    def of_the_app(name: str | None, type_: str, parent_names: Any) -> bool:
        asked.append((name, type_, parent_names))
        return name != "videos"

    found = proposed(database_url, metadata, include_name=excluding(include_name=of_the_app))

    assert names(found) == {"videos"}
    assert "media_provider_assets" not in {name for name, *_ in asked}


ENV = """
from alembic import context
import sqlalchemy as sa
from rindle_sync.integrations.alembic import include_name

metadata = sa.MetaData()
sa.Table("videos", metadata, sa.Column("id", sa.Integer(), primary_key=True))
url = context.config.get_main_option("sqlalchemy.url")
with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
    context.configure(
        connection=connection, target_metadata=metadata, include_name=include_name,
    )
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of Alembic's with the hook in its `env.py`."""
    folder = tmp_path / "migrations"
    command.init(Config(str(tmp_path / "alembic.ini")), str(folder))
    (folder / "env.py").write_text(ENV)
    return folder


async def test_the_command_of_alembic_writes_an_empty_revision(
    database_url: str, project: Path
) -> None:
    await prepared(database_url)
    config = Config()
    config.set_main_option("script_location", str(project))
    config.set_main_option(
        "sqlalchemy.url", database_url.replace("postgresql:", "postgresql+psycopg:", 1)
    )

    command.revision(config, message="nothing", autogenerate=True)

    [text] = [path.read_text() for path in (project / "versions").glob("*.py")]
    assert text.count("pass") == 2
    assert "drop_table" not in text
