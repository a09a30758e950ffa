"""One process of the service on a host with its own clock, network, connections and death."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, Protocol, TypeVar

import httpx

from rindle_sync.app import RindleSync
from rindle_sync.config import Settings
from rindle_sync.runtime import ChangeEvent
from rindle_sync.runtime.outgoing.client import OutgoingClient
from rindle_sync.runtime.outgoing.deliver import Deliveries
from rindle_sync.store import Database
from rindle_sync.store.schema.core_engine import CoreEngine
from rindle_sync.telemetry import Event, EventLog
from simulation.history import Noted, Written
from simulation.steps import Stepping, step_through_intake

Answer = TypeVar("Answer")


class HostDied(Exception):
    """The host was killed before it answered."""


_WAYS: Final = (
    ("asset", "GET", "/video/v1/assets/[^/]+"),
    ("list", "GET", "/video/v1/assets"),
    ("upload", "GET", "/video/v1/uploads/[^/]+"),
    ("whoami", "GET", "/system/v1/whoami"),
    ("create_upload", "POST", "/video/v1/uploads"),
    ("cancel_upload", "PUT", "/video/v1/uploads/[^/]+/cancel"),
    ("create_asset", "POST", "/video/v1/assets"),
    ("delete_asset", "DELETE", "/video/v1/assets/[^/]+"),
)


class CallbackFailed(Exception):
    """What a callback of the app may raise."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A callback was called."""

    row_id: str
    version: int
    failed: bool

    def __str__(self) -> str:
        return f"announces {self.row_id} v{self.version}{' in vain' if self.failed else ''}"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that reached the provider."""

    method: str
    path: str
    status: int
    left_at: float

    @property
    def way(self) -> str:
        """What was asked, in the word of the events."""
        return next(
            way
            for way, method, path in _WAYS
            if self.method == method and re.fullmatch(path, self.path)
        )

    def __str__(self) -> str:
        return f"calls {self.method} {self.path}: {self.status}"


class Surroundings(Protocol):
    """What a host meets of the world."""

    def note(self, host: str, what: Any) -> None:
        """Add to the history."""

    def moment(self) -> datetime:
        """The true time."""

    def clock_off(self) -> timedelta:
        """How far the clocks of all hosts are off now."""

    def network_fails(self) -> bool:
        """Whether this call does not get through."""

    def provider(self) -> httpx.AsyncBaseTransport:
        """Who answers the calls of a host that starts now."""

    def refuses(self, event_id: str) -> bool:
        """Whether the database refuses this webhook event."""

    def callback_fails(self) -> bool:
        """Whether the app's callback fails now."""

    def page_size(self) -> int:
        """How many assets a list page holds."""

    def way_to_apps(self, host: "Host") -> OutgoingClient:
        """How outgoing webhooks of a host reach the apps."""


@dataclass(slots=True, eq=False)
class Host:
    """A process, from its start to its end."""

    name: str
    skew: timedelta
    around: Surroundings
    chance: Random
    stepping: Stepping = field(init=False)
    rindle: RindleSync = field(init=False)
    tasks: set["asyncio.Task[Any]"] = field(default_factory=set)
    died: asyncio.Event = field(default_factory=asyncio.Event)
    died_at: float | None = None
    serving: "asyncio.Task[None] | None" = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, settings: Settings, open_engine: Callable[[Stepping], CoreEngine]) -> None:
        """Begin to exist, without running anything yet."""
        self.stepping = Stepping(self, self.chance, refuses=self.around.refuses)
        self.stepping.on_kill.append(self._killed)
        database = Database(open_engine(self.stepping))
        step_through_intake(database, self.stepping)
        listeners = (self._emitted, EventLog())
        self.rindle = RindleSync(settings, database, listeners, Network(self), self.now)
        self.rindle.on_change(self._announced)
        provider: Any = self.rindle.context.gateway.provider
        provider.page_size = self.around.page_size()
        context = self.rindle.context
        self.rindle.job_runner.send_with(Deliveries(context, self.around.way_to_apps(self)))

    def serve(self) -> None:
        """Run the service."""
        self.serving = self.spawn(self._served())

    async def _served(self) -> None:
        while (
            not self._stop.is_set()
        ):  # as a supervisor would: one that ends at once is begun again
            try:
                await self.rindle.run(self._stop)
            except* Exception as group:  # noqa: BLE001
                await self.stepping.go_on()
                self.around.note(
                    self.name, f"ends with {[type(e).__name__ for e in group.exceptions]}"
                )
                await asyncio.sleep(5)

    async def stop(self) -> None:
        """End as on SIGTERM."""
        self._stop.set()
        if self.tasks:
            await asyncio.wait(self.tasks)

    @property
    def is_troubled(self) -> bool:
        """Whether its database fails now and then, or it is about to end."""
        return bool(self.stepping.failing) or self._stop.is_set()

    @property
    def is_alive(self) -> bool:
        """Whether it was not killed."""
        return self.stepping.is_alive

    def now(self) -> datetime:
        """What the clock of this host shows."""
        return self.around.moment() + self.skew + self.around.clock_off()

    def spawn(self, work: Coroutine[Any, Any, Answer]) -> "asyncio.Task[Answer]":
        """Run `work` on this host: it dies with it."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def ask(self, work: Callable[[RindleSync], Awaitable[Answer]]) -> Answer:
        """What `work` comes to on this host; raises `HostDied` if that is never known."""
        task, death = (
            self.spawn(_awaited(work(self.rindle))),
            asyncio.ensure_future(self.died.wait()),
        )
        await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if not task.done() or task.cancelled():
            raise HostDied
        return task.result()

    def note(self, written: Sequence[Written | Noted]) -> None:
        """What was committed."""
        for line in written:
            self.around.note(self.name, line)

    def _killed(self) -> None:
        self.around.note(self.name, "is killed")
        self.died_at = asyncio.get_running_loop().time()
        self.died.set()
        for task in self.tasks:  # what it still had to do hangs at its next step, or ends
            asyncio.get_running_loop().call_soon(task.cancel)

    def _emitted(self, event: Event) -> None:
        if self.is_alive:
            self.around.note(self.name, event)

    async def _announced(self, changed: ChangeEvent) -> None:
        await asyncio.sleep(self.chance.random() * 0.05)
        if self.is_alive:
            fails = self.around.callback_fails()
            self.around.note(
                self.name, Announced(changed.change.row_id, changed.change.version, fails)
            )
            if fails:
                raise CallbackFailed


async def _awaited(work: Awaitable[Answer]) -> Answer:
    return await work


class Network(httpx.AsyncBaseTransport):
    """The way from a host to the provider and back."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._provider = host.around.provider()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one call, if nothing happens to it."""
        host, around = self._host, self._host.around
        left_at = around.moment().timestamp()
        await host.stepping.go_on()
        await asyncio.sleep(_way(host.chance))
        if around.network_fails():
            raise httpx.ConnectError("no route")
        response = await self._provider.handle_async_request(request)
        around.note(
            host.name, Call(request.method, request.url.path, response.status_code, left_at)
        )
        await asyncio.sleep(_way(host.chance))
        if around.network_fails():
            raise httpx.ReadError("connection lost")
        await host.stepping.go_on()
        return response


def _way(chance: Random) -> float:
    """How long a message is under way, in seconds: short, and now and then very long."""
    return float(0.005 * 2.0 ** chance.uniform(0, 9))
