"""Django's migrations and ours are one: whoever has made the tables, the others agree."""

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from rindle_sync import connect
from rindle_sync.config import plain_settings
from rindle_sync.store.revisions import NEWEST
from rindle_sync.store.schema import metadata
from tests.support.app_connections import driver_url
from tests.support.django_project import DjangoProject, a_project, database_of

FOLDER = Path("src/rindle_sync/integrations/django/migrations")


def revisions() -> list[tuple[str | None, str]]:
    """What each Django migration leads from and to, in their order."""
    package = "rindle_sync.integrations.django.migrations"
    found = []
    for file in sorted((Path(__file__).parents[3] / FOLDER).glob("0*.py")):
        operations = import_module(f"{package}.{file.stem}").Migration.operations
        found += [(o.before, o.after) for o in operations if type(o).__name__ == "UpgradeTables"]
    return found


def test_every_revision_has_a_django_migration() -> None:
    # a new revision of ours needs a new Django migration: UpgradeTables(<before>, <new revision>)
    found = revisions()

    assert found[0][0] is None
    assert [after for _, after in found[:-1]] == [before for before, _ in found[1:]]
    assert found[-1][1] == NEWEST


def shape(url: str) -> Any:
    """Tables, columns and indexes of a database, without Django's own."""
    engine = create_engine(driver_url(url, is_async=False))
    inspector = inspect(engine)
    found = {}
    for name in sorted(metadata.tables):
        columns = [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(name)]
        indexes = sorted(
            (str(index["name"]), tuple(index["column_names"]))
            for index in inspector.get_indexes(name)
        )
        found[name] = columns, indexes, inspector.get_unique_constraints(name)
    engine.dispose()
    return found


async def check_ready(url: str) -> None:
    async with connect(plain_settings(database_url=url)) as rindle:
        await rindle.check_ready()


async def migrate(url: str) -> Any:
    async with connect(plain_settings(database_url=url)) as rindle:
        return await rindle.migrate()


def test_migrate_of_django_makes_the_same_tables(
    project: DjangoProject, database_url: str, request: pytest.FixtureRequest
) -> None:
    project.managed("migrate", "-v0")

    asyncio.run(check_ready(database_url))
    assert asyncio.run(migrate(database_url)) == (NEWEST, NEWEST)
    kind = "sqlite" if database_url.startswith("sqlite") else "postgres"
    assert shape(database_url) == shape(request.getfixturevalue(f"{kind}_tables_url"))


def test_tables_that_rindle_sync_has_made_are_taken_over(
    project: DjangoProject, database_url: str
) -> None:
    asyncio.run(migrate(database_url))
    project.managed("migrate", "-v0")

    asyncio.run(check_ready(database_url))
    assert "[X] 0003_rindle_5" in project.managed("showmigrations", "rindle_sync")


def test_the_models_have_no_change_that_a_migration_lacks(tmp_path: Path, sqlite_url: str) -> None:
    project = a_project(tmp_path, sqlite_url)

    assert "No changes detected" in project.managed("makemigrations", "--check", "--dry-run")


def test_sqlmigrate_shows_the_statements(project: DjangoProject) -> None:
    shown = project.managed("sqlmigrate", "rindle_sync", "0001")

    assert "CREATE TABLE media_provider_assets" in shown
    assert "CREATE TRIGGER rindle_sync_count_new" in shown


def test_a_migration_that_is_undone_drops_nothing(tmp_path: Path, sqlite_url: str) -> None:
    project = a_project(tmp_path, sqlite_url)
    project.managed("migrate", "-v0")
    before = shape(sqlite_url)
    project.managed("migrate", "-v0", "rindle_sync", "zero")
    assert shape(sqlite_url) == before

    project.managed("migrate", "-v0")
    assert shape(sqlite_url) == before


def test_flush_leaves_the_rows_as_they_are(tmp_path: Path, sqlite_url: str) -> None:
    project = a_project(tmp_path, sqlite_url)
    project.managed("migrate", "-v0")
    project.managed("rindle", "track", "--reference", "a", "--provider-asset-id", "asset-1")
    project.managed("flush", "--no-input")

    assert project.query("SELECT reference FROM media_provider_assets") == [["a"]]


def test_tables_of_another_program_are_refused_in_a_sentence(
    tmp_path: Path, sqlite_url: str
) -> None:
    project = a_project(tmp_path, sqlite_url)
    engine = create_engine(driver_url(sqlite_url, is_async=False))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE media_provider_assets (id INTEGER, asset_id TEXT)"))
    engine.dispose()
    ended = project.manage("migrate", "-v0")

    assert ended.returncode == 1
    assert "of Rindle, the Elixir library" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_tables_of_a_newer_version_are_refused_in_a_sentence(
    tmp_path: Path, sqlite_url: str
) -> None:
    project = a_project(tmp_path, sqlite_url)
    asyncio.run(migrate(sqlite_url))
    engine = create_engine(driver_url(sqlite_url, is_async=False))
    with engine.begin() as connection:
        connection.execute(text("UPDATE rindle_sync_alembic_version SET version_num='rindle_99'"))
    engine.dispose()
    ended = project.manage("migrate", "-v0")

    assert ended.returncode == 1
    assert "of a newer version of rindle-sync" in ended.stderr


def test_the_tables_are_made_on_the_named_database_alone(
    tmp_path: Path, sqlite_url: str, postgres_url: str
) -> None:
    databases = {"default": database_of(sqlite_url), "videos": database_of(postgres_url)}
    project = a_project(tmp_path, sqlite_url, DATABASES=databases, RINDLE={"DATABASE": "videos"})
    project.managed("migrate", "-v0")
    project.managed("migrate", "-v0", "--database", "videos", "rindle_sync")

    asyncio.run(check_ready(postgres_url))
    engine = create_engine(driver_url(sqlite_url, is_async=False))
    assert not set(inspect(engine).get_table_names()) & set(metadata.tables)
    engine.dispose()
    assert (
        project.python("""
        from django.db import transaction
        from rindle_sync.integrations.django import rindle
        from rindle_sync.integrations.django.models import ProviderAsset
        from tests.integrations.django.project.lessons.models import Lesson
        with transaction.atomic(using="videos"):
            row = rindle.track(reference="one", provider_asset_id="asset-1")
            found = [ProviderAsset.objects.get().pk == row.id]
        Lesson.objects.create(title="by the row", video=row)
        Lesson.objects.create(title="by the model", video=ProviderAsset.objects.get())
        found += [lesson.video.row == row for lesson in Lesson.objects.all()]
        found += [found.video.pk == row.id
                  for found in Lesson.objects.prefetch_related("video")]
        print(json.dumps(found))
    """)
        == [True] * 5
    )
