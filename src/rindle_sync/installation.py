"""All provider environments of one process, on one database: each with a service of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from rindle_sync.app import RindleSync, now
from rindle_sync.config import Settings, load_settings
from rindle_sync.diagnostics import Overview, elsewhere, overview
from rindle_sync.providers.mux import Transport
from rindle_sync.runtime import Distributed, JobRunner, celery, extra, procrastinate, ready, run
from rindle_sync.store import AssetStore
from rindle_sync.store.schema.engine import open_engine
from rindle_sync.telemetry import Listener, Telemetry, log_event
from rindle_sync.webhooks import App, at_paths


class Installation(Mapping[str, RindleSync]):
    """The services by the names of their environments; made by `connect_all`."""

    def __init__(
        self,
        settings: Settings,
        services: Mapping[str, RindleSync],
        store: AssetStore,
        clock: Callable[[], datetime],
    ):
        self._clock = clock
        self.settings = settings
        self.store = store
        self._services = services

    def __getitem__(self, environment: str) -> RindleSync:
        return self._services[environment]

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)

    @property
    def job_runners(self) -> list[JobRunner]:
        """What is to be done in each environment."""
        return [service.job_runner for service in self.values()]

    async def migrate(self) -> tuple[str | None, str]:
        """Create or migrate the tables, and what the engine needs; the revision before and after."""
        return await next(iter(self.values())).migrate()

    async def ready(self) -> None:
        """Check that the database answers and has all tables; raises `DatabaseUnavailable`, `ConfigurationError`."""
        await ready(self.settings, self.store)

    async def run(self, stop: asyncio.Event, *, process_jobs: bool = True) -> None:
        """Do what is due in every environment until `stop` is set; without `takes_up` only wake those who do it.

        Raises `ConfigurationError` where none has credentials, `DatabaseUnavailable` without our tables.
        """
        if process_jobs:
            self.without_token()
        await run(
            self.job_runners,
            self.settings,
            self.store,
            stop,
            self._clock,
            process_jobs=process_jobs,
        )

    def without_token(self) -> list[str]:
        """The environments that cannot be looked at, since no token is set; raises `ConfigurationError` if none can."""
        without = [service for service in self.values() if not service.settings.has_token]
        if len(without) == len(self):
            without[0].settings.token()
        return [service.settings.environment for service in without]

    async def overview(self) -> list[Overview]:
        """How the rows of each environment stand, in a few statements for all."""
        return await overview([service.context for service in self.values()])

    async def elsewhere(self, overviews: Sequence[Overview]) -> dict[str, int]:
        """How many rows there are of environments that the settings do not name, where one of ours has none."""
        if all(one.rows for one in overviews):
            return {}
        return await elsewhere(
            next(iter(self.values())).context, {*self, *self.settings.environments}
        )

    def procrastinate(self, app: Any) -> Distributed:
        """Our jobs on an app of Procrastinate's that you have; it stays yours to open and to close."""
        return procrastinate(self.job_runners, self.settings, self.store, app, self._clock)

    def celery(self, app: Any) -> Any:
        """Our tasks on an app of Celery's that you have, for a process that makes them and does none."""
        return celery(self.job_runners, self.settings, self.store, app, self._clock)

    def webhooks(self, path: str) -> App:
        """The endpoints of all environments: at `path` if there is one alone, else at `path`/<environment>."""
        many = bool(self.settings.environments)
        return at_paths(
            {path + f"/{name}" * many: service.webhooks for name, service in self.items()}
        )


@asynccontextmanager
async def connect_all(
    settings: Settings | None = None,
    *,
    listeners: Sequence[Listener] = (),
    transports: Callable[[str], Transport | None] = lambda _: None,
    clock: Callable[[], datetime] = now,
) -> AsyncIterator[Installation]:
    """The services of all environments in `settings` (default: those of this process).

    `transports` gives what replaces the network in tests, for the name of an environment.
    """
    settings = settings or load_settings()
    engine = open_engine(settings.database_url)
    services = {
        name: RindleSync(
            its,
            AssetStore(engine),
            Telemetry(log_event, *listeners, environment=name),
            transports(name),
            clock,
        )
        for name, its in settings.each().items()
    }
    try:
        yield Installation(settings, services, AssetStore(engine), clock)
    finally:
        for service in services.values():
            await service.close()
        await engine.dispose()


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
    with extra("celery"):
        from rindle_sync.runtime.engines.celery import add_tasks
    settings = settings or load_settings()

    @asynccontextmanager
    async def connecting() -> AsyncIterator[Any]:
        async with connect_all(settings, listeners=listeners) as installation:
            prepare(installation)
            yield installation.celery(app)

    add_tasks(app, connecting, every=settings.sweep_interval_seconds)
