"""The endpoint that settings alone make, and what a process does of itself once it is there."""

import asyncio
from dataclasses import replace

import sqlalchemy as sa

from rindle_sync.domain import (
    ANSWERED_GONE,
    OF_SETTINGS,
    REMOVED_FROM_SETTINGS,
    JobKind,
    OutgoingEndpoint,
    OutgoingSettings,
    State,
)
from rindle_sync.runtime import JobRunner
from rindle_sync.runtime.due import DueQuery
from rindle_sync.runtime.engines.embedded import Embedded
from rindle_sync.runtime.outgoing.endpoints import apply_settings
from rindle_sync.runtime.outgoing.signature import new_secret
from tests.runtime.test_dispatch import a_row_that_went_through
from tests.support.app_endpoint import an_endpoint
from tests.support.processes import eventually
from tests.support.world import World, a_job_runner

SETTINGS = OutgoingSettings(
    url="https://app.example.com/secretpath0001", secrets=(new_secret(),), types=("asset.ready",)
)


async def applied(world: World, settings: OutgoingSettings | None) -> OutgoingEndpoint | None:
    store = world.context.store
    await apply_settings(store, settings, world.clock.now())
    return await store.outgoing_endpoints.get(OF_SETTINGS)


async def test_the_endpoint_is_made_and_the_feed_is_on(world: World) -> None:
    made = await applied(world, SETTINGS)

    assert made
    assert (made.url, made.types) == (SETTINGS.url, SETTINGS.types)
    assert await world.context.store.change_feed.is_on()
    assert await applied(world, SETTINGS) == made
    assert "secretpath" not in repr(SETTINGS) + repr(made)


async def test_it_follows_the_settings(world: World) -> None:
    made = await applied(world, SETTINGS)
    two = (new_secret(), *SETTINGS.secrets)
    changed = await applied(world, replace(SETTINGS, secrets=two, types=()))

    assert made
    assert changed
    assert changed.id == made.id
    assert changed.signing_secrets(world.clock.now()) == list(two)
    assert changed.types == ()


async def test_it_is_disabled_without_settings_and_comes_back_with_them(world: World) -> None:
    assert await applied(world, None) is None
    await applied(world, SETTINGS)
    removed = await applied(world, None)
    back = await applied(world, SETTINGS)

    assert removed
    assert removed.health.disabled_reason == REMOVED_FROM_SETTINGS
    assert back
    assert back.is_enabled


async def test_one_that_its_app_does_not_want_stays_disabled_until_its_url_is_new(
    world: World,
) -> None:
    await applied(world, SETTINGS)
    endpoints = world.context.store.outgoing_endpoints
    await endpoints.disable(OF_SETTINGS, world.clock.now(), ANSWERED_GONE)

    same = await applied(world, SETTINGS)
    other = await applied(world, replace(SETTINGS, url="https://other.example.com/"))

    assert same
    assert not same.is_enabled
    assert other
    assert other.is_enabled


async def test_an_engine_publishes_and_delivers_what_this_process_writes(world: World) -> None:
    async with an_endpoint() as app:
        settings = OutgoingSettings(
            url=app.url, secrets=(new_secret(),), types=(), allow_private=True
        )
        runner = replace_outgoing(a_job_runner(world), settings)
        world.context.telemetry.listen(runner.handle)
        due = DueQuery(world.context.store.database, [runner], world.clock.now, every=0.05)
        engine, stop = Embedded([runner], due, every=0.05, drain=1), asyncio.Event()
        running = asyncio.create_task(engine.run(stop))

        async def is_set_up() -> None:
            assert await world.context.store.change_feed.is_on()

        await eventually(is_set_up)
        async with asyncio.timeout(20):
            await a_row_that_went_through(world, State.PROCESSING, State.READY)
            await app.has_received(2)
        stop.set()
        await running
        await runner.close()

    assert app.types == ["asset.processing", "asset.ready"]


def replace_outgoing(runner: JobRunner, settings: OutgoingSettings) -> JobRunner:
    return replace(runner, outgoing=settings)


async def test_where_nobody_follows_a_change_wakes_no_job_for_it(world: World) -> None:
    runner = a_job_runner(world)
    due = DueQuery(world.context.store.database, [runner], world.clock.now, every=1)
    await due()
    told = []

    @sa.event.listens_for(world.context.store.database.engine.sync_engine, "before_cursor_execute")
    def count(_: object, __: object, statement: str, *___: object) -> None:
        told.append(statement)

    world.context.telemetry.listen(runner.handle)
    await world.track()
    await world.sweep()
    without, woken = len(told), set(runner.woken)
    await world.context.store.change_feed.turn_on()
    await due()
    runner.woken.clear()
    told.clear()
    await world.track()
    await world.sweep()

    assert JobKind.PUBLISH not in woken
    assert JobKind.PUBLISH in runner.woken
    assert len(told) <= without


async def test_processes_that_start_at_once_make_one_endpoint(world: World) -> None:
    store, now = world.context.store, world.clock.now()
    await asyncio.gather(*(apply_settings(store, SETTINGS, now) for _ in range(5)))

    [made] = await store.outgoing_endpoints.list()
    assert (made.name, made.url) == (OF_SETTINGS, SETTINGS.url)
