"""Celery, for teams that have it: its tasks wake a loop that runs beside them in each worker."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from celery import Celery, signals
from kombu.exceptions import OperationalError

from rindle_sync.domain import Job
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.runtime.engines.base import Due
from rindle_sync.runtime.engines.loop import ended_well
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
"""After this long without sending a task the broker counts as down; the tick sends it again."""


class CeleryEngine:
    """Sends what is due as tasks of `app`; workers that have called `add_tasks` run them."""

    def __init__(
        self, app: Celery, job_runners: Sequence[JobRunner], due: Due, *, every: float, drain: float
    ) -> None:
        self._app = app
        self._every = every
        self.drain = drain
        self._passes_at = float("-inf")
        self.stop = asyncio.Event()
        self.jobs = Jobs(job_runners, due, lambda: not self.stop.is_set())

    async def forward(self, stop: asyncio.Event) -> None:
        """Send what this process has made due, and call its callbacks, until `stop` is set."""
        await forward(self.jobs, self._send, stop, every=self._every, drain=self.drain)

    async def defer_sync(self, row_id: str) -> None:
        """Queue a check of one row. Raises `DatabaseUnavailable` without a broker."""
        await self._send(row_id)

    async def tick(self) -> None:
        """Send tasks for what is due by the tables."""
        now = asyncio.get_running_loop().time()
        passes = now - self._passes_at >= MINUTE
        if passes:
            self._passes_at = now
        for job in await self.jobs.due(passes=passes):
            await self._send(job)

    async def _send(self, what: Job | str) -> None:
        arguments: tuple[str, ...]
        match what:
            case Job(environment, kind):
                queue = QUICK_QUEUE if kind in QUICK else PROVIDER_QUEUE
                name, arguments = "rindle_sync.job", (environment, kind.value)
            case row_id:
                queue, name, arguments = PROVIDER_QUEUE, "rindle_sync.sync", (row_id,)
        send = partial(self._app.send_task, name, arguments, queue=queue, retry=False)
        try:
            async with asyncio.timeout(SENDING_SECONDS):
                await asyncio.to_thread(send)  # Celery blocks while it connects to the broker
        except (OperationalError, OSError) as error:
            text = f"no task could be sent ({type(error).__name__}); is the broker up?"
            raise DatabaseUnavailable(text) from None


Connecting = Callable[[], AbstractAsyncContextManager[CeleryEngine]]
EngineWork = Callable[[CeleryEngine], Coroutine[Any, Any, object]]


def add_tasks(app: Celery, connecting: Connecting, *, every: float) -> None:
    """Give `app` the tasks, and its beat the tick.

    A task only hands its job to a loop that runs beside the tasks in each worker process, and ends.
    So no task takes a place while the provider is waited for. `connecting` opens what the jobs
    need, once a process.
    """
    beside = _Beside(connecting)

    def tick() -> None:
        beside.do("tick", lambda engine: ended_well(engine.tick()))

    def job(environment: object = None, kind: object = None, *_: object, **__: object) -> None:
        beside.do(f"{kind}:{environment}", lambda engine: engine.jobs.run(environment, kind))

    def sync(row_id: object = None, *_: object, **__: object) -> None:
        beside.do(f"sync:{row_id}", lambda engine: engine.jobs.sync(row_id))

    for task in (tick, job, sync):
        app.task(task, name=f"rindle_sync.{task.__name__}", ignore_result=True)
    app.conf.beat_schedule = dict(app.conf.beat_schedule or {}) | {
        "rindle_sync.tick": {
            "task": "rindle_sync.tick",
            "schedule": every,
            # the next tick does the same, so one that waits for longer may be dropped
            "options": {"queue": QUICK_QUEUE, "expires": max(1.0, every)},
        }
    }
    for signal in (signals.worker_process_shutdown, signals.worker_shutdown):
        signal.connect(beside.end, weak=False)  # nothing else holds this bound method


@dataclass
class _Beside:
    """A loop in a thread of its own, which starts with the first task after the fork."""

    connecting: Connecting
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _opened: "Future[CeleryEngine]" = field(default_factory=Future)
    _running: dict[str, asyncio.Task[object]] = field(default_factory=dict)

    def do(self, name: str, work: EngineWork) -> None:
        """Start `work`, unless work of this name is running: the next tick finds the rest."""
        # a pool of threads may begin several tasks at once
        with self._lock:
            if self._thread is None:
                target = partial(asyncio.run, self._serve())
                self._thread = threading.Thread(target=target, name="rindle_sync", daemon=True)
                self._thread.start()
        engine = self._opened.result()

        def begin() -> None:
            if name not in self._running and not engine.stop.is_set():
                self._running[name] = task = asyncio.ensure_future(work(engine))
                task.add_done_callback(lambda _: self._running.pop(name))

        assert self._loop
        self._loop.call_soon_threadsafe(begin)

    def end(self, **_: Any) -> None:
        """Let running jobs end, in bounded time."""
        if self._thread and self._thread.is_alive() and not self._opened.exception():
            assert self._loop
            self._loop.call_soon_threadsafe(self._opened.result().stop.set)
            self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with self.connecting() as engine:
                self._opened.set_result(engine)
                await engine.forward(engine.stop)
                if self._running:
                    _, late = await asyncio.wait(self._running.values(), timeout=engine.drain)
                    for task in late:
                        task.cancel()
                    await asyncio.gather(*late, return_exceptions=True)
        except BaseException as error:  # noqa: BLE001  every waiting task raises it
            if not self._opened.done():
                self._opened.set_exception(error)
