"""The endpoint under whatever comes in.

It never breaks, keeps what is signed and nothing else, and ingest ends it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rindle_sync.domain import (
    WAITS_AFTER_FAILURE,
    WAITS_FOR_ROW,
    EventStatus,
    ProviderAsset,
    State,
    WebhookEventSummary,
)
from rindle_sync.providers.mux import sign
from rindle_sync.store.schema import assets, changes, webhook_events
from rindle_sync.webhooks import LARGEST_BODY, App, WebhookApp, process_webhook_events
from tests.support.fuzz import odd_texts
from tests.support.rows import NOW, a_row
from tests.support.webhooks import SECRET, a_receiver, an_event, deliver, kept_bodies, with_secrets
from tests.support.world import World

FUZZ = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
TYPES = (
    *(
        f"video.asset.{word}"
        for word in ("created", "ready", "errored", "updated", "deleted", "track.ready")
    ),
    *(f"video.upload.{word}" for word in ("created", "asset_created", "cancelled", "errored")),
)
ASSET, UPLOAD, PASSTHROUGH = "asset-1", "upload-1", "ours-1"
ENOUGH = max(sum(waits, timedelta()) for waits in (WAITS_FOR_ROW, WAITS_AFTER_FAILURE)) + timedelta(
    seconds=60
)


@dataclass(frozen=True, repr=False)
class Sent:
    """One request, and what is to come of it: an event that is kept under this id, or nothing."""

    method: str
    headers: list[tuple[bytes, bytes]]
    chunks: list[bytes]
    hangs_up: bool = False
    keeps: str | None = None

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def __repr__(self) -> str:
        size = f"{len(self.body)} bytes in {len(self.chunks)}"
        return f"{self.method} {self.headers} {size}: {self.body[:1000]!r}"


# what is in a body

words = st.text(max_size=20)
ids = st.text(min_size=1, max_size=255)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
moments = st.one_of(
    st.none(),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    words,
)
names = st.sampled_from([ASSET, UPLOAD, PASSTHROUGH, "another"]) | words | json_values
data = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from([ASSET, UPLOAD]) | names,
        "status": st.sampled_from(["preparing", "ready", "errored", "waiting", "cancelled"])
        | json_values,
        "asset_id": names,
        "upload_id": names,
        "passthrough": names,
        "new_asset_settings": st.fixed_dictionaries({"passthrough": names}) | json_values,
        "playback_ids": st.lists(st.fixed_dictionaries({"id": words, "policy": words}), max_size=3)
        | json_values,
        "created_at": moments | json_values,
        "errors": st.fixed_dictionaries({"type": words, "messages": st.lists(words, max_size=2)})
        | json_values,
        "error": json_values,
        "duration": json_values,
    },
)
parts = st.none() | st.fixed_dictionaries(
    {}, optional={"id": st.none() | names.filter(lambda n: isinstance(n, str))}
)
events = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES) | ids, "id": ids},
    optional={
        "created_at": moments,
        "object": parts,
        "environment": parts,
        "data": st.none() | data,
        "more": words,
    },
)
no_events = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"type": json_values.filter(lambda value: not isinstance(value, str)), "id": ids}
    ).map(lambda event: json.dumps(event).encode()),
    st.fixed_dictionaries({"type": ids}, optional={"data": data}).map(
        lambda event: json.dumps(event).encode()
    ),
    st.sampled_from([100_000, LARGEST_BODY, LARGEST_BODY + 1]).map(lambda size: b"[" * size),
    st.just(50_000).map(lambda depth: b'{"id":"e","type":' + b'{"a":' * depth),
)


def _written(event: dict[str, Any], spaces: int | None, *, ascii_only: bool) -> bytes:
    return json.dumps(event, ensure_ascii=ascii_only, indent=spaces).encode()


bodies = st.builds(_written, events, st.none() | st.integers(0, 3), ascii_only=st.booleans())

# how it is signed, and sent

Mutation = Callable[[bytes], bytes]


def _signed(body: bytes, *, secret: str = SECRET, seconds: int = 0) -> bytes:
    return sign(body, secret, NOW + timedelta(seconds=seconds)).encode()


GOOD: dict[str, Mutation] = {
    "as it is": _signed,
    "just in time": lambda body: _signed(body, seconds=-299),
    "with another signature before it": lambda body: _signed(body).replace(b",v1=", b",v1=abc,v1="),
    "with another scheme": lambda body: _signed(body) + b",v0=abc,,x",
    "with bytes that are no text": lambda body: _signed(body) + b",v1=\xff\xfe",
}
BAD: dict[str, Mutation] = {
    "nothing": lambda _: b"",
    "guessed": lambda body: _signed(body, secret="guessed"),
    "too old": lambda body: _signed(body, seconds=-301),
    "too new": lambda body: _signed(body, seconds=301),
    "of another body": lambda body: _signed(body + b" "),
    "cut short": lambda body: _signed(body)[:-1],
    "in capitals": lambda body: _signed(body).upper(),
    "without a time": lambda body: _signed(body).partition(b",")[2],
    "with two times": lambda body: b"t=1," + _signed(body),
    "with another time": lambda body: _signed(body).replace(b"t=", b"t=1"),
    "with a time that is no number": lambda body: _signed(body).replace(b"t=", b"t=-"),
    "of another scheme": lambda body: _signed(body).replace(b"v1=", b"v0="),
    "with spaces": lambda body: _signed(body).replace(b",", b", "),
    "time alone": lambda body: _signed(body).partition(b",")[0],
}
others = st.tuples(st.from_regex(rb"x-[a-z0-9-]{0,10}", fullmatch=True), st.binary(max_size=30))
announced = st.sampled_from(
    [b"", b"0", b"abc", b"-1", b"\xb2", b"1e9", b"00000000000000000000000000000000"]
)
methods = st.sampled_from(
    ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "BREW", ""]
)


@st.composite
def _chunked(draw: st.DrawFn, body: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=4)))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """A request of any kind; half of them are as the provider sends them."""
    body = draw(bodies)
    kind = draw(st.sampled_from(["good"] * 5 + ["bad", "header", "method", "no event", "hangs up"]))
    if kind == "no event":
        body = draw(no_events)
    signature = draw(st.sampled_from([*(BAD if kind == "bad" else GOOD).values()]))(body)
    if kind == "header":
        signature = draw(
            st.binary(max_size=100) | st.text("tv10=,abcf", max_size=40).map(str.encode)
        )
    headers = [
        *draw(st.lists(others, max_size=3)),
        (draw(st.sampled_from([b"mux-signature", b"Mux-Signature"])), signature),
        *([(b"content-length", draw(announced))] if draw(st.booleans()) else []),
    ]
    return Sent(
        method=draw(methods) if kind == "method" else "POST",
        headers=headers,
        chunks=draw(_chunked(body)),
        hangs_up=kind == "hangs up",
        keeps=json.loads(body)["id"].replace("\x00", "\ufffd") if kind == "good" else None,
    )


async def answer(app: App, sent: Sent) -> int | None:
    """Send one request; the status that came back, None for no answer at all."""
    came: list[Any] = []
    coming = iter(
        [{"type": "http.request", "body": chunk, "more_body": True} for chunk in sent.chunks]
        + [{"type": "http.disconnect"} if sent.hangs_up else {"type": "http.request"}]
    )

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: Any) -> None:
        came.append(message)

    scope = {
        "type": "http",
        "method": sent.method,
        "path": "/webhooks/mux",
        "headers": sent.headers,
    }
    await app(scope, receive, send)
    if not came:
        return None
    start, body = came
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert isinstance(json.loads(body["body"]), dict)
    return int(start["status"])


async def begin_again(world: World) -> None:
    """Nothing is kept, and three rows wait.

    For an asset, for an upload, and for anything with their passthrough.
    """
    with_secrets(world)
    world.clock.time = NOW
    world.told.clear()
    async with world.context.store.database.writing() as connection:
        for table in (webhook_events, changes, assets):
            await connection.execute(table.delete())
    for row in (
        a_row(State.PROCESSING, provider_asset_id=ASSET),
        a_row(State.UPLOADING, provider_asset_id=None, provider_upload_id=UPLOAD),
        a_row(State.PENDING, provider_asset_id=None, passthrough=PASSTHROUGH),
    ):
        await world.context.store.assets.add(row)


async def kept(world: World) -> list[WebhookEventSummary]:
    return await world.context.store.inbox.list(limit=1000)


async def rows(world: World) -> list[ProviderAsset]:
    return [row async for row in world.context.store.assets.rows()]


async def ingest_for_long(world: World) -> None:
    """Apply what is kept, and again whenever something more may have come due."""
    for gap in (0, 5, 15, 45, 90, 300, ENOUGH.total_seconds()):
        world.clock.move(gap)
        while await process_webhook_events(world.context):
            pass


@FUZZ
@given(sent=st.lists(requests(), min_size=1, max_size=4))
async def test_whatever_comes_what_is_signed_is_kept_once_and_nothing_else(
    world: World, sent: list[Sent]
) -> None:
    await begin_again(world)
    app, expected = WebhookApp(a_receiver(world)), dict[str, bytes]()

    for request in sent:
        status = await answer(app, request)
        assert status is None or status < 500
        assert (status is None) == request.hangs_up
        assert (status in {200, 202}) == (request.keeps is not None)
        if request.keeps is not None:
            expected.setdefault(request.keeps, request.body)

    found = await kept(world)
    assert await kept_bodies(world) == expected
    assert len(found) == len(expected)


@FUZZ
@given(odd=st.lists(odd_texts, min_size=1, max_size=4))
async def test_an_odd_text_in_an_event_keeps_it_from_nothing(
    world: World, odd: list[bytes]
) -> None:
    await begin_again(world)
    [row] = [row for row in await rows(world) if row.provider_asset_id]
    event = json.dumps(an_event(row, meta={"title": "odd"}, passthrough="odd")).encode()
    for number, text in enumerate(odd):
        body = event.replace(b'"odd"', text).replace(b'"id": "', b'"id": "%d-' % number, 1)
        assert (await deliver(world, body)).status == 202

    await ingest_for_long(world)

    assert {webhook_event.status for webhook_event in await kept(world)} == {EventStatus.APPLIED}
    assert (await world.now_is(row)).state is State.READY


@FUZZ
@given(events=st.lists(bodies, min_size=1, max_size=4))
async def test_whatever_is_kept_ingest_comes_to_an_end_with_it(
    world: World, events: list[bytes]
) -> None:
    await begin_again(world)
    for event in events:
        await deliver(world, event)

    await ingest_for_long(world)

    assert [
        webhook_event
        for webhook_event in await kept(world)
        if webhook_event.next_attempt_at or webhook_event.status is EventStatus.PENDING
    ] == []
    assert len(await rows(world)) == 3


async def test_every_way_of_signing_is_taken_or_refused(world: World) -> None:
    await begin_again(world)
    app = WebhookApp(a_receiver(world))

    for ways, status in ((GOOD, 202), (BAD, 400)):
        for name, way in ways.items():
            body = json.dumps(an_event("asset-1")).encode()
            assert (
                await answer(app, Sent("POST", [(b"mux-signature", way(body))], [body])) == status
            ), name

    assert len(await kept(world)) == len(GOOD)


# found by fuzzing


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00Z", -62_135_596_800, "9999-12-31T23:59:59.999999Z"]
)
async def test_an_event_at_the_end_of_time_is_applied_like_any_other(world: World, at: Any) -> None:
    await begin_again(world)
    [row] = [row for row in await rows(world) if row.provider_asset_id]

    assert (await deliver(world, an_event(row, at=at))).status == 202
    await ingest_for_long(world)

    assert (await world.now_is(row)).state is State.READY


@pytest.mark.parametrize(
    "odd",
    [
        {"created_at": True},
        {"created_at": []},
        {"object": "asset"},
        {"object": {"id": 1}},
        {"environment": []},
        {"environment": {"id": 1}},
        {"data": []},
        {"data": "nothing"},
    ],
)
async def test_an_event_with_an_odd_part_is_kept_all_the_same(
    world: World, odd: dict[str, Any]
) -> None:
    await begin_again(world)

    reply = await deliver(world, an_event("asset-1", "video.asset.track.ready") | odd)

    assert reply.status in {200, 202}
    assert len(await kept(world)) == 1


@pytest.mark.parametrize("name", ["id", "upload_id"])
async def test_an_id_too_long_for_an_index_keeps_no_other_event_back(
    world: World, name: str
) -> None:
    await begin_again(world)
    [row] = [row for row in await rows(world) if row.provider_asset_id]
    long = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(5_000))
    event = an_event("asset-0", "video.asset.created", passthrough=PASSTHROUGH)
    await deliver(world, event | {"data": event["data"] | {name: long}})
    await deliver(world, an_event(row))

    await ingest_for_long(world)

    assert (await world.now_is(row)).state is State.READY
    assert [
        webhook_event
        for webhook_event in await kept(world)
        if webhook_event.status is EventStatus.PENDING
    ] == []


async def test_a_moment_is_kept_as_it_came(world: World) -> None:
    await begin_again(world)
    moment = datetime(2026, 11, 23, 11, 59, 58, 123456, tzinfo=UTC)

    await deliver(world, an_event("asset-1", at=moment.isoformat()))

    assert [webhook_event.occurred_at for webhook_event in await kept(world)] == [moment]
