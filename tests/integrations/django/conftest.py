"""A Django project on each kind of database."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.app_connections import file_of
from tests.support.django_project import DjangoProject, Migrate, a_project

# Django is an extra
collect_ignore_glob = [] if find_spec("django") else ["*"]


@pytest.fixture
def project(database_url: str, tmp_path: Path) -> DjangoProject:
    """The project, on a database without any table."""
    return a_project(tmp_path, database_url)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with all tables of the project, made once."""
    folder = tmp_path_factory.mktemp("project")
    a_project(folder, f"sqlite:///{folder / 'db.sqlite3'}").managed("migrate", "-v0")
    return folder / "db.sqlite3"


@pytest.fixture
def migrated(migrated_file: Path) -> Migrate:
    """Gives a project its tables."""

    def migrate(project: DjangoProject) -> DjangoProject:
        if project.url.startswith("sqlite"):
            shutil.copy(migrated_file, file_of(project.url))
        else:
            project.managed("migrate", "-v0")
        return project

    return migrate
