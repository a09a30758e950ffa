"""The engine that the settings name, over the jobs of the environments of this process."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from rindle_sync.config import EngineName, Settings
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.runtime.due import DueQuery
from rindle_sync.runtime.engines.base import Distributed, Due
from rindle_sync.runtime.engines.embedded import Embedded
from rindle_sync.runtime.engines.loop import ended_well
from rindle_sync.runtime.job_runner import JobRunner
from rindle_sync.store import Database
from rindle_sync.store.revisions import is_newer, revisions
from rindle_sync.store.schema import conninfo

_log: Final = logging.getLogger("rindle_sync")

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Runtime:
    """The jobs of environments on one database, and the engine that the settings name."""

    job_runners: Sequence[JobRunner]
    settings: Settings
    database: Database
    now: Callable[[], datetime]

    async def check_ready(self) -> None:
        """Check that the database answers, and has the tables of the service and its engine.

        Raises `DatabaseUnavailable`, `ConfigurationError`.
        """
        await self.database.ping()
        at, newest = await revisions(self.database.engine)
        # on newer tables the version before goes on, while its processes are restarted
        if at not in {None, newest} and not is_newer(at):
            text = f"the tables are at {at}, and {newest} is the newest: run `rindle-sync migrate`"
            raise DatabaseUnavailable(text)
        if self.settings.engine is EngineName.PROCRASTINATE:
            conninfo(self.settings.database_url)
            with extra():
                from rindle_sync.runtime.engines.procrastinate import NO_TABLES, TABLE
            if not await self.database.has_table(TABLE):
                raise DatabaseUnavailable(NO_TABLES)

    async def run(self, stop: asyncio.Event, *, process_jobs: bool = True) -> None:
        """Run due jobs until `stop` is set; without `process_jobs` only wake other processes."""
        await self.check_ready()
        trying = asyncio.create_task(_try_tokens(self.job_runners if process_jobs else ()))
        try:
            await self._run(stop, process_jobs=process_jobs)
        finally:
            trying.cancel()
            await asyncio.wait({trying})

    async def _run(self, stop: asyncio.Event, *, process_jobs: bool) -> None:
        if self.settings.engine is EngineName.PROCRASTINATE:
            with extra():
                from rindle_sync.runtime.engines.procrastinate import opened
            settings = self.settings
            async with opened(
                conninfo(settings.database_url), schema=settings.database_schema
            ) as app:
                engine = self.procrastinate(app)
                await (engine.run(stop) if process_jobs else engine.forward(stop))
        elif process_jobs:
            await self._built(Embedded).run(stop)
        else:
            await stop.wait()

    def procrastinate(self, app: Any) -> Distributed:
        """The engine on an app of Procrastinate's."""
        with extra():
            from rindle_sync.runtime.engines.procrastinate import Procrastinate
        return self._built(Procrastinate, app)

    def celery(self, app: Any) -> Any:
        """The engine on an app of Celery's."""
        with extra("celery"):
            from rindle_sync.runtime.engines.celery import CeleryEngine
        return self._built(CeleryEngine, app)

    def _built(self, engine: Callable[..., E], *app: Any) -> E:
        """An engine over these jobs, with the timing of the settings."""
        settings = self.settings
        every, drain = settings.sweep_interval_seconds, settings.provider_timeout_seconds + 5
        return engine(*app, self.job_runners, self._due(), every=every, drain=drain)

    def _due(self) -> Due:
        every = self.settings.sweep_interval_seconds
        return DueQuery(self.database, self.job_runners, self.now, every=every)


async def _try_tokens(job_runners: Sequence[JobRunner]) -> None:
    """Log whether the provider accepts each token, so that a wrong one shows at the start."""
    able = [runner for runner in job_runners if runner.context.gateway.has_token]
    # at once: a provider that does not answer about one must not hold up the others, or the stop
    await asyncio.gather(*(ended_well(_try_token(runner), runner.environment) for runner in able))


async def _try_token(job_runner: JobRunner) -> None:
    gateway, name = job_runner.context.gateway, job_runner.environment
    failure = await gateway.verify_identity()
    if failure:
        _log.warning("%s: whether the token is accepted is not known yet: %s", name, failure.text)
    else:
        _log.info("%s: %s accepts the token", name, gateway.provider.name)


@contextmanager
def extra(name: str = "procrastinate") -> Iterator[None]:
    """Say which extra to install where an import inside fails."""
    try:
        yield
    except ModuleNotFoundError:
        text = f"{name} needs an extra; pip install 'rindle-sync[{name}]'"
        raise ConfigurationError("engine", text) from None
