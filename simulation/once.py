"""One history from its seed, and what the laws say of it."""

import asyncio
import traceback
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import Final

from simulation.clock import VirtualLoop, chance_of, run
from simulation.draw import Plan, plan
from simulation.laws import broken, is_at_rest, is_quiet
from simulation.stores import Place, sqlite_place
from simulation.world import World, around

PATIENCE: Final = 24 * 3600.0
"""Seconds of virtual time after which a history that has not ended never will."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one seed."""

    seed: int
    digest: str
    broken: tuple[str, ...]
    entries: int
    hours: float
    seconds: float


class Database(StrEnum):
    """Where the tables are."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


def check(seed: int, database: Database = Database.SQLITE) -> tuple[Report, World]:
    """The history of a seed, and which laws it broke."""
    began, drawn = perf_counter(), plan(seed)
    with _place(database) as place:
        world = live(drawn, place)
        found = (*world.failures, *broken(world))
    history, hours = world.history, world.loop.moment / 3600
    report = Report(
        seed, history.digest(), found, len(history.entries), hours, perf_counter() - began
    )
    return report, world


def _place(database: Database) -> AbstractContextManager[Place]:
    if database is Database.SQLITE:
        return sqlite_place()
    from simulation.postgres import postgresql_place

    return postgresql_place()


def live(drawn: Plan, place: Place) -> World:
    """The history of a plan, lived through."""
    loop = VirtualLoop()
    world = World(drawn, loop, place, is_quiet, is_at_rest)
    with chance_of(drawn.seed), around(world):
        try:
            run(_whole(world), loop)
        except Exception as error:  # noqa: BLE001  a history that cannot go on is what we look for, too
            world.failures += [f"history: ended in {leaf}" for leaf in _leaves(error)]
    return world


def _leaves(error: Exception) -> list[str]:
    if isinstance(error, ExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    where = traceback.extract_tb(error.__traceback__)[-1]
    return [f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error}"[:300]]


async def _whole(world: World) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await world.run()
    finally:
        world.end()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
