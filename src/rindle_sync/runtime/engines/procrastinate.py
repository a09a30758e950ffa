"""Procrastinate, on the PostgreSQL that holds the tables: its jobs wake the steps in whatever process is free."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from hashlib import sha256
from typing import Any, Final

from procrastinate import App, Blueprint, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import DeleteJobCondition, JobDeferrer, Status
from psycopg_pool import PoolTimeout

from rindle_sync.domain import Job
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.runtime.engines.loop import Loop, ended_well, nothing
from rindle_sync.runtime.engines.queued_jobs import (
    MINUTE,
    PROVIDER_QUEUE,
    QUICK,
    QUICK_QUEUE,
    Jobs,
    forward,
    not_ours,
)
from rindle_sync.runtime.engines.savepoint import savepoint
from rindle_sync.runtime.job_runner import JobRunner
from rindle_sync.store import ALL_WAIT, complaint, state_of
from rindle_sync.store.schema.engine import TIME_LIMITS

NAMESPACE: Final = "rindle_sync"

_LOG_OF_WORKERS: Final = logging.getLogger("procrastinate.worker")

TICK_FIRST, QUICK_FIRST, ROW_FIRST = 30, 20, 10
"""Priorities, for a worker of yours that takes all queues."""

QUICK_AT_ONCE: Final = 10

PROVIDER_JOBS_TO_SPARE: Final = 10
"""Looks at once, beyond a sweep and an audit of every environment: none of these ever waits for another's."""

TABLE: Final = "procrastinate_jobs"

NO_TABLES: Final = (
    "the database lacks Procrastinate's tables; run `rindle-sync migrate --engine procrastinate`"
)

CUT_OFF: Final = "a worker was cut off from the database"

_OF_DATABASES: Final = (ConnectorException, OSError, PoolTimeout)

_NO_SUCH: Final = frozenset({"42P01", "42883"})
"""The SQLSTATEs of a table and of a function that is not there."""

RECONNECT_SECONDS: Final = 5.0
"""After so long the pool gives a connection up that it does not get: whoever wants one next tries at once."""

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
        job_runners: Sequence[JobRunner],
        due: Callable[[], Awaitable[Sequence[Job]]],
        *,
        every: float,
        drain: float,
        ticked: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self.app = app
        self._every = every
        self._drain = drain
        self._stop = asyncio.Event()
        self._was_in_trouble = False
        self._jobs = Jobs(job_runners, due, lambda: not self._stop.is_set(), ticked)
        self._fleet = fleet(self._jobs.job_runners)
        self._quick, self._looks = f"{QUICK_QUEUE}:{self._fleet}", f"{PROVIDER_QUEUE}:{self._fleet}"
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
        deferrer = self._configured("sync", PROVIDER_QUEUE, ROW_FIRST, f"sync:{row_id}", connection)
        async with self._named_errors(), savepoint(connection) if connection else nullcontext():
            await deferrer.defer_async(row_id=row_id)

    def _tasks(self, every: float) -> Blueprint:
        tasks = Blueprint()

        once = f"{NAMESPACE}:tick:{self._fleet}"

        @tasks.periodic(cron=cron(every), periodic_id=self._fleet)
        @tasks.task(name="tick", queue=self._quick, priority=TICK_FIRST, queueing_lock=once)
        async def tick(timestamp: object = None, **_: object) -> None:
            if isinstance(timestamp, int):
                await ended_well(self._tick(passes=timestamp % MINUTE < every))
            else:
                not_ours()

        @tasks.task(name="step", queue=self._looks)
        async def step(environment: object = None, step: object = None, **_: object) -> None:
            await self._jobs.run(environment, step)

        @tasks.task(name="sync", queue=PROVIDER_QUEUE, priority=ROW_FIRST)
        async def sync(row_id: object = None, **_: object) -> None:
            await self._jobs.sync(row_id)

        return tasks

    async def _work(self) -> None:
        """Take jobs until we are stopped; raises `DatabaseUnavailable` where a worker ended by itself."""
        await self._renew()
        looks = 2 * len(self._jobs.job_runners) + PROVIDER_JOBS_TO_SPARE
        with _hearing() as heard:
            working = [
                asyncio.create_task(self._worker(QUICK_AT_ONCE, self._quick)),
                asyncio.create_task(self._worker(looks, PROVIDER_QUEUE, self._looks)),
            ]
            stopping = asyncio.create_task(self._stop.wait())
            try:
                await asyncio.wait([*working, stopping], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (*working, stopping):
                    task.cancel()
                ended = await asyncio.gather(*working, return_exceptions=True)
        if not self._stop.is_set():
            raise await self._trouble(*heard, *(end for end in ended if end))

    async def _worker(self, at_once: int, *queues: str) -> None:
        await self.app.run_worker_async(
            queues=list(queues),
            name=queues[0],
            concurrency=at_once,
            delete_jobs=DeleteJobCondition.ALWAYS,
            install_signal_handlers=False,
            shutdown_graceful_timeout=self._drain,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
        )

    async def _tick(self, *, passes: bool) -> None:
        for job in await self._jobs.due(passes=passes):
            await self._defer(job)
        if passes:
            await self.put_away()

    async def _make(self, woken: Job | str) -> None:
        await (self._defer(woken) if isinstance(woken, Job) else self.defer_sync(woken))

    async def _defer(self, job: Job) -> None:
        quick = job.kind in QUICK
        queue, priority = (self._quick, QUICK_FIRST) if quick else (self._looks, 0)
        deferrer = self._configured("step", queue, priority, f"{job.kind}:{job.environment}")
        async with self._named_errors():
            await deferrer.defer_async(environment=job.environment, step=job.kind.value)

    def _configured(
        self, task: str, queue: str, priority: int, once: str, connection: Any = None
    ) -> JobDeferrer:
        """A job of which no second one waits under the name `once`. No `lock`: that of a dead worker would stay."""
        name = f"{NAMESPACE}:{task}"
        lock = f"{NAMESPACE}:{once}"
        return self.app.configure_task(
            name, queue=queue, priority=priority, queueing_lock=lock, connection=connection
        )

    async def put_away(self) -> None:
        """Delete the jobs that dead workers have left; what they were about is due by the tables."""
        manager = self.app.job_manager
        async with self._named_errors():
            await manager.prune_stalled_workers(STALLED_SECONDS)
            for queue in (self._quick, self._looks, PROVIDER_QUEUE):
                for job in await manager.get_stalled_jobs(
                    queue=queue, seconds_since_heartbeat=STALLED_SECONDS
                ):
                    await manager.finish_job(job, status=Status.ABORTED, delete_job=True)

    async def _renew(self) -> None:
        """After trouble, have new sessions: the old ones may lead to a server that does not write, or no longer."""
        was_in_trouble, self._was_in_trouble = self._was_in_trouble, False
        if was_in_trouble and isinstance(self.app.connector, PsycopgConnector):
            await self.app.connector.pool.drain()

    @asynccontextmanager
    async def _named_errors(self) -> AsyncIterator[None]:
        await self._renew()
        try:
            yield
        except AlreadyEnqueued:
            pass
        except _OF_DATABASES as error:
            raise await self._trouble(error) from None

    async def _trouble(self, *errors: BaseException) -> DatabaseUnavailable:
        """What was the matter, in a sentence."""
        self._was_in_trouble = True
        for error in errors:
            if not isinstance(error, (*_OF_DATABASES, asyncio.CancelledError)):
                raise error
        roots = list(_roots(errors))
        for root in roots:
            if state := state_of(root):
                return DatabaseUnavailable(NO_TABLES if state in _NO_SUCH else complaint(root))
        await self._jobs.ask()  # it says what is wrong, where it is still wrong
        waited = any(isinstance(root, PoolTimeout) for root in roots)
        return DatabaseUnavailable(ALL_WAIT if waited else CUT_OFF)


def fleet(environments: Iterable[str]) -> str:
    """The name of the workers that do what is due of these environments: theirs are their ticks and their steps.

    Workers of other environments on the same database do not take them. A sync of one row is for all of them.
    """
    names = sorted(environments)
    return (
        names[0]
        if len(names) == 1
        else f"{len(names)}-{sha256('/'.join(names).encode()).hexdigest()[:8]}"
    )


def cron(every: float) -> str:
    """Every so many seconds, in the words of cron with a sixth column: the next smaller part of a minute."""
    seconds = max(part for part in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30) if part <= max(1, every))
    return f"* * * * * */{seconds}"


@asynccontextmanager
async def opened(conninfo: str) -> AsyncIterator[App]:
    """An app of Procrastinate's for a process that has none of its own. Raises `DatabaseUnavailable`."""
    connector = PsycopgConnector(
        conninfo=conninfo,
        min_size=1,
        max_size=6,
        timeout=10,
        reconnect_timeout=RECONNECT_SECONDS,
        configure=_limit,
    )
    app = App(connector=connector)
    try:
        await app.open_async()
    except _OF_DATABASES:
        raise DatabaseUnavailable("no connection to the database; is it up?") from None
    try:
        yield app
    finally:
        await app.close_async()


async def _limit(session: Any) -> None:
    await session.execute(TIME_LIMITS)
    await session.commit()


def _roots(errors: Iterable[BaseException]) -> Iterator[BaseException]:
    """These errors, each with those that it came from."""
    for error in errors:
        root: BaseException | None = error
        while root:
            yield root
            root = root.__cause__ or root.__context__


@contextmanager
def _hearing() -> Iterator[list[BaseException]]:
    """What ends Procrastinate's workers, which say it in their log alone."""
    hearing = _Hearing()
    _LOG_OF_WORKERS.addHandler(hearing)
    try:
        yield hearing.heard
    finally:
        _LOG_OF_WORKERS.removeHandler(hearing)


class _Hearing(logging.Handler):
    """Keeps what has ended a worker of ours, and tells of a job that it could not even begin."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        worker, action = getattr(record, "worker", None), getattr(record, "action", "")
        if not isinstance(worker, dict) or not str(worker.get("name")).startswith(
            (QUICK_QUEUE, PROVIDER_QUEUE)
        ):
            return
        if action == "job_error":
            not_ours()
        elif action == "side_task_failed" and record.exc_info and record.exc_info[1]:
            self.heard.append(record.exc_info[1])
