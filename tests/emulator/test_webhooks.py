"""The Mux emulator's webhooks, sent to endpoints in this process; only tests move the clock."""

import asyncio
import hmac
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from openapi_schema_validator import OAS31Validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life, RenditionLife
from rindle_sync.emulator.timeline import EventType
from rindle_sync.emulator.webhooks import Webhook

OPENAPI = Path(__file__).resolve().parents[3] / "shared/mux/openapi_video.json"
VECTORS = OPENAPI.with_name("vectors.json")
START = 1_800_000_000.0
SECRET = "the-secret-of-this-endpoint"
URL = "http://endpoint.example/webhooks/mux"
MANY = 2_000


class Clock:
    """Seconds that pass only by `pass_by` and by sleeping."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.at += seconds

    async def sleep(self, seconds: float) -> None:
        self.pass_by(seconds)


@dataclass
class Came:
    """One delivery as it arrived."""

    at: float
    raw: bytes
    signature: str

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def is_signed(self) -> bool:
        at, given = self.signature.removeprefix("t=").split(",v1=")
        expected = hmac.new(SECRET.encode(), f"{at}.".encode() + self.raw, "sha256").hexdigest()
        return at == str(int(self.at)) and hmac.compare_digest(given, expected)


@dataclass
class Far:
    """An endpoint that keeps what comes, and answers statuses in turn, then 200; 0 is silence."""

    clock: Clock
    statuses: list[int] = field(default_factory=list)
    came: list[Came] = field(default_factory=list)
    is_open: asyncio.Event | None = None
    at_once: int = 0
    most_at_once: int = 0

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/webhooks/mux", self.receive, methods=["POST"])])

    @property
    def transport(self) -> httpx.ASGITransport:
        return httpx.ASGITransport(app=self.app)

    async def receive(self, request: Request) -> Response:
        self.came.append(Came(self.clock(), await request.body(), request.headers["Mux-Signature"]))
        status = self.statuses.pop(0) if self.statuses else 200
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await (self.is_open or _open()).wait()
            await (_open() if status else asyncio.Event()).wait()
        finally:
            self.at_once -= 1
        return Response("as told", status, {"X-Seen": "yes"})

    @property
    def types(self) -> list[str]:
        return [delivery.body["type"] for delivery in self.came]

    @property
    def ids(self) -> list[str]:
        return [delivery.body["id"] for delivery in self.came]


def _open() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulator(clock: Clock) -> MuxEmulator:
    return MuxEmulator(now=clock, sleep=clock.sleep)


@pytest.fixture
def endpoint(clock: Clock) -> Far:
    return Far(clock)


@pytest.fixture
async def control(emulator: MuxEmulator) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=emulator.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator") as client:
        yield client


def connect(emulator: MuxEmulator, endpoint: Far, **faults: Any) -> Webhook:
    return emulator.add_webhook(URL, SECRET, transport=endpoint.transport, **faults)


async def deliver_all(emulator: MuxEmulator, clock: Clock, *, seconds: float = 200.0) -> None:
    for _ in range(int(seconds)):
        await emulator.deliver_due()
        clock.pass_by(1)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - what arrives is looked at, nothing tells of it
            await asyncio.sleep(0)


async def one_of_each(emulator: MuxEmulator, clock: Clock) -> None:
    """Every event that there is, the same lives each time."""
    emulator.create_asset(
        life=Life(after=5, deleted_after=60), meta={"title": "t"}, passthrough="p"
    )
    updated = emulator.create_asset(
        life=Life("errored", after=5), policies=("public", "signed", "drm")
    )
    waiting, made, failing = (
        emulator.create_upload(life=life) for life in (None, Life(after=1), Life("errored", 1))
    )
    emulator.finish_upload(made)
    emulator.finish_upload(failing)
    parts_of_each_kind(emulator)
    emulator.create_asset(life=Life(after=2), live_stream_id="live-1", live_seconds=20.5)
    clock.pass_by(10)
    emulator.cancel_upload(waiting)
    emulator.announce_update(updated)
    clock.pass_by(60)
    await emulator.deliver_due()


def parts_of_each_kind(emulator: MuxEmulator) -> None:
    """An asset with tracks, static renditions and a master that end in every way."""
    whole, other = (emulator.create_asset(life=Life(after=1)) for _ in range(2))
    good, bad = Life(after=2, deleted_after=20), Life("errored", after=2)
    for asset_id, life in ((whole, good), (other, bad)):
        emulator.create_track(asset_id, life=life, name="English", passthrough="t")
        emulator.set_master_access(asset_id, "temporary", life=life)
    for resolution, rendition_life in {
        "highest": RenditionLife(after=2, deleted_after=20),
        "audio-only": RenditionLife("errored", after=2),
        "2160p": RenditionLife(after=2),
    }.items():
        emulator.create_static_rendition(whole, resolution, life=rendition_life)


# What comes


async def test_a_life_is_told_as_it_happens(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    webhook = connect(emulator, endpoint)
    emulator.create_asset(life=Life(after=30, deleted_after=60))

    sent = []
    for seconds in (0, 29, 1, 30, 30):
        clock.pass_by(seconds)
        sent.append(await emulator.deliver_due())

    assert sent == [1, 0, 1, 1, 0]
    assert endpoint.types == ["video.asset.created", "video.asset.ready", "video.asset.deleted"]
    assert [delivery.at - START for delivery in endpoint.came] == [0, 30, 60]
    assert (webhook.deliveries.sent, webhook.deliveries.answers, webhook.pending) == (
        3,
        {200: 3},
        0,
    )


async def test_every_event_type_comes_once_and_each_says_what_was_so_then(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    connect(emulator, endpoint)
    await one_of_each(emulator, clock)

    said = Counter(
        (delivery.body["type"], delivery.body["data"]["status"]) for delivery in endpoint.came
    )

    assert {kind for kind, _ in said} == set(EventType)
    assert said == {
        ("video.asset.created", "preparing"): 7,
        ("video.asset.ready", "ready"): 5,
        ("video.asset.errored", "errored"): 2,
        ("video.asset.updated", "errored"): 1,
        ("video.asset.deleted", "ready"): 1,
        ("video.asset.live_stream_completed", "ready"): 1,
        ("video.asset.track.created", "preparing"): 2,
        ("video.asset.track.ready", "ready"): 1,
        ("video.asset.track.errored", "errored"): 1,
        ("video.asset.track.deleted", "deleted"): 1,
        ("video.asset.static_rendition.created", "preparing"): 3,
        ("video.asset.static_rendition.ready", "ready"): 1,
        ("video.asset.static_rendition.errored", "errored"): 1,
        ("video.asset.static_rendition.skipped", "skipped"): 1,
        ("video.asset.static_rendition.deleted", "ready"): 1,
        ("video.asset.master.preparing", "preparing"): 2,
        ("video.asset.master.ready", "ready"): 1,
        ("video.asset.master.errored", "ready"): 1,
        ("video.asset.master.deleted", "ready"): 1,
        ("video.upload.created", "waiting"): 3,
        ("video.upload.asset_created", "asset_created"): 2,
        ("video.upload.errored", "errored"): 1,
        ("video.upload.cancelled", "cancelled"): 1,
    }


async def test_every_payload_is_as_mux_describes_it(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    if not OPENAPI.exists():
        pytest.skip(f"Mux's OpenAPI file is missing: put it at {OPENAPI}")
    spec = json.loads(OPENAPI.read_text())
    endpoint.statuses = [500] * 5  # so that some tell of attempts
    connect(emulator, endpoint, forge=0.5, double=0.5)
    await one_of_each(emulator, clock)
    await deliver_all(emulator, clock)

    assert {len(delivery.body["attempts"]) for delivery in endpoint.came} >= {0, 1, 2}
    for delivery in endpoint.came:
        told = spec["webhooks"][delivery.body["type"]]["post"]["requestBody"]["content"][
            "application/json"
        ]["schema"]
        schema = {**told, "components": spec["components"]}
        OAS31Validator(schema, format_checker=OAS31Validator.FORMAT_CHECKER).validate(delivery.body)


async def test_the_envelope_has_the_keys_that_real_ones_have(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    if not VECTORS.exists():
        pytest.skip(f"Recorded webhooks of Mux are missing: put them at {VECTORS}")
    real = [
        vector["payload"]
        for vector in json.loads(VECTORS.read_text())["webhook_payloads"]
        if "delivered" in vector["name"]
    ]
    connect(emulator, endpoint)
    await one_of_each(emulator, clock)

    assert real
    assert all(
        delivery.body.keys() == payload.keys() for delivery in endpoint.came for payload in real
    )


async def test_an_envelope_names_its_object_its_environment_and_its_time(
    clock: Clock, emulator: MuxEmulator, endpoint: Far
) -> None:
    connect(emulator, endpoint)
    clock.pass_by(0.25)
    asset_id = emulator.create_asset(passthrough="row-1")
    await emulator.deliver_due()

    body = endpoint.came[0].body

    assert body["object"] == {"type": "asset", "id": asset_id}
    assert body["environment"] == {"name": "Emulator", "id": "emulator-environment"}
    assert body["created_at"] == "2027-01-15T08:00:00.250000Z"
    assert body["data"]["created_at"] == int(START)
    assert body["data"]["passthrough"] == "row-1"
    assert body["attempts"] == []


async def test_an_uploads_first_event_does_not_know_its_asset_though_it_is_told_later(
    emulator: MuxEmulator, endpoint: Far
) -> None:
    connect(emulator, endpoint)
    asset_id = emulator.finish_upload(emulator.create_upload(life=Life(after=0)))
    await emulator.deliver_due()

    created, asset_created, asset, _ = (delivery.body for delivery in endpoint.came)

    assert created["data"]["status"] == "waiting"
    assert not created["data"].keys() & {"asset_id", "url"}
    assert (asset_created["object"]["type"], asset_created["data"]["asset_id"]) == (
        "upload",
        asset_id,
    )
    assert (asset["type"], asset["data"]["status"]) == ("video.asset.created", "preparing")


async def test_an_asset_deleted_before_its_end_is_told_of_as_it_last_was(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    connect(emulator, endpoint)
    asset_id = emulator.create_asset(life=Life(after=30))
    clock.pass_by(10)
    emulator.delete_asset(asset_id)
    clock.pass_by(60)
    await emulator.deliver_due()

    assert endpoint.types == ["video.asset.created", "video.asset.deleted"]
    assert endpoint.came[1].body["data"]["status"] == "preparing"


async def test_every_delivery_is_signed_with_its_endpoints_secret(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    other = Far(clock)
    connect(emulator, endpoint)
    emulator.add_webhook(URL, "another secret", transport=other.transport)
    emulator.create_assets(20)
    await emulator.deliver_due()

    assert [delivery.is_signed for delivery in endpoint.came] == [True] * 20
    assert [delivery.is_signed for delivery in other.came] == [False] * 20


async def test_without_faults_events_come_in_order_and_each_once(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    connect(emulator, endpoint)
    emulator.create_assets(
        100, created_at=START - 200, every=2, life=Life(after=7, deleted_after=31)
    )
    clock.pass_by(100)
    await emulator.deliver_due()

    planned = [(event.type, event.asset_id) for event in emulator.events(0, clock() + 1)]
    assert [
        (delivery.body["type"], delivery.body["object"]["id"]) for delivery in endpoint.came
    ] == planned
    assert len(set(endpoint.ids)) == len(planned) == 300


# Who is told of what


async def test_an_event_has_the_same_id_at_every_endpoint(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    other = Far(clock)
    connect(emulator, endpoint)
    connect(emulator, other)
    emulator.create_assets(5)
    await emulator.deliver_due()

    assert endpoint.ids == other.ids
    assert emulator.deliveries.sent == 10


async def test_an_endpoint_is_told_of_what_happens_after_it_was_added_planned_before_or_not(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    emulator.create_asset(life=Life(after=30))
    clock.pass_by(10)
    connect(emulator, endpoint)
    clock.pass_by(30)
    await emulator.deliver_due()

    assert endpoint.types == ["video.asset.ready"]


async def test_what_was_made_with_an_earlier_time_is_not_lost(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    connect(emulator, endpoint)
    emulator.create_asset(life=Life("never"))
    clock.pass_by(100)
    await emulator.deliver_due()
    emulator.create_asset(created_at=clock() - 5_000, life=Life(after=10))
    await emulator.deliver_due()
    await emulator.deliver_due()

    assert endpoint.types == ["video.asset.created", "video.asset.created", "video.asset.ready"]
    assert len(set(endpoint.ids)) == 3


async def test_a_plan_that_changes_is_told_as_it_came_to_be(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    connect(emulator, endpoint)
    asset_id = emulator.create_asset(life=Life("errored", after=50, deleted_after=100))
    upload_id = emulator.create_upload()
    await emulator.deliver_due()
    clock.pass_by(20)
    emulator.delete_asset(asset_id)
    emulator.cancel_upload(upload_id)
    await deliver_all(emulator, clock)

    assert endpoint.types == [
        "video.asset.created",
        "video.upload.created",
        "video.asset.deleted",
        "video.upload.cancelled",
    ]


async def test_a_removed_endpoint_is_told_nothing_more(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    connect(emulator, endpoint, delay=(5, 5))
    emulator.create_asset()
    await emulator.deliver_due()
    emulator.clear_webhooks()
    await deliver_all(emulator, clock)

    assert endpoint.came == []


async def test_a_reset_keeps_the_endpoint_and_forgets_what_it_was_to_be_sent(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    webhook = connect(emulator, endpoint, delay=(5, 5))
    emulator.create_asset()
    await emulator.deliver_due()
    assert (webhook.pending, webhook.deliveries.planned) == (1, 1)

    emulator.reset()
    assert (webhook.pending, webhook.deliveries.planned) == (0, 0)
    clock.pass_by(100)
    asset_id = emulator.create_asset(life=Life("never"))
    await deliver_all(emulator, clock)

    assert [delivery.body["object"]["id"] for delivery in endpoint.came] == [asset_id]


# Retries


async def test_a_refused_delivery_comes_again_with_the_same_id_its_attempts_and_a_fresh_signature(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    endpoint.statuses = [500, 302, 404]
    webhook = connect(emulator, endpoint)
    emulator.create_asset(life=Life("never"))
    await deliver_all(emulator, clock)

    assert [delivery.at - START for delivery in endpoint.came] == [0, 1, 6, 36]
    assert len(set(endpoint.ids)) == 1
    assert all(delivery.is_signed for delivery in endpoint.came)
    assert len({delivery.signature for delivery in endpoint.came}) == 4
    attempts = endpoint.came[-1].body["attempts"]
    assert [attempt["response_status_code"] for attempt in attempts] == [500, 302, 404]
    assert len({attempt["id"] for attempt in attempts}) == 3
    assert attempts[0]["created_at"] == "2027-01-15T08:00:00.000000Z"
    assert (attempts[0]["address"], attempts[0]["webhook_id"]) == (URL, webhook.id)
    assert (attempts[0]["response_body"], attempts[0]["response_headers"]["x-seen"]) == (
        "as told",
        "yes",
    )
    assert (webhook.deliveries.retried, webhook.deliveries.answers) == (
        3,
        {500: 1, 302: 1, 404: 1, 200: 1},
    )


async def test_an_event_is_given_up_within_a_day_with_gaps_that_grow(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    endpoint.statuses = [503] * 100
    webhook = connect(emulator, endpoint)
    emulator.create_asset(life=Life("never"))
    while clock() < START + 2 * 86_400:
        await emulator.deliver_due()
        clock.pass_by(1 if clock() < START + 200 else 10)

    moments = [delivery.at - START for delivery in endpoint.came]
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert gaps == sorted(gaps)
    assert 3_600 * 20 < moments[-1] <= 86_400
    assert endpoint.came[-1].body["attempts"][0]["max_attempts"] == len(moments)
    assert (webhook.deliveries.given_up, webhook.pending) == (1, 0)


async def test_silence_is_a_failed_attempt_that_tells_no_status(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    endpoint.statuses = [0]
    webhook = connect(emulator, endpoint, timeout=0.02)
    emulator.create_asset(life=Life("never"))
    await deliver_all(emulator, clock, seconds=5)

    assert (webhook.deliveries.unanswered, webhook.deliveries.answers) == (1, {200: 1})
    (attempt,) = endpoint.came[1].body["attempts"]
    assert "response_status_code" not in attempt
    assert attempt["response_body"] is None


async def test_an_endpoint_has_five_seconds_to_answer_unless_told_otherwise(
    emulator: MuxEmulator,
) -> None:
    assert emulator.add_webhook(URL, SECRET).endpoint.timeout == 5


async def test_an_endpoint_that_cannot_be_reached_or_breaks_is_asked_again(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("an error of the endpoint's own")

    nobody = emulator.add_webhook("http://127.0.0.1:1/", SECRET)
    breaking = emulator.add_webhook(URL, SECRET, transport=httpx.ASGITransport(app=broken))
    connect(emulator, endpoint)
    emulator.create_asset(life=Life("never"))
    await deliver_all(emulator, clock, seconds=3)

    assert (nobody.deliveries.unanswered, breaking.deliveries.unanswered) == (2, 2)
    assert len(endpoint.came) == 1


async def test_at_most_ten_deliveries_are_under_way_at_once(
    emulator: MuxEmulator, endpoint: Far
) -> None:
    endpoint.is_open = asyncio.Event()
    connect(emulator, endpoint)
    emulator.create_assets(50)
    step = asyncio.create_task(emulator.deliver_due())
    await until(lambda: endpoint.at_once == 10)
    endpoint.is_open.set()

    assert await step == 50
    assert endpoint.most_at_once == 10


# Faults


async def by_chance(emulator: MuxEmulator, clock: Clock, endpoint: Far, **faults: Any) -> Webhook:
    """MANY events, a second apart, each sent when it is due."""
    webhook = connect(emulator, endpoint, **faults)
    emulator.create_assets(MANY, created_at=START - MANY, every=1, life=Life("never"))
    await deliver_all(emulator, clock, seconds=80)
    assert (webhook.deliveries.planned, webhook.pending) == (MANY, 0)
    return webhook


def is_near(count: int, chance: float) -> bool:
    """Within four standard deviations of what this chance gives."""
    return abs(count - MANY * chance) < 4 * sqrt(MANY * chance * (1 - chance))


async def test_dropped_events_never_come(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    webhook = await by_chance(emulator, clock, endpoint, drop=0.3)

    assert is_near(webhook.deliveries.dropped, 0.3)
    assert len(set(endpoint.ids)) == len(endpoint.came) == MANY - webhook.deliveries.dropped


async def test_doubled_events_come_twice_with_one_id(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    webhook = await by_chance(emulator, clock, endpoint, double=0.2)

    times = Counter(Counter(endpoint.ids).values())
    assert is_near(times[2], 0.2)
    assert times == {1: MANY - times[2], 2: times[2]}
    assert webhook.deliveries.doubled == times[2]
    assert webhook.deliveries.sent == MANY + times[2]


async def test_a_double_comes_a_little_later(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    connect(emulator, endpoint, double=1.0)
    emulator.create_asset(life=Life("never"))
    await deliver_all(emulator, clock, seconds=20)

    first, second = endpoint.came
    assert 1 <= second.at - first.at <= 11
    assert (first.body["id"], first.is_signed) == (second.body["id"], second.is_signed)


async def test_shuffled_events_all_come_and_are_overtaken(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    await by_chance(emulator, clock, endpoint, shuffle=0.5)

    moments = [delivery.body["created_at"] for delivery in endpoint.came]
    held = sum(later < earlier for earlier, later in pairwise(moments))
    assert len(set(endpoint.ids)) == MANY
    assert held > MANY / 10


async def test_a_delay_lies_between_its_least_and_its_most(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    connect(emulator, endpoint, delay=(10, 20))
    for _ in range(200):
        emulator.create_asset(life=Life("never"))
    await deliver_all(emulator, clock, seconds=30)

    waits = Counter(int(delivery.at - START) for delivery in endpoint.came)
    assert min(waits) == 11
    assert max(waits) == 20
    assert len(waits) == 10


async def test_forged_deliveries_come_besides_and_lie_under_the_true_id(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    webhook = await by_chance(emulator, clock, endpoint, forge=0.25)

    true = [delivery for delivery in endpoint.came if delivery.is_signed]
    forged = [delivery for delivery in endpoint.came if not delivery.is_signed]
    assert is_near(len(forged), 0.25)
    assert len(true) == webhook.deliveries.sent == MANY
    assert len(forged) == webhook.deliveries.forged == webhook.deliveries.forged_answers[200]
    assert {delivery.body["type"] for delivery in forged} == {"video.asset.deleted"}
    assert {delivery.body["id"] for delivery in forged} < {delivery.body["id"] for delivery in true}


async def test_a_refused_forgery_is_not_tried_again(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    endpoint.statuses = [400]
    webhook = connect(emulator, endpoint, forge=1.0, drop=1.0)
    emulator.create_upload()
    await deliver_all(emulator, clock, seconds=50)

    assert endpoint.types == ["video.upload.cancelled"]
    assert (webhook.deliveries.forged_answers, webhook.deliveries.sent) == ({400: 1}, 0)


async def test_counts_add_up_when_everything_goes_wrong(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    endpoint.statuses = [500, 200, 404] * 100
    faults = {"drop": 0.2, "double": 0.3, "shuffle": 0.5, "forge": 0.1, "delay": (0.0, 9.0)}
    webhook = await by_chance(emulator, clock, endpoint, **faults)

    told = webhook.deliveries
    assert told.sent == told.planned - told.dropped + told.doubled + told.retried
    assert told.sent == told.answers.total() + told.unanswered
    assert len(endpoint.came) == told.sent + told.forged
    assert told == emulator.deliveries


async def test_the_same_seed_tells_the_same_story_however_often_it_is_looked_at() -> None:
    assert await story(seed=1, step=1) == await story(seed=1, step=1)
    assert sorted(await story(seed=1, step=1)) == sorted(await story(seed=1, step=40))
    assert await story(seed=1, step=1) != await story(seed=2, step=1)


async def story(seed: int, step: float) -> list[tuple[str, str]]:
    clock = Clock()
    endpoint = Far(clock)
    emulator = MuxEmulator(now=clock, sleep=clock.sleep, seed=seed)
    connect(emulator, endpoint, drop=0.3, double=0.3, shuffle=0.3, forge=0.3, delay=(0, 20))
    for _ in range(50):
        emulator.create_asset(life=Life("errored", after=30))
    while clock() < START + 200:
        await emulator.deliver_due()
        clock.pass_by(step)
    return [(delivery.body["id"], delivery.body["type"]) for delivery in endpoint.came]


# Running


async def test_webhooks_run_until_told_to_stop(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    connect(emulator, endpoint)
    emulator.create_asset(life=Life(after=30))
    stop = asyncio.Event()
    running = asyncio.create_task(emulator.run_webhooks(stop, every=0.5))
    await until(lambda: len(endpoint.came) == 2)
    stop.set()
    await running

    assert [delivery.at - START for delivery in endpoint.came] == [0, 30]


async def test_an_endpoint_that_keeps_silent_does_not_hold_up_another(
    clock: Clock, endpoint: Far
) -> None:
    emulator = MuxEmulator(now=clock)
    silent = Far(clock, statuses=[0])
    webhook = connect(emulator, silent)
    connect(emulator, endpoint)
    stop = asyncio.Event()
    running = asyncio.create_task(emulator.run_webhooks(stop, every=0.001))
    emulator.create_asset(life=Life("never"))
    await until(lambda: len(endpoint.came) == len(silent.came) == 1)
    emulator.create_asset(life=Life("never"))
    await until(lambda: len(endpoint.came) == 2)
    stop.set()
    await running

    assert (webhook.deliveries.sent, webhook.pending) == (0, 1)
    await emulator.deliver_due()
    assert silent.ids == [endpoint.ids[0], *endpoint.ids]


async def test_a_servers_lifespan_delivers(
    emulator: MuxEmulator, clock: Clock, endpoint: Far
) -> None:
    connect(emulator, endpoint)
    async with emulator.app.router.lifespan_context(emulator.app):
        emulator.create_asset(life=Life("never"))
        await until(lambda: bool(endpoint.came))

    assert clock() == START


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of an app behind uvicorn, in a thread, for as long as the block lasts."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", access_log=False, ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


async def test_an_endpoint_added_over_http_is_told_over_the_network(endpoint: Far) -> None:
    emulator = MuxEmulator()
    with served(endpoint.app) as address, served(emulator.app) as mux:
        async with httpx.AsyncClient(base_url=mux) as client:
            body = {"url": f"{address}/webhooks/mux", "secret": SECRET}
            assert (await client.post("/_emulator/webhooks", json=body)).status_code == 201
            ids = (
                await client.post("/_emulator/assets", json={"n": 3, "life": {"ends": "never"}})
            ).json()["ids"]
            await until(lambda: emulator.deliveries.sent == 3)
            told = await seen(client)

    assert {delivery.body["object"]["id"] for delivery in endpoint.came} == set(ids)
    assert told["deliveries"]["answers"] == {"200": 3}


# Control over HTTP


async def seen(control: httpx.AsyncClient) -> Any:
    (webhook,) = (await control.get("/_emulator/webhooks")).json()["webhooks"]
    return webhook


async def test_endpoints_can_be_added_seen_and_removed_over_http(
    control: httpx.AsyncClient,
) -> None:
    body = {"url": URL, "secret": SECRET, "delay": [0, 3], "drop": 0.1}
    answer = await control.post("/_emulator/webhooks", json=body)

    assert answer.status_code == 201
    assert answer.json() == await seen(control)
    assert (answer.json()["id"], answer.json()["url"], answer.json()["delay"]) == (1, URL, [0, 3])
    assert SECRET not in answer.text
    assert (await control.delete("/_emulator/webhooks")).status_code == 204
    assert (await control.get("/_emulator/webhooks")).json() == {"webhooks": []}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"secret": "s"}, "url: is missing; add it to the body"),
        ({"url": URL}, "secret: is missing; add it to the body"),
        ({"url": URL, "secret": ""}, "secret: must not be empty; deliveries are signed with it"),
        ({"url": URL, "secret": 7}, "secret: must be a text of at most 1024 characters"),
        *(
            (
                {"url": url, "secret": "s"},
                "url: must be an address such as http://127.0.0.1:8000/webhooks/mux",
            )
            for url in ("", "ftp://a/b", "/webhooks", "http://", "http://a b:x/")
        ),
        *(
            (
                {"url": URL, "secret": "s", name: 1.5},
                f"{name}: must be a number of at least 0 and at most 1",
            )
            for name in ("drop", "double", "shuffle", "forge")
        ),
        (
            {"url": URL, "secret": "s", "delay": 3},
            "delay: must be two numbers of seconds, such as [0, 30]",
        ),
        ({"url": URL, "secret": "s", "delay": [0, -1]}, "delay: must be a number of at least 0"),
        ({"url": URL, "secret": "s", "delay": [9, 3]}, "delay: must begin with the smaller number"),
        ({"url": URL, "secret": "s", "timeout": 0}, "timeout: must be a number of at least 0.001"),
        (
            {"url": URL, "secret": "s", "transport": None},
            "transport: is not a field here; use url, secret, ",
        ),
        ([], "the body: must be a JSON object"),
    ],
)
async def test_a_bad_webhook_is_answered_with_what_to_mend(
    control: httpx.AsyncClient, body: Any, sentence: str
) -> None:
    answer = await control.post("/_emulator/webhooks", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(sentence)
    assert (await control.get("/_emulator/webhooks")).json() == {"webhooks": []}


def test_a_secret_is_not_shown(emulator: MuxEmulator) -> None:
    assert SECRET not in repr(emulator.add_webhook(URL, SECRET))


def test_an_update_is_told_only_of_an_asset_that_is_there(emulator: MuxEmulator) -> None:
    with pytest.raises(KeyError):
        emulator.announce_update("nothing")
