"""The engine that the settings name, over what is to be done in the environments of this process."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from rindle_sync.config import EngineName, Settings
from rindle_sync.domain import Job
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.runtime.engines.base import Distributed
from rindle_sync.runtime.engines.embedded import Embedded
from rindle_sync.runtime.heartbeat import tick_key
from rindle_sync.runtime.job_runner import JobRunner
from rindle_sync.store import AssetStore, DueJobs
from rindle_sync.store.schema.engine import conninfo

TICKS_NOTED_EVERY: Final = timedelta(seconds=15)

__all__ = ["Distributed", "celery", "extra", "procrastinate", "ready", "run"]


async def ready(settings: Settings, store: AssetStore) -> None:
    """Check that the database answers and has the tables of ours and of the engine.

    Raises `DatabaseUnavailable`, `ConfigurationError`.
    """
    await store.ping()
    if settings.engine is EngineName.PROCRASTINATE:
        conninfo(settings.database_url)
        with extra():
            from rindle_sync.runtime.engines.procrastinate import NO_TABLES, TABLE
        if not await store.has_table(TABLE):
            raise DatabaseUnavailable(NO_TABLES)


async def run(
    job_runners: Sequence[JobRunner],
    settings: Settings,
    store: AssetStore,
    stop: asyncio.Event,
    clock: Callable[[], datetime],
    *,
    process_jobs: bool = True,
) -> None:
    """Do what is due of these environments until `stop` is set; without `takes_up` only wake those who do it."""
    await ready(settings, store)
    every, drain = _pace(settings)
    if settings.engine is EngineName.PROCRASTINATE:
        with extra():
            from rindle_sync.runtime.engines.procrastinate import opened
        async with opened(conninfo(settings.database_url)) as app:
            engine = procrastinate(job_runners, settings, store, app, clock)
            await (engine.run(stop) if process_jobs else engine.forward(stop))
    elif process_jobs:
        ticked = _ticked(job_runners, clock)
        await Embedded(
            job_runners, _due(job_runners, store, clock), every=every, drain=drain, ticked=ticked
        ).run(stop)
    else:
        await stop.wait()


def procrastinate(
    job_runners: Sequence[JobRunner],
    settings: Settings,
    store: AssetStore,
    app: Any,
    clock: Callable[[], datetime],
) -> Distributed:
    """Jobs of `app`, of Procrastinate's, that do what is due of these environments."""
    with extra():
        from rindle_sync.runtime.engines.procrastinate import Procrastinate
    every, drain = _pace(settings)
    ticked = _ticked(job_runners, clock)
    return Procrastinate(
        app, job_runners, _due(job_runners, store, clock), every=every, drain=drain, ticked=ticked
    )


def celery(
    job_runners: Sequence[JobRunner],
    settings: Settings,
    store: AssetStore,
    app: Any,
    clock: Callable[[], datetime],
) -> Any:
    """Tasks of `app`, of Celery's, that do what is due of these environments."""
    with extra("celery"):
        from rindle_sync.runtime.engines.celery import CeleryEngine
    every, drain = _pace(settings)
    ticked = _ticked(job_runners, clock)
    return CeleryEngine(
        app, job_runners, _due(job_runners, store, clock), every=every, drain=drain, ticked=ticked
    )


@contextmanager
def extra(name: str = "procrastinate") -> Iterator[None]:
    """What is imported inside needs the extra of an engine; say which, where it is missing."""
    try:
        yield
    except ModuleNotFoundError:
        raise ConfigurationError(
            "engine", f"{name} needs an extra; pip install 'rindle-sync[{name}]'"
        ) from None


def _pace(settings: Settings) -> tuple[float, float]:
    """How often to look for what is due, and how long what is under way may take to end; in seconds."""
    return settings.sweep_interval_seconds, settings.provider_timeout_seconds + 5


def _due(
    job_runners: Sequence[JobRunner], store: AssetStore, clock: Callable[[], datetime]
) -> Callable[[], Awaitable[list[Job]]]:
    jobs = DueJobs(store.engine)
    by_name = {job_runner.environment: job_runner for job_runner in job_runners}

    async def due() -> list[Job]:
        moment, provider = clock(), job_runners[0].context.provider.name
        found = await jobs.due(
            provider, [job_runner.due_thresholds(moment) for job_runner in job_runners], now=moment
        )
        return [job for job in found if by_name[job.environment].can_run(job.kind)]

    return due


def _ticked(
    job_runners: Sequence[JobRunner], clock: Callable[[], datetime]
) -> Callable[[], Awaitable[None]]:
    """Note every now and then that an engine has asked what is due: it is alive."""
    context = job_runners[0].context
    noted_at: datetime | None = None

    async def ticked() -> None:
        nonlocal noted_at
        now = clock()
        if noted_at is None or not timedelta(0) <= now - noted_at < TICKS_NOTED_EVERY:
            await context.job_runs.note(tick_key(context), now)
            noted_at = now

    return ticked
