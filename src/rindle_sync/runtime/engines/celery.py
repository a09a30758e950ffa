"""Celery, for teams that have it: its tasks wake the steps, which a loop beside them does in each worker process."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from celery import Celery, signals
from kombu.exceptions import OperationalError

from rindle_sync.domain import Job
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.runtime.engines.loop import ended_well, nothing
from rindle_sync.runtime.engines.queued_jobs import (
    MINUTE,
    PROVIDER_QUEUE,
    QUICK,
    QUICK_QUEUE,
    Jobs,
    forward,
)
from rindle_sync.runtime.job_runner import JobRunner

SENDING_SECONDS: Final = 5.0
"""How long the sending of a task may take before the broker counts as down; the tick finds what was to be sent."""


class CeleryEngine:
    """Makes tasks of `app` of what is due; workers that have called `add_tasks` do them."""

    def __init__(
        self,
        app: Celery,
        job_runners: Sequence[JobRunner],
        due: Callable[[], Awaitable[Sequence[Job]]],
        *,
        every: float,
        drain: float,
        ticked: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self._app = app
        self._every = every
        self.drain = drain
        self._passes_at = float("-inf")
        self.stop = asyncio.Event()
        self.jobs = Jobs(job_runners, due, lambda: not self.stop.is_set(), ticked)

    async def forward(self, stop: asyncio.Event) -> None:
        """Make tasks of what this process has made due, and call its callbacks, until `stop` is set."""
        await forward(self.jobs, self._send, stop, every=self._every, drain=self.drain)

    async def defer_sync(self, row_id: str) -> None:
        """Have one row brought into step, by its id of ours. Raises `DatabaseUnavailable` without a broker."""
        await self._send(row_id)

    async def tick(self) -> None:
        """Make tasks of what is due by the tables."""
        now = asyncio.get_running_loop().time()
        passes = now - self._passes_at >= MINUTE
        self._passes_at = now if passes else self._passes_at
        for job in await self.jobs.due(passes=passes):
            await self._send(job)

    async def _send(self, what: Job | str) -> None:
        try:
            async with asyncio.timeout(SENDING_SECONDS):
                await asyncio.to_thread(self._send_now, what)
        except (OperationalError, OSError) as error:
            raise DatabaseUnavailable(
                f"no task could be sent ({type(error).__name__}); is the broker up?"
            ) from None

    def _send_now(self, what: Job | str) -> None:
        match what:
            case Job(environment, step):
                queue = QUICK_QUEUE if step in QUICK else PROVIDER_QUEUE
                self._app.send_task(
                    "rindle_sync.step", (environment, step.value), queue=queue, retry=False
                )
            case row_id:
                self._app.send_task(
                    "rindle_sync.sync", (row_id,), queue=PROVIDER_QUEUE, retry=False
                )


Connecting = Callable[[], AbstractAsyncContextManager[CeleryEngine]]


def add_tasks(app: Celery, connecting: Connecting, *, every: float) -> None:
    """Give `app` our tasks and its beat our tick.

    A task only hands its step to a loop that runs beside the tasks in each worker process, and ends. So no task waits
    for the provider, and none keeps another from its place. `connecting` opens what the steps need, once a process.
    """
    beside = _Beside(connecting)

    def tick() -> None:
        beside.do("tick", lambda engine: ended_well(engine.tick()))

    def step(environment: object = None, step: object = None, *_: object, **__: object) -> None:
        beside.do(f"{step}:{environment}", lambda engine: engine.jobs.run(environment, step))

    def sync(row_id: object = None, *_: object, **__: object) -> None:
        beside.do(f"sync:{row_id}", lambda engine: engine.jobs.sync(row_id))

    for task in (tick, step, sync):
        app.task(task, name=f"rindle_sync.{task.__name__}", ignore_result=True)
    app.conf.beat_schedule = dict(app.conf.beat_schedule or {}) | {
        "rindle_sync.tick": {
            "task": "rindle_sync.tick",
            "schedule": every,
            "options": {"queue": QUICK_QUEUE, "expires": max(1.0, every)},
        }
    }
    for signal in (signals.worker_process_shutdown, signals.worker_shutdown):
        signal.connect(beside.end, weak=False)


@dataclass
class _Beside:
    """A loop in a thread of its own, which begins with the first task after the fork."""

    connecting: Connecting
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _opened: "Future[CeleryEngine]" = field(default_factory=Future)
    _under_way: dict[str, asyncio.Task[object]] = field(default_factory=dict)

    def do(
        self, name: str, job_runner: Callable[[CeleryEngine], Coroutine[Any, Any, object]]
    ) -> None:
        """Begin `job_runner`, unless that of this name is under way: what that leaves is found by the next tick."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rindle_sync", daemon=True)
                self._thread.start()
        engine = self._opened.result()
        assert self._loop
        self._loop.call_soon_threadsafe(self._begin, name, job_runner, engine)

    def end(self, **_: Any) -> None:
        """Let what is under way end, in bounded time."""
        if self._thread and self._thread.is_alive() and not self._opened.exception():
            assert self._loop
            self._loop.call_soon_threadsafe(self._opened.result().stop.set)
            self._thread.join()

    def _begin(
        self,
        name: str,
        job_runner: Callable[[CeleryEngine], Coroutine[Any, Any, object]],
        engine: CeleryEngine,
    ) -> None:
        if name not in self._under_way and not engine.stop.is_set():
            self._under_way[name] = task = asyncio.ensure_future(job_runner(engine))
            task.add_done_callback(lambda _: self._under_way.pop(name))

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  each task that waits for the loop raises it
            if not self._opened.done():
                self._opened.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self.connecting() as engine:
            self._opened.set_result(engine)
            await engine.forward(engine.stop)
            if self._under_way:
                _, late = await asyncio.wait(self._under_way.values(), timeout=engine.drain)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
