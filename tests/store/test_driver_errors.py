"""A database in trouble.

`run` says so, answers 503, goes on by itself, and loses nothing that it acknowledged.
"""

import asyncio
import json
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import httpx
import psycopg
import pytest

from rindle_sync.domain import State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.providers.mux import sign
from rindle_sync.store import Store
from tests.support import broker, postgres
from tests.support.processes import (
    PATIENCE,
    FarEnd,
    Running,
    Shell,
    a_store,
    add_due,
    all_rows,
    eventually,
    free_port,
    holding,
    serving,
    settings_for,
)
from tests.support.rows import a_row
from tests.support.webhooks import SECRET, an_event

SENDER_WAITS = 5.0
"""Seconds after which the provider gives up on an answer."""

PASSWORD = "hunter2-of-the-tests"

DELIVERIES = 10
DUE = 3


@dataclass
class Scene:
    """The service at work as a process of its own, and whoever sends it deliveries."""

    url: str
    running: Running
    store: Store
    far_end: FarEnd
    sender: httpx.AsyncClient
    address: str
    acknowledged: set[str] = field(default_factory=set)
    due: list[str] = field(default_factory=list)

    async def deliver(self, asset: str) -> httpx.Response:
        """What the provider sends when this asset is ready."""
        body = json.dumps(an_event(asset)).encode()
        signed = {"mux-signature": sign(body, SECRET, datetime.now(UTC))}
        reply = await self.sender.post(self.address, content=body, headers=signed)
        if reply.status_code == 202:
            self.acknowledged.add(asset)
        return reply

    async def track(self) -> str:
        """An asset of whose row nothing is found but by a delivery."""
        row = a_row()
        await self.store.assets.add(row)
        return row.provider_asset_id or ""

    async def fall_due(self, count: int = 1) -> None:
        """Rows of which a look finds that their assets are ready."""
        assets = self.far_end.emulator.create_assets(count, life=Life(after=0))
        await add_due(self.store, *assets)
        self.due += assets

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[str]:
        """With rows in the hands of a sweep, and webhooks acknowledged just now.

        Gives one more asset, whose webhook has not come.
        """
        emulator = self.far_end.emulator
        assets = [await self.track() for _ in range(DELIVERIES)]
        emulator.add_fault(
            "server_error", operation="list_assets"
        )  # so that rows are asked about by id
        with holding(emulator, "get_asset") as gate:
            await self.fall_due(DUE)
            await self.running.waits_at(gate)
            another = await self.track()
            await asyncio.gather(*(self.deliver(asset) for asset in assets))
            assert self.acknowledged == set(assets)
            yield another

    async def refuses(self, asset: str) -> None:
        """It answers a delivery 503, in the time that the sender waits."""
        async with asyncio.timeout(SENDER_WAITS):
            reply = await self.deliver(asset)
        assert (reply.status_code, reply.headers.get("retry-after")) == (503, "5")

    async def says(self, trouble: str) -> None:
        """Wait until its log tells of the trouble, for deliveries and for all else."""
        for told in (
            f"DatabaseUnavailable: {trouble}",
            "the rows stay due, trying again",
            "reason=not_stored",
        ):
            await self.running.says(told)

    async def takes(self, asset: str) -> None:
        assert (await self.deliver(asset)).status_code == 202

    async def goes_on(self, asset: str) -> None:
        """All is well again without anybody's help.

        Deliveries are taken and applied, and what is due is swept.
        """
        await eventually(lambda: self.takes(asset))
        await self.fall_due()
        await eventually(self.all_are_ready)
        assert self.running.process.returncode is None
        self.tells_no_secret()

    async def all_are_ready(self) -> None:
        states = {row.provider_asset_id: row.state for row in await all_rows(self.store)}
        assert {states[asset] for asset in (*self.acknowledged, *self.due)} <= {State.READY}

    def tells_no_secret(self) -> None:
        said = self.running.err + self.running.out
        assert [
            secret for secret in (PASSWORD, *self.acknowledged, *self.due) if secret in said
        ] == []
        assert "Traceback" not in said


@asynccontextmanager
async def service(url: str, folder: Path, engine: str = "embedded") -> AsyncIterator[Scene]:
    """`rindle-sync run` on the database at `url`, taking deliveries."""
    with serving(MuxEmulator()) as far_end:
        port = free_port()
        shell = Shell(
            folder, settings_for(url, far_end, mux_webhook_secrets=SECRET, listen_port=port)
        )
        assert (await shell.run("migrate", "--engine", engine)).code == 0
        async with (
            a_store(url) as store,
            shell.started("run", "--engine", engine) as running,
            httpx.AsyncClient(timeout=PATIENCE) as sender,
        ):
            await running.says("webhooks at http://")
            yield Scene(
                url, running, store, far_end, sender, f"http://127.0.0.1:{port}/webhooks/mux"
            )


# PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL that may be stopped, with few connections.

    What it has committed, it has written.
    """
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres.own_server())
        except postgres.NoPostgres as reason:
            pytest.skip(str(reason))
        with admitted(server) as admin:
            admin.execute("ALTER SYSTEM SET synchronous_commit = on")
            admin.execute("ALTER SYSTEM SET max_connections = 25")
        server.stop("fast")
        server.start()
        yield server


@pytest.fixture
async def scene(
    request: pytest.FixtureRequest, server: postgres.Server, tmp_path: Path
) -> AsyncIterator[Scene]:
    engine = getattr(request, "param", "embedded")
    with postgres.new_database(server.url) as url:
        async with service(
            url.replace("postgres@", f"postgres:{PASSWORD}@"), tmp_path, engine
        ) as scene:
            yield scene


with_each_engine = pytest.mark.parametrize(
    "scene",
    ["embedded", pytest.param("procrastinate", marks=pytest.mark.acceptance)],
    indirect=True,
)
with_procrastinate = pytest.mark.parametrize("scene", ["procrastinate"], indirect=True)


@contextmanager
def admitted(server: postgres.Server) -> Iterator[psycopg.Connection]:
    """A session of the server's owner, who may write whatever the server is set to."""
    with closing(psycopg.connect(server.url, autocommit=True)) as admin:
        admin.execute("SET default_transaction_read_only = off")
        yield admin


def end_sessions(admin: psycopg.Connection, url: str) -> None:
    """As an administrator ends them (57P01), all in the database at `url`."""
    here = [url.rpartition("/")[2]]
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", here)


@with_each_engine
async def test_postgresql_is_stopped_and_started_again(
    scene: Scene, server: postgres.Server
) -> None:
    async with scene.at_work() as asset:
        server.stop("immediate")
        await scene.refuses(asset)
    await scene.says("no connection to the database; is it up?")

    server.start()

    await scene.goes_on(asset)


async def test_postgresql_becomes_a_standby_and_then_shuts_down(
    scene: Scene, server: postgres.Server
) -> None:
    with admitted(server) as admin:

        async def cut_off() -> None:
            end_sessions(admin, scene.url)
            await scene.refuses(asset)

        async with scene.at_work() as asset:
            admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            admin.execute("SELECT pg_reload_conf()")
            await eventually(lambda: scene.refuses(asset))
        await scene.says("the database is read-only; does database_url lead to the primary")

        admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        server.stop("smart", wait=False)
        await eventually(cut_off)
        await scene.says("the database is starting, or about to stop")

        server.stop("fast")
    server.start()

    await scene.goes_on(asset)


@with_procrastinate
async def test_postgresql_writes_nothing_for_a_while(scene: Scene, server: postgres.Server) -> None:
    name = scene.url.rpartition("/")[2]
    with admitted(server) as admin:
        async with scene.at_work() as asset:
            admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            end_sessions(admin, scene.url)
            await eventually(lambda: scene.refuses(asset))
        await scene.says("the database is read-only")
        # seen by the last query of a session, which a failed transaction hides at times
        with suppress(AssertionError):
            await eventually(lambda: has_new_sessions(admin, name), within=5)
        admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    await scene.goes_on(asset)


async def has_new_sessions(admin: psycopg.Connection, name: str) -> None:
    """Those of the pool of jobs, too."""
    jobs = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query ~ 'procrastinate'"
    found = admin.execute(jobs, [name]).fetchone()
    assert found is not None
    assert found[0]


@pytest.mark.acceptance
@with_procrastinate
async def test_somebody_holds_a_lock_on_the_jobs_for_long(scene: Scene) -> None:
    with closing(psycopg.connect(scene.url)) as other:
        other.execute("LOCK TABLE procrastinate_jobs")
        asset = await scene.track()
        await scene.takes(asset)
        await scene.running.says(
            "DatabaseUnavailable: another session has held a lock on the tables"
        )

    await scene.goes_on(await scene.track())


@with_procrastinate
async def test_the_sessions_of_workers_are_ended(scene: Scene, server: postgres.Server) -> None:
    with admitted(server) as admin:
        async with scene.at_work() as asset:
            end_sessions(admin, scene.url)

    await scene.goes_on(asset)


async def test_postgresql_has_no_connection_left(scene: Scene, server: postgres.Server) -> None:
    with admitted(server) as admin, ExitStack() as others:

        async def used_up() -> None:
            end_sessions(admin, scene.url)
            with suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(closing(psycopg.connect(server.url)))
            await scene.refuses(asset)

        async with scene.at_work() as asset:
            await eventually(used_up)
        await scene.says("the database takes no more connections")

    await scene.goes_on(asset)


@pytest.mark.acceptance
async def test_somebody_holds_a_lock_for_long(scene: Scene) -> None:
    asset = await scene.track()
    with closing(psycopg.connect(scene.url)) as other:
        await scene.takes(await scene.track())
        other.execute("LOCK TABLE media_provider_assets, provider_webhook_events")
        await scene.refuses(asset)
        await scene.says("another session has held a lock on the tables")

    await scene.goes_on(asset)


@pytest.mark.acceptance
async def test_postgresql_is_stopped_and_started_again_under_a_worker_of_celerys(
    server: postgres.Server, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(postgres.new_database(server.url))
        far_end = stack.enter_context(serving(MuxEmulator()))
        redis = stack.enter_context(broker.serving(tmp_path))
        shell = Shell(tmp_path, settings_for(url, far_end, test_broker_url=redis))
        async with (
            a_store(url) as store,
            broker.celery(shell, "beat", "-s", str(tmp_path / "beat")),
            broker.celery_worker(shell) as worker,
        ):
            await worker.says("ready.")
            server.stop("immediate")
            await worker.says("DatabaseUnavailable: no connection to the database; is it up?")
            server.start()

            rows = await add_due(store, *far_end.emulator.create_assets(DUE, life=Life(after=0)))

            async def are_ready() -> None:
                found = await store.assets.get_many([row.id for row in rows])
                assert {row.state for row in found.values()} == {State.READY}

            await eventually(are_ready)
            assert "Traceback" not in worker.err


# SQLite


@dataclass
class Disk:
    """Where the SQLite file is.

    The service may be kept from writing beyond where its log of writes ends now.
    """

    folder: Path
    complaint: ClassVar[str] = (
        "the SQLite file cannot be read or written; is its disk full, over a quota, or broken?"
    )

    def fill(self, scene: Scene) -> None:
        size = next(self.folder.glob("*-wal")).stat().st_size
        assert size > len(scene.running.err) * 2, "what it logs is to fit in"
        self._limit(scene, size)

    def clear(self, scene: Scene) -> None:
        self._limit(scene, resource.RLIM_INFINITY)

    def _limit(self, scene: Scene, size: int) -> None:
        resource.prlimit(
            scene.running.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)
        )


class SmallDisk(Disk):
    """A file system of two megabytes, which may be full of something else."""

    complaint = "the disk of the database is full; make room on it"

    def fill(self, _: Scene) -> None:
        with suppress(OSError), (self.folder / "else").open("wb", buffering=0) as other:
            while True:
                other.write(bytes(4096))

    def clear(self, _: Scene) -> None:
        (self.folder / "else").unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    mount = ("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    if subprocess.run([*mount, str(folder)], capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(params=["limited", "small"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    (folder := tmp_path / "disk").mkdir()
    if sys.platform != "linux":
        pytest.skip("elsewhere neither can be had")
    with small_disk(folder) if request.param == "small" else nullcontext(Disk(folder)) as disk:
        yield disk


async def test_the_disk_of_sqlite_is_full(disk: Disk, tmp_path: Path) -> None:
    async with service(f"sqlite:///{disk.folder / 'rindle.sqlite3'}", tmp_path) as scene:
        async with scene.at_work() as asset:
            disk.fill(scene)
            await scene.refuses(asset)
        await scene.says(disk.complaint)

        disk.clear(scene)

        await scene.goes_on(asset)


@pytest.mark.acceptance
async def test_another_process_writes_to_sqlite_for_long(sqlite_url: str, tmp_path: Path) -> None:
    async with service(sqlite_url, tmp_path) as scene:
        asset = await scene.track()
        await scene.takes(await scene.track())
        with closing(
            sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            await scene.refuses(asset)
            await scene.says("another process has been writing to the SQLite file")

        await scene.goes_on(asset)
