"""The engine that the settings name, over what is to be done in the environments of this process."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from rindle_sync.config import EngineName, Settings
from rindle_sync.engines.base import Distributed
from rindle_sync.engines.embedded import Embedded
from rindle_sync.errand import Errand
from rindle_sync.errors import Misconfigured, StoreUnavailable
from rindle_sync.health import tick_key
from rindle_sync.schema import conninfo
from rindle_sync.store import Errands, Store
from rindle_sync.work import Work

TICKS_NOTED_EVERY: Final = timedelta(seconds=15)

__all__ = ["Distributed", "celery", "extra", "procrastinate", "ready", "run"]


async def ready(settings: Settings, store: Store) -> None:
    """Check that the database answers and has the tables of ours and of the engine.

    Raises `StoreUnavailable`, `Misconfigured`.
    """
    await store.ping()
    if settings.engine is EngineName.PROCRASTINATE:
        conninfo(settings.database_url)
        with extra():
            from rindle_sync.engines.procrastinate import NO_TABLES, TABLE
        if not await store.has_table(TABLE):
            raise StoreUnavailable(NO_TABLES)


async def run(
    works: Sequence[Work],
    settings: Settings,
    store: Store,
    stop: asyncio.Event,
    clock: Callable[[], datetime],
    *,
    takes_up: bool = True,
) -> None:
    """Do what is due of these environments until `stop` is set; without `takes_up` only wake those who do it."""
    await ready(settings, store)
    every, drain = _pace(settings)
    if settings.engine is EngineName.PROCRASTINATE:
        with extra():
            from rindle_sync.engines.procrastinate import opened
        async with opened(conninfo(settings.database_url)) as app:
            engine = procrastinate(works, settings, store, app, clock)
            await (engine.run(stop) if takes_up else engine.forward(stop))
    elif takes_up:
        ticked = _ticked(works, clock)
        await Embedded(works, _due(works, store, clock), every=every, drain=drain, ticked=ticked).run(stop)
    else:
        await stop.wait()


def procrastinate(
    works: Sequence[Work], settings: Settings, store: Store, app: Any, clock: Callable[[], datetime]
) -> Distributed:
    """Jobs of `app`, of Procrastinate's, that do what is due of these environments."""
    with extra():
        from rindle_sync.engines.procrastinate import Procrastinate
    every, drain = _pace(settings)
    ticked = _ticked(works, clock)
    return Procrastinate(app, works, _due(works, store, clock), every=every, drain=drain, ticked=ticked)


def celery(works: Sequence[Work], settings: Settings, store: Store, app: Any, clock: Callable[[], datetime]) -> Any:
    """Tasks of `app`, of Celery's, that do what is due of these environments."""
    with extra("celery"):
        from rindle_sync.engines.celery import CeleryEngine
    every, drain = _pace(settings)
    ticked = _ticked(works, clock)
    return CeleryEngine(app, works, _due(works, store, clock), every=every, drain=drain, ticked=ticked)


@contextmanager
def extra(name: str = "procrastinate") -> Iterator[None]:
    """What is imported inside needs the extra of an engine; say which, where it is missing."""
    try:
        yield
    except ModuleNotFoundError:
        raise Misconfigured("engine", f"{name} needs an extra; pip install 'rindle-sync[{name}]'") from None


def _pace(settings: Settings) -> tuple[float, float]:
    """How often to look for what is due, and how long what is under way may take to end; in seconds."""
    return settings.sweep_interval_seconds, settings.provider_timeout_seconds + 5


def _due(works: Sequence[Work], store: Store, clock: Callable[[], datetime]) -> Callable[[], Awaitable[list[Errand]]]:
    errands = Errands(store.engine)
    by_name = {work.environment: work for work in works}

    async def due() -> list[Errand]:
        moment, provider = clock(), works[0].tools.provider.name
        found = await errands.due(provider, [work.watch(moment) for work in works], now=moment)
        return [errand for errand in found if by_name[errand.environment].does(errand.step)]

    return due


def _ticked(works: Sequence[Work], clock: Callable[[], datetime]) -> Callable[[], Awaitable[None]]:
    """Note every now and then that an engine has asked what is due: it is alive."""
    tools = works[0].tools
    noted_at: datetime | None = None

    async def ticked() -> None:
        nonlocal noted_at
        now = clock()
        if noted_at is None or not timedelta(0) <= now - noted_at < TICKS_NOTED_EVERY:
            await tools.passes.note(tick_key(tools), now)
            noted_at = now

    return ticked
