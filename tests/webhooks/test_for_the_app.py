"""Webhook events of types that rindle-sync does not act on: for callbacks of the app.

Stored before the answer, called at least once, of each object in their order, and dead at the end.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from rindle_sync.app import RindleSync
from rindle_sync.config import plain_settings
from rindle_sync.diagnostics import environment_status
from rindle_sync.domain import NOT_WANTED, WAITS_FOR_APP, EventStatus, JobKind, pattern_fault
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers.mux import sign
from rindle_sync.runtime import WebhookReceived
from rindle_sync.store import Database
from rindle_sync.store.schema import open_engine
from rindle_sync.telemetry import Event, WebhookException, WebhookVerified
from tests.support.webhooks import SECRET, an_event, moment
from tests.support.world import Clock

LIVE = "video.live_stream.active"
IDLE = "video.live_stream.idle"
SECOND = timedelta(seconds=1)


@dataclass
class App:
    """A service whose clock stands still, and what it emitted."""

    rindle: RindleSync
    clock: Clock
    events: list[Event]

    async def receive(self, *bodies: dict[str, Any]) -> list[int]:
        """Deliver; what is answered."""
        answers = []
        for body in bodies:
            raw = json.dumps(body).encode()
            headers = {"Mux-Signature": sign(raw, SECRET, self.clock.now())}
            answers.append((await self.rindle.receive(headers, raw)).status)
        return answers

    async def statuses(self) -> list[tuple[str, EventStatus]]:
        listed = await self.rindle.webhook_events.list()
        return sorted((event.type, event.status) for event in listed)


def a_live_event(type_: str = LIVE, stream: str = "stream-1", **values: Any) -> dict[str, Any]:
    event = an_event("", type_, **values)
    return event | {"object": {"type": "live", "id": stream}, "data": {"id": stream, "a": [1]}}


@dataclass
class Received:
    """A callback that keeps its events, and first fails so and so often."""

    fails: int = 0
    text: str = "of a secret-0123456789"
    events: list[WebhookReceived] = field(default_factory=list)

    async def __call__(self, event: WebhookReceived) -> None:
        if self.fails:
            self.fails -= 1
            raise LookupError(self.text)
        self.events.append(event)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


@pytest.fixture
async def app(tables_url: str) -> AsyncIterator[App]:
    async for made in an_app(tables_url):
        yield made


async def an_app(url: str, **settings: Any) -> AsyncIterator[App]:
    clock = Clock()
    events: list[Event] = []
    database = Database(open_engine(url))
    values = plain_settings(database_url=url, mux_webhook_secrets=SECRET, **settings)
    rindle = RindleSync(values, database, [events.append], clock=clock.now)
    yield App(rindle, clock, events)
    await rindle.close()


async def test_an_event_that_a_callback_wants_is_stored_and_the_callback_called(app: App) -> None:
    received = Received()
    app.rindle.on_webhook("video.live_stream.*", received)
    body = a_live_event(id="event-1", at="2026-11-23T11:59:00.000000Z")

    answers = await app.receive(body, body)
    await app.rindle.process_webhook_events()
    before = list(received.events)
    await app.rindle.dispatch()
    await app.rindle.dispatch()

    assert answers == [202, 200]
    assert before == []
    [event] = received.events
    assert (event.id, event.type, event.data) == ("event-1", LIVE, body)
    assert event.occurred_at == moment("2026-11-23T11:59:00+00:00")
    assert event.received_at == app.clock.now()
    assert "event-1" not in repr(event)
    assert "stream-1" not in repr(event)
    assert await app.statuses() == [(LIVE, EventStatus.APPLIED)]
    verified = [e for e in app.events if isinstance(e, WebhookVerified)]
    assert [e.acted_on for e in verified] == [True, True]


async def test_an_event_that_nobody_wants_is_ignored_as_ever(app: App) -> None:
    received = Received()
    app.rindle.on_webhook("video.live_stream.*", received)

    assert await app.receive(a_live_event("video.space.created")) == [200]
    await app.rindle.dispatch()

    assert received.events == []
    assert await app.statuses() == [("video.space.created", EventStatus.IGNORED)]


async def test_types_that_are_acted_on_are_never_given_to_a_callback(app: App) -> None:
    received = Received()
    app.rindle.on_webhook("*", received)

    answers = await app.receive(an_event("asset-1"), a_live_event())
    await app.rindle.dispatch()

    assert answers == [202, 202]
    assert received.types == [LIVE]


async def test_a_receiver_without_callbacks_stores_what_the_setting_names(tables_url: str) -> None:
    received = Received()
    async for receiver in an_app(tables_url, webhook_types="video.live_stream.*,video.space.*"):
        assert await receiver.receive(a_live_event()) == [202]
        assert await receiver.rindle.dispatch() == 0
    async for app in an_app(tables_url):
        app.rindle.on_webhook(LIVE, received)
        assert await app.rindle.dispatch() == 1

    assert received.types == [LIVE]


async def test_an_event_waits_for_a_callback_that_wants_it_until_its_retention(app: App) -> None:
    other, received = Received(), Received()
    wanted = app.rindle.on_webhook("video.live_stream.*", received)
    await app.receive(a_live_event("video.live_stream.active", id="event-1"))
    app.rindle._webhook_callbacks.clear()  # noqa: SLF001  as after a deployment without it
    app.rindle.on_webhook("video.space.*", other)

    assert await app.rindle.dispatch() == 0
    app.clock.move(timedelta(days=6))
    await app.rindle.webhook_events.prune()
    app.rindle.on_webhook("video.live_stream.*", wanted)
    app.rindle._webhook_callbacks.pop()  # noqa: SLF001
    app.clock.move(timedelta(days=2))
    await app.rindle.webhook_events.prune()
    app.rindle.on_webhook("video.live_stream.*", wanted)

    assert await app.rindle.dispatch() == 0
    [event] = await app.rindle.webhook_events.list()
    assert (event.status, event.reason, event.size) == (EventStatus.IGNORED, NOT_WANTED, 0)


async def test_a_callback_that_fails_is_called_again_with_growing_gaps_and_then_it_is_dead(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    received = Received(fails=len(WAITS_FOR_APP) + 1)
    app.rindle.on_webhook("video.live_stream.*", received)
    await app.receive(a_live_event())

    assert await app.rindle.dispatch() == 1
    for wait in WAITS_FOR_APP:
        app.clock.move(wait - timedelta(microseconds=1))
        assert await app.rindle.dispatch() == 0
        app.clock.move(timedelta(microseconds=1))
        assert await app.rindle.dispatch() == 1

    assert "secret-" not in caplog.text
    failed = [e for e in app.events if isinstance(e, WebhookException)]
    assert [e.attempt for e in failed] == [*range(1, len(WAITS_FOR_APP) + 2)]
    assert [e.dead for e in failed] == [False] * len(WAITS_FOR_APP) + [True]
    assert {e.reason for e in failed} == {"LookupError"}
    assert await app.statuses() == [(LIVE, EventStatus.DEAD)]
    assert await app.rindle.webhook_events.replay() == 1
    await app.rindle.dispatch()
    assert received.types == [LIVE]


async def test_a_dead_event_that_is_sent_again_is_tried_again(app: App) -> None:
    received = Received(fails=len(WAITS_FOR_APP) + 1)
    app.rindle.on_webhook("video.live_stream.*", received)
    body = a_live_event()
    await app.receive(body)
    for wait in (*WAITS_FOR_APP, SECOND):
        await app.rindle.dispatch()
        app.clock.move(wait)

    assert await app.receive(body) == [202]
    await app.rindle.dispatch()

    assert received.types == [LIVE]


async def test_events_of_one_object_come_in_the_order_in_which_they_occurred(app: App) -> None:
    received = Received()
    app.rindle.on_webhook("video.live_stream.*", received)
    await app.receive(
        a_live_event(IDLE, at="2026-11-23T12:00:02.000000Z"),
        a_live_event(LIVE, at="2026-11-23T12:00:01.000000Z"),
        a_live_event("video.live_stream.connected", at="2026-11-23T12:00:00.000000Z"),
    )

    await app.rindle.dispatch()

    assert received.types == ["video.live_stream.connected", LIVE, IDLE]


async def test_an_event_that_fails_holds_back_its_object_alone_and_not_for_ever(app: App) -> None:
    received = Received(fails=len(WAITS_FOR_APP) + 1)
    app.rindle.on_webhook("video.live_stream.*", received)
    await app.receive(a_live_event(LIVE, at="2026-11-23T11:00:01.000000Z"))
    await app.rindle.dispatch()
    await app.receive(
        a_live_event(IDLE, at="2026-11-23T11:00:02.000000Z"),
        a_live_event("video.live_stream.other", "stream-2"),
    )

    fails, received.fails = received.fails, 0
    await app.rindle.dispatch()
    at_first = list(received.types)
    received.fails = fails
    for wait in WAITS_FOR_APP:
        app.clock.move(wait)
        await app.rindle.dispatch()

    assert at_first == ["video.live_stream.other"]
    assert received.types == ["video.live_stream.other", IDLE]
    assert (LIVE, EventStatus.DEAD) in await app.statuses()


async def test_every_callback_that_matches_is_called_and_a_stop_loses_none(app: App) -> None:
    exact, wild = Received(), Received()
    began = asyncio.Event()

    @app.rindle.on_webhook("video.live_stream.active")
    async def hangs_once(event: WebhookReceived) -> None:
        if not began.is_set():
            began.set()
            await asyncio.Event().wait()
        await exact(event)

    app.rindle.on_webhook("*.active", wild)
    await app.receive(a_live_event())
    dispatching = asyncio.create_task(app.rindle.dispatch())
    await asyncio.wait_for(began.wait(), 10)
    dispatching.cancel()
    await asyncio.wait({dispatching})

    await app.rindle.dispatch()

    assert (exact.types, wild.types) == ([LIVE], [LIVE])


async def test_a_killed_process_delays_its_events_by_its_lease(app: App) -> None:
    received, now = Received(), app.clock.now()
    app.rindle.on_webhook("video.live_stream.*", received)
    await app.receive(a_live_event())
    until = now + app.rindle.context.lease
    token = "00000000-0000-4000-8000-000000000001"
    claim = app.rindle.store.inbox.claim_for_app
    assert len(await claim([LIVE], now=now, token=token, until=until, limit=9)) == 1

    assert await app.rindle.dispatch() == 0
    app.clock.move(app.rindle.context.lease + SECOND)
    await app.rindle.dispatch()

    assert received.types == [LIVE]


async def test_waiting_events_count_and_wake_the_dispatch_alone(app: App) -> None:
    app.rindle.on_webhook("video.live_stream.*", Received())
    await app.receive(a_live_event())
    app.clock.move(timedelta(hours=1))

    status = await environment_status(app.rindle.context)

    assert (status.pending, status.webhook_events["pending"]) == (1, 1)
    assert (status.oldest_pending_seconds, status.oldest_for_app_seconds) == (0, 3600)
    asked = await app.rindle.runtime._due()()  # noqa: SLF001  what engines ask
    due = [job.kind for job in asked.jobs]
    assert JobKind.DISPATCH in due
    assert JobKind.PROCESS_WEBHOOK_EVENTS not in due


@pytest.mark.parametrize(
    "pattern",
    [
        *("video.asset.ready", "video.asset.*", "video.asset.live*", "video.upload.created"),
        *("", "live", "a b.c", "a.[bc]", "a..b", "video.live_stream.*,video.space.*"),
    ],
)
async def test_a_pattern_that_can_match_nothing_is_refused(app: App, pattern: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        app.rindle.on_webhook(pattern, Received())

    assert refused.value.setting == "type_pattern"


@pytest.mark.parametrize(
    "pattern", ["*", "video.*", "video.upload.*", "video.as*", "a.b", "*.idle"]
)
def test_a_pattern_that_can_match_something_is_accepted(pattern: str) -> None:
    assert pattern_fault(pattern, ["video.asset.*", "video.upload.created"]) is None


async def test_a_callback_for_events_must_be_async(app: App) -> None:
    with pytest.raises(ConfigurationError, match="async function"):
        app.rindle.on_webhook("video.live_stream.*", print)  # type: ignore[call-overload]


async def test_an_event_that_no_callback_wants_holds_back_none_of_its_object(
    tables_url: str,
) -> None:
    received = Received()
    async for app in an_app(tables_url, webhook_types="video.live_stream.*"):
        app.rindle.on_webhook(LIVE, received)
        await app.receive(
            a_live_event("video.live_stream.connected", at="2026-11-23T11:00:00.000000Z"),
            a_live_event(LIVE, at="2026-11-23T11:00:01.000000Z"),
        )

        await app.rindle.dispatch()

        assert received.types == [LIVE]
        assert ("video.live_stream.connected", EventStatus.PENDING) in await app.statuses()


async def test_an_event_waits_for_one_before_it_of_another_type_that_is_tried_again(
    app: App,
) -> None:
    received = Received(fails=1)
    app.rindle.on_webhook(LIVE, received)
    app.rindle.on_webhook(IDLE, received)
    await app.receive(a_live_event(LIVE, at="2026-11-23T11:00:01.000000Z"))
    await app.rindle.dispatch()
    await app.receive(a_live_event(IDLE, at="2026-11-23T11:00:02.000000Z"))

    assert await app.rindle.dispatch() == 0
    app.clock.move(WAITS_FOR_APP[0])
    await app.rindle.dispatch()

    assert received.types == [LIVE, IDLE]


async def test_a_stop_waits_until_every_callback_has_ended(app: App) -> None:
    began = asyncio.Event()
    ended: list[str] = []

    @app.rindle.on_webhook(LIVE)
    async def tidies_up(event: WebhookReceived) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            if event.data["data"]["id"] == "stream-2":
                await app.rindle.webhook_events.list()
            ended.append(event.id)

    await app.receive(a_live_event(), a_live_event(stream="stream-2"))
    dispatching = asyncio.create_task(app.rindle.dispatch())
    await asyncio.wait_for(began.wait(), 10)
    dispatching.cancel()
    await asyncio.wait({dispatching})

    assert dispatching.cancelled()
    assert len(ended) == 2
