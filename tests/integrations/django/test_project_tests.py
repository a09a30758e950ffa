"""A project's own tests, run by Django's runner: on a test database, and on its clones."""

from pathlib import Path

import pytest

from tests.support.django_project import DjangoProject, a_project, database_of


def test_a_project_s_tests_use_the_test_database(project: DjangoProject) -> None:
    ended = project.manage("test", "tests.integrations.django.project.lessons.tests")

    assert ended.returncode == 0, ended.stderr
    assert "OK" in ended.stderr


def test_tests_that_run_without_migrations_have_the_tables(project: DjangoProject) -> None:
    database = database_of(project.url) | {"TEST": {"MIGRATE": False}}
    committing = "tests.integrations.django.project.lessons.tests.InATransactionTestCase"
    ended = project.but(DATABASES={"default": database}).manage("test", committing)

    assert ended.returncode == 0, ended.stderr


@pytest.mark.acceptance
def test_a_project_s_tests_run_in_several_processes(postgres_url: str, tmp_path: Path) -> None:
    project = a_project(tmp_path, postgres_url)

    ended = project.manage(
        "test", "--parallel", "2", "tests.integrations.django.project.lessons.tests"
    )

    assert ended.returncode == 0, ended.stderr
    assert "Cloning test database" in ended.stderr


ALIAS_TESTS = "tests.integrations.django.project.lessons.alias_tests"


@pytest.fixture
def of_two_databases(project: DjangoProject, tmp_path: Path) -> DjangoProject:
    """The project whose videos are in a second database, with the tables of development."""
    other = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "other.sqlite3")}
    test = {"NAME": str(tmp_path / "tests.sqlite3")}
    videos = database_of(project.url)
    videos |= {"TEST": test} if project.url.startswith("sqlite") else {}
    both = project.but(
        DATABASES={"default": other, "videos": videos}, RINDLE={"DATABASE": "videos"}
    )
    both.managed("migrate", "-v0")
    both.managed("migrate", "-v0", "--database", "videos")
    return both


@pytest.mark.parametrize(
    "named", [("NotNamedTestCase",), ("PlainTestCase",), ("NotNamedTestCase", "NamedTestCase")]
)
def test_a_test_that_names_no_test_database_for_the_alias_is_refused(
    of_two_databases: DjangoProject, named: tuple[str, ...]
) -> None:
    ended = of_two_databases.manage("test", *[f"{ALIAS_TESTS}.{name}" for name in named])

    assert ended.returncode == 0, ended.stderr
    assert of_two_databases.query("SELECT count(*) FROM media_provider_assets") == [[0]]


@pytest.mark.parametrize("options", [(), ("--keepdb",)], ids=["made-anew", "kept"])
def test_a_test_that_names_the_alias_uses_its_test_database(
    of_two_databases: DjangoProject, options: tuple[str, ...]
) -> None:
    classes = ("NamedTestCase", "HelpedTestCase", "HelpedInATransactionTestCase")
    tests = [f"{ALIAS_TESTS}.{name}" for name in classes]
    for _ in range(1 + len(options)):
        ended = of_two_databases.manage("test", *options, *tests)
        assert ended.returncode == 0, ended.stderr

    assert of_two_databases.query("SELECT count(*) FROM media_provider_assets") == [[0]]
