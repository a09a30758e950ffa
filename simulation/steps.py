"""What happens to a host between any two of its steps.

Time passes, a fault strikes, it is killed.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from rindle_sync.store import Database
from rindle_sync.store.schema.core_engine import CoreEngine
from simulation.history import Noted, Written


class Recorder(Protocol):
    """Who notes what a host commits."""

    def note(self, written: Sequence[Written | Noted]) -> None:
        """These lines were committed."""


class Killed(Exception):
    """Raised in what is left of a killed host when the history is over."""


@dataclass(slots=True, eq=False)
class Stepping:
    """The steps of one host: each statement, each commit, each call."""

    recorder: Recorder
    chance: Random
    slow: float = 0.5
    """The chance that others go on during a step."""
    killed_in: int | None = None
    """After how many steps the host is killed."""
    failing: float = 0.0
    """The chance that the database does not do what it is asked."""
    is_alive: bool = True
    is_over: bool = False
    on_kill: list[Callable[[], None]] = field(default_factory=list)
    """What its death brings about."""
    refuses: Callable[[str], bool] = lambda _: False
    """Whether the database refuses the webhook event with this id."""
    _never: "asyncio.Future[None] | None" = None

    def step(self) -> Coroutine[Any, Any, None] | None:
        """One step: something to wait for, during which others go on, or nothing.

        A killed host waits for ever.
        """
        if self.killed_in is not None:
            self.killed_in -= 1
            if self.killed_in <= 0:
                self.kill()
        if not self.is_alive:
            return self._gone()
        return self._pause() if self.slow and self.chance.random() < self.slow else None

    async def go_on(self) -> None:
        """Take a step."""
        if waiting := self.step():
            await waiting

    def fail(self) -> None:
        """Raise what a database in trouble would, if it is."""
        if self.failing and self.chance.random() < self.failing:
            raise OperationalError("", None, sqlite3.OperationalError("disk I/O error"))

    async def _pause(self) -> None:
        await asyncio.sleep(self.chance.random() * 0.004)
        await self._gone()

    async def wait_for_lock(self) -> float:
        """Another connection writes: look again a little later; after how many seconds."""
        wait = 0.001 + self.chance.random() * 0.01
        await asyncio.sleep(wait)
        await self._gone()
        return wait

    def kill(self) -> None:
        """What is not committed is gone, and none of its tasks takes another step."""
        if not self.is_alive:
            return
        self.is_alive = False
        for consequence in self.on_kill:
            consequence()

    def committed(self, written: Sequence[Written | Noted]) -> None:
        """Note it."""
        self.recorder.note(written)

    async def _gone(self) -> None:
        if self.is_alive:
            return
        if not self.is_over:
            self._never = self._never or asyncio.get_running_loop().create_future()
            await self._never
        raise Killed


def step_through(engine: CoreEngine, host: Stepping) -> None:
    """Let `host` take a step before each statement and commit, and after each transaction."""

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def before_statement(*_: Any) -> None:
        _step(host)
        host.fail()

    @event.listens_for(engine.sync_engine, "commit")
    def before_commit(_: Any) -> None:
        _step(host)
        host.fail()

    @event.listens_for(engine.sync_engine, "checkin")
    def after_transaction(*_: Any) -> None:
        _step(host)


def _step(host: Stepping) -> None:
    waiting = host.step() or _nothing()
    if in_greenlet():
        await_only(
            waiting
        )  # even for nothing: SQLAlchemy wants to see that its driver knows to wait
    else:
        waiting.close()


async def _nothing() -> None:
    pass


def step_through_intake(database: Database, host: Stepping) -> None:
    """Let `host` take a step before and after what `Intake` runs on the driver of PostgreSQL."""
    intake: Any = database.intake
    if database.engine.dialect.name == "sqlite":
        return  # its driver is simulated

    def stepping(original: Callable[..., Any]) -> Callable[..., Any]:
        async def stepped(*arguments: Any) -> Any:
            await host.go_on()
            host.fail()
            done = await original(*arguments)
            await host.go_on()
            return done

        return stepped

    intake._insert = stepping(intake._insert)
    intake._revived = stepping(intake._revived)
