"""`manage.py rindle`, and what `manage.py check` says."""

import json
from pathlib import Path

import pytest

from tests.support.django_project import RINDLE, DjangoProject, Migrate, a_project


@pytest.fixture
def project(tmp_path: Path, sqlite_url: str) -> DjangoProject:
    return a_project(tmp_path, sqlite_url)


def test_the_command_line_works_on_the_project_s_database(
    project: DjangoProject, migrated: Migrate
) -> None:
    migrated(project)
    tracked = project.managed(
        "rindle", "track", "--reference", "one", "--provider-asset-id", "asset-1", "--json"
    )
    listed = json.loads(project.managed("rindle", "list", "--json"))

    assert json.loads(tracked)["reference"] == "one"
    assert [row["reference"] for row in listed["rows"]] == ["one"]


def test_the_command_is_listed_and_explains_itself(project: DjangoProject) -> None:
    assert "rindle" in project.managed("help").split()
    for words in (["rindle", "--help"], ["help", "rindle"]):
        shown = project.managed(*words)
        assert "Usage: manage.py rindle" in shown
        assert "Settings come from the dict RINDLE" in shown
        assert "doctor" in shown


def test_exit_codes_are_kept(project: DjangoProject, migrated: Migrate) -> None:
    migrated(project)

    assert project.manage("rindle", "explain", "nobody").returncode == 1
    assert project.manage("rindle", "status", "--wrong").returncode == 2
    wrong = project.but(RINDLE={"MUX_TOKEN": "a"}).manage("rindle", "status")
    assert (wrong.returncode, "did you mean" in wrong.stderr) == (2, True)
    settings = "--settings=tests.integrations.django.project.settings"
    assert project.manage("rindle", "status", settings, "--json").returncode == 0


def test_migrate_is_django_s_own(project: DjangoProject) -> None:
    for ended in (
        project.manage("rindle", "migrate"),
        project.manage("rindle", "status"),  # there are no tables
        project.manage("rindle", "doctor"),
    ):
        assert ended.returncode != 0
        assert "`manage.py migrate rindle_sync`" in ended.stdout + ended.stderr


def test_what_to_do_is_told_in_the_project_s_own_commands(
    project: DjangoProject, migrated: Migrate
) -> None:
    migrated(project)
    project.managed("rindle", "track", "--reference", "a", "--provider-asset-id", "asset-1")
    told = project.manage("rindle", "doctor").stdout

    assert "`manage.py rindle run`" in told
    assert "`rindle.start()`" in told
    assert "`rindle-sync" not in told


def test_a_command_is_called_from_code(project: DjangoProject, migrated: Migrate) -> None:
    migrated(project)
    assert project.python("""
        import contextlib, io
        from django.core.management import CommandError, call_command
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            call_command("rindle", "status", "--json")
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                call_command("rindle", "explain", "nobody")
        except CommandError as error:
            print(json.dumps([error.returncode, bool(json.loads(shown.getvalue()))]))
    """) == [1, True]


def checked(project: DjangoProject) -> str:
    """What `check` says, in one line."""
    ended = project.manage("check", "--database", "default")
    return " ".join((ended.stdout + ended.stderr).split())


def test_a_project_that_is_set_up_has_nothing_to_hear(
    project: DjangoProject, migrated: Migrate
) -> None:
    migrated(project)

    assert "no issues" in checked(project)


@pytest.mark.parametrize(
    ("settings", "message", "text"),
    [
        ({"RINDLE": {"MUX_TOKENID": "a"}}, "E001", "did you mean RINDLE['MUX_TOKEN_ID']?"),
        ({"RINDLE": {"DATABASE": "video"}}, "E002", "there are default"),
        ({"RINDLE": {}}, "W001", "mux_token_id and mux_token_secret are not set"),
        ({"RINDLE": {"MUX_TOKEN_ID": "a"}}, "W001", "mux_token_secret is not set: no row"),
        ({"RINDLE": {}}, "W002", "mux_webhook_secrets is not set"),
        (
            {"ROOT_URLCONF": "tests.integrations.django.project.no_urls"},
            "W003",
            'include("rindle_sync.integrations.django.urls")',
        ),
        ({}, "W004", "are not there"),
    ],
)
def test_what_is_wrong_is_told_with_a_remedy(
    project: DjangoProject, settings: dict[str, object], message: str, text: str
) -> None:
    said = checked(project.but(**settings))

    assert f"rindle_sync.{message}" in said
    assert text in said
    assert "HINT" in said


def test_procrastinate_without_its_database_or_its_tables_is_told(project: DjangoProject) -> None:
    said = checked(project.but(RINDLE=RINDLE | {"ENGINE": "procrastinate"}))

    if project.url.startswith("sqlite"):
        assert "rindle_sync.E003" in said
        assert "RINDLE['ENGINE']: is 'procrastinate', which needs PostgreSQL" in said
    else:
        assert "rindle_sync.W005" in said
        assert "procrastinate.contrib.django is not in INSTALLED_APPS" in said


def test_tables_that_are_about_to_be_made_are_no_finding(project: DjangoProject) -> None:
    ended = project.manage("migrate", "-v0")

    assert (ended.stdout, ended.stderr) == ("", "")
