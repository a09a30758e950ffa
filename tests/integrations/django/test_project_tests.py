"""A project's own tests, run by Django's runner: on a test database, and on its clones."""

from pathlib import Path

import pytest

from tests.support.django_project import DjangoProject, a_project


def test_a_project_s_tests_use_the_test_database(project: DjangoProject) -> None:
    ended = project.manage("test", "tests.integrations.django.project.lessons.tests")

    assert ended.returncode == 0, ended.stderr
    assert "OK" in ended.stderr


@pytest.mark.acceptance
def test_a_project_s_tests_run_in_several_processes(postgres_url: str, tmp_path: Path) -> None:
    project = a_project(tmp_path, postgres_url)

    ended = project.manage(
        "test", "--parallel", "2", "tests.integrations.django.project.lessons.tests"
    )

    assert ended.returncode == 0, ended.stderr
    assert "Cloning test database" in ended.stderr
