"""The signals of a project: sent by the process that runs the jobs, with effects exactly once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rindle_sync.emulator.emulator import MuxEmulator
from tests.support import broker
from tests.support.django_project import PROJECT, RINDLE, DjangoProject, Migrate, a_project
from tests.support.processes import PATIENCE, FarEnd, serving
from tests.support.world import ERRORED, READY

TRACK = """
from rindle_sync.integrations.django import rindle
for reference, asset in {pairs!r}.items():
    rindle.track(reference=reference, provider_asset_id=asset)
"""
VIDEOS = 30
KILLS = 4
# as if the time of a lease had passed: whoever held it was killed
END_LEASES = """
from django.db import connection
with connection.cursor() as cursor:
    for table in ("provider_asset_changes", "provider_change_deliveries", "provider_job_runs"):
        cursor.execute(f"UPDATE {table} SET lease_until = '2020-01-01T00:00:00.000000+00:00'"
                       " WHERE lease_token IS NOT NULL")
"""


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator()) as far_end:
        yield far_end


@pytest.fixture
def project(database_url: str, tmp_path: Path, far_end: FarEnd, migrated: Migrate) -> DjangoProject:
    project = a_project(tmp_path, database_url, RINDLE=settings_of(far_end))
    migrated(project)
    return project


def settings_of(far_end: FarEnd) -> dict[str, Any]:
    return RINDLE | {
        "MUX_BASE_URL": far_end.url,
        "MUX_TOKEN_ID": far_end.emulator.token_id,
        "MUX_TOKEN_SECRET": far_end.emulator.token_secret,
        "PROVIDER_POLLING_FLOOR_SECONDS": 0.1,
        "SWEEP_INTERVAL_SECONDS": 0.1,
    }


@contextmanager
def jobs(project: DjangoProject) -> Iterator[Callable[[], None]]:
    """The process that runs the jobs; what is given kills it with -9."""
    with running(project, str(PROJECT / "manage.py"), "rindle", "run") as kill:
        yield kill


@contextmanager
def running(project: DjangoProject, *command: str) -> Iterator[Callable[[], None]]:
    process = project.started(*command)

    def kill() -> None:
        process.kill()
        process.wait()

    try:
        yield kill
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_until(holds: Callable[[], object], project: DjangoProject) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, (project.folder / "log").read_text()
        time.sleep(0.1)


def notices(project: DjangoProject) -> list[list[str]]:
    """What receivers have written, in the order of the words."""
    return sorted(project.query("SELECT signal, reference, state FROM lessons_notice"))


def waiting_calls(project: DjangoProject) -> int:
    """The number of changes, and of calls of receivers, that are not dispatched."""
    [[changes]] = project.query(
        "SELECT count(*) FROM provider_asset_changes WHERE dispatch_at IS NOT NULL"
    )
    [[calls]] = project.query("SELECT count(*) FROM provider_change_deliveries")
    return int(changes + calls)


def connections_of_django(project: DjangoProject) -> int:
    """The open ones, beside the one that asks."""
    if project.url.startswith("sqlite"):
        return 0
    [[number]] = project.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = '' AND pid != pg_backend_pid()"
    )
    return int(number)


def test_receivers_are_called_once_for_each_change(project: DjangoProject, far_end: FarEnd) -> None:
    pairs = {
        "plays": far_end.emulator.create_asset(life=READY),
        "fails": far_end.emulator.create_asset(life=ERRORED),
    }
    project.python(TRACK.format(pairs=pairs))
    expected = [
        ["changed", "fails", "errored"],
        ["changed", "plays", "ready"],
        ["errored", "fails", "errored"],
        ["ready", "plays", "ready"],
    ]
    with jobs(project):
        wait_until(lambda: notices(project) == expected, project)
        wait_until(lambda: waiting_calls(project) == 0, project)
        # as after a request: no connection of Django's is kept
        wait_until(lambda: connections_of_django(project) == 0, project)

    assert notices(project) == expected


@pytest.mark.parametrize(("order", "error"), [("raise", "RuntimeError"), ("exit", "SystemExit")])
def test_a_receiver_that_raises_undoes_what_all_have_written_and_is_called_again(
    project: DjangoProject, far_end: FarEnd, order: str, error: str
) -> None:
    (project.folder / order).touch()
    asset = far_end.emulator.create_asset(life=READY)
    project.python(TRACK.format(pairs={"plays": asset}))
    log = project.folder / "log"
    with jobs(project):
        wait_until(lambda: error in log.read_text(), project)
        assert notices(project) == []
        (project.folder / order).unlink()
        expected = [["changed", "plays", "ready"], ["ready", "plays", "ready"]]
        wait_until(lambda: notices(project) == expected, project)

    assert asset not in log.read_text()


@pytest.mark.acceptance
def test_a_process_that_is_killed_in_a_receiver_has_done_nothing(
    project: DjangoProject, far_end: FarEnd
) -> None:
    (project.folder / "wait").touch()
    asset = far_end.emulator.create_asset(life=READY)
    project.python(TRACK.format(pairs={"plays": asset}))
    with jobs(project) as kill:
        wait_until((project.folder / "waiting").exists, project)
        kill()
    (project.folder / "wait").unlink()
    assert notices(project) == []

    project.python(END_LEASES)
    expected = [["changed", "plays", "ready"], ["ready", "plays", "ready"]]
    with jobs(project):
        wait_until(lambda: notices(project) == expected, project)
        wait_until(lambda: waiting_calls(project) == 0, project)
    assert notices(project) == expected


@pytest.mark.acceptance
def test_processes_that_are_killed_again_and_again_do_everything_once(
    project: DjangoProject, far_end: FarEnd
) -> None:
    # ended leases belong to processes that live on as well: these must then do nothing
    chance = Random(1)
    references = [f"video-{number}" for number in range(VIDEOS)]
    assets = {name: far_end.emulator.create_asset(life=READY) for name in references}
    project.python(TRACK.format(pairs=assets))
    with jobs(project):
        for _ in range(KILLS):
            with jobs(project) as kill:
                time.sleep(chance.uniform(2, 5))
                kill()
            project.python(END_LEASES)
        wait_until(lambda: len(notices(project)) >= 2 * VIDEOS, project)
        wait_until(lambda: waiting_calls(project) == 0, project)

    expected = [["changed", name, "ready"] for name in references]
    expected += [["ready", name, "ready"] for name in references]
    assert notices(project) == sorted(expected)


@pytest.mark.acceptance
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_celery_sends_the_signals(
    pool: str, postgres_url: str, tmp_path: Path, far_end: FarEnd, migrated: Migrate
) -> None:
    project = a_project(tmp_path, postgres_url, RINDLE=settings_of(far_end))
    migrated(project)
    asset = far_end.emulator.create_asset(life=READY)
    project.python(TRACK.format(pairs={"plays": asset}))
    queues = "celery,rindle_sync,rindle_sync_checks"
    worker = ("worker", "--beat", "-Q", queues, "-P", pool, "-c", "2", "-s", "beat")
    command = ("-m", "celery", "-A", "tests.integrations.django.project.celery", *worker)
    with broker.serving(tmp_path) as url, pytest.MonkeyPatch.context() as environment:
        environment.setenv("TEST_BROKER_URL", url)
        with running(project, *command):
            expected = [["changed", "plays", "ready"], ["ready", "plays", "ready"]]
            wait_until(lambda: notices(project) == expected, project)


@pytest.mark.acceptance
def test_procrastinate_sends_the_signals(
    postgres_url: str, tmp_path: Path, far_end: FarEnd, migrated: Migrate
) -> None:
    own = settings_of(far_end) | {"ENGINE": "procrastinate"}
    apps = ["procrastinate.contrib.django"]
    project = a_project(tmp_path, postgres_url, MORE_APPS=apps, RINDLE=own)
    migrated(project)
    assert "no issues" in project.managed("check", "--database", "default")
    asset = far_end.emulator.create_asset(life=READY)
    project.python(TRACK.format(pairs={"plays": asset}))
    with running(project, str(PROJECT / "manage.py"), "rindle", "worker"):
        expected = [["changed", "plays", "ready"], ["ready", "plays", "ready"]]
        wait_until(lambda: notices(project) == expected, project)
