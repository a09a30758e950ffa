"""A Django project on each kind of database."""

from pathlib import Path

import pytest

from tests.support.django_project import DjangoProject, a_project


@pytest.fixture
def project(database_url: str, tmp_path: Path) -> DjangoProject:
    """The project, on a database without any table."""
    return a_project(tmp_path, database_url)
