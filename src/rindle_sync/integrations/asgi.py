"""The service in an ASGI app of any maker: its lifespan, its webhook endpoint, and its jobs.

rindle = AsgiRindle()

async def app(scope, receive, send):
    if scope["type"] == "lifespan" or scope["path"] == "/webhooks/mux":
        await rindle.asgi(scope, receive, send)
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

from rindle_sync.app import RindleSync, connect, now
from rindle_sync.config import Settings, check_is_of_test
from rindle_sync.errors import NotStarted, RindleSyncError
from rindle_sync.integrations.background_jobs import start_jobs
from rindle_sync.providers import Transport
from rindle_sync.telemetry import Listener
from rindle_sync.webhooks import App, Receive, Scope, Send, try_again

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]
"""A lifespan as Starlette takes it: called with the app; what it yields is the state, or None."""

Setup = TypeVar("Setup", bound=Callable[[RindleSync], object])


class AsgiRindle:
    """The service beside an app: make it where you make the app; it connects with the lifespan.

    With `migrate` the tables are created or migrated at each start; with `run_jobs` the process
    checks rows, applies webhook events and dispatches changes, as `rindle-sync run` does. Several
    processes with it are safe. `settings` are by default those of the process, read at the start.
    `transport` replaces the network in tests, and `clock` the time, in UTC.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        listeners: Sequence[Listener] = (),
        transport: Transport | None = None,
        clock: Callable[[], datetime] = now,
        migrate: bool = True,
        run_jobs: bool = True,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._transport = transport
        self._clock = clock
        self._migrate = migrate
        self._run_jobs = run_jobs
        self._setups: list[Callable[[RindleSync], object]] = []
        self._service: RindleSync | None = None

    @property
    def running(self) -> RindleSync:
        """The service that runs; raises `NotStarted` outside the lifespan."""
        if self._service is None:
            raise NotStarted
        return self._service

    def on_start(self, setup: Setup) -> Setup:
        """Have `setup` called with each service before its jobs run, to add callbacks."""
        self._setups.append(setup)
        return setup

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[Mapping[str, Any]]:
        """The lifespan of an app that has no other. Raises `ConfigurationError`."""
        async with self.around(_nothing)(app) as state:
            yield state

    def around(self, lifespan: Lifespan) -> Lifespan:
        """A lifespan in which that of the app runs, and may use `running`; its state is kept."""

        @asynccontextmanager
        async def both(app: Any) -> AsyncIterator[Mapping[str, Any]]:
            async with self._connected(), lifespan(app) as state:
                yield dict(state or {})

        return both

    async def serving(self) -> AsyncIterator[None]:
        """The lifespan as a generator, as `while_serving` of Quart takes it."""
        async with self._connected():
            yield

    async def asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The lifespan of an app without a framework, or one request at the webhook endpoint.

        While no service runs, requests are answered 503 with `Retry-After`.
        """
        if scope["type"] == "lifespan":
            await self._serve_lifespan(receive, send)
        else:
            endpoint: App = self._service.webhooks if self._service else try_again
            await endpoint(scope, receive, send)

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        # https://asgi.readthedocs.io/en/latest/specs/lifespan.html
        has_started = False
        await receive()
        try:
            async with self.lifespan(None):
                has_started = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            phase = "shutdown" if has_started else "startup"
            await send({"type": f"lifespan.{phase}.failed", "message": str(error)})
            if isinstance(error, RindleSyncError):
                return  # the server shows the sentence; a traceback says nothing more
            raise
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        if self._settings:
            check_is_of_test(self._settings)
        connecting = connect(
            self._settings, listeners=self._listeners, transport=self._transport, clock=self._clock
        )
        async with connecting as service:
            if self._migrate:
                await service.migrate()
            for setup in self._setups:
                setup(service)
            self._service = service
            try:
                if self._run_jobs:
                    async with _at_work(service):
                        yield
                else:
                    yield
            finally:
                self._service = None


@asynccontextmanager
async def _nothing(_app: Any) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _at_work(service: RindleSync) -> AsyncIterator[None]:
    """The jobs run until the end of the block, which waits for what is under way."""
    service.settings.account.check_credentials()
    stop = asyncio.Event()
    jobs = start_jobs(service.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait({jobs})
