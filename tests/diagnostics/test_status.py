"""How environments stand, as figures; and the meter of lost webhooks."""

from datetime import timedelta
from math import sqrt
from uuid import uuid4

import httpx
import pytest

from rindle_sync.diagnostics import (
    DAY,
    GRACE,
    Check,
    Readiness,
    WebhookStatus,
    environment_status,
    figures_of,
    of_engine,
    of_environment,
    overview,
)
from rindle_sync.domain import ErrorKind, EventStatus, State, Trigger, replace
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.runtime import Heartbeat
from rindle_sync.telemetry import Called
from rindle_sync.webhooks import WebhookApp, process_webhook_events
from tests.support.rows import a_row
from tests.support.webhooks import SECRET, a_kept_notice, a_receiver, tell_ready, with_secrets
from tests.support.world import World, a_context

HOUR = timedelta(hours=1)


async def found(world: World) -> WebhookStatus:
    return (await environment_status(world.context)).webhooks


async def test_figures_tell_how_the_rows_of_an_environment_stand(world: World) -> None:
    now = world.clock.now()
    rows = [
        a_row(State.READY, checked_at=now),
        a_row(State.READY, checked_at=now - HOUR),
        a_row(State.ERRORED, error_kind=ErrorKind.STUCK, check_at=now - HOUR, check_failures=1),
        a_row(State.PROCESSING, check_at=now),
        a_row(State.PROCESSING, check_at=now + HOUR),
        replace(a_row(State.UPLOADING, provider_upload_id="upload-1"), provider_asset_id=None),
        a_row(State.ERRORED, environment="another"),
    ]
    await world.context.store.assets.add_all(rows)

    figures = await environment_status(world.context)

    assert {state: n for state, n in figures.by_state.items() if n} == {
        "ready": 2,
        "errored": 1,
        "processing": 2,
        "uploading": 1,
    }
    assert (figures.rows, figures.stuck, figures.unlinked, figures.unanswered) == (6, 1, 1, 1)
    assert (figures.due, figures.oldest_due_seconds, figures.last_checked_at) == (2, 3600, now)


async def test_environments_are_told_apart_in_the_same_few_statements(world: World) -> None:
    another = a_context(world, "another")
    await world.context.store.assets.add_all(
        [a_row(State.READY), a_row(State.ERRORED, environment="another")]
    )

    told = await figures_of([world.context, another], world.clock.now(), over=DAY)

    assert {name: dict(figures.by_state) for name, figures in told.items()} == {
        "default": {"ready": 1},
        "another": {"errored": 1},
    }


async def test_the_inbox_is_told_by_what_waits_and_what_is_dead(world: World) -> None:
    row, now = a_row(), world.clock.now()
    for webhook_event in (
        replace(a_kept_notice(row, now), received_at=now - DAY, next_attempt_at=now - HOUR),
        replace(a_kept_notice(row, now), next_attempt_at=now + HOUR),
        replace(a_kept_notice(row, now), status=EventStatus.DEAD, next_attempt_at=None),
    ):
        await world.context.store.inbox.storing(webhook_event)

    figures = await environment_status(world.context)

    assert figures.webhook_events == {"pending": 2, "applied": 0, "ignored": 0, "dead": 1}
    assert figures.oldest_pending_seconds == 3600


async def test_a_delivery_that_is_applied_again_waits_from_then(world: World) -> None:
    now = world.clock.now()
    old = replace(a_kept_notice(a_row(), now - DAY), status=EventStatus.DEAD, next_attempt_at=None)
    await world.context.store.inbox.storing(old)

    await world.context.store.inbox.replay(now, webhook_event_id=old.id)

    assert (await environment_status(world.context)).oldest_pending_seconds == 0


async def test_of_dead_events_those_of_a_day_count_as_failed(world: World) -> None:
    now = world.clock.now()
    dead = replace(a_kept_notice(a_row(), now), status=EventStatus.DEAD, next_attempt_at=None)
    for received_at in (now, now - 2 * DAY):
        event_id = webhook_event_id = str(uuid4())
        webhook_event = replace(
            dead, id=webhook_event_id, event_id=event_id, received_at=received_at
        )
        await world.context.store.inbox.storing(webhook_event)

    (told,) = await overview([world.context])

    assert (told.dead, told.failed) == (2, 1)
    assert [found.check for found in of_environment(told)] == [Check.DEAD]


async def test_no_webhook_is_expected_where_none_is_taken(world: World) -> None:
    await world.sync(await world.track())
    world.clock.move(GRACE)

    assert await found(world) == WebhookStatus(expected=0, first=0, late=0, missed=0, loss=None)
    assert (await figures_of([world.context], world.clock.now(), over=DAY))[
        "default"
    ].webhooked.expected == 0


async def test_the_rate_limit_is_told_without_taking_from_it(world: World) -> None:
    world.with_reads(10, 1)
    full = (await environment_status(world.context)).rate_limit
    await world.context.gateway.reads.take(10, trigger=Trigger.SYNC)
    empty = (await environment_status(world.context)).rate_limit
    world.clock.move(4)
    later = (await environment_status(world.context)).rate_limit
    await world.context.gateway.reads.pause(timedelta(seconds=30))
    paused = (await environment_status(world.context)).rate_limit

    assert [status.calls for status in (full, empty, later, paused)] == [10, 0, 4, 0]
    assert [status.wait_seconds for status in (full, empty, later, paused)] == [0, 1, 0, 31]


async def test_calls_are_told_by_what_was_asked_and_how_it_was_answered(world: World) -> None:
    row, gone = await world.track(), await world.track(provider_asset_id="nobody")
    await world.sync(row)
    await world.sync(gone)
    world.emulator.add_fault("server_error")
    await world.sync(row)

    def told(called: Called) -> tuple[str, str]:
        return called.way, called.answer

    assert [told(called) for called in world.called] == [
        ("asset", "answered"),
        ("whoami", "answered"),
        ("asset", "not_found"),
        *[("asset", "unreachable")] * 3,
    ]


@pytest.mark.parametrize(
    ("ahead", "says"), [(0, "ok"), (600, "the last heartbeat is 10 min ahead")]
)
async def test_a_heartbeat_that_lies_ahead_proves_no_engine(
    world: World, ahead: float, says: str
) -> None:
    async def revisions() -> tuple[str, str]:
        return "1", "1"

    readiness = Readiness([world.context], revisions, runs_engine=True)
    world.clock.move(120)
    beaten = world.clock.now() + timedelta(seconds=ahead)
    await Heartbeat(world.context.store.database, "mux").beat(beaten)

    assert (await readiness.checks())["engine"] == says
    assert [found.check for found in of_engine(beaten, world.clock.now())] == [Check.ENGINE] * (
        ahead > 0
    )


async def test_a_clock_that_was_set_back_after_the_start_is_no_grace_without_end(
    world: World,
) -> None:
    async def revisions() -> tuple[str, str]:
        return "1", "1"

    readiness = Readiness([world.context], revisions, runs_engine=True)
    world.clock.move(-3600)

    assert (await readiness.checks())["engine"] != "ok"


# the meter


async def test_a_change_that_a_webhook_told_of_first_is_no_loss(world: World) -> None:
    with_secrets(world)
    await tell_ready(world, await world.track())

    assert await found(world) == WebhookStatus(expected=1, first=1, late=0, missed=0, loss=0)


async def test_a_change_that_only_a_check_found_counts_as_missed_after_a_while(
    world: World,
) -> None:
    with_secrets(world)
    await world.sync(await world.track())
    at_once = await found(world)
    world.clock.move(GRACE)

    assert at_once.expected == 0
    assert await found(world) == WebhookStatus(expected=1, first=0, late=0, missed=1, loss=1)


async def test_a_webhook_that_comes_after_the_check_was_late_and_not_missed(world: World) -> None:
    with_secrets(world)
    row = await world.track()
    await world.sync(row)
    world.clock.move(3 * GRACE)
    assert (await found(world)).missed == 1

    await tell_ready(world, row)

    assert await found(world) == WebhookStatus(expected=1, first=0, late=1, missed=0, loss=0)
    assert [
        change.webhook_at for change in await world.context.store.assets.changes_of(row.id)
    ] == [world.clock.now()]


async def test_verdicts_of_our_own_are_no_lost_webhooks(world: World) -> None:
    await world.track(life=Life(ends="never"), updated_at=world.clock.now() - DAY)
    await world.track(provider_asset_id="nobody")
    await world.sweep()
    world.clock.move(GRACE)

    assert (await found(world)).expected == 0


@pytest.mark.long_on_postgresql
@pytest.mark.parametrize("lost", [0.0, 0.3])
async def test_the_meter_reads_the_share_of_webhooks_that_are_lost(
    world: World, lost: float
) -> None:
    number = 400
    with_secrets(world)
    endpoint = httpx.ASGITransport(app=WebhookApp(a_receiver(world)))
    world.emulator.add_webhook("http://us/", SECRET, drop=lost, transport=endpoint)
    for place in range(number):
        await world.track(life=Life(after=10 + place / 10), updated_at=world.clock.now())

    for _ in range(12):  # webhooks come at once, looks after half a minute
        world.clock.move(10)
        await world.emulator.deliver_due()
        while await process_webhook_events(world.context):
            pass
        await world.sweep()
    world.clock.move(GRACE)

    figures = await found(world)
    assert figures.expected == number
    assert figures.loss is not None
    assert abs(figures.loss - lost) <= 3.5 * sqrt(lost * (1 - lost) / number)
