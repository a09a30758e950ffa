"""How long a job goes on, and when the engines are told of it."""

import asyncio
import json
from datetime import timedelta
from uuid import uuid4

import pytest

from rindle_sync.domain import EventStatus, JobKind, replace
from rindle_sync.runtime.job_runner import waking
from rindle_sync.telemetry import Event
from rindle_sync.webhooks import BATCH, process_pending
from tests.support.rows import NOW, a_row
from tests.support.webhooks import a_kept_notice, an_event
from tests.support.world import World, a_job_runner


async def store_events(world: World, number: int) -> None:
    storing = []
    for _ in range(number):
        event = a_kept_notice(a_row(provider_asset_id=uuid4().hex), NOW)
        own = replace(event, id=str(uuid4()), event_id=str(uuid4()))
        storing.append(world.context.store.inbox.storing(own))
    await asyncio.gather(*storing)


async def untried(world: World) -> int:
    found = await world.context.store.inbox.list(status=EventStatus.PENDING, limit=1000)
    return [summary.attempts for summary in found].count(0)


async def test_all_that_waits_is_processed_while_nothing_comes(world: World) -> None:
    await store_events(world, 2 * BATCH + 1)
    job_runner = a_job_runner(world)

    await job_runner.run(JobKind.PROCESS_WEBHOOK_EVENTS)

    assert await untried(world) == 0
    assert not job_runner.has_backlog


async def test_a_batch_is_processed_while_more_comes_which_is_answered_first(world: World) -> None:
    await store_events(world, 2 * BATCH + 1)
    job_runner = a_job_runner(world)
    job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)

    await job_runner.run(JobKind.PROCESS_WEBHOOK_EVENTS)

    assert await untried(world) == BATCH + 1
    assert job_runner.has_backlog


async def test_events_of_one_row_are_applied_in_their_order_across_batches(world: World) -> None:
    """The next batch is leased while one is applied, and read only after it."""
    row = await world.track()
    began, number = NOW - timedelta(hours=1), 2 * BATCH
    storing = []
    for place in range(number):
        occurred_at = began + place * timedelta(seconds=1)
        title = {"title": f"title {place}"}
        body = an_event(row, "video.asset.updated", at=occurred_at.isoformat(), meta=title)
        own = replace(
            a_kept_notice(row, occurred_at),
            event_id=body["id"],
            type=body["type"],
            body=json.dumps(body).encode(),
        )
        storing.append(world.context.store.inbox.storing(own))
    await asyncio.gather(*storing)

    processed = await process_pending(world.context, lambda: True)

    assert processed.number == number
    assert await untried(world) == 0
    assert (await world.now_is(row)).title == f"title {number - 1}"


async def test_what_was_leased_ahead_is_free_again_when_the_work_is_cancelled(world: World) -> None:
    number = 4 * BATCH
    await store_events(world, number)
    processing = asyncio.create_task(process_pending(world.context, lambda: True))

    def cancel(_: Event) -> None:
        processing.cancel()

    unlisten = world.context.telemetry.listen(cancel)
    with pytest.raises(asyncio.CancelledError):
        await processing
    unlisten()
    left = await untried(world)

    processed = await process_pending(world.context, lambda: True)

    assert 0 < left < number
    assert processed.number == left
    assert await untried(world) == 0


async def test_the_engines_are_told_once_of_a_job_that_they_have_not_taken_up(world: World) -> None:
    job_runner, wakeup = a_job_runner(world), asyncio.Event()
    with waking([job_runner], wakeup):
        job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)
        wakeup.clear()
        job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)
        is_told_again = wakeup.is_set()
        job_runner.woken.clear()
        job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)

    assert not is_told_again
    assert wakeup.is_set()
