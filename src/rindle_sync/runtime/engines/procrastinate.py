"""Procrastinate, on the PostgreSQL of the tables: whatever process is free runs its jobs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Any, Final

from procrastinate import App, Blueprint, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import DeleteJobCondition, Status
from psycopg_pool import PoolTimeout

from rindle_sync.domain import Job
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.runtime.engines.base import Due
from rindle_sync.runtime.engines.loop import Loop, ended_well
from rindle_sync.runtime.engines.queued_jobs import (
    MINUTE,
    PROVIDER_QUEUE,
    QUICK,
    QUICK_QUEUE,
    Jobs,
    forward,
    log_unknown_job,
)
from rindle_sync.runtime.job_runner import JobRunner
from rindle_sync.store import ALL_WAIT, complaint, state_of
from rindle_sync.store.sessions import DriverError, is_own, prepare_session

NAMESPACE: Final = "rindle_sync"


TICK_FIRST, QUICK_FIRST, ROW_FIRST = 30, 20, 10
"""Priorities, for a worker of yours that takes all queues."""

QUICK_AT_ONCE: Final = 10

PROVIDER_JOBS_TO_SPARE: Final = 10
"""Checks at once, beside a sweep, an audit and the outgoing webhooks of every environment.

None waits for another.
"""

TABLE: Final = "procrastinate_jobs"

NO_TABLES: Final = (
    "the database lacks Procrastinate's tables; run `rindle-sync migrate --engine procrastinate`"
)

CUT_OFF: Final = "a worker was cut off from the database"

_DATABASE_ERRORS: Final = (ConnectorException, DriverError, OSError, PoolTimeout)

_NO_SUCH: Final = frozenset({"42P01", "42883"})
"""The SQLSTATEs of a missing table and of a missing function."""

POLLING_SECONDS: Final = 1.0
"""How often a worker looks for jobs behind a pooler, where it cannot be notified."""

RECONNECT_SECONDS: Final = 5.0
"""After this long the pool gives up a connection attempt: the next caller tries at once."""

HEARTBEAT_SECONDS: Final = 10.0
STALLED_SECONDS: Final = 30.0
"""A worker without a heartbeat for this long counts as dead: its jobs are deleted."""


class Procrastinate:
    """Runs due jobs of many environments as jobs of `app`.

    A process that calls `run` runs jobs; one that calls `forward` only queues them, as a web node
    does. `app` may have jobs of its own; the caller opens and closes it.
    """

    def __init__(
        self, app: App, job_runners: Sequence[JobRunner], due: Due, *, every: float, drain: float
    ) -> None:
        self.app = app
        self._every = every
        self._drain = drain
        self._stop = asyncio.Event()
        self._had_error = False
        self._jobs = Jobs(job_runners, due, lambda: not self._stop.is_set())
        self._fleet = fleet(self._jobs.job_runners)
        self._quick = f"{QUICK_QUEUE}:{self._fleet}"
        self._checks = f"{PROVIDER_QUEUE}:{self._fleet}"
        app.add_tasks_from(self._tasks(every), namespace=NAMESPACE)

    async def run(self, stop: asyncio.Event) -> None:
        """Run jobs and queue them until `stop` is set; running ones then have time to end."""
        self._stop = stop
        async with asyncio.TaskGroup() as group:
            group.create_task(Loop(1.0, self._drain + 5).run(self._work, stop))
            group.create_task(self.forward(stop))

    async def forward(self, stop: asyncio.Event) -> None:
        """Queue what this process has made due, and call its callbacks, until `stop` is set."""
        await forward(self._jobs, self._defer, stop, every=self._every, drain=self._drain)

    async def defer_sync(self, row_id: str, *, connection: Any = None) -> None:
        """Queue a check of one row, unless one waits already.

        With a `connection` of psycopg's the job is queued in its transaction, and exists if that
        commits.
        """
        await self._defer(row_id, connection)

    def _tasks(self, every: float) -> Blueprint:
        tasks = Blueprint()
        once = f"{NAMESPACE}:tick:{self._fleet}"

        @tasks.periodic(cron=cron(every), periodic_id=self._fleet)
        @tasks.task(name="tick", queue=self._quick, priority=TICK_FIRST, queueing_lock=once)
        async def tick(timestamp: object = None, **_: object) -> None:
            if not isinstance(timestamp, int):
                log_unknown_job()
                return
            passes = timestamp % MINUTE < every

            async def queue_due() -> None:
                for job in await self._jobs.due(passes=passes):
                    await self._defer(job)
                if passes:
                    await self.delete_stalled()

            await ended_well(queue_due())

        tasks.task(name="job", queue=self._checks)(self._jobs.run)
        tasks.task(name="sync", queue=PROVIDER_QUEUE, priority=ROW_FIRST)(self._jobs.sync)
        return tasks

    async def _work(self) -> None:
        """Run jobs until the stop; raises `DatabaseUnavailable` if a worker ends by itself."""
        await self._renew()
        polling = await self._polling()
        at_once = 3 * len(self._jobs.job_runners) + PROVIDER_JOBS_TO_SPARE
        log, handler = logging.getLogger("procrastinate.worker"), _WorkerLog()
        with ExitStack() as closing:
            log.addHandler(handler)  # Procrastinate only logs what ends a worker
            closing.callback(log.removeHandler, handler)
            working = [
                asyncio.create_task(self._worker(polling, QUICK_AT_ONCE, self._quick)),
                asyncio.create_task(self._worker(polling, at_once, PROVIDER_QUEUE, self._checks)),
            ]
            stopping = asyncio.create_task(self._stop.wait())
            try:
                await asyncio.wait([*working, stopping], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (*working, stopping):
                    task.cancel()
                ended = await asyncio.gather(*working, return_exceptions=True)
        if not self._stop.is_set():
            raise await self._named(*handler.errors, *filter(None, ended))

    async def _polling(self) -> Mapping[str, Any]:
        """How workers find jobs: LISTEN is of a session, which behind a pooler is not theirs."""
        connector = self.app.connector
        if isinstance(connector, PsycopgConnector):
            async with self._named_errors(), connector.pool.connection() as session:
                if not await is_own(session):
                    return {"listen_notify": False, "fetch_job_polling_interval": POLLING_SECONDS}
        return {}

    async def _worker(self, polling: Mapping[str, Any], at_once: int, *queues: str) -> None:
        await self.app.run_worker_async(
            queues=list(queues),
            name=queues[0],
            concurrency=at_once,
            delete_jobs=DeleteJobCondition.ALWAYS,  # a failed job says nothing: its work stays due
            install_signal_handlers=False,  # the process decides, by the stop event
            shutdown_graceful_timeout=self._drain,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
            **polling,
        )

    async def _defer(self, what: Job | str, connection: Any = None) -> None:
        """Queue a job, or a check of one row, unless the same waits already."""
        match what:
            case Job(environment, kind):
                queue, priority = self._checks, 0
                if kind in QUICK:
                    queue, priority = self._quick, QUICK_FIRST
                task, name = "job", f"{kind}:{environment}"
                arguments = {"environment": environment, "kind": kind.value}
            case row_id:
                queue, priority = PROVIDER_QUEUE, ROW_FIRST
                task, name, arguments = "sync", f"sync:{row_id}", {"row_id": row_id}
        deferrer = self.app.configure_task(
            f"{NAMESPACE}:{task}",
            queue=queue,
            priority=priority,
            queueing_lock=f"{NAMESPACE}:{name}",  # no `lock`: that of a dead worker would stay
            connection=connection,
        )
        async with self._named_errors(), AsyncExitStack() as savepoint:
            if connection:
                # outside of a transaction, psycopg's `transaction` would commit: begin the app's
                is_idle = connection.info.transaction_status.name == "IDLE"
                if is_idle and not connection.autocommit:
                    await connection.execute("SELECT")
                # a savepoint: a job that waits already must not break the app's transaction
                await savepoint.enter_async_context(connection.transaction())
            await deferrer.defer_async(**arguments)

    async def delete_stalled(self) -> None:
        """Delete the jobs that dead workers have left; the tables say what is due."""
        manager = self.app.job_manager
        async with self._named_errors():
            await manager.prune_stalled_workers(STALLED_SECONDS)
            for queue in (self._quick, self._checks, PROVIDER_QUEUE):
                for job in await manager.get_stalled_jobs(
                    queue=queue, seconds_since_heartbeat=STALLED_SECONDS
                ):
                    await manager.finish_job(job, status=Status.ABORTED, delete_job=True)

    async def _renew(self) -> None:
        """Open new sessions after an error: the old ones may lead to a server that cannot write."""
        had_error, self._had_error = self._had_error, False
        if had_error and isinstance(self.app.connector, PsycopgConnector):
            await self.app.connector.pool.drain()

    @asynccontextmanager
    async def _named_errors(self) -> AsyncIterator[None]:
        await self._renew()
        try:
            yield
        except AlreadyEnqueued:
            pass
        except _DATABASE_ERRORS as error:
            raise await self._named(error) from None

    async def _named(self, *errors: BaseException) -> DatabaseUnavailable:
        """The cause of these errors, in a sentence."""
        self._had_error = True
        for error in errors:
            if not isinstance(error, (*_DATABASE_ERRORS, asyncio.CancelledError)):
                raise error
        text = CUT_OFF
        for error in errors:
            cause: BaseException | None = error
            while cause:
                state = state_of(cause)
                if state:
                    return DatabaseUnavailable(NO_TABLES if state in _NO_SUCH else complaint(cause))
                if isinstance(cause, PoolTimeout):
                    text = ALL_WAIT
                cause = cause.__cause__ or cause.__context__
        await self._jobs.query_due(())  # raises the cause, if it persists
        return DatabaseUnavailable(text)


def fleet(environments: Iterable[str]) -> str:
    """The suffix of the queues of workers for these environments.

    Workers for other environments on the same database do not take their ticks and jobs.
    """
    names = sorted(environments)
    if len(names) == 1:
        return names[0]
    return f"{len(names)}-{sha256('/'.join(names).encode()).hexdigest()[:8]}"


def cron(every: float) -> str:
    """A six-column cron line for every so many seconds, in whole parts of a minute."""
    seconds = max(part for part in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30) if part <= max(1, every))
    return f"* * * * * */{seconds}"


@asynccontextmanager
async def opened(conninfo: str, *, schema: str | None = None) -> AsyncIterator[App]:
    """An app of Procrastinate's for a process without one. Raises `DatabaseUnavailable`.

    Its tables are in `schema`, or where the search path leads.
    """
    connector = PsycopgConnector(
        conninfo=conninfo,
        min_size=1,
        max_size=6,
        timeout=10,
        reconnect_timeout=RECONNECT_SECONDS,
        configure=partial(prepare_session, schema=schema),
        kwargs={"prepare_threshold": None},
    )
    app = App(connector=connector)
    try:
        await app.open_async()
    except _DATABASE_ERRORS:
        raise DatabaseUnavailable("no connection to the database; is it up?") from None
    try:
        yield app
    finally:
        await app.close_async()


class _WorkerLog(logging.Handler):
    """Keeps the errors that end a worker, and logs a job that could not start."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        worker, action = getattr(record, "worker", None), getattr(record, "action", "")
        name = str(worker.get("name")) if isinstance(worker, dict) else ""
        # the app may have workers of its own in this process
        if not name.startswith((QUICK_QUEUE, PROVIDER_QUEUE)):
            return
        if action == "job_error":
            log_unknown_job()
        elif action == "side_task_failed" and record.exc_info and record.exc_info[1]:
            self.errors.append(record.exc_info[1])
