"""The fixtures in projects of their own, which pytest runs in processes of their own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psycopg
import pytest

pytest_plugins = ["pytester"]

LOADED = "rindle_sync.testing.plugin"

ASYNC_TEST = """
    from rindle_sync import State
    from rindle_sync.testing import run_jobs

    {marks}
    async def test_a_video_becomes_ready(rindle, rindle_mux):
        asset_id = rindle_mux.create_asset()
        row = await rindle.track(reference="video-1", provider_asset_id=asset_id)
        rindle_mux.finish(row)
        await rindle_mux.deliver_due()
        await run_jobs(rindle)

        assert (await rindle.get(row.id)).state is State.READY
"""

BLOCKING_TEST = """
    from rindle_sync import State
    from rindle_sync.testing import run_jobs_blocking

    def test_a_lost_webhook_does_no_harm(rindle_blocking, rindle_mux, rindle_clock):
        asset_id = rindle_mux.create_asset()
        row = rindle_blocking.track(reference="video-1", provider_asset_id=asset_id)
        rindle_mux.finish(row)
        rindle_mux.lose_webhooks()
        rindle_clock.move(minutes=2)
        run_jobs_blocking(rindle_blocking)

        assert rindle_blocking.get(row.id).state is State.READY
"""

MANY_TESTS = """
    import pytest
    from rindle_sync.testing import run_jobs_blocking

    @pytest.mark.parametrize("number", range(6))
    def test_nobody_else_is_here(number, rindle_blocking, rindle_mux, rindle_settings):
        assert rindle_blocking.count() == 0
        assert rindle_blocking.webhook_events.list() == []
        asset_id = rindle_mux.create_asset()
        row = rindle_blocking.track(reference="video-1", provider_asset_id=asset_id)
        rindle_mux.finish(row)
        rindle_mux.deliver_webhooks()
        run_jobs_blocking(rindle_blocking)
        assert rindle_blocking.count(state="ready") == 1
        print("schema", rindle_settings.database_schema)
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project whose warnings are errors."""
    with_settings(pytester, asyncio_default_fixture_loop_scope="function")
    return pytester


@pytest.fixture
def alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project in which pytest loads no other plugin."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    with_settings(pytester)
    return pytester


def with_settings(project: pytest.Pytester, **settings: str) -> None:
    lines = [f"{name} = {value}" for name, value in settings.items()]
    project.makeini("\n".join(["[pytest]", "filterwarnings = error", *lines]))


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """The project's tests; the plugin is named, since the package may be there uninstalled."""
    return project.runpytest_subprocess("-p", LOADED, "--strict-markers", *arguments, timeout=300)


def test_a_project_that_does_not_use_it_imports_nothing_for_it(alone: pytest.Pytester) -> None:
    alone.makepyfile("""
        import sys

        def test_what_is_imported():
            ours = [name for name in sys.modules if name.startswith("rindle_sync")]
            heavy = {"alembic", "asyncio", "httpx", "pydantic", "sqlalchemy", "starlette"}
            assert sorted(ours) == [
                "rindle_sync", "rindle_sync.testing", "rindle_sync.testing.plugin"
            ]
            assert heavy & set(sys.modules) == set()
    """)

    run(alone).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mode", "marks"), [("strict", "import pytest; pytestmark = pytest.mark.asyncio"), ("auto", "")]
)
def test_async_tests_work_with_pytest_asyncio(
    project: pytest.Pytester, mode: str, marks: str
) -> None:
    project.makepyfile(ASYNC_TEST.format(marks=marks))

    run(project, "-o", f"asyncio_mode={mode}").assert_outcomes(passed=1)


def test_async_tests_and_fixtures_work_with_anyio(project: pytest.Pytester) -> None:
    project.makeconftest("""
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.fixture
        async def tracked(rindle, rindle_mux):
            asset_id = rindle_mux.create_asset()
            yield await rindle.track(reference="video-2", provider_asset_id=asset_id)
            assert await rindle.count() == 1
    """)
    marks = "import pytest; pytestmark = pytest.mark.anyio"
    project.makepyfile(
        ASYNC_TEST.format(marks=marks)
        + """
    async def test_an_async_fixture_uses_the_same_one(rindle, tracked):
        assert await rindle.get(tracked.id) == tracked
    """
    )

    run(project).assert_outcomes(passed=2)


def test_a_test_without_a_plugin_for_async_ones_runs_its_own_loop(alone: pytest.Pytester) -> None:
    alone.makepyfile("""
        import asyncio

        def test_it_is_empty(rindle):
            assert asyncio.run(rindle.count()) == 0
    """)

    run(alone).assert_outcomes(passed=1)


def test_the_tests_of_the_parts_need_no_pytest(project: pytest.Pytester) -> None:
    file = project.makepyfile("""
        import sys
        import unittest

        from rindle_sync.testing import (
            FakeMux, connected_blocking, run_jobs_blocking, settings_for, sqlite_database
        )

        class Videos(unittest.TestCase):
            def setUp(self):
                self.mux = FakeMux()
                url = self.enterContext(sqlite_database())
                settings = settings_for(self.mux, database_url=url)
                self.rindle = self.enterContext(connected_blocking(settings, self.mux))

            def test_an_asset_fails(self):
                asset_id = self.mux.create_asset()
                row = self.rindle.track(reference="video-1", provider_asset_id=asset_id)
                self.mux.fail(row)
                self.mux.deliver_webhooks()
                run_jobs_blocking(self.rindle)
                self.assertEqual(self.rindle.get(row.id).state, "errored")
                self.assertNotIn("pytest", sys.modules)
    """)

    ended = project.runpython_c(f"import unittest; unittest.main({file.stem!r})")

    assert ended.ret == 0
    ended.stderr.fnmatch_lines(["OK"])


def test_each_process_of_xdist_has_its_own_databases(project: pytest.Pytester) -> None:
    project.makepyfile(MANY_TESTS)

    run(project, "-n", "2").assert_outcomes(passed=6)


def test_postgresql_is_one_schema_for_each_process_and_gone_afterwards(
    project: pytest.Pytester, postgres_url: str
) -> None:
    project.makepyfile(MANY_TESTS)

    ended = run(project, "-n", "2", "-rP", f"--rindle-database-url={postgres_url}")

    ended.assert_outcomes(passed=6)
    used = {
        name for line in ended.outlines for name in re.findall(r"schema (rindle_test_\w+)", line)
    }
    with psycopg.connect(postgres_url) as connection:
        left = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ 'rindle'")
        assert left.fetchall() == []
    assert 1 <= len(used) <= 2


def test_the_database_can_be_named_in_the_file_and_overridden_by_a_fixture(
    project: pytest.Pytester, postgres_url: str, tmp_path: Path
) -> None:
    scope = {"asyncio_default_fixture_loop_scope": "function"}
    with_settings(project, rindle_database_url=postgres_url, **scope)
    project.makepyfile(f"""
        import pytest

        @pytest.fixture
        def own(rindle_blocking, rindle_settings):
            return rindle_settings, rindle_blocking.count()

        def test_the_one_of_the_file(own):
            assert own[0].database_url == {postgres_url!r}
            assert own[0].database_schema.startswith("rindle_test_")
            assert own[1] == 0

        class TestOverridden:
            @pytest.fixture
            def rindle_database_url(self):
                return "sqlite:///{tmp_path}/own.sqlite3"

            def test_the_one_of_the_app(self, own):
                assert own[0].database_schema is None
                assert own[1] == 0
    """)

    run(project).assert_outcomes(passed=2)
    assert (tmp_path / "own.sqlite3").exists()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:///a.sqlite3", "*is no URL of PostgreSQL; leave it out*"),
        ("postgresql://u:secret-word@127.0.0.1:1/d", "*no connection to the database; is it up?*"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_in_a_sentence(
    project: pytest.Pytester, url: str, told: str
) -> None:
    project.makepyfile("def test_it(rindle_blocking): pass")

    ended = run(project, f"--rindle-database-url={url}")

    ended.assert_outcomes(errors=1)
    ended.stdout.fnmatch_lines([told])
    ended.stdout.no_fnmatch_line("*Traceback*")
    ended.stdout.no_fnmatch_line("*secret-word*")


def test_a_marker_changes_settings_for_a_test(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest

        @pytest.mark.rindle_settings(sweep_batch=3, audit_days=2)
        class TestMarked:
            @pytest.mark.rindle_settings(sweep_batch=7)
            def test_the_nearest_one_counts(self, rindle_settings):
                assert (rindle_settings.sweep_batch, rindle_settings.audit_days) == (7, 2)

        @pytest.mark.rindle_settings(sweep_bach=3)
        def test_a_typo_is_told(rindle_settings):
            pass
    """)

    ended = run(project)

    ended.assert_outcomes(passed=1, errors=1)
    ended.stdout.fnmatch_lines(["*sweep_bach: is no setting*did you mean sweep_batch?*"])


class Overhears(BaseHTTPRequestHandler):
    """A proxy, or the real Mux, that must never be called."""

    came: list[str]

    def do_GET(self) -> None:
        self.came.append(self.path)
        self.send_error(500)

    do_POST = do_PUT = do_CONNECT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def overhearing() -> Iterator[tuple[str, list[str]]]:
    """The URL of a server, and every request that it gets."""
    came: list[str] = []
    handler = type("Overhears", (Overhears,), {"came": came})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", came
        server.shutdown()


def test_nothing_of_a_developers_shell_counts_and_no_real_token_is_sent(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project.makepyfile(
        ASYNC_TEST.format(marks="import pytest; pytestmark = pytest.mark.anyio")
        + BLOCKING_TEST
        + """
    import os
    import subprocess
    import sys

    import pytest

    from rindle_sync import connect, load_settings
    from rindle_sync.integrations import blocking

    TOKENS = ("rindle_mux_token_id", "rindle_mux_token_secret")

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    def test_the_settings_are_those_of_the_test(rindle_settings):
        assert rindle_settings.audit_days != 77
        assert rindle_settings.environment == "default"
        assert "real" not in str(rindle_settings.account.credentials)
        assert rindle_settings.database_url.startswith("sqlite:////")

    def test_an_app_that_reads_its_environment_gets_them(rindle_variables, rindle_mux):
        settings = load_settings()
        assert settings.account.credentials == (rindle_mux.token_id, rindle_mux.token_secret)
        assert settings.audit_days != 77
        asset_id = rindle_mux.create_asset()
        with blocking.connect() as rindle:
            rindle.track(reference="video-1", provider_asset_id=asset_id)
            rindle.sync(asset_id)
        assert rindle_mux.calls["get_asset"] == 1

    def test_a_program_that_is_started_gets_them(rindle_variables, rindle_mux):
        asset_id = rindle_mux.create_asset()
        rindle_mux.finish(asset_id)
        program = "from rindle_sync.integrations import blocking\\n"
        program += "with blocking.connect() as rindle:\\n"
        program += f"    rindle.track(reference='v', provider_asset_id={asset_id!r})\\n"
        program += f"    print(rindle.sync({asset_id!r}).row.state.value)\\n"
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert ended.stdout == "ready\\n", ended.stderr

    def test_afterwards_the_shell_has_its_own_again():
        assert os.environ["RINDLE_MUX_TOKEN_SECRET"] == "the-real-secret"
        assert "RINDLE_MUX_WEBHOOK_SECRETS" not in os.environ
        assert load_settings().audit_days == 77
    """
    )
    (project.path / "rindle-sync.toml").write_text("audit_days = 66\n")
    file = tmp_path / "named.toml"
    file.write_text("audit_days = 77\n")

    with overhearing() as (url, came):
        hostile = {
            "RINDLE_CONFIG": str(file),
            "RINDLE_ENVIRONMENT": "production",
            "RINDLE_DATABASE_URL": f"sqlite:///{tmp_path}/production.sqlite3",
            "RINDLE_MUX_BASE_URL": url,
            "RINDLE_MUX_TOKEN_ID": "the-real-id",
            "RINDLE_MUX_TOKEN_SECRET": "the-real-secret",
            "HTTP_PROXY": url,
            "HTTPS_PROXY": url,
            "ALL_PROXY": url,
            "http_proxy": url,
            "https_proxy": url,
        }
        for name, value in hostile.items():
            monkeypatch.setenv(name, value)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        ended = run(project)

    ended.assert_outcomes(passed=6)
    assert came == []
    assert not (tmp_path / "production.sqlite3").exists()


def test_the_fixtures_name_themselves(project: pytest.Pytester) -> None:
    ended = run(project, "--fixtures")

    ended.stdout.fnmatch_lines(["rindle_mux -- *", "*fake Mux in this process*"])


def test_nothing_is_left_in_the_folder_for_temporary_files(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    project.makepyfile(BLOCKING_TEST)

    run(project, f"--basetemp={project.path / 'base'}").assert_outcomes(passed=1)
    assert list(tmp_path.glob("rindle-*")) == []
