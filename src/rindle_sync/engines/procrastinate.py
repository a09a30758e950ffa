"""Procrastinate, on the PostgreSQL that holds the tables: its jobs wake the steps in whatever process is free."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from typing import Any, Final

from procrastinate import App, Blueprint, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import DeleteJobCondition, JobDeferrer, Status
from psycopg_pool import PoolTimeout

from rindle_sync.engines.jobs import LOOKS_QUEUE, MINUTE, QUICK, QUICK_QUEUE, Jobs, forward
from rindle_sync.engines.loop import Loop, ended_well, nothing
from rindle_sync.errand import Errand
from rindle_sync.errors import StoreUnavailable
from rindle_sync.store.savepoint import savepoint
from rindle_sync.work import Work

NAMESPACE: Final = "rindle_sync"

TICK_FIRST, QUICK_FIRST, ROW_FIRST = 30, 20, 10
"""Priorities, for a worker of yours that takes all queues."""

QUICK_AT_ONCE: Final = 10

LOOKS_TO_SPARE: Final = 10
"""Looks at once, beyond a sweep and an audit of every environment: none of these ever waits for another's."""

HEARTBEAT_SECONDS: Final = 10.0
STALLED_SECONDS: Final = 30.0
"""A worker that has been silent for so long is dead: its jobs are put away."""


class Procrastinate:
    """Wakes the steps of many environments by jobs of `app`.

    A process that calls `run` takes jobs; one that calls `forward` makes them only, as a web node does. `app` may have
    jobs of its own. It is opened and closed by the caller.
    """

    def __init__(
        self,
        app: App,
        works: Sequence[Work],
        due: Callable[[], Awaitable[Sequence[Errand]]],
        *,
        every: float,
        drain: float,
        ticked: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self.app = app
        self._every = every
        self._drain = drain
        self._stop = asyncio.Event()
        self._jobs = Jobs(works, due, lambda: not self._stop.is_set(), ticked)
        app.add_tasks_from(self._tasks(every), namespace=NAMESPACE)

    async def run(self, stop: asyncio.Event) -> None:
        """Take jobs and make them until `stop` is set; those under way then have their time to end."""
        self._stop = stop
        async with asyncio.TaskGroup() as group:
            group.create_task(Loop(1.0, self._drain + 5).run(self._work, stop))
            group.create_task(self.forward(stop))

    async def forward(self, stop: asyncio.Event) -> None:
        """Make jobs of what this process has made due, and call its callbacks, until `stop` is set."""
        await forward(self._jobs, self._make, stop, every=self._every, drain=self._drain)

    async def defer_sync(self, row_id: str, *, connection: Any = None) -> None:
        """Have one row brought into step, by its id of ours, unless a job for that waits already.

        With a `connection` of psycopg's, the job is made in its transaction: it is there if that is committed.
        """
        job = self._configured("sync", LOOKS_QUEUE, ROW_FIRST, f"sync:{row_id}", connection)
        with _named_errors(), suppress(AlreadyEnqueued):
            async with savepoint(connection) if connection else nullcontext():
                await job.defer_async(row_id=row_id)

    def _tasks(self, every: float) -> Blueprint:
        tasks = Blueprint()

        @tasks.periodic(cron=cron(every))
        @tasks.task(name="tick", queue=QUICK_QUEUE, priority=TICK_FIRST, queueing_lock=f"{NAMESPACE}:tick")
        async def tick(timestamp: int) -> None:
            await ended_well(self._tick(passes=timestamp % MINUTE < every))

        @tasks.task(name="step", queue=LOOKS_QUEUE)
        async def step(environment: str, step: str) -> None:
            await self._jobs.step(environment, step)

        @tasks.task(name="sync", queue=LOOKS_QUEUE, priority=ROW_FIRST)
        async def sync(row_id: str) -> None:
            await self._jobs.sync(row_id)

        return tasks

    async def _work(self) -> None:
        """Take jobs until we are stopped; raises `StoreUnavailable` where a worker has lost its database."""
        looks = 2 * len(self._jobs.works) + LOOKS_TO_SPARE
        working = [
            asyncio.create_task(self._worker(QUICK_QUEUE, QUICK_AT_ONCE)),
            asyncio.create_task(self._worker(LOOKS_QUEUE, looks)),
        ]
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([*working, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*working, stopping):
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
        if not self._stop.is_set():
            raise StoreUnavailable("the worker has lost its database")

    async def _worker(self, queue: str, at_once: int) -> None:
        await self.app.run_worker_async(
            queues=[queue],
            name=queue,
            concurrency=at_once,
            delete_jobs=DeleteJobCondition.ALWAYS,
            install_signal_handlers=False,
            shutdown_graceful_timeout=self._drain,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
        )

    async def _tick(self, *, passes: bool) -> None:
        for errand in await self._jobs.due(passes=passes):
            await self._defer(errand)
        if passes:
            await self.put_away()

    async def _make(self, woken: Errand | str) -> None:
        await (self._defer(woken) if isinstance(woken, Errand) else self.defer_sync(woken))

    async def _defer(self, errand: Errand) -> None:
        quick = errand.step in QUICK
        queue, priority = (QUICK_QUEUE, QUICK_FIRST) if quick else (LOOKS_QUEUE, 0)
        job = self._configured("step", queue, priority, f"{errand.step}:{errand.environment}")
        with _named_errors(), suppress(AlreadyEnqueued):
            await job.defer_async(environment=errand.environment, step=errand.step.value)

    def _configured(self, task: str, queue: str, priority: int, once: str, connection: Any = None) -> JobDeferrer:
        """A job of which no second one waits under the name `once`. No `lock`: that of a dead worker would stay."""
        name = f"{NAMESPACE}:{task}"
        lock = f"{NAMESPACE}:{once}"
        return self.app.configure_task(name, queue=queue, priority=priority, queueing_lock=lock, connection=connection)

    async def put_away(self) -> None:
        """Delete the jobs that dead workers have left; what they were about is due by the tables."""
        manager = self.app.job_manager
        with _named_errors():
            await manager.prune_stalled_workers(STALLED_SECONDS)
            for queue in (QUICK_QUEUE, LOOKS_QUEUE):
                for job in await manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=STALLED_SECONDS):
                    await manager.finish_job(job, status=Status.ABORTED, delete_job=True)


def cron(every: float) -> str:
    """Every so many seconds, in the words of cron with a sixth column: the next smaller part of a minute."""
    seconds = max(part for part in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30) if part <= max(1, every))
    return f"* * * * * */{seconds}"


@asynccontextmanager
async def opened(conninfo: str, statement_seconds: int) -> AsyncIterator[App]:
    """An app of Procrastinate's for a process that has none of its own. Raises `StoreUnavailable`."""
    options = {"connect_timeout": 10, "options": f"-c statement_timeout={statement_seconds}s"}
    app = App(connector=PsycopgConnector(conninfo=conninfo, min_size=1, max_size=6, timeout=10, kwargs=options))
    with _named_errors():
        await app.open_async()
    try:
        yield app
    finally:
        await app.close_async()


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except AlreadyEnqueued:
        raise
    except (ConnectorException, OSError, PoolTimeout) as error:
        cause = error.__cause__ or error
        raise StoreUnavailable(f"no job could be made ({type(cause).__name__}); is the database up?") from None
