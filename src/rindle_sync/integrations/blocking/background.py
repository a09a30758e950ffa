"""One event loop in a thread of this process, called by all others; it starts with the first call.

A server forks its workers after it has imported the app, and no thread survives a fork: a forked
process starts a loop, and opens connections, of its own.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final, Generic, Protocol, Self, TypeVar
from weakref import WeakSet

from rindle_sync.errors import AlreadyClosed, CalledFromItsLoop
from rindle_sync.installation import Installation
from rindle_sync.integrations.background_jobs import start_jobs
from rindle_sync.store import called_from

T = TypeVar("T")

END_WITHIN: Final = 10.0
"""Seconds that calls under way have to end, once the loop is to stop."""

Work = Callable[[Installation], Awaitable[T]]
"""What is to be done; it is called in the event loop."""

Within = Callable[[], AbstractContextManager[object]]
"""Makes what a callback of the app runs within, on its thread."""

Setup = Callable[[Installation], object]
"""Adds callbacks to the services of a process; `within` says what these run within."""

_within: Final[ContextVar[Within]] = ContextVar("within", default=nullcontext)


def within() -> Within:
    """What callbacks that are added now are to run within, as the context of an app."""
    return _within.get()


class CallFromThread(Generic[T]):
    """Work that a thread waits for, and meanwhile does what has to be done on that thread."""

    def __init__(self, work: Callable[[], Awaitable[T]], loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop
        self._turns: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.task: asyncio.Task[T] | None = None

    def begin(self, calls: "set[CallFromThread[Any]] | None" = None) -> None:
        """Begin, in the event loop; it is one of `calls` until it ends."""
        calls = set() if calls is None else calls
        self.task = self._loop.create_task(self._run())
        calls.add(self)
        self.task.add_done_callback(lambda _: self._end(calls))

    async def _run(self) -> T:
        with called_from(self._on_callers_thread):
            return await self._work()

    def _end(self, calls: "set[CallFromThread[Any]]") -> None:
        calls.discard(self)
        self._turns.put(None)

    async def _on_callers_thread(self, function: Callable[[], Any]) -> Any:
        done = self._loop.create_future()

        def turn() -> None:
            try:
                result = function()
            except KeyboardInterrupt:
                # it is of this thread, and would end the event loop: that one only cancels the work
                self._loop.call_soon_threadsafe(done.cancel)
                raise
            except BaseException as error:  # noqa: BLE001  it is raised where it is awaited
                self._loop.call_soon_threadsafe(_fail, done, error)
            else:
                self._loop.call_soon_threadsafe(_succeed, done, result)

        self._turns.put(turn)
        return await done

    def result(self) -> T:
        """Wait for the end, on the calling thread; what interrupts the wait cancels the work."""
        try:
            self._take_turns()
        except BaseException:
            self._loop.call_soon_threadsafe(self.cancel)
            # it undoes what it has done on a connection of this thread
            self._take_turns()
            raise
        assert self.task
        return self.task.result()

    def cancel(self) -> None:
        """Cancel the work, in the event loop."""
        if self.task:
            self.task.cancel()

    def _take_turns(self) -> None:
        while turn := self._turns.get():
            turn()


def _fail(done: "asyncio.Future[Any]", error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)


def _succeed(done: "asyncio.Future[Any]", result: object) -> None:
    if not done.done():
        done.set_result(result)


@dataclass(slots=True)
class _Running:
    loop: asyncio.AbstractEventLoop
    installation: Installation
    thread: threading.Thread
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    calls: set[CallFromThread[Any]] = field(default_factory=set)
    jobs: asyncio.Task[None] | None = None

    async def end(self) -> None:
        """Let what is under way end, and cancel what does not."""
        tasks: set[asyncio.Task[Any]] = {call.task for call in self.calls if call.task}
        if self.jobs:
            tasks.add(self.jobs)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=END_WITHIN)
            for task in late:
                task.cancel()


class Loop(Protocol):
    """What a blocking service needs: calls in an event loop of the process, from any thread."""

    def call(self, work: Work[T]) -> T:
        """The result of `work`."""

    def start_jobs(self) -> None:
        """Run due jobs until `close`."""

    def set_up(self, setup: Setup) -> None:
        """Have callbacks added."""

    def close(self) -> None:
        """End the loop, and what runs in it."""


class Background:
    """The loop, and the services that `connect` opens in it; any thread may call.

    Callbacks run within `within`.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Installation]],
        within: Within = nullcontext,
    ) -> None:
        self._connect = connect
        self._within = within
        self._setups: list[Setup] = []
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._is_closed = False
        self._process = os.getpid()
        _alive.add(self)

    def call(self, work: Work[T]) -> T:
        """The result of `work`, which is done in the loop, for the thread that waits here.

        Raises what it raises, `AlreadyClosed` after `close`, and `CalledFromItsLoop`.
        """
        self._forget_unseen_parent()
        with self._lock:
            running = self._started()
            if threading.current_thread() is running.thread:
                raise CalledFromItsLoop
            call = CallFromThread(lambda: work(running.installation), running.loop)
            # within the lock: nothing begins after `close`, which would never end
            running.loop.call_soon_threadsafe(call.begin, running.calls)
        try:
            return call.result()
        except asyncio.CancelledError:
            raise AlreadyClosed from None

    def start_jobs(self) -> None:
        """Run due jobs in the loop until `close`; raises `ConfigurationError` without credentials.

        A later failure is logged, and ends nothing else.
        """

        async def start(installation: Installation) -> None:
            installation.without_token()
            running = self._running
            if running and running.jobs is None:
                running.jobs = start_jobs(installation.run(running.stop))

        self.call(start)

    def set_up(self, setup: Setup) -> None:
        """Call `setup` once in the loop of each process, before its first call, or now."""
        self._forget_unseen_parent()
        with self._lock:
            self._setups.append(setup)
            running = self._running
            if running:
                running.loop.call_soon_threadsafe(self._add, setup, running.installation)

    def prepare(self, installation: Installation) -> None:
        """Add the callbacks to services that another loop runs, as that of a command does."""
        for setup in self._setups:
            self._add(setup, installation)

    def _add(self, setup: Setup, installation: Installation) -> None:
        before = _within.set(self._within)
        try:
            setup(installation)
        finally:
            _within.reset(before)

    def close(self) -> None:
        """Let calls under way end, close the services and their connections, and end the thread.

        Raises nothing; a call afterwards raises `AlreadyClosed`.
        """
        self._forget_unseen_parent()
        with self._lock:
            self._is_closed = True
            running, self._running = self._running, None
            if running:
                running.loop.call_soon_threadsafe(running.stop.set)
        if running and threading.current_thread() is not running.thread:
            # bounded: a process that ends must not wait for a database that does not answer
            running.thread.join(3 * END_WITHIN)

    def forget_parent(self) -> None:
        """Begin anew in a forked process, in which neither the thread nor its locks are of use."""
        if self._running:
            # kept for good: to end them would end the connections of the parent
            _of_parents.append(self._running)
        self._running, self._lock = None, threading.Lock()
        self._process = os.getpid()

    def _forget_unseen_parent(self) -> None:
        # uWSGI forks without a word to Python, unless it has py-call-osafterfork
        if self._process != os.getpid():
            with _forgetting:
                if self._process != os.getpid():
                    self.forget_parent()

    def _started(self) -> _Running:
        if self._is_closed:
            raise AlreadyClosed
        if self._running is None:
            started: Future[_Running] = Future()
            threading.Thread(
                target=lambda: asyncio.run(self._serve(started)), name="rindle-sync", daemon=True
            ).start()
            self._running = started.result()
        return self._running

    async def _serve(self, started: "Future[_Running]") -> None:
        try:
            async with self._connect() as installation:
                self.prepare(installation)
                running = _Running(
                    asyncio.get_running_loop(), installation, threading.current_thread()
                )
                started.set_result(running)
                await running.stop.wait()
                await running.end()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)


class Blocking:
    """What the services of a loop have in common: their jobs, and their end."""

    def __init__(self, background: Loop) -> None:
        self._background = background

    def start(self) -> None:
        """Run due jobs in the background of this process, until it ends or `close`.

        Call it in each process that is to do so: after a fork, not before. A process without it
        only stores what it receives, and leaves the rest to those that run. Raises
        `ConfigurationError` without credentials; later failures are logged and tried again.
        """
        self._background.start_jobs()

    def close(self) -> None:
        """Let calls under way end, and give back all connections; the end of a process does so.

        Raises nothing.
        """
        self._background.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_alive: Final[WeakSet[Background]] = WeakSet()
_of_parents: Final[list[_Running]] = []
_forgetting: Final = threading.Lock()


def _forget_parent() -> None:
    for background in list(_alive):
        background.forget_parent()


def _close_all() -> None:
    for background in list(_alive):
        with suppress(Exception):
            background.close()


if hasattr(os, "register_at_fork"):  # not on Windows, which forks nothing
    os.register_at_fork(after_in_child=_forget_parent)
atexit.register(_close_all)
