"""The service in an app of Starlette's, or of a framework that is built on it.

rindle = StarletteRindle()
app = Starlette(routes=[rindle.route(), ...], lifespan=rindle.lifespan)
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

from starlette.routing import Route

from rindle_sync.app import RindleSync, connect, now
from rindle_sync.config import Settings
from rindle_sync.errors import NotStarted
from rindle_sync.integrations.background_jobs import start_jobs
from rindle_sync.providers import Transport
from rindle_sync.telemetry import Listener
from rindle_sync.webhooks import App, Receive, Scope, Send, nowhere, try_again

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]
"""A lifespan as Starlette takes it: called with the app; what it yields is the state, or None."""

Setup = TypeVar("Setup", bound=Callable[[RindleSync], object])


class StarletteRindle:
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

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
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

    def route(self, path: str = "/webhooks/{provider}") -> Route:
        """The webhook endpoint at exactly `path`, for `routes` of the app.

        While no service runs, requests are answered 503 with `Retry-After`.
        """
        return Route(path, _Endpoint(self._endpoint), include_in_schema=False)

    def _endpoint(self, provider: str | None) -> App | None:
        service = self._service
        if service and provider not in {None, service.settings.provider}:
            return nowhere
        return service.webhooks if service else None


class _Endpoint:
    """An ASGI app as an object: Starlette calls a function with a request instead."""

    def __init__(self, find: Callable[[str | None], App | None]) -> None:
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._find(scope.get("path_params", {}).get("provider")) or try_again
        await endpoint(scope, receive, send)


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
