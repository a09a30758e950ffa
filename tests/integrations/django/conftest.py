"""A Django project on each kind of database."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.django_project import DjangoProject, a_project

# Django is an extra
collect_ignore_glob = [] if find_spec("django") else ["*"]


@pytest.fixture
def project(database_url: str, tmp_path: Path) -> DjangoProject:
    """The project, on a database without any table."""
    return a_project(tmp_path, database_url)
