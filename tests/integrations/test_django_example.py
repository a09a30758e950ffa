"""The whole app of examples/django_app, and what our Django app shows, in processes of their own.

On SQLite and on PostgreSQL, each with a test database that Django makes.
"""

import pytest

pytest.importorskip("django")
pytest.importorskip("pytest_django")
from tests.support.django_example import HOSTILE, ROOT, SITE, environment, manage, run

CONTENTS = (
    "from films.models import Film;"
    "from rindle_sync.integrations.django import rindle;"
    "row = rindle.track(reference='film-1', provider_asset_id='asset-of-development');"
    "Film.objects.create(title='Of development', video=row)"
)
COUNTS = (
    "from django.apps import apps;"
    "print('counts', [(m._meta.label, list(m._base_manager.order_by('pk').values_list('pk')))"
    " for m in apps.get_models()])"
)


@pytest.mark.parametrize("group", ["admin_tests.py", "tag_tests.py", "helper_tests.py"])
def test_admin_tags_and_test_helpers_do_what_their_tests_say(
    database_url: str, group: str, pytestconfig: pytest.Config
) -> None:
    # where a warning is an error here, it is one there
    strict = ["-W", "error"] if pytestconfig.getini("filterwarnings") else []
    options = ["-c", str(SITE / "pytest.ini"), "--rootdir", str(SITE), "--confcutdir", str(SITE)]

    out = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
        *(*options, *strict, str(SITE / group)),
        env=environment(database_url),
        folder=ROOT,
    )

    assert " passed" in out
    assert "skipped" not in out


@pytest.mark.parametrize(
    "command",
    [("manage.py", "test"), ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")],
    ids=["manage.py-test", "pytest-django"],
)
def test_the_app_passes_its_own_tests_whatever_the_developers_shell_has_set(
    database_url: str, command: tuple[str, ...]
) -> None:
    out = run(*command, env=environment(database_url, **HOSTILE))

    assert "OK" in out or " passed" in out


def test_the_apps_migrations_say_all_that_its_models_do(sqlite_url: str) -> None:
    out = manage("makemigrations", "--check", "--dry-run", env=environment(sqlite_url))

    assert "No changes detected" in out


def test_its_tests_use_the_test_database_and_leave_that_of_development_as_it_is(
    database_url: str,
) -> None:
    env = environment(database_url, **HOSTILE)
    manage("migrate", env=env)
    manage("shell", "-c", CONTENTS, env=env)
    before = counts(manage("shell", "-c", COUNTS, env=env))
    manage("test", "films.tests.FilmTests", env=env)
    after = counts(manage("shell", "-c", COUNTS, env=env))

    assert "films.Film" in before
    assert "rindle_sync.ProviderAsset" in before
    assert after == before


def counts(out: str) -> str:
    """The line that tells what is in each table."""
    (line,) = [line for line in out.splitlines() if line.startswith("counts")]
    return line
