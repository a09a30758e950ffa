"""The signals of a project: sent by the process that runs the jobs, with effects exactly once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rindle_sync.emulator.emulator import MuxEmulator
from tests.support.django_project import PROJECT, RINDLE, DjangoProject, a_project
from tests.support.processes import PATIENCE, FarEnd, serving
from tests.support.world import ERRORED, READY

# what a receiver has written, with the rows and changes that it is about
NOTICES = """
from tests.integrations.django.project.lessons.models import Notice
print(json.dumps(sorted(Notice.objects.values_list("signal", "reference", "state"))))
"""
TRACK = """
from rindle_sync.integrations.django import rindle
for reference, asset in {pairs!r}.items():
    rindle.track(reference=reference, provider_asset_id=asset)
"""
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
def project(database_url: str, tmp_path: Path, far_end: FarEnd) -> DjangoProject:
    project = a_project(tmp_path, database_url, RINDLE=settings_of(far_end))
    project.managed("migrate", "-v0")
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
    process = project.started(str(PROJECT / "manage.py"), "rindle", "run")

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
    found: list[list[str]] = project.python(NOTICES)
    return found


def waiting_calls(project: DjangoProject) -> Any:
    return project.python("""
        from rindle_sync.integrations.django.models import AssetChange
        print(AssetChange.objects.filter(dispatch_at__isnull=False).count())
    """)


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

    assert notices(project) == expected


def test_a_receiver_that_raises_undoes_what_all_have_written_and_is_called_again(
    project: DjangoProject, far_end: FarEnd
) -> None:
    (project.folder / "raise").touch()
    asset = far_end.emulator.create_asset(life=READY)
    project.python(TRACK.format(pairs={"plays": asset}))
    log = project.folder / "log"
    with jobs(project):
        wait_until(lambda: "RuntimeError" in log.read_text(), project)
        assert notices(project) == []
        (project.folder / "raise").unlink()
        expected = [["changed", "plays", "ready"], ["ready", "plays", "ready"]]
        wait_until(lambda: notices(project) == expected, project)

    assert asset not in log.read_text()


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
