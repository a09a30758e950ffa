"""The log says that a job works again only where it does."""

import asyncio
import logging

import pytest

from rindle_sync.config import plain_settings
from rindle_sync.domain import JobKind
from rindle_sync.runtime import Runtime
from rindle_sync.runtime.engines.embedded import Embedded
from rindle_sync.telemetry import Swept
from tests.support.processes import eventually
from tests.support.world import World, a_job_runner


async def test_a_sweep_that_may_make_no_call_does_not_work_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """An open circuit ends the pass after the failure without an error, and nothing is healed."""
    caplog.set_level(logging.INFO, "rindle_sync")
    job_runner = a_job_runner(world)
    database = world.context.store.database
    runtime = Runtime([job_runner], plain_settings(), database, world.clock.now)
    engine = runtime._built(Embedded)  # noqa: SLF001  what `run` does once all is ready
    world.emulator.add_fault("unauthorized")
    await world.track()
    stop = asyncio.Event()
    running = asyncio.create_task(engine.run(stop))

    async def says(text: str) -> None:
        assert any(text in message for message in caplog.messages)

    async def has_ended_as(outcome: str) -> None:
        ended = [event.outcome for event in world.told if isinstance(event, Swept)]
        assert ended[-1:] == [outcome]

    await eventually(lambda: says("sweep: AuthenticationFailed"))
    world.told.clear()
    job_runner.wake(JobKind.SWEEP)
    await eventually(lambda: has_ended_as("refused"))
    world.emulator.clear_faults()
    assert not any("works again" in message for message in caplog.messages)

    world.clock.move(600)
    job_runner.wake(JobKind.SWEEP)
    await eventually(lambda: says("default: the sweep works again after 1 failed attempt"))
    stop.set()
    await running
