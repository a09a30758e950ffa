"""The adapter under whatever comes in: no forged signature passes, and what is read is sound.

`RINDLE_FUZZ_EXAMPLES` multiplies the number of examples, for a longer run.
"""

import gzip
import hashlib
import hmac
import json
import math
import re
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.domain import (
    MAX_ERROR_TEXT,
    ErrorKind,
    Observation,
    ObservationSource,
    PlaybackId,
    ReceivedEvent,
    State,
)
from rindle_sync.errors import (
    AuthenticationFailed,
    ConfigurationError,
    InvalidWebhook,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RindleSyncError,
)
from rindle_sync.providers import Page
from rindle_sync.providers.mux import Credentials, Mux, sign
from rindle_sync.store.schema.json_rows import to_json
from rindle_sync.webhooks import LARGEST_BODY
from tests.support.fuzz import fuzz, odd_texts
from tests.support.rows import NOW
from tests.support.webhooks import SECRET, an_event, an_upload_event

LONGEST_ID = 255
LONGEST_STATUS = 64
LONGEST_CALL = 10.0
"""Seconds of a slow processor that no delivery of the largest size may take."""
PIECE = 9
"""A piece of a secret that is this long gives it away.

Its tag is four characters and three dots.
"""


# what anything may be

any_text = st.text(st.characters(), max_size=20)
words = st.text(max_size=20)
huge = st.sampled_from([10**30, -(10**30), 2**63, 2**64, 10**308, 10**400, 10**4000])
plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | huge
    | st.floats()
    | any_text
    | st.sampled_from(["\x00", "a\x00b"])
)
json_values: st.SearchStrategy[Any] = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
numbers_of_time = st.integers(-(10**13), 10**13) | st.floats(allow_nan=False, allow_infinity=False)
moments = st.one_of(
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    numbers_of_time,
    st.integers(-(10**13), 10**13).map(str),
    st.from_regex(
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([.,]\d{1,9})?(Z|[+-]\d\d:?\d\d)?", fullmatch=True
    ),
)


def a_secret(number: int) -> str:
    """A word as the provider makes them, which nothing else can hold."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:44].swapcase() + "zQ9x"


def pieces_of(text: str) -> Iterator[str]:
    return (text[i : i + PIECE] for i in range(len(text) - PIECE + 1))


def leaks(secrets: list[str], *shown: str) -> set[str]:
    """The pieces of secrets that can be read."""
    hidden = {piece for secret in secrets for piece in pieces_of(secret)}
    return {piece for text in shown for piece in pieces_of(text)} & hidden


def is_clean(text: object) -> bool:
    """Whether it is text that any database can hold."""
    return isinstance(text, str) and "\x00" not in text and text.encode().decode() == text


def is_id(text: object) -> bool:
    return is_clean(text) and 0 < len(str(text)) <= LONGEST_ID


def is_moment(moment: object) -> bool:
    return moment is None or (isinstance(moment, datetime) and moment.utcoffset() == timedelta(0))


# bytes that are bent


def _flipped(content: bytes, place: int, bit: int) -> bytes:
    at = place % len(content)
    return content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]


@st.composite
def _bent(draw: st.DrawFn, content: bytes) -> bytes:
    """`content` with a bit flipped, a part cut out, doubled or put in, or an end cut off."""
    place, end = sorted((draw(st.integers(0, len(content))), draw(st.integers(0, len(content)))))
    match draw(st.sampled_from(["flip", "flip", "cut", "end", "double", "insert"])):
        case "flip":
            return _flipped(content, place, draw(st.integers(0, 7))) if content else content
        case "cut":
            return content[:place] + content[end:]
        case "end":
            return content[:place]
        case "double":
            return content[:end] + content[place:]
        case _:
            return content[:place] + draw(st.binary(min_size=1, max_size=8)) + content[place:]


# signatures

TOLERANCE = 300
REASONS = {
    "no_signature",
    "malformed_header",
    "no_v1_signature",
    "signature_mismatch",
    "timestamp_out_of_window",
}
UNREAD = {"no_json_object", "no_event", "unreadable_data"}
adapter = Mux(None)


def accepted(
    header: str | None, body: bytes, secrets: list[str], tolerance: float = TOLERANCE
) -> int | None:
    """The secret by which a delivery is accepted, None where it is refused.

    Any other error goes on its way.
    """
    headers = {} if header is None else {"mux-signature": header}
    try:
        return adapter.verify({"host": "here", **headers}, body, secrets, NOW, tolerance)
    except InvalidWebhook as error:
        refused = error
    assert refused.reason in REASONS
    assert str(refused) == f"the delivery was not accepted: {refused.reason}"
    return None


def mac_of(body: bytes, secret: str, timestamp: str) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def truly_signed(
    header: str, body: bytes, secrets: list[str], tolerance: float = TOLERANCE
) -> int | None:
    """The first secret that signed the delivery at its only time, without the code under test."""
    parts = header.split(",")
    times = [part[2:] for part in parts if part.startswith("t=")]
    if len(times) != 1 or not re.fullmatch(r"[0-9]{1,15}", times[0]):
        return None
    if abs(NOW.timestamp() - int(times[0])) > tolerance:
        return None
    return next(
        (i for i, secret in enumerate(secrets) if f"v1={mac_of(body, secret, times[0])}" in parts),
        None,
    )


some_secrets = st.lists(st.just(SECRET) | st.text(min_size=1, max_size=12), min_size=1, max_size=3)
bodies = st.binary(max_size=60)
now_ish = st.integers(-2 * TOLERANCE, 2 * TOLERANCE).map(
    lambda seconds: str(int(NOW.timestamp()) + seconds)
)
times = st.one_of(
    now_ish,
    now_ish.map(lambda text: text.zfill(15)),
    now_ish.map(lambda text: text.translate({ord("0") + i: 0x660 + i for i in range(10)})),
    st.integers().map(str),
    st.sampled_from(
        [
            "",
            "-1",
            "+1",
            "1e9",
            "1_000",
            " 1",
            "9" * 15,
            "9" * 16,
            "9" * 5000,
            "²",
            "nan",
            "inf",
            "0x1",
        ]
    ),
    any_text,
)
keys = (
    st.sampled_from(["t", "t", "v1", "v1", "v1", "v0", "T", "V1", "", " t", "v1 ", "\tt"])
    | any_text
)


@st.composite
def headers_of(draw: st.DrawFn, body: bytes, secrets: list[str]) -> str:
    """A header of any number of parts, some of which are as they should be."""
    told = draw(times)
    macs = st.builds(
        lambda secret, stamp: mac_of(body, secret, stamp),
        st.sampled_from(secrets) | st.just("another"),
        st.sampled_from([told, told, told, "1"]).filter(
            lambda text: text.isascii() or text.isprintable()
        ),
    )
    value = {"t": st.just(told) | times, "v1": macs | macs.map(str.upper) | any_text}
    signs = st.sampled_from(["=", "=", "=", "==", ""])
    more = [
        f"{key}{draw(signs)}{draw(value.get(key, any_text))}"
        for key in draw(st.lists(keys, max_size=6))
    ]
    parts = [*([f"t={told}"] if draw(st.booleans()) else []), *more]
    return draw(st.sampled_from([",", ",", ",", ", ", ";"])).join(parts)


@fuzz(150)
@given(st.data(), bodies, some_secrets, st.sampled_from([1, TOLERANCE, 86_400]))
def test_nothing_but_a_true_signature_in_time_is_accepted(
    data: st.DataObject, body: bytes, secrets: list[str], tolerance: int
) -> None:
    header = data.draw(headers_of(body, secrets))

    assert accepted(header, body, secrets, tolerance) == truly_signed(
        header, body, secrets, tolerance
    )


@fuzz(80)
@given(
    st.text(st.characters(), max_size=200) | st.text("tv10=,abcf \x00²", max_size=60),
    bodies,
    some_secrets,
)
def test_no_header_that_was_made_up_is_accepted(
    header: str, body: bytes, secrets: list[str]
) -> None:
    assert accepted(header, body, secrets) is None


@fuzz(120)
@given(st.data(), bodies)
def test_a_true_header_that_was_bent_is_as_good_as_what_is_left_of_it(
    data: st.DataObject, body: bytes
) -> None:
    header = data.draw(_bent(sign(body, SECRET, NOW).encode())).decode("latin-1")

    assert accepted(header, body, [SECRET]) == truly_signed(header, body, [SECRET])


@fuzz(80)
@given(st.data(), st.binary(min_size=1, max_size=60))
def test_a_body_that_was_bent_is_not_the_one_that_was_signed(
    data: st.DataObject, body: bytes
) -> None:
    bent = data.draw(_bent(body))

    assert accepted(sign(body, SECRET, NOW), bent, [SECRET]) == (0 if bent == body else None)


@fuzz(40)
@given(
    bodies,
    st.text(min_size=1, max_size=12),
    st.integers(-TOLERANCE + 1, TOLERANCE),
    st.lists(any_text, max_size=4),
)
def test_a_true_signature_is_accepted_beside_any_other_part(
    body: bytes, secret: str, seconds: int, more: list[str]
) -> None:
    others = [part.replace(",", "") for part in more if not part.startswith("t=")]
    header = ",".join([*others, sign(body, secret, NOW + timedelta(seconds=seconds)), *others])

    assert accepted(header, body, ["another", secret]) == (0 if secret == "another" else 1)


@fuzz(25)
@given(any_text | st.none(), bodies, st.sampled_from([[], [""], [SECRET, ""]]))
def test_without_a_secret_nothing_is_accepted_whatever_comes(
    header: str | None, body: bytes, secrets: list[str]
) -> None:
    for told in (header, sign(body, "", NOW), sign(body, SECRET, NOW)):
        with pytest.raises(ConfigurationError) as refused:
            accepted(told, body, secrets)
        assert refused.value.setting == "mux_webhook_secrets"


def seconds_for(work: Callable[[], object]) -> float:
    """The processor's time, which is ours alone however busy the machine is."""
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.parametrize(
    "part", ["v1=" + "a" * 64, "t=", "t=1", "v1=", ",", "=", "t", "\ud800", "v1=é", "9"]
)
def test_a_header_of_any_length_is_refused_in_no_time(part: str) -> None:
    for header in (
        part * 100_000,
        f"{part}," * 100_000,
        f"t=1,{part}," * 50_000,
        f"t=1,v1={part * 100_000}",
    ):
        assert seconds_for(lambda header=header: accepted(header, b"{}", [SECRET])) < LONGEST_CALL  # type: ignore[misc]


# notices

TYPES = (
    *(
        f"video.asset.{word}"
        for word in ("created", "ready", "errored", "updated", "deleted", "track.ready")
    ),
    *(f"video.upload.{word}" for word in ("created", "asset_created", "cancelled", "errored")),
)
A_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]", re.IGNORECASE)

errors = st.fixed_dictionaries(
    {}, optional={"type": words, "message": words, "messages": st.lists(words, max_size=2)}
)
playback_ids = st.lists(
    st.fixed_dictionaries({"id": words, "policy": st.sampled_from(["public", "signed"])}),
    max_size=2,
)
good_data = st.fixed_dictionaries(
    {"id": st.integers(0, 9).map(a_secret)},
    optional={
        "status": st.sampled_from(
            ["preparing", "ready", "errored", "waiting", "timed_out", "cancelled"]
        ),
        "asset_id": st.integers(0, 9).map(a_secret),
        "upload_id": st.integers(0, 9).map(a_secret),
        "passthrough": words,
        "new_asset_settings": st.fixed_dictionaries({"passthrough": words}),
        "playback_ids": playback_ids,
        "created_at": moments,
        "errors": errors,
        "error": errors,
        "url": words.map(lambda path: f"https://storage.test/{path}"),
        "meta": st.fixed_dictionaries(
            {"title": words, "link": words.map(lambda path: f"see http://x.test/{path}")}
        ),
    },
)


def _event(type_: str, data: dict[str, Any], at: Any) -> dict[str, Any]:
    make = an_upload_event if type_.startswith("video.upload") else an_event
    return make(data["id"], type_) | {"id": "event-1", "created_at": at, "data": data}


events = st.builds(_event, st.sampled_from(TYPES), good_data, moments)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each part of `value`."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, part in inner for place in _places(part, (*path, key)))]


def _changed(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _changed(copy[path[0]], path[1:], change)
    return copy


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    def drop(inner: Any) -> Any:
        kept = dict(inner) if isinstance(inner, dict) else list(inner)
        del kept[path[-1]]
        return kept

    return _changed(value, path[:-1], drop) if path else {}


def _nested(value: Any, depth: int, key: str | None) -> Any:
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


changes: st.SearchStrategy[Callable[[Any], Any]] = st.one_of(
    json_values.map(lambda other: lambda _: other),
    any_text.map(lambda odd: lambda inner: f"{inner}{odd}\x00"),
    st.builds(
        lambda depth, key: lambda inner: _nested(inner, depth, key),
        st.integers(1, 12),
        st.none() | any_text,
    ),
)


@st.composite
def _maimed(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Any:
    """One of `values` with up to three of its parts removed, retyped, renamed or nested."""
    value = draw(values)
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(_places(value)))
        change = draw(st.none() | changes)
        value = _changed(value, path, change) if change else _without(value, path)
    return value


def _written(value: Any, *, ascii_only: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


def written(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """`values` as JSON, whole or maimed, and now and then with bytes of it bent."""
    whole = st.builds(_written, _maimed(values), ascii_only=st.booleans())
    return st.one_of(whole, whole, whole.flatmap(_bent))


deep = st.builds(
    lambda opening, depth, ending: (
        b'{"type":"video.asset.ready","id":"e","data":{"id":"a","x":' + opening * depth + ending
    ),
    st.sampled_from([b"[", b'{"x":', b'[{"x":', b'{"\\u0000url":']),
    st.integers(80, 1100) | st.just(100_000),
    st.sampled_from([b"", b"1", b'"\\u0000"']),
)
closed = st.builds(
    lambda key, depth, end: (
        b'{"type":"video.asset.ready","id":"e","data":{"id":"a","x":'
        + key * depth
        + end
        + b"}" * depth
        + b"}}"
    ),
    st.sampled_from([b'{"x":', b'{"\\u0000":']),
    st.integers(80, 1100),
    st.sampled_from([b"1", b'"\\u0000"', b'"http:\\/\\/x.test"']),
)
numbers = st.builds(
    lambda name, number: (
        f'{{"type":"video.asset.ready","id":"e","data":{{"id":"a","{name}":{number}}}}}'.encode()
    ),
    st.sampled_from(["created_at", "duration", "id", "status"]),
    st.sampled_from(
        [
            "9" * 20,
            "9" * 400,
            "9" * 5000,
            "1e400",
            "-1e400",
            "1e-400",
            "NaN",
            "-Infinity",
            "-0",
            "00",
            "1.",
        ]
    ),
)
webhook_events = st.one_of(
    numbers,
    written(events),
    written(events),
    written(json_values),
    written(events.map(lambda e: [e])),
    st.binary(),
    deep,
    closed,
)


def read(work: Callable[[], Any]) -> Any:
    """What was read; None where it is no notice. Any other error goes on its way."""
    try:
        return work()
    except InvalidWebhook as error:
        refused = error
    assert refused.reason in UNREAD
    return None


def check_delivery(delivery: ReceivedEvent) -> None:
    assert is_id(delivery.event_id)
    assert is_id(delivery.type)
    assert is_moment(delivery.occurred_at)
    for name in ("environment", "provider_asset_id", "provider_upload_id", "passthrough"):
        assert getattr(delivery, name) is None or is_id(getattr(delivery, name)), name
    if delivery.type in TYPES:
        assert delivery.acted_on


def urls_in(value: Any, *, of_provider: bool = False) -> list[str]:
    """The URLs of files, and those in texts of the provider; not what the app gave."""
    if isinstance(value, dict):
        found = [key for key in value if key.endswith("url")]
        for key, inner in value.items():
            if key not in {"passthrough", "meta"} or of_provider:
                found += urls_in(inner, of_provider=of_provider or key in {"error", "errors"})
        return found
    if isinstance(value, list):
        return [url for inner in value for url in urls_in(inner, of_provider=of_provider)]
    is_url = of_provider and isinstance(value, str) and A_URL.search(value)
    return [value] if is_url else []


def check_seen(observation: Observation) -> None:
    assert observation.at == NOW
    assert observation.state is None or isinstance(observation.state, State)
    assert is_clean(observation.status)
    assert len(observation.status) <= LONGEST_STATUS
    assert isinstance(observation.error_kind, ErrorKind) == (observation.state is State.ERRORED)
    for told in (
        observation.provider_asset_id,
        observation.provider_upload_id,
        observation.event_id,
    ):
        assert told is None or is_id(told)
    assert observation.passthrough is None or is_clean(observation.passthrough)
    assert is_moment(observation.occurred_at)
    assert is_moment(observation.created_at)
    for playback in observation.playback_ids or ():
        assert isinstance(playback, PlaybackId)
        assert is_clean(playback.id + playback.policy)
    check_text(observation)
    check_metadata(observation)


def check_text(observation: Observation) -> None:
    text = observation.error_text
    if text is not None:
        assert is_clean(text)
        assert 0 < len(text) <= MAX_ERROR_TEXT
        assert len(text.splitlines()) == 1
        assert not A_URL.search(text)
        ids = [
            told for told in (observation.provider_asset_id, observation.provider_upload_id) if told
        ]
        assert leaks([told for told in ids if told.endswith("zQ9x")], text) == set()


def check_metadata(observation: Observation) -> None:
    """What is kept is JSON that any database takes, without NUL and the URLs of files."""
    if observation.source is ObservationSource.WEBHOOK and observation.metadata is None:
        return  # an event about a part of an asset, or of an upload that has its asset
    assert isinstance(observation.metadata, dict)
    text = to_json(observation.metadata)
    assert "\\u0000" not in text
    assert json.loads(text) is not None
    assert urls_in(observation.metadata) == []


@fuzz(180)
@given(webhook_events)
def test_whatever_a_webhook_says_of_itself_is_in_order_or_it_is_no_webhook_event(
    body: bytes,
) -> None:
    if delivery := read(lambda: adapter.read_event({}, body)):
        check_delivery(delivery)


@fuzz(180)
@given(webhook_events)
def test_whatever_is_seen_in_a_webhook_is_in_order_or_it_is_no_webhook_event(body: bytes) -> None:
    if observation := read(lambda: adapter.read_observation({}, body, NOW)):
        check_seen(observation)
        assert observation.source is ObservationSource.WEBHOOK
        assert is_id(observation.event_id)


@fuzz(40)
@given(events)
def test_a_whole_webhook_event_is_read_and_both_readings_agree(event: dict[str, Any]) -> None:
    body = json.dumps(event).encode()

    delivery, observation = adapter.read_event({}, body), adapter.read_observation({}, body, NOW)

    assert (delivery.event_id, delivery.occurred_at) == (
        observation.event_id,
        observation.occurred_at,
    )
    assert delivery.provider_asset_id == observation.provider_asset_id
    assert delivery.provider_upload_id == observation.provider_upload_id
    assert (observation.passthrough or None) in {None, delivery.passthrough}


@fuzz(100)
@given(st.lists(st.none() | odd_texts, min_size=1, max_size=5), st.data())
async def test_an_odd_text_in_a_list_page_costs_no_entry_and_no_other_field(
    texts: list[bytes | None], data: st.DataObject
) -> None:
    field_name = data.draw(st.sampled_from(["passthrough", "meta", "created_at", "upload_id"]))
    page = []
    for number, text in enumerate(texts):
        entry = b'{"id": "asset-%d", "status": "ready", "duration": 1.5' % number
        page.append(entry + (b', "%s": %s' % (field_name.encode(), text) if text else b"") + b"}")
    body = b'{"data": [' + b", ".join(page) + b'], "next_cursor": "more"}'

    seen = await FarEnd(200, [], [body]).mux.list_assets(NOW)

    assert [entry.provider_asset_id for entry in seen.entries] == [
        f"asset-{number}" for number in range(len(texts))
    ]
    assert seen.cursor == "more"
    for observation in seen.entries:
        check_seen(observation)
        assert observation.state is State.READY
        assert (observation.metadata or {})["duration"] == 1.5


def _at_depth(frames: int, work: Callable[[], object]) -> object:
    return work() if frames <= 0 else _at_depth(frames - 1, work)


@fuzz(60)
@given(deep | closed, st.integers(0, 800))
def test_deep_nesting_far_down_the_stack_is_read_or_is_no_webhook_event(
    body: bytes, frames: int
) -> None:
    for work in (
        lambda: adapter.read_event({}, body),
        lambda: adapter.read_observation({}, body, NOW),
    ):
        answer = _at_depth(frames, lambda work=work: read(work))  # type: ignore[misc]
        assert answer is None or isinstance(answer, ReceivedEvent | Observation)


around = st.text(max_size=12) | st.sampled_from(
    [" ", "'", '"', "/", "=", "-", "_", ":", ".", "id", "\n", "\x00", "…"]
)


@st.composite
def texts_with(draw: st.DrawFn, secrets: list[str]) -> str:
    """A text of any length that holds secrets, bare and in URLs."""
    parts = [draw(around)]
    for _ in range(draw(st.integers(1, 4))):
        secret = draw(st.sampled_from(secrets))
        parts += [
            draw(st.sampled_from([secret, secret, f"https://x.test/{secret}?key={secret}"])),
            draw(around),
        ]
    filler = draw(st.sampled_from([0, 0, 0, 4_000, 70_000]))
    return "so it is " * (filler // 9) + "".join(parts)


planted = st.lists(st.integers(0, 10**6).map(a_secret), min_size=4, max_size=4, unique=True)


@st.composite
def telling_events(draw: st.DrawFn) -> tuple[list[str], dict[str, Any]]:
    """An event whose error texts hold the ids of the object, and these ids."""
    object_id, other_id, passthrough, playback_id = secrets = draw(planted)
    told = {
        "type": draw(words),
        "messages": [draw(texts_with(secrets))],
        "message": draw(texts_with(secrets)),
    }
    data = {
        "id": object_id,
        "passthrough": passthrough,
        "new_asset_settings": {"passthrough": passthrough},
        "playback_ids": [{"id": playback_id, "policy": "public"}],
        "status": draw(words | texts_with(secrets)),
        "errors": told,
        "error": told,
    }
    type_ = draw(st.sampled_from(TYPES))
    data["asset_id" if "upload" in type_ else "upload_id"] = other_id
    return secrets, _event(type_, data, None)


@fuzz(60)
@given(telling_events())
def test_no_text_about_an_error_or_a_status_shows_an_id(
    telling: tuple[list[str], dict[str, Any]],
) -> None:
    secrets, event = telling

    observation = adapter.read_observation({}, json.dumps(event).encode(), NOW)

    check_seen(observation)
    assert (
        leaks(secrets, observation.error_text or "", observation.status, repr(observation)) == set()
    )


FILLINGS: dict[str, bytes] = {
    "one word": b"a" * LARGEST_BODY,
    "a word before an address": b"a" * (LARGEST_BODY - 500) + b"://x",
    "capitals": b"aB" * (LARGEST_BODY // 2),
    "digits": b"a1" * (LARGEST_BODY // 2),
    "words": b"a-" * (LARGEST_BODY // 2),
    "marks": b"-." * (LARGEST_BODY // 2),
    "addresses": b"a://" * (LARGEST_BODY // 4),
    "addresses apart": b"a://b " * (LARGEST_BODY // 6),
    "white space": b" " * LARGEST_BODY,
    "escapes": b"\\u0000" * (LARGEST_BODY // 6),
    "escaped addresses": b"a:\\/\\/b " * (LARGEST_BODY // 8),
    "brackets": b'","x":[' + b"{}," * (LARGEST_BODY // 3) + b'{}],"y":"',
}


@pytest.mark.parametrize("filling", FILLINGS.values(), ids=FILLINGS)
def test_the_largest_webhook_event_is_read_in_no_time(filling: bytes) -> None:
    start = b'{"type":"video.asset.errored","id":"e","data":{"id":"asset-1","errors":{"message":"'
    body = start + filling + b'"}}}'

    assert seconds_for(lambda: read(lambda: adapter.read_event({}, body))) < LONGEST_CALL
    assert seconds_for(lambda: read(lambda: adapter.read_observation({}, body, NOW))) < LONGEST_CALL


# answers

Call = Callable[[Mux], Awaitable[object]]
TOKEN = Credentials(
    "planted0-token-id00-0000-0123456789ab", "Planted/Token+Secret0123456789abcdefghij"
)
ASSET, UPLOAD = a_secret(-1), a_secret(-2)
CURSOR = "planted-cursor-0123456789"
CALLS: dict[str, Call] = {
    "get_asset": lambda mux: mux.get_asset(ASSET, NOW),
    "get_upload": lambda mux: mux.get_upload(UPLOAD, NOW),
    "list_assets": lambda mux: mux.list_assets(NOW, CURSOR),
    "whoami": lambda mux: mux.whoami(),
}
SECRETS = [
    TOKEN.token_id,
    TOKEN.token_secret,
    TOKEN.header.removeprefix("Basic "),
    ASSET,
    UPLOAD,
    CURSOR,
]


@dataclass
class FarEnd(httpx.AsyncBaseTransport):
    """A far end that gives every call the same answer, in chunks, and may break off after them."""

    status: int
    headers: list[tuple[bytes, bytes]]
    chunks: list[bytes] = field(repr=False)
    breaks: Exception | None = None
    left: list[tuple[str, int]] = field(default_factory=list)

    async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
        if self.breaks and not self.chunks:
            raise self.breaks
        return httpx.Response(
            self.status, headers=self.headers, stream=Stream(self.chunks, self.breaks)
        )

    @property
    def mux(self) -> Mux:
        return Mux(
            TOKEN, transport=self, on_calls_left=lambda kind, left: self.left.append((kind, left))
        )

    def __repr__(self) -> str:
        return f"{self.status} {self.headers} {self.breaks!r} {b''.join(self.chunks)[:2000]!r}"


@dataclass
class Stream(httpx.AsyncByteStream):
    chunks: list[bytes]
    breaks: Exception | None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        if self.breaks:
            raise self.breaks


BREAKS: list[Exception] = [
    httpx.ConnectError(f"no {ASSET}"),
    httpx.ReadTimeout(f"no {ASSET}"),
    httpx.RemoteProtocolError(f"no {TOKEN.token_secret}"),
    httpx.InvalidURL(f"no https://x.test/{ASSET}"),
    httpx.StreamClosed(),
    OSError(5, ASSET),
    TimeoutError(ASSET),
    UnicodeError(ASSET),
    ValueError(ASSET),
]
ENCODINGS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"identity": bytes,
    b"gzip, deflate": lambda body: zlib.compress(gzip.compress(body)),
}
odd_values = st.one_of(
    st.integers().map(lambda number: str(number).encode()),
    st.floats().map(lambda number: str(number).encode()),
    st.binary(max_size=12),
    st.sampled_from(
        [
            b"",
            b"0",
            b"-0",
            b"7",
            b" 5 ",
            b"1_0",
            b"1e400",
            b"-1",
            b"nan",
            b"inf",
            b"\xc2\xb2",
            b"\xd9\xa3",
        ]
    ),
    st.sampled_from(
        [
            b"9" * 9,
            b"9" * 10,
            b"9" * 5000,
            b"Wed, 21 Oct 2026 07:28:00 GMT",
            TOKEN.token_id.encode(),
        ]
    ),
)
names = st.sampled_from(
    [
        b"Retry-After",
        b"retry-after",
        b"X-RateLimit-Remaining",
        b"Location",
        b"Content-Type",
        b"ETag",
    ]
)
headers = st.lists(st.tuples(names, odd_values), max_size=4)
statuses = st.sampled_from(
    [200] * 8 + [201, 204, 301, 304, 400, 401, 403, 404, 404, 429, 429, 500, 503]
)
entries = good_data.map(lambda data: data | {"id": ASSET}) | good_data
answers = st.one_of(
    st.builds(lambda data: {"data": data | {"id": ASSET}}, good_data),
    st.builds(lambda data: {"data": data | {"id": UPLOAD}}, good_data),
    st.builds(
        lambda page, cursor: {"data": page, "next_cursor": cursor},
        st.lists(_maimed(entries), max_size=4),
        st.none() | words | json_values,
    ),
    st.builds(lambda told: {"data": {"environment_id": told}}, words),
)
refusals = texts_with([*SECRETS, TOKEN.header]).flatmap(
    lambda text: st.sampled_from(
        [
            {"error": {"type": text, "messages": [text, text]}},
            {"error": {"type": "not_found", "message": text}},
            {"errors": [text, 5, text]},
            {"code": 5, "message": text},
            {"error": text, "data": {"id": text}},
        ]
    )
)
contents = st.one_of(
    written(answers), written(answers), written(refusals), written(json_values), st.binary(), deep
)


@st.composite
def far_ends(draw: st.DrawFn) -> FarEnd:
    """A far end that answers anything at all; every second answer is no error."""
    content, told = draw(contents), draw(headers)
    if draw(st.integers(0, 4)) == 0:
        encoding = draw(st.sampled_from([*ENCODINGS, b"br", b"zstd", b"unheard-of", b"\xff"]))
        packed = ENCODINGS.get(encoding, bytes)(content)
        content = draw(st.just(packed) | _bent(packed))
        told = [*told, (b"Content-Encoding", encoding)]
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=2)))
    chunks = [
        content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)
    ]
    breaks = draw(st.none() | st.none() | st.none() | st.sampled_from(BREAKS))
    return FarEnd(
        draw(statuses | st.integers(100, 999)),
        told,
        chunks if draw(st.integers(0, 9)) else [],
        breaks,
    )


async def answer_or_error(call: Awaitable[object]) -> object:
    """What the call came to; an error that is none of ours goes on its way."""
    try:
        return await call
    except RindleSyncError as error:
        return error


def check_error(error: RindleSyncError, far_end: FarEnd) -> None:
    shown = f"{error} {error!r} {vars(error)}"
    assert isinstance(error, NotFound | ProviderError)
    assert error.__cause__ is None
    assert is_clean(str(error))
    assert len(str(error)) <= MAX_ERROR_TEXT + 200
    assert len(str(error).splitlines()) == 1
    assert leaks(SECRETS, shown) == set()
    assert not A_URL.search(shown)
    told_by_status = {
        404: NotFound,
        401: AuthenticationFailed,
        403: AuthenticationFailed,
        429: RateLimited,
    }
    assert type(error) in {
        ProviderUnavailable,
        told_by_status.get(far_end.status, ProviderUnavailable),
    }
    if isinstance(error, RateLimited) and error.retry_after is not None:
        assert 0 <= error.retry_after <= 86_400


def check_answer(name: str, answer: object, far_end: FarEnd) -> None:
    assert far_end.status == 200
    match name, answer:
        case "get_asset", Observation(source=ObservationSource.GET, provider_asset_id=told):
            assert told == ASSET
            check_seen(answer)
        case "get_upload", Observation(source=ObservationSource.UPLOAD, provider_upload_id=told):
            assert told == UPLOAD
            check_seen(answer)
        case "list_assets", Page(entries=page, cursor=cursor, created=created):
            assert cursor is None or (is_clean(cursor) and cursor)
            assert {entry.created_at for entry in page} - {None} <= set(created)
            for observation in page:
                assert observation.source is ObservationSource.LIST
                assert is_id(observation.provider_asset_id)
                check_seen(observation)
        case "whoami", str(told):
            assert is_clean(told)
        case _:
            pytest.fail(f"{name} promises nothing like {type(answer).__name__}")


@pytest.mark.parametrize("name", CALLS)
@fuzz(60)
@given(far_ends())
async def test_whatever_the_far_end_answers_a_call_keeps_its_promise_or_names_its_error(
    name: str, far_end: FarEnd
) -> None:
    answer = await answer_or_error(CALLS[name](far_end.mux))

    if isinstance(answer, RindleSyncError):
        check_error(answer, far_end)
    else:
        check_answer(name, answer, far_end)
    for kind, left in far_end.left:
        assert kind == "reads"
        assert 0 <= left < 10**9


@fuzz(40)
@given(
    statuses, texts_with([*SECRETS, TOKEN.header]), st.sampled_from(["error", "errors", "message"])
)
async def test_no_error_shows_what_the_far_end_tells_of_us(
    status: int, text: str, where: str
) -> None:
    told = {"error": {"type": text, "messages": [text]}, "errors": [text], "message": text}[where]
    far_end = FarEnd(status, [], [json.dumps({where: told}).encode()])

    for call in CALLS.values():
        error = await answer_or_error(call(far_end.mux))
        assert isinstance(error, RindleSyncError)
        check_error(error, far_end)


@fuzz(25)
@given(st.text(st.characters(), max_size=60), st.text(st.characters(), max_size=60))
async def test_no_id_and_no_cursor_breaks_a_call(provider_id: str, cursor: str) -> None:
    mux = FarEnd(200, [], [b'{"data": []}']).mux

    for call in (mux.get_asset(provider_id, NOW), mux.get_upload(provider_id, NOW)):
        assert isinstance(await answer_or_error(call), ProviderUnavailable)
    assert isinstance(
        await answer_or_error(mux.list_assets(NOW, cursor)), Page | ProviderUnavailable
    )


@fuzz(40)
@given(odd_values)
async def test_a_wait_is_a_number_of_seconds_within_a_day_or_none(told: bytes) -> None:
    error = await answer_or_error(FarEnd(429, [(b"Retry-After", told)], [b"{}"]).mux.whoami())

    assert isinstance(error, RateLimited)
    assert error.retry_after is None or (
        math.isfinite(error.retry_after) and 0 <= error.retry_after <= 86_400
    )


# found by fuzzing


@pytest.mark.parametrize("length", [4_000, 4_096, 10_000])
async def test_the_text_about_an_upload_that_ended_is_no_longer_than_any_other(length: int) -> None:
    data = {"id": UPLOAD, "status": "timed_out", "error": {"type": "so it is " * (length // 9)}}

    observation = await FarEnd(200, [], [json.dumps({"data": data}).encode()]).mux.get_upload(
        UPLOAD, NOW
    )

    check_seen(observation)


async def test_the_text_about_an_upload_hides_its_passthrough_like_that_about_an_asset() -> None:
    told = {"message": "no file for my-own-video"}
    upload = {
        "id": UPLOAD,
        "status": "errored",
        "error": told,
        "new_asset_settings": {"passthrough": "my-own-video"},
    }
    asset = {"id": ASSET, "status": "errored", "errors": told, "passthrough": "my-own-video"}

    seen_upload = await FarEnd(200, [], [json.dumps({"data": upload}).encode()]).mux.get_upload(
        UPLOAD, NOW
    )
    seen_asset = await FarEnd(200, [], [json.dumps({"data": asset}).encode()]).mux.get_asset(
        ASSET, NOW
    )

    assert seen_asset.error_text == "no file for ...ideo"
    assert seen_upload.error_text == "mux upload errored: no file for ...ideo"
