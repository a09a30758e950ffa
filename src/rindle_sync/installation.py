"""All provider environments of one process, on one database: each with a service of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rindle_sync.app import RindleSync, http_api, no_environment, now, only_environment
from rindle_sync.config import Settings, load_settings
from rindle_sync.providers import Transport
from rindle_sync.reconcile import Context
from rindle_sync.runtime import Runnable
from rindle_sync.store import Database
from rindle_sync.store.schema import open_engine
from rindle_sync.telemetry import EventLog, Listener

if TYPE_CHECKING:
    from rindle_sync.diagnostics import Overview
    from rindle_sync.diagnostics.doctor import Diagnosis
    from rindle_sync.runtime import Runtime
    from rindle_sync.web.api.app import Api
    from rindle_sync.webhooks import App


class Installation(Runnable, Mapping[str, RindleSync]):
    """The services by the names of their environments; made by `connect_all`."""

    def __init__(
        self,
        settings: Settings,
        services: Mapping[str, RindleSync],
        database: Database,
        clock: Callable[[], datetime],
    ):
        self.settings = settings
        self.database = database
        self._services = services
        self._now = clock
        self._api: Api | None = None

    def __getitem__(self, environment: str) -> RindleSync:
        return self._services[environment]

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)

    def of(self, environment: str) -> RindleSync:
        """The service of one environment, by its name.

        Raises `ConfigurationError`. It names those there are; `installation[environment]` has a
        `KeyError`, as each mapping.
        """
        if environment not in self._services:
            raise no_environment(environment, self)
        return self._services[environment]

    @property
    def any_service(self) -> RindleSync:
        """One of the services, for what they have in common."""
        return next(iter(self.values()))

    @property
    def sole_environment(self) -> RindleSync:
        """The service, where the settings name one environment; raises `ConfigurationError`."""
        return self[only_environment(self)]

    @property
    def contexts(self) -> list[Context]:
        """What reconciling each environment needs."""
        return [service.context for service in self.values()]

    @property
    def runtime(self) -> Runtime:
        """The jobs of all environments, and how they are run."""
        from rindle_sync.runtime import Runtime

        job_runners = [service.job_runner for service in self.values()]
        return Runtime(job_runners, self.settings, self.database, self._now)

    async def run(self, stop: asyncio.Event, *, process_jobs: bool = True) -> None:
        """Run due jobs of every environment until `stop` is set.

        Without `process_jobs` this process only wakes those who run them. Raises
        `ConfigurationError` where none has credentials, `DatabaseUnavailable` without our tables.
        """
        if process_jobs:
            self.without_token()
        await self.runtime.run(stop, process_jobs=process_jobs)

    def without_token(self) -> list[str]:
        """The environments whose rows cannot be checked, since no token is set.

        Raises `ConfigurationError` if none can be.
        """
        without = [service for service in self.values() if not service.context.gateway.has_token]
        if len(without) == len(self):
            without[0].settings.account.check_credentials()
        return [service.settings.environment for service in without]

    async def overview(self) -> list[Overview]:
        """How the rows of each environment stand, in a few statements for all.

        Raises `DatabaseUnavailable`.
        """
        from rindle_sync.diagnostics import overview

        return await overview(self.contexts)

    async def elsewhere(self, overviews: Sequence[Overview]) -> dict[str, int]:
        """The number of rows of environments that no setting names, where one of ours has none.

        Raises `DatabaseUnavailable`.
        """
        from rindle_sync.diagnostics import elsewhere

        return await elsewhere(self.contexts, overviews, self.settings.environments)

    async def doctor(self, *, ping: bool = False, endpoint: str | None = None) -> Diagnosis:
        """Check settings, database and engine; calls the provider only with `ping`.

        `endpoint` is the address of a webhook endpoint, which gets a delivery signed here. Raises
        `ConfigurationError` where it is no address.
        """
        from rindle_sync.diagnostics.doctor import examine

        return await examine(
            self.settings, self.contexts, self.database, ping=ping, endpoint=endpoint
        )

    def celery(self, app: Any) -> Any:
        """Our tasks on an app of Celery's, for a process that sends them and runs none.

        Raises `ConfigurationError` without the extra.
        """
        return self.runtime.celery(app)

    def api(self) -> Api:
        """The HTTP API of all environments, an ASGI app to mount at any path.

        It is one, however often it is asked for, and ends with the installation. Raises
        `ConfigurationError` without the extra `api`.
        """
        if self._api is None:
            self._api = http_api(self, self.settings)
        return self._api

    async def finish(self) -> None:
        """Let go of all but the database. Raises nothing."""
        if self._api is not None:
            await self._api.close()
        for service in self.values():
            await service.finish()

    def webhooks(self, path: str) -> App:
        """The webhook endpoints of all environments.

        At `path` where there is one environment alone, else at `path`/<environment>. The provider's
        name replaces `{provider}` in it. Raises nothing.
        """
        from rindle_sync.webhooks import at_paths

        many = bool(self.settings.environments)
        apps = {}
        for name, service in self.items():
            at = path.replace("{provider}", service.settings.provider)
            apps[at + f"/{name}" * many] = service.webhooks
        return at_paths(apps)


@asynccontextmanager
async def connect_all(
    settings: Settings | None = None,
    *,
    listeners: Sequence[Listener] = (),
    transports: Callable[[str], Transport | None] = lambda _: None,
    clock: Callable[[], datetime] = now,
    keep_connections: bool = True,
) -> AsyncIterator[Installation]:
    """The services of all environments in `settings` (default: those of this process).

    `transports` gives what replaces the network in tests, for the name of an environment; `clock`
    replaces the time, in UTC. Without `keep_connections` no connection to the database is kept open
    between calls. Raises `ConfigurationError`.
    """
    settings = settings or load_settings()
    engine = open_engine(
        settings.database_url, schema=settings.database_schema, keep_connections=keep_connections
    )
    database = Database(engine)
    services = {}
    hearing: tuple[Listener, ...] = (EventLog(), *listeners)
    for name, own in settings.each().items():
        services[name] = RindleSync(own, database, hearing, transports(name), clock)
    installation = Installation(settings, services, database, clock)
    try:
        yield installation
    finally:
        await installation.finish()
        await database.close()


def add_celery_tasks(
    app: Any,
    settings: Settings | None = None,
    *,
    listeners: Sequence[Listener] = (),
    prepare: Callable[[Installation], None] = lambda _: None,
) -> None:
    """Give an app of Celery's that you have our tasks, and its beat our tick.

    Each worker process connects with its first task; `prepare` is called there, to add callbacks.
    """
    from rindle_sync.runtime import extra

    with extra("celery"):
        from rindle_sync.runtime.engines.celery import add_tasks
    settings = settings or load_settings()

    @asynccontextmanager
    async def connecting() -> AsyncIterator[Any]:
        async with connect_all(settings, listeners=listeners) as installation:
            prepare(installation)
            yield installation.celery(app)

    add_tasks(app, connecting, every=settings.sweep_interval_seconds)
