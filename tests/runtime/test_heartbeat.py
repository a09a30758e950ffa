"""A heartbeat proves an engine that sees to sweeps, and nothing less."""

import asyncio
from dataclasses import replace

from rindle_sync.config import plain_settings
from rindle_sync.domain import Job, JobKind
from rindle_sync.runtime import ChangeEvent, Runtime, last_heartbeat
from rindle_sync.runtime.engines.embedded import Embedded
from rindle_sync.runtime.engines.queued_jobs import Jobs, forward
from tests.support.callbacks import registered
from tests.support.processes import eventually
from tests.support.world import World, a_job_runner


async def test_a_process_that_only_calls_callbacks_has_no_heartbeat(world: World) -> None:
    """It would hide for ever that the workers, which sweep, are dead."""
    called = asyncio.Event()

    async def on_change(_: ChangeEvent) -> None:
        called.set()

    async def queue(_: Job | str) -> None:
        pass

    job_runner = replace(a_job_runner(world), callbacks=registered(on_change))
    runtime = Runtime([job_runner], plain_settings(), world.context.store.database, world.clock.now)
    jobs, stop = Jobs([job_runner], runtime._due()), asyncio.Event()  # noqa: SLF001  what engines ask
    await world.track(provider_asset_id=None)
    await world.sync(await world.track())
    forwarding = asyncio.create_task(forward(jobs, queue, stop, every=0.01, drain=1))
    await asyncio.wait_for(called.wait(), 5)
    stop.set()
    await forwarding

    assert await last_heartbeat(world.context.store) is None
    assert JobKind.SWEEP in {job.kind for job in await jobs.due(passes=False)}
    assert await last_heartbeat(world.context.store) == world.clock.now()


async def test_an_engine_of_all_kinds_of_job_has_a_heartbeat(world: World) -> None:
    runtime = Runtime(
        [a_job_runner(world)], plain_settings(), world.context.store.database, world.clock.now
    )
    stop = asyncio.Event()
    engine = runtime._built(Embedded)  # noqa: SLF001  what `run` does once all is ready
    running = asyncio.create_task(engine.run(stop))

    async def is_alive() -> None:
        assert await last_heartbeat(world.context.store) == world.clock.now()

    await eventually(is_alive)
    stop.set()
    await running
