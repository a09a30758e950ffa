"""What a test tells the Mux emulator to do now: end an asset, lose a webhook, listen on a port."""

import json
import logging
import threading
from typing import Any

import httpx
import pytest

from rindle_sync.emulator import Life, MuxEmulator, RenditionLife
from rindle_sync.emulator.serving import serving
from rindle_sync.emulator.webhooks import Webhook

START = 1_800_000_000.0
SECRET = "the-secret-of-this-endpoint"


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        return self.at


class Endpoint(httpx.AsyncBaseTransport):
    """Keeps what comes; `status` is its answer."""

    def __init__(self) -> None:
        self.came: list[dict[str, Any]] = []
        self.has_come = threading.Event()
        self.status = 200

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.status == 0:
            raise LookupError("the app is broken")
        self.came.append(json.loads(request.content))
        self.has_come.set()
        return httpx.Response(self.status)

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.came]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulator(clock: Clock) -> MuxEmulator:
    return MuxEmulator(now=clock)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def webhook(emulator: MuxEmulator, endpoint: Endpoint) -> Webhook:
    return emulator.add_webhook("http://app/webhooks", SECRET, transport=endpoint)


def ends(emulator: MuxEmulator) -> list[tuple[float, str]]:
    """When what ends, by the second from the start."""
    events = emulator.events(0, START + 1_000_000)
    return [(event.at - START, event.type) for event in events if "created" not in event.type]


@pytest.mark.parametrize("life", [Life("never"), Life(after=30), Life("errored", after=30)])
def test_an_asset_is_ready_once_it_is_said_to_be_whatever_was_planned(
    emulator: MuxEmulator, clock: Clock, life: Life
) -> None:
    asset_id = emulator.create_asset(life=life)
    clock.at += 10.3
    before = emulator.truth(asset_id).state
    emulator.finish_asset(asset_id)

    assert before == "preparing"
    assert emulator.truth(asset_id).state == "ready"
    assert ends(emulator) == [(clock.at - START, "video.asset.ready")]


def test_an_asset_fails_once_it_is_said_to(emulator: MuxEmulator, clock: Clock) -> None:
    upload_id = emulator.create_upload()
    asset_id = emulator.finish_upload(upload_id)
    clock.at += 5
    emulator.fail_asset(asset_id, error_type="no_video", error_message="It is a song.")

    asset = emulator.environment.assets[asset_id]
    assert emulator.truth(asset_id).state == "errored"
    assert (asset.life.error_type, asset.life.error_message) == ("no_video", "It is a song.")
    assert [what for _, what in ends(emulator)] == ["video.asset.errored", "video.upload.errored"]


def test_parts_begin_when_their_asset_is_finished(emulator: MuxEmulator, clock: Clock) -> None:
    asset_id = emulator.create_asset(life=Life(after=1000))
    emulator.create_static_rendition(asset_id, "720p", life=RenditionLife(after=5))
    clock.at += 10
    emulator.finish_asset(asset_id)

    assert ends(emulator) == [(10, "video.asset.ready"), (15, "video.asset.static_rendition.ready")]


def test_parts_fail_with_an_asset_that_fails(emulator: MuxEmulator, clock: Clock) -> None:
    asset_id = emulator.create_asset(life=Life(after=1000))
    emulator.create_static_rendition(asset_id, "720p", life=RenditionLife(after=5))
    clock.at += 10
    emulator.fail_asset(asset_id)

    assert ends(emulator) == [
        (10, "video.asset.errored"),
        (10, "video.asset.static_rendition.errored"),
    ]


def test_a_live_stream_that_fails_is_never_completed(emulator: MuxEmulator) -> None:
    asset_id = emulator.create_asset(life=Life(after=10), live_stream_id="live-1", live_seconds=600)
    emulator.fail_asset(asset_id)

    assert ends(emulator) == [(0, "video.asset.errored")]


def test_an_asset_that_has_ended_ends_no_second_time(emulator: MuxEmulator) -> None:
    asset_id = emulator.create_asset(life=Life(after=0))

    with pytest.raises(ValueError, match="is ready already"):
        emulator.fail_asset(asset_id)
    with pytest.raises(KeyError):
        emulator.finish_asset("unknown")


async def test_a_lost_webhook_is_never_sent(
    emulator: MuxEmulator, endpoint: Endpoint, webhook: Webhook, clock: Clock
) -> None:
    lost, kept = emulator.create_asset(life=Life("never")), emulator.create_asset()
    emulator.finish_asset(lost)
    count = emulator.lose_webhooks("video.asset.ready", asset_id=lost)
    clock.at += 100_000
    await emulator.deliver_due()

    assert count == 1
    assert [event["object"]["id"] for event in endpoint.came] == [lost, kept, kept]
    assert (webhook.deliveries.planned, webhook.deliveries.dropped) == (4, 1)


@pytest.mark.usefixtures("webhook")
async def test_only_what_has_happened_is_lost(
    emulator: MuxEmulator, endpoint: Endpoint, clock: Clock
) -> None:
    emulator.create_asset(life=Life(after=5))
    emulator.lose_webhooks()
    clock.at += 5
    await emulator.deliver_due()

    assert endpoint.types == ["video.asset.ready"]


async def test_a_retry_can_be_lost(
    emulator: MuxEmulator, endpoint: Endpoint, webhook: Webhook, clock: Clock
) -> None:
    emulator.create_asset()
    endpoint.status = 500
    await emulator.deliver_due()
    lost = emulator.lose_webhooks()

    assert (lost, webhook.pending) == (1, 0)


async def test_a_repeated_webhook_is_sent_twice_with_the_same_id(
    emulator: MuxEmulator, endpoint: Endpoint, webhook: Webhook
) -> None:
    emulator.create_asset()
    emulator.repeat_webhooks()
    sent = await emulator.deliver_due()

    assert sent == 2
    assert endpoint.came[0]["id"] == endpoint.came[1]["id"]
    assert webhook.deliveries.doubled == 1


@pytest.mark.usefixtures("webhook")
async def test_reversed_webhooks_are_sent_newest_first(
    emulator: MuxEmulator, endpoint: Endpoint, clock: Clock
) -> None:
    asset_id = emulator.create_asset(life=Life("never"))
    clock.at += 1
    emulator.finish_asset(asset_id)
    emulator.reverse_webhooks()
    await emulator.deliver_due(at_once=1)

    assert endpoint.types == ["video.asset.ready", "video.asset.created"]


async def test_a_forged_webhook_says_that_the_asset_is_deleted(
    emulator: MuxEmulator, endpoint: Endpoint, webhook: Webhook
) -> None:
    asset_id = emulator.create_asset()
    emulator.lose_webhooks()
    emulator.forge_webhook(asset_id)
    await emulator.deliver_due()

    assert endpoint.types == ["video.asset.deleted"]
    assert emulator.truth(asset_id).state == "preparing"
    assert (webhook.deliveries.sent, webhook.deliveries.forged) == (0, 1)


async def test_what_an_endpoint_raised_is_kept(
    emulator: MuxEmulator, endpoint: Endpoint, webhook: Webhook
) -> None:
    emulator.create_asset()
    endpoint.status = 0
    await emulator.deliver_due()

    assert isinstance(webhook.last_error, LookupError)
    assert webhook.deliveries.unanswered == 1


def test_it_is_served_on_a_free_port_until_the_end_of_the_block(
    caplog: pytest.LogCaptureFixture,
) -> None:
    emulators = [MuxEmulator(environment_id=name) for name in ("first", "second")]
    with (
        caplog.at_level(logging.WARNING),
        serving(emulators[0]) as first,
        serving(emulators[1]) as second,
    ):
        shown = [
            httpx.get(f"{url}/system/v1/whoami", auth=(it.token_id, it.token_secret)).json()
            for url, it in zip((first, second), emulators, strict=True)
        ]

    assert [each["data"]["environment_id"] for each in shown] == ["first", "second"]
    assert caplog.messages == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(first)


def test_it_delivers_by_itself_where_it_is_to() -> None:
    emulator, endpoint = MuxEmulator(), Endpoint()
    emulator.add_webhook("http://app/webhooks", SECRET, transport=endpoint)

    with serving(emulator, deliver=True):
        emulator.create_asset()
        assert endpoint.has_come.wait(30)

    assert endpoint.types == ["video.asset.created"]


def test_a_port_that_is_taken_is_told() -> None:
    with serving(MuxEmulator()) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), serving(MuxEmulator(), port=port):
            pass


async def test_assets_are_ended_over_http(emulator: MuxEmulator) -> None:
    ready, failed, deleted = emulator.create_assets(3, life=Life("never"))
    transport = httpx.ASGITransport(app=emulator.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://mux") as control:

        async def end(**body: str) -> httpx.Response:
            return await control.post("/_emulator/end", json=body)

        shown = await end(id=ready)
        await end(id=failed, ends="errored", error_message="It is a song.")
        await end(id=deleted, ends="deleted")
        again, unknown = await end(id=ready), await end(id="unknown")
        wrong = await end(id=ready, ends="lost")

    assert shown.json()["state"] == "ready"
    assert [truth.state for truth in emulator.truths().values()] == ["ready", "errored", "deleted"]
    assert emulator.environment.assets[failed].life.error_message == "It is a song."
    assert [answer.status_code for answer in (again, unknown, wrong)] == [400, 404, 400]
