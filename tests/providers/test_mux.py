"""The Mux adapter against the emulator, against given bytes, and against recorded answers."""

import asyncio
import base64
import gzip
import json
import logging
import math
import resource
import socket
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partialmethod
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import aiohttp
import httpx
import pytest
import uvicorn
from hypothesis import example, given
from hypothesis import strategies as st

from rindle_sync.domain import (
    ErrorKind,
    Media,
    Observation,
    ObservationSource,
    PlaybackId,
    ReceivedEvent,
    State,
    is_row_id,
)
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.errors import (
    AuthenticationFailed,
    ConfigurationError,
    InvalidWebhook,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    RindleSyncError,
)
from rindle_sync.providers import Page, UploadRequest
from rindle_sync.providers.mux import Credentials, Mux, parse_time, sign, without_file_urls
from rindle_sync.providers.mux.client import LARGEST_ANSWER, LARGEST_PAGE
from rindle_sync.providers.mux.lenient_json import storable
from rindle_sync.providers.mux.responses import decoded
from rindle_sync.providers.mux.webhooks import read_event, read_observation, verify
from rindle_sync.providers.mux.webhooks import test_delivery as a_delivery
from tests.support.processes import PATIENCE, serving
from tests.support.rows import NOW, a_row
from tests.support.webhooks import an_event, an_upload_event
from tests.support.world import Clock, an_adapter

VECTORS = Path(__file__).parents[3] / "shared" / "mux" / "vectors.json"
ID = "lJ4bPlantedAsset0123456789zLf02nMg015W02iHQLN9X"
UPLOAD = "zd01PlantedUpload0123456789bNpYhxbrwYABgFE01twZ"
TOKEN = Credentials(
    "planted0-token-id00-0000-0123456789ab", "Planted/Token+Secret0123456789abcdefghij"
)
CREATED = datetime(2021, 1, 5, 17, 46, 8, tzinfo=UTC)

Call = Callable[[Mux], Awaitable[object]]
CALLS: dict[str, Call] = {
    "get_asset": lambda mux: mux.get_asset(ID, NOW),
    "get_upload": lambda mux: mux.get_upload(UPLOAD, NOW),
    "list_assets": lambda mux: mux.list_assets(NOW, "planted-cursor-0123456789"),
    "whoami": lambda mux: mux.whoami(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


class FarEnd:
    """A far end that gives every call the same answer, and keeps what it was asked."""

    def __init__(
        self, status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.status = status
        self.body = body
        self.headers = [(key.encode(), value.encode()) for key, value in (headers or {}).items()]
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, _: Any, send: Any) -> None:
        self.asked.append(scope)
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})

    @property
    def mux(self) -> Mux:
        return Mux(TOKEN, transport=httpx.ASGITransport(app=self))

    @property
    def raw_path(self) -> bytes:
        return bytes(self.asked[-1]["raw_path"])

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.asked[-1]["query_string"].decode())

    @property
    def header(self) -> dict[str, str]:
        return {key.decode(): value.decode() for key, value in self.asked[-1]["headers"]}


def telling(value: object, status: int = 200, **headers: str) -> FarEnd:
    return FarEnd(status, json.dumps(value).encode(), headers)


def an_asset(**fields: Any) -> dict[str, Any]:
    return {"id": ID, "status": "ready", "created_at": "1609868768", "playback_ids": []} | fields


async def get(value: object) -> Observation:
    return await telling({"data": value}).mux.get_asset(ID, NOW)


async def get_upload(value: object) -> Observation:
    return await telling({"data": value}).mux.get_upload(UPLOAD, NOW)


async def list_of(*entries: object) -> Page:
    return await telling({"data": entries, "next_cursor": None}).mux.list_assets(NOW)


async def error_of(far_end: FarEnd, call: Call = CALLS["get_asset"]) -> RindleSyncError:
    with pytest.raises(RindleSyncError) as raised:
        await call(far_end.mux)
    return raised.value


async def answer_or_error(call: Awaitable[object]) -> object:
    """What the call came to; an error that is none of ours goes on its way."""
    try:
        return await call
    except RindleSyncError as error:
        return error


def seen_in(answer: object) -> list[Observation]:
    return (
        list(answer.entries)
        if isinstance(answer, Page)
        else [answer]
        if isinstance(answer, Observation)
        else []
    )


def secrets_in(*texts: object) -> list[str]:
    """The planted secrets that can be read in `texts`."""
    pair = TOKEN.header.removeprefix("Basic ")
    shown = "\n".join(map(str, texts))
    return [
        s
        for s in (ID, UPLOAD, TOKEN.token_id, TOKEN.token_secret, pair, "planted-cursor-0123456789")
        if s in shown
    ]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulator(clock: Clock) -> MuxEmulator:
    return MuxEmulator(now=clock.seconds, sleep=clock.sleep)


@pytest.fixture
async def mux(emulator: MuxEmulator) -> AsyncIterator[Mux]:
    adapter = an_adapter(emulator)
    yield adapter
    await adapter.close()


# what is asked, and what comes of it


async def test_an_asset_is_seen_as_it_is(emulator: MuxEmulator, mux: Mux, clock: Clock) -> None:
    asset_id = emulator.create_asset(
        life=Life(after=30), passthrough="ours", policies=("public", "signed")
    )

    preparing = await mux.get_asset(asset_id, clock.now())
    clock.move(30)
    ready = await mux.get_asset(asset_id, clock.now())

    assert (preparing.state, preparing.status, preparing.source, preparing.at) == (
        State.PROCESSING,
        "preparing",
        ObservationSource.GET,
        NOW,
    )
    assert (ready.state, ready.status, ready.provider_asset_id, ready.passthrough) == (
        State.READY,
        "ready",
        asset_id,
        "ours",
    )
    assert ready.playback_ids == tuple(
        PlaybackId(p.id, p.policy) for p in emulator.truth(asset_id).playback_ids
    )
    assert ready.created_at == NOW.replace(microsecond=0)
    assert (ready.error_kind, ready.error_text, ready.gone) == (None, None, False)


async def test_an_errored_asset_tells_why(emulator: MuxEmulator, mux: Mux) -> None:
    life = Life(
        "errored", after=0, error_type="download_failed", error_message="The file is not there"
    )

    observation = await mux.get_asset(emulator.create_asset(life=life), NOW)

    assert (observation.state, observation.error_kind) == (State.ERRORED, ErrorKind.PROVIDER)
    assert observation.error_text == "download_failed: The file is not there"


async def test_an_asset_that_is_not_there_is_gone(emulator: MuxEmulator, mux: Mux) -> None:
    with pytest.raises(NotFound, match="mux asset not found"):
        await mux.get_asset(ID, NOW)


async def test_an_upload_leads_to_its_asset(emulator: MuxEmulator, mux: Mux) -> None:
    upload_id = emulator.create_upload(passthrough="ours")

    waiting = await mux.get_upload(upload_id, NOW)
    asset_id = emulator.finish_upload(upload_id)
    finished = await mux.get_upload(upload_id, NOW)

    assert (waiting.state, waiting.provider_asset_id, waiting.passthrough) == (
        State.UPLOADING,
        None,
        "ours",
    )
    assert (finished.state, finished.provider_asset_id, finished.source) == (
        State.PROCESSING,
        asset_id,
        ObservationSource.UPLOAD,
    )
    assert (await mux.get_asset(asset_id, NOW)).provider_upload_id == upload_id


async def test_an_upload_that_is_cancelled_or_too_late_is_errored(
    emulator: MuxEmulator, mux: Mux, clock: Clock
) -> None:
    cancelled, late = emulator.create_upload(), emulator.create_upload(timeout=60)
    emulator.cancel_upload(cancelled)
    clock.move(61)

    observation = [await mux.get_upload(each, clock.now()) for each in (cancelled, late)]

    assert [(s.state, s.error_kind, s.error_text) for s in observation] == [
        (State.ERRORED, ErrorKind.UPLOAD, "mux upload cancelled"),
        (State.ERRORED, ErrorKind.UPLOAD, "mux upload timed out"),
    ]


async def test_the_list_leads_to_every_asset_newest_first(emulator: MuxEmulator, mux: Mux) -> None:
    asset_ids = emulator.create_assets(250, every=1)

    pages = [await mux.list_assets(NOW)]
    while pages[-1].cursor:
        pages.append(await mux.list_assets(NOW, pages[-1].cursor))

    assert [len(page.entries) for page in pages] == [100, 100, 50]
    entries = [observation for page in pages for observation in page.entries]
    assert [observation.provider_asset_id for observation in entries] == asset_ids[::-1]
    assert {observation.source for observation in entries} == {ObservationSource.LIST}
    assert pages[-1].cursor is None


async def test_an_empty_library_is_one_empty_page(mux: Mux) -> None:
    page = await mux.list_assets(NOW)
    assert (page.entries, page.cursor) == ([], None)


async def test_whoami_names_the_environment(emulator: MuxEmulator, mux: Mux) -> None:
    assert await mux.whoami() == "emulator-environment"


async def test_a_list_call_asks_for_a_hundred_and_for_what_follows_the_cursor() -> None:
    far_end = telling({"data": []})

    await far_end.mux.list_assets(NOW)
    assert far_end.query == {"limit": ["100"]}
    await far_end.mux.list_assets(NOW, "a&limit=1#?/+ é%00")
    assert far_end.query == {"limit": ["100"], "cursor": ["a&limit=1#?/+ é%00"]}


@pytest.mark.parametrize("following", [None, "", 5, [], {"x": 1}, False])
async def test_what_is_no_cursor_ends_the_list(following: object) -> None:
    page = await telling({"data": [], "next_cursor": following}).mux.list_assets(NOW)
    assert page.cursor is None


WRITES: dict[str, Call] = {
    "create_upload": lambda mux: mux.create_upload("ours", UploadRequest(cors_origin="*")),
    "cancel_upload": lambda mux: mux.cancel_upload(UPLOAD, NOW),
}


@pytest.mark.parametrize(
    "status", [200, 201, 204, 301, 400, 401, 403, 404, 409, 422, 429, 500, 503]
)
@pytest.mark.parametrize("call", (CALLS | WRITES).values(), ids=CALLS | WRITES)
async def test_every_method_makes_one_call_whatever_it_is_answered(call: Call, status: int) -> None:
    far_end = FarEnd(status, b'{"data": {}}', {"location": "/video/v1/assets"})

    with suppress(RindleSyncError):
        await call(far_end.mux)

    assert len(far_end.asked) == 1  # it is methods that the budget counts


@every_call
async def test_every_call_carries_the_token_as_basic_auth_and_says_who_asks(call: Call) -> None:
    far_end = FarEnd(500)

    await error_of(far_end, call)

    assert far_end.header["authorization"] == TOKEN.header
    user = base64.b64decode(TOKEN.header.removeprefix("Basic ")).decode()
    assert user == f"{TOKEN.token_id}:{TOKEN.token_secret}"
    assert far_end.header["user-agent"].startswith("rindle-sync/")
    assert far_end.asked[-1]["method"] == "GET"
    assert (far_end.asked[-1]["scheme"], far_end.header["host"]) == ("https", "api.mux.com")


@pytest.mark.parametrize(
    "base_url", ["http://mux.example:8080/pre", "http://mux.example:8080/pre/"]
)
async def test_the_base_url_may_have_a_path_of_its_own(base_url: str) -> None:
    far_end = telling({"data": {"environment_id": "here"}})
    adapter = Mux(TOKEN, base_url=base_url, transport=httpx.ASGITransport(app=far_end))

    assert await adapter.whoami() == "here"

    assert (far_end.raw_path, far_end.header["host"]) == (
        b"/pre/system/v1/whoami",
        "mux.example:8080",
    )


async def test_an_emulator_with_another_token_refuses(emulator: MuxEmulator) -> None:
    adapter = Mux(TOKEN, transport=httpx.ASGITransport(app=emulator.app))
    with pytest.raises(AuthenticationFailed, match="mux_token_id and mux_token_secret"):
        await adapter.whoami()


# ids in the path


@given(st.text(min_size=1, max_size=300))
@example("../../../system/v1/whoami")
@example("a/b?c#d%2F%00\\;é文 \r\n\x00")
@example("..")
@example(".")
@example("%2e%2e")
def test_no_id_changes_the_path(provider_id: str) -> None:
    far_end = FarEnd(404, b'{"error": {"type": "not_found"}}')

    for asked, folder in ((far_end.mux.get_asset, b"assets"), (far_end.mux.get_upload, b"uploads")):
        with pytest.raises(NotFound):
            asyncio.run(asked(provider_id, NOW))
        before, _, last = far_end.raw_path.rpartition(b"/")
        assert before == b"/video/v1/" + folder
        assert unquote(last.decode()) == provider_id
        assert far_end.query == {}


@pytest.mark.parametrize(
    "provider_id", ["x" * 70_000, "\ud800"], ids=["too long for a URL", "half a character"]
)
async def test_an_id_that_fits_in_no_url_is_an_error_of_ours(provider_id: str) -> None:
    with pytest.raises(RindleSyncError):
        await FarEnd(404, b'{"error": {"type": "not_found"}}').mux.get_asset(provider_id, NOW)


# lenient decoding


async def test_fields_that_nobody_knows_are_kept_and_do_no_harm() -> None:
    observation = await get(an_asset(brand_new={"deeply": [{"nested": None}]}, status_2=5))
    assert observation.state is State.READY
    assert (observation.metadata or {})["brand_new"] == {"deeply": [{"nested": None}]}


async def test_new_words_in_every_enumeration_do_no_harm() -> None:
    word = "word_of_2031"
    observation = await get(
        an_asset(
            playback_ids=[{"id": "p", "policy": word, "drm_configuration_id": "d"}],
            progress={"state": word, "progress": -7},
            video_quality=word,
            encoding_tier=word,
            ingest_type=word,
            max_resolution_tier=word,
            resolution_tier=word,
            master_access=word,
            mp4_support=word,
            normalize_audio=word,
            static_renditions={"status": word, "files": [{"status": word, "ext": word}]},
            tracks=[
                {"id": "t", "type": word, "status": word, "text_type": word, "text_source": word}
            ],
            non_standard_input_reasons={"video_codec": word, "video_gop_size": word},
        )
    )
    assert observation.state is State.READY
    assert observation.playback_ids == (PlaybackId("p", word),)


@pytest.mark.parametrize("ask", [get, get_upload])
@pytest.mark.parametrize("word", ["word_of_2031", "", "READY", "deleted", "x" * 5000])
async def test_a_status_that_nobody_knows_is_no_state(
    ask: Callable[[object], Awaitable[Observation]], word: str
) -> None:
    observation = await ask({"id": ID if ask is get else UPLOAD, "status": word})
    assert (observation.state, observation.error_kind) == (None, None)
    assert len(observation.status) <= 64


async def test_an_unknown_status_that_looks_like_an_id_is_not_told() -> None:
    assert secrets_in((await get(an_asset(status=ID))).status) == []


async def test_an_asset_may_consist_of_its_id_alone() -> None:
    observation = await get({"id": ID})
    assert (
        observation.state,
        observation.status,
        observation.playback_ids,
        observation.created_at,
    ) == (None, "", None, None)


async def test_an_errored_asset_may_lack_its_playback_ids_and_its_reason() -> None:
    observation = await get({"id": ID, "status": "errored"})
    assert (observation.state, observation.playback_ids, observation.error_text) == (
        State.ERRORED,
        None,
        None,
    )


async def test_a_reason_names_no_id_of_the_asset_however_short_it_is() -> None:
    names = {"id": ID, "upload_id": "up-12", "passthrough": "video-7"}
    playback_ids = [{"id": "play-34", "policy": "public"}]
    messages = [f"{ID}, up-12, play-34 and video-7 cannot be read"]

    errors = {"type": "invalid_input", "messages": messages}
    observation = await get(
        an_asset(status="errored", **names, playback_ids=playback_ids, errors=errors)
    )

    assert observation.error_text
    assert observation.error_text.endswith("cannot be read")
    assert [name for name in (ID, "up-12", "play-34") if name in observation.error_text] == []


@pytest.mark.parametrize("ids", [None, []])
async def test_no_playback_ids_and_an_empty_list_of_them_are_not_the_same(
    ids: list[object] | None,
) -> None:
    observation = await get(an_asset(playback_ids=ids))
    assert observation.playback_ids == (None if ids is None else ())


@pytest.mark.parametrize(
    "field", ["created_at", "playback_ids", "passthrough", "upload_id", "errors", "meta"]
)
async def test_null_is_as_good_as_absent(field: str) -> None:
    assert (await get(an_asset(**{field: None}))).state is State.READY


@pytest.mark.parametrize("created_at", [{"seconds": 1609868768}, ["1609868768"], True, {}, []])
async def test_a_time_in_an_unknown_form_does_not_lose_the_asset(created_at: object) -> None:
    observation = await get(an_asset(created_at=created_at))
    assert (observation.state, observation.created_at) == (State.READY, None)


@pytest.mark.parametrize(
    "errors",
    ["no", ["no"], [{"type": "x"}], {"type": 5}, {"messages": "no"}, {"messages": [1]}, 5, True],
)
async def test_a_reason_in_an_unknown_form_does_not_lose_the_verdict(errors: object) -> None:
    observation = await get(an_asset(status="errored", errors=errors))
    assert (observation.state, observation.error_kind) == (State.ERRORED, ErrorKind.PROVIDER)


async def test_the_reason_of_an_asset_holds_no_id_and_no_url() -> None:
    messages = [f"asset {ID} of {UPLOAD}", "see https://x.io/in.mp4?sig=short", "short-pass failed"]
    observation = await get(
        an_asset(
            status="errored",
            passthrough="short-pass",
            errors={"type": "invalid_input", "messages": messages},
        )
    )
    assert observation.error_text
    assert secrets_in(observation.error_text) == []
    assert not {"x.io", "short-pass"} & set(observation.error_text.replace("/", " ").split())
    assert "failed" in observation.error_text


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("waiting", State.UPLOADING),
        ("asset_created", State.PROCESSING),
        ("errored", State.ERRORED),
        ("cancelled", State.ERRORED),
        ("timed_out", State.ERRORED),
    ],
)
async def test_every_status_of_an_upload_is_a_state(status: str, state: State) -> None:
    observation = await get_upload(
        {"id": UPLOAD, "status": status, "error": {"type": "broken", "message": f"no {ID}"}}
    )
    assert (observation.state, observation.status, observation.provider_upload_id) == (
        state,
        status,
        UPLOAD,
    )
    if state is State.ERRORED:
        assert observation.error_kind is ErrorKind.UPLOAD
        assert (
            observation.error_text
            == f"mux upload {status.replace('_', ' ')}: broken: no ...{ID[-4:]}"
        )
    else:
        assert (observation.error_kind, observation.error_text) == (None, None)


async def test_an_upload_with_an_asset_failed_because_the_asset_did() -> None:
    observation = await get_upload({"id": UPLOAD, "status": "errored", "asset_id": ID})

    assert (observation.state, observation.error_kind, observation.provider_asset_id) == (
        State.ERRORED,
        ErrorKind.PROVIDER,
        ID,
    )


@pytest.mark.parametrize("settings", [None, {}, {"passthrough": 5}, {"passthrough": None}])
async def test_an_upload_may_lack_its_passthrough(settings: object) -> None:
    assert (
        await get_upload({"id": UPLOAD, "status": "waiting", "new_asset_settings": settings})
    ).passthrough is None


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("1609868768", CREATED),
        (1609868768, CREATED),
        (1609868768.0, CREATED),
        ("1609868768.5", CREATED.replace(microsecond=500_000)),
        ("2021-01-05T17:46:08Z", CREATED),
        ("2021-01-05T17:46:08.000000Z", CREATED),
        ("2021-01-05T18:46:08+01:00", CREATED),
        ("2021-01-05T17:46:08", CREATED),
    ],
)
async def test_a_time_is_read_in_each_of_its_encodings(told: str | float, meant: datetime) -> None:
    assert parse_time(told) == meant
    assert (await get(an_asset(created_at=told))).created_at == meant


NO_TIMES: list[str | float | None] = [
    None,
    "",
    "nonsense",
    "nan",
    "inf",
    "-",
    ".",
    "1.2.3",
    "²",
    "9" * 400,
    "\x00",
]
NO_TIMES += [
    "2021-13-45T00:00:00Z",
    "2021-01-05T25:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
]
NO_TIMES += [1e300, 10**18, -(10**18), math.nan, math.inf]


@pytest.mark.parametrize("told", NO_TIMES)
def test_what_is_no_time_is_none(told: str | float | None) -> None:
    assert parse_time(told) is None


@given(
    st.one_of(
        st.text(), st.integers(), st.floats(), st.datetimes().map(str), st.integers().map(str)
    )
)
def test_no_value_breaks_the_reading_of_a_time(told: str | float) -> None:
    moment = parse_time(told)
    assert moment is None or moment.utcoffset() == NOW.utcoffset()


@pytest.mark.parametrize(
    "entry", [None, 5, "x", [], {}, {"id": 5}, {"id": None}, {"id": "x" * 256}]
)
async def test_a_broken_entry_does_not_lose_the_page(entry: object) -> None:
    page = await list_of(an_asset(id="first"), entry, an_asset(id="last"))
    assert [observation.provider_asset_id for observation in page.entries] == ["first", "last"]


ODD_FIELDS: dict[str, dict[str, object]] = {
    "a status that is no word": {"status": 5},
    "a numeric passthrough": {"passthrough": 42},
    "a passthrough that is an object": {"passthrough": {"video": 1}},
    "an upload id that is none": {"upload_id": ["x"]},
    "an upload id that is too long": {"upload_id": "x" * 256},
    "playback ids that are no list": {"playback_ids": "x"},
    "a playback id that is null": {"playback_ids": [{"id": None, "policy": "public"}]},
    "a playback id that is no object": {"playback_ids": ["x", None, 5]},
    "errors that are none": {"errors": [{"type": 5}]},
    "a time that is none": {"created_at": {"seconds": 5}},
}


@pytest.mark.parametrize("odd", ODD_FIELDS.values(), ids=ODD_FIELDS)
async def test_an_odd_field_is_left_out_and_the_rest_of_the_asset_is_read(
    odd: dict[str, object],
) -> None:
    asset = an_asset(playback_ids=[{"id": "p", "policy": "signed"}], passthrough="ours") | odd
    page = await list_of(an_asset(id="first"), asset, an_asset(id="last"))
    event = read_observation(body_of(an_event(ID) | {"data": asset}), NOW)

    assert [seen.provider_asset_id for seen in page.entries] == ["first", ID, "last"]
    for observation in (await get(asset), page.entries[1], event):
        is_told = "status" not in odd or observation is event
        assert observation.state is (State.READY if is_told else None)
        assert observation.passthrough == (None if "passthrough" in odd else "ours")
        told = None if "playback_ids" in odd else (PlaybackId("p", "signed"),)
        assert observation.playback_ids == told
        assert observation.metadata == asset


async def test_of_several_playback_ids_only_an_odd_one_is_left_out() -> None:
    told = [{"id": None}, {"id": "p", "policy": 5}, {"policy": "public"}, {"id": "q"}]

    observation = await get(an_asset(playback_ids=told))

    assert observation.playback_ids == (PlaybackId("p", "unknown"), PlaybackId("q", "unknown"))


@pytest.mark.parametrize(
    "odd",
    [
        {"asset_id": 5},
        {"asset_id": "x" * 256},
        {"error": [5]},
        {"new_asset_settings": "x"},
        {"new_asset_settings": {"passthrough": 42}},
    ],
)
async def test_an_odd_field_of_an_upload_is_left_out(odd: dict[str, object]) -> None:
    observation = await get_upload({"id": UPLOAD, "status": "timed_out"} | odd)

    assert (observation.state, observation.error_text) == (State.ERRORED, "mux upload timed out")
    assert (observation.provider_asset_id, observation.passthrough) == (None, None)


async def test_an_entry_with_an_unknown_word_stays_in_the_page() -> None:
    page = await list_of(an_asset(id="first", status="new"), an_asset(id="last", new_field=1))
    assert [observation.provider_asset_id for observation in page.entries] == ["first", "last"]


@pytest.mark.parametrize("other", [ID.swapcase(), ID[:-1], ID + " "])
async def test_an_answer_about_something_else_is_none(other: str) -> None:
    for far_end, call in (
        (telling({"data": an_asset(id=other)}), CALLS["get_asset"]),
        (telling({"data": {"id": other, "status": "waiting"}}), CALLS["get_upload"]),
    ):
        error = await error_of(far_end, call)
        assert isinstance(error, ProviderUnavailable)
        assert "another object" in str(error)


@every_call
@pytest.mark.parametrize(
    "body", [{"data": None}, {"data": "x"}, {"data": 5}, {"data": True}, {}, {"error": {}}]
)
async def test_an_answer_without_data_is_none(call: Call, body: object) -> None:
    assert isinstance(await error_of(telling(body), call), ProviderUnavailable)


@pytest.mark.parametrize("name", ["get_asset", "get_upload", "whoami"])
async def test_a_list_in_place_of_an_object_is_no_answer(name: str) -> None:
    assert isinstance(
        await error_of(telling({"data": [an_asset()]}), CALLS[name]), ProviderUnavailable
    )


async def test_an_object_in_place_of_a_list_is_no_answer() -> None:
    assert isinstance(
        await error_of(telling({"data": an_asset()}), CALLS["list_assets"]), ProviderUnavailable
    )


# bodies that are broken, or odd


@every_call
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"data"',
        b"5",
        b"<html>502</html>",
        b'{"data": {"id": "' + ID.encode(),
        b'{"data": NaN}',
        b'{"data": {"id": "\xff\xfe"}}',
        b'{"data": {"id": "\\ud800"}}',
        b'{"data": {"id": "a\x00b"}}',
        b"\xef\xbb\xbf" + json.dumps({"data": an_asset()}).encode(),
        b"\xff\xfe" + json.dumps({"data": an_asset()}).encode("utf-16-le"),
        b'{"data":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"data": {"environment_id": ' + b"9" * 5000 + b"}}",
    ],
    ids=lambda body: repr(body[:24]).replace("\\", "%") if isinstance(body, bytes) else None,
)
async def test_a_body_that_is_no_answer_is_unreachable(call: Call, body: bytes) -> None:
    error = await error_of(FarEnd(200, body), call)
    assert isinstance(error, ProviderUnavailable)
    assert secrets_in(error, repr(error)) == []


@pytest.mark.parametrize("depth", [10, 100, 300, 450, 600, 900, 990, 1100])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"x":', "}")])
async def test_deep_nesting_is_an_answer_or_an_error_of_ours(
    depth: int, opening: str, closing: str
) -> None:
    nested = f'{{"id": "{ID}", "x": {opening * depth}1{closing * depth}, "y": "\\u0000"}}'
    for body, call in (
        (f'{{"data": {nested}}}', "get_asset"),
        (f'{{"data": [{nested}]}}', "list_assets"),
    ):
        answer = await answer_or_error(CALLS[call](FarEnd(200, body.encode()).mux))
        assert isinstance(answer, Observation | Page | ProviderUnavailable)
        assert secrets_in(answer) == []


async def test_numbers_that_are_too_big_are_an_answer_or_an_error_of_ours() -> None:
    for number in ("1e400", "-1e400", "9" * 400, "1e-400", "9" * 5000):
        fields = f'"id": "{ID}", "status": "ready", "created_at": {number}, "duration": {number}'
        body = f'{{"data": {{{fields}}}}}'
        answer = await answer_or_error(FarEnd(200, body.encode()).mux.get_asset(ID, NOW))
        assert isinstance(answer, Observation | ProviderUnavailable)
        assert len(repr(answer)) < 500


async def test_the_character_nul_is_replaced_everywhere() -> None:
    observation = await get(
        an_asset(
            passthrough="a\x00b",
            meta={"ti\x00tle": ["\x00", {"x": "y\x00"}]},
            playback_ids=[{"id": "p\x00q", "policy": "public\x00"}],
        )
    )
    assert (observation.passthrough, observation.playback_ids) == (
        "a\ufffdb",
        (PlaybackId("p\ufffdq", "public\ufffd"),),
    )
    assert (observation.metadata or {})["meta"] == {"ti\ufffdtle": ["\ufffd", {"x": "y\ufffd"}]}


ODD_TEXTS = {
    "a lone high surrogate": (rb'"x\ud83d"', "x\ufffd"),
    "a lone low surrogate": (rb'"\udc00x"', "\ufffdx"),
    "a surrogate before another": (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
    "bytes that are no UTF-8": (b'"x\xff\xfe"', "x\ufffd\ufffd"),
    "a surrogate in bytes": (b'"\xed\xa0\xbd"', "\ufffd\ufffd\ufffd"),
    "a raw control character": (b'"x\x01\ty\nz"', "x\x01\ty\nz"),
    "a raw NUL": (b'"x\x00y"', "x\ufffdy"),
    "an escaped NUL": (rb'"x\u0000y"', "x\ufffdy"),
    "a list with a number that is too big": (b"[1, 1e400, -1e400, 2]", [1, 2]),
    "a list with what is no number": (b"[NaN, 1, Infinity, -Infinity]", [1]),
    "a number of 5000 digits in a list": (b"[1, " + b"9" * 5000 + b"]", [1]),
    "an emoji": ('"\U0001f600"'.encode(), "\U0001f600"),
    "a number of 30 digits": (b"9" * 30, int("9" * 30)),
}
LEFT_OUT = {
    "a number that is too big": b"1e400",
    "no number": b"NaN",
    "no end of a number": b"-Infinity",
    "a number of 5000 digits": b"9" * 5000,
}


def with_title(title: bytes, asset_id: str = ID) -> bytes:
    return (
        b'{"id": "'
        + asset_id.encode()
        + b'", "status": "ready", "meta": {"title": '
        + title
        + b"}}"
    )


async def titles_of(title: bytes) -> list[object]:
    """The `meta` that a GET, a list entry between two others and a webhook tell of."""
    odd, first, last = with_title(title), with_title(b'"1"', "first"), with_title(b'"2"', "last")
    page = await FarEnd(200, b'{"data": [%s, %s, %s]}' % (first, odd, last)).mux.list_assets(NOW)
    event = b'{"type": "video.asset.ready", "id": "event-1", "data": ' + odd + b"}"
    seen = [
        await FarEnd(200, b'{"data": ' + odd + b"}").mux.get_asset(ID, NOW),
        read_observation(event, NOW),
        *page.entries,
    ]

    assert [entry.provider_asset_id for entry in page.entries] == ["first", ID, "last"]
    assert {observation.state for observation in seen} == {State.READY}
    assert read_event(event).provider_asset_id == ID
    return [(observation.metadata or {})["meta"] for observation in (seen[0], seen[1], seen[3])]


@pytest.mark.parametrize(("told", "kept"), ODD_TEXTS.values(), ids=ODD_TEXTS)
async def test_an_odd_value_is_read_as_far_as_it_can_be_and_costs_no_other(
    told: bytes, kept: object
) -> None:
    assert await titles_of(told) == [{"title": kept}] * 3


@pytest.mark.parametrize("told", LEFT_OUT.values(), ids=LEFT_OUT)
async def test_a_number_that_nothing_can_hold_is_left_out_with_its_name(told: bytes) -> None:
    assert await titles_of(told) == [{}] * 3


@pytest.mark.parametrize("depth", [101, 3000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"]":', b"}")])
async def test_what_is_nested_too_deep_is_left_out(
    depth: int, opening: bytes, closing: bytes
) -> None:
    told = await titles_of(opening * depth + b'"["' + closing * depth)

    assert all(json.dumps(meta).count("null") == 1 for meta in told)


@pytest.mark.parametrize("status", [200, 500])
async def test_a_gzipped_answer_is_read(status: int) -> None:
    body = {"data": {"environment_id": "here"}, "error": {"type": "broken", "messages": ["very"]}}
    far_end = FarEnd(status, gzip.compress(json.dumps(body).encode()), {"content-encoding": "gzip"})
    if status == 200:
        assert await far_end.mux.whoami() == "here"
    else:
        assert str(await error_of(far_end)) == "mux answered 500: broken: very"


@every_call
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "unheard-of"])
async def test_an_answer_that_cannot_be_unpacked_is_unreachable(call: Call, encoding: str) -> None:
    assert isinstance(
        await error_of(FarEnd(200, b"\x00nonsense", {"content-encoding": encoding}), call),
        ProviderUnavailable,
    )


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = (
    "status",
    "created_at",
    "playback_ids",
    "passthrough",
    "upload_id",
    "asset_id",
    "errors",
    "error",
)
words = st.sampled_from(
    ["preparing", "ready", "errored", "waiting", "asset_created", "cancelled", "timed_out"]
)
odd_assets = st.fixed_dictionaries(
    {"id": st.just(ID)},
    optional=dict.fromkeys((*FIELDS, "new_asset_settings", "meta"), json_values)
    | {
        "status": words | json_values,
        "playback_ids": st.lists(
            st.fixed_dictionaries({"id": st.text(), "policy": json_values}) | json_values
        ),
        "errors": st.fixed_dictionaries(
            {}, optional={"type": json_values, "messages": st.lists(json_values)}
        ),
        "error": st.fixed_dictionaries({}, optional={"type": json_values, "message": json_values}),
        "new_asset_settings": st.fixed_dictionaries({"passthrough": json_values}) | json_values,
    },
)


@given(odd_assets | json_values)
def test_whatever_the_data_is_it_is_seen_or_an_error_of_ours(data: object) -> None:
    far_end = telling({"data": data, "next_cursor": data})
    for ask in (
        far_end.mux.get_asset(ID, NOW),
        far_end.mux.get_upload(ID, NOW),
        far_end.mux.list_assets(NOW),
        telling({"data": [data, an_asset()], "next_cursor": data}).mux.list_assets(NOW),
    ):
        answer = asyncio.run(answer_or_error(ask))
        assert isinstance(answer, Observation | Page | ProviderUnavailable)
        for observation in seen_in(answer):
            assert "\\u0000" not in json.dumps(
                [
                    observation.metadata,
                    observation.passthrough,
                    observation.error_text,
                    observation.status,
                ]
            )


@given(
    st.integers(200, 599), st.binary() | json_values.map(lambda value: json.dumps(value).encode())
)
def test_whatever_the_body_is_it_is_an_answer_or_an_error_of_ours(status: int, body: bytes) -> None:
    for call in CALLS.values():
        answer = asyncio.run(answer_or_error(call(FarEnd(status, body).mux)))
        assert isinstance(answer, Observation | Page | str | RindleSyncError)
        assert secrets_in(answer, repr(answer)) == []


# errors


ERROR_BODIES: dict[str, tuple[object, str]] = {
    "error.messages": (
        {"error": {"type": "broken", "messages": [f"no {ID}", "sorry"]}},
        "broken: no ...LN9X sorry",
    ),
    "errors": ({"errors": [f"Too many requests for {ID}"]}, "Too many requests for ...LN9X"),
    "error.message": ({"error": {"type": "broken", "message": f"no {ID}"}}, "broken: no ...LN9X"),
    "code and message": ({"code": 5, "message": f"no {ID}"}, "no ...LN9X"),
    "html": (f"<html>{ID}</html>", ""),
    "an empty object": ({}, ""),
    "odd": ({"error": {"type": 5, "messages": {"x": ID}}}, ""),
    "odd errors": ({"errors": [{"x": ID}, "told"]}, "told"),
    "odder errors": ({"errors": ID}, ""),
}


def expected_error(status: int, body: object) -> type[RindleSyncError]:
    match status, body:
        case 404, {"error": dict()}:
            return NotFound
        case 401 | 403, _:
            return AuthenticationFailed
        case 429, _:
            return RateLimited
        case _:
            return ProviderUnavailable


@every_call
@pytest.mark.parametrize(("body", "told"), ERROR_BODIES.values(), ids=ERROR_BODIES)
async def test_every_status_with_every_body_is_the_error_that_tells_what_to_do(
    call: Call, body: object, told: str
) -> None:
    for status in (*range(400, 432), 451, 499, *range(500, 512), *range(520, 531), 599):
        error = await error_of(telling(body, status), call)
        assert type(error) is expected_error(status, body), status
        assert secrets_in(error, repr(error)) == []
        if status != 404:
            assert str(error).startswith(
                f"mux answered {status}" + (f": {told}" if told else "")
            ), status


@pytest.mark.parametrize("status", [201, 202, 204, 206, 226])
async def test_a_success_of_another_kind_is_no_answer(status: int) -> None:
    assert isinstance(await error_of(telling({"data": an_asset()}, status)), ProviderUnavailable)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"not found",
        b"<html><h1>404 Not Found</h1></html>",
        b'{"message": "Not Found"}',
        b'{"detail": "Not Found"}',
        b'{"errors": ["Not Found"]}',
        b'{"error": "Not Found"}',
        b'{"error": null}',
        b'{"timestamp": 5, "status": 404, "error": "Not Found", "path": "/video/v1/assets"}',
    ],
)
@pytest.mark.parametrize("name", ["get_asset", "get_upload"])
async def test_a_404_that_is_not_muxs_own_says_nothing_about_the_asset(
    name: str, body: bytes
) -> None:
    error = await error_of(FarEnd(404, body), CALLS[name])
    assert isinstance(error, ProviderUnavailable)
    assert "mux_base_url" in str(error)


@pytest.mark.parametrize("message", ["sure", None])
async def test_a_404_with_muxs_body_is_gone(message: str | None) -> None:
    body = {"error": {"type": "not_found"} | ({"messages": [message]} if message else {})}
    assert isinstance(await error_of(telling(body, 404)), NotFound)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_names_the_settings_to_mend(status: int) -> None:
    error = await error_of(
        telling({"error": {"type": "unauthorized", "messages": ["Unauthorized request"]}}, status)
    )
    assert str(error).startswith(
        f"mux answered {status}: unauthorized: Unauthorized request; check mux_token_id and"
    )


async def test_the_text_of_an_error_is_one_short_line_without_the_token() -> None:
    told = (
        f"{TOKEN.token_secret}\n{TOKEN.token_id}\x00 {TOKEN.header}\u2028 https://user:pw@x.io/y "
        * 1000
    )
    error = await error_of(telling({"error": {"type": "x", "messages": [told]}}, 500))
    assert secrets_in(error, repr(error)) == []
    assert "x.io" not in str(error)
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) <= 4200


@pytest.mark.parametrize(
    ("told", "seconds"), [("7", 7), ("0", 0), (" 90 ", 90), ("0.5", 0.5), ("-5", 0)]
)
async def test_a_throttled_call_tells_how_long_to_wait(told: str, seconds: float) -> None:
    error = await error_of(FarEnd(429, b"", {"retry-after": told}))
    assert isinstance(error, RateLimited)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    "told",
    [None, "", "soon", "5 s", "Wed, 21 Oct 2026 07:28:00 GMT", "nan", "inf", "-inf", "1e400"],
)
async def test_a_wait_that_is_no_number_of_seconds_is_none(told: str | None) -> None:
    error = await error_of(FarEnd(429, b"", {} if told is None else {"retry-after": told}))
    assert isinstance(error, RateLimited)
    assert error.retry_after is None


@pytest.mark.parametrize(
    "date",
    ["", "soon", "Sun, 29 Nov 2026 22:00:00 +9999999999999", "Fri, 31 Dec 9999 23:59:59 -2359"],
)
async def test_an_odd_date_of_an_answer_changes_nothing(date: str) -> None:
    error = await error_of(FarEnd(429, b"", {"retry-after": "7", "date": date}))
    assert isinstance(error, RateLimited)
    assert error.retry_after == 7


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@every_call
async def test_a_redirect_is_not_followed(call: Call, status: int) -> None:
    far_end = telling({"data": an_asset()}, status, location="https://elsewhere.example/")

    error = await error_of(far_end, call)

    assert isinstance(error, ProviderUnavailable)
    assert str(error) == f"mux answered {status}"
    assert len(far_end.asked) == 1


# time, sockets


@asynccontextmanager
async def listening(talk: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """The URL of a server that reads a request and then does what `talk` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await talk(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def trickle(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    await drip(writer)


async def drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.005)


async def drip_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    await drip(writer)


async def say_nothing(writer: asyncio.StreamWriter) -> None:
    del writer
    await asyncio.sleep(2)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def break_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"data": ')
    await writer.drain()


async def talk_nonsense(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff nonsense, no HTTP\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("talk", [trickle, drip_headers, say_nothing])
async def test_the_time_limit_holds_for_the_whole_answer(
    talk: Callable[[asyncio.StreamWriter], Awaitable[None]],
) -> None:
    async with listening(talk) as url:
        adapter = Mux(TOKEN, base_url=url, timeout=0.2)
        began = time.monotonic()
        with pytest.raises(ProviderUnavailable, match=r"^mux did not answer within 0\.2 s$"):
            await adapter.get_asset(ID, NOW)
        assert time.monotonic() - began > 0.15
        await adapter.close()


@pytest.mark.parametrize("talk", [hang_up, break_off, talk_nonsense])
async def test_a_connection_that_breaks_is_unreachable(
    talk: Callable[[asyncio.StreamWriter], Awaitable[None]],
) -> None:
    async with listening(talk) as url:
        adapter = Mux(TOKEN, base_url=url, timeout=5)
        with pytest.raises(ProviderUnavailable, match=r"^mux cannot be reached \(\w+\)$"):
            await adapter.get_asset(ID, NOW)
        await adapter.close()


async def test_a_port_that_nobody_listens_on_is_unreachable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    adapter = Mux(TOKEN, base_url=f"http://127.0.0.1:{port}", timeout=5)

    with pytest.raises(
        ProviderUnavailable, match=r"^mux cannot be reached \(ClientConnectorError\)$"
    ):
        await adapter.get_asset(ID, NOW)

    await adapter.close()


@pytest.mark.parametrize(
    "url", ["https://host.invalid", "https://[bad", "https://a..b.invalid", "ftp://x"]
)
async def test_an_address_that_is_none_is_unreachable(url: str) -> None:
    adapter = Mux(TOKEN, base_url=url, timeout=5)
    with pytest.raises(ProviderUnavailable):
        await adapter.get_asset(ID, NOW)
    await adapter.close()


async def test_a_call_that_is_cancelled_is_cancelled() -> None:
    async with listening(say_nothing) as url:
        adapter = Mux(TOKEN, base_url=url, timeout=5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(adapter.get_asset(ID, NOW), 0.05)
        await adapter.close()


# what must not be seen


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The app on a free port of this machine, in a thread of its own; its log stays empty."""
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
    )
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


def everything_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    formatter = logging.Formatter("%(name)s %(message)s")
    return [f"{formatter.format(record)} {record.args!r}" for record in caplog.records]


async def call_everything(adapter: Mux, told: list[object]) -> None:
    for call in CALLS.values():
        try:
            told.append(repr(await call(adapter)))
        except RindleSyncError as error:
            told += [error, repr(error), error.args, error.__cause__]


async def test_no_id_and_no_token_is_logged_or_told_during_calls_over_a_socket(
    caplog: pytest.LogCaptureFixture,
) -> None:
    emulator = MuxEmulator(token_id=TOKEN.token_id, token_secret=TOKEN.token_secret)
    created = emulator.create_asset(life=Life(after=0))
    told: list[object] = []
    with served(emulator.app) as url, caplog.at_level(logging.DEBUG):
        for name in ("aiohttp", "aiohttp.client", "aiohttp.internal", "rindle_sync", "asyncio"):
            caplog.set_level(logging.DEBUG, name)
        adapter = Mux(TOKEN, base_url=url)
        told.append(repr(await adapter.get_asset(created, NOW)))
        for fault in (
            None,
            "not_found",
            "unauthorized",
            "server_error",
            "broken_json",
            "rate_limited",
        ):
            if fault:
                emulator.add_fault(fault)
            await call_everything(adapter, told)
            emulator.clear_faults()
        await adapter.close()

    logged = everything_logged(caplog)
    assert secrets_in(*logged, *told) == []
    assert created not in "\n".join(map(str, [*logged, *told]))


@pytest.mark.parametrize("header", ["location", "x-request-path"])
async def test_an_id_that_the_far_end_echoes_in_a_header_is_not_logged(
    caplog: pytest.LogCaptureFixture, header: str
) -> None:
    far_end = FarEnd(302, b"", {header: f"https://api.mux.com/video/v1/assets/{ID}"})
    told: list[object] = []
    with served(far_end) as url, caplog.at_level(logging.DEBUG):
        adapter = Mux(TOKEN, base_url=url)
        await call_everything(adapter, told)
        await adapter.close()

    assert secrets_in(*everything_logged(caplog), *told) == []


async def test_what_instruments_every_http_client_sees_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenTelemetry and Sentry add their hooks so; they would record each URL."""
    seen: list[str] = []

    async def record(_: object, __: object, asked: aiohttp.TraceRequestStartParams) -> None:
        seen.append(str(asked.url))

    hooks = aiohttp.TraceConfig()
    hooks.on_request_start.append(record)
    plain = aiohttp.ClientSession.__init__
    hooked = partialmethod(plain, trace_configs=[hooks])
    monkeypatch.setattr(aiohttp.ClientSession, "__init__", hooked)
    emulator = MuxEmulator(token_id=TOKEN.token_id, token_secret=TOKEN.token_secret)
    created = emulator.create_asset()

    with served(emulator.app) as url:
        async with aiohttp.ClientSession() as another, another.get(f"{url}/_emulator/"):
            pass
        adapter = Mux(TOKEN, base_url=url)
        await adapter.get_asset(created, NOW)
        await adapter.close()

    assert seen == [f"{url}/_emulator/"]


async def test_nothing_that_holds_a_secret_shows_it_in_its_repr() -> None:
    observation = await get(
        an_asset(
            passthrough=UPLOAD, upload_id=UPLOAD, playback_ids=[{"id": UPLOAD, "policy": "public"}]
        )
    )
    page = Page([observation], ID)
    row = a_row(
        provider_asset_id=ID,
        provider_upload_id=UPLOAD,
        passthrough=UPLOAD,
        last_sync_error=ID,
        lease_token=ID,
    )
    held = (TOKEN, FarEnd().mux, page, observation, observation.playback_ids, row)

    assert secrets_in(*map(repr, held), *held) == []


def test_the_urls_of_files_are_left_out_wherever_they_stand() -> None:
    upload = {
        "id": "u",
        "url": "https://storage/key",
        "new_asset_settings": {"inputs": [{"url": "s3://in"}], "x": 1},
    }
    asset = {
        "id": "a",
        "master": {"status": "ready", "url": "https://master/key"},
        "tracks": [{"hls_url": "x", "id": 1}],
    }

    assert without_file_urls(upload) == {"id": "u", "new_asset_settings": {"inputs": [{}], "x": 1}}
    assert without_file_urls(asset) == {
        "id": "a",
        "master": {"status": "ready"},
        "tracks": [{"id": 1}],
    }
    assert upload["url"] == "https://storage/key"


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ('"x": {"url": "planted"}', {"x": {}}),
        ('"x": {"hls_url" \r\n\t : "planted"}', {"x": {}}),
        (r'"x": {"\u0075rl": "planted"}', {"x": {}}),
        ('"errors": ["see https://planted.io/in.mp4"]', {"errors": ["see [url]"]}),
        (r'"errors": "https:\/\/planted.io"', {"errors": "[url]"}),
        (r'"errors": "https:\u002f/planted.io"', {"errors": "[url]"}),
        (r'"error": {"message": "https\u003A//planted.io"}', {"error": {"message": "[url]"}}),
        ('"input": "s3://planted.io"', {"input": "[url]"}),
        ('"inputs": [{"url": "planted", "x": "s3://planted.io"}]', {"inputs": [{"x": "[url]"}]}),
        ('"ingest_type": "on_demand_url"', {"ingest_type": "on_demand_url"}),
        (r'"x": "{\"org/7\": 5}"', {"x": '{"org/7": 5}'}),
    ],
)
async def test_a_url_is_left_out_of_an_entry_however_it_is_written(
    told: str, kept: dict[str, Any]
) -> None:
    far_end = FarEnd(200, f'{{"data": [{{"id": "first"}}, {{"id": "last", {told}}}]}}'.encode())

    page = await far_end.mux.list_assets(NOW)

    assert [observation.metadata for observation in page.entries] == [
        {"id": "first"},
        {"id": "last"} | kept,
    ]


THE_APPS_OWN: list[dict[str, Any]] = [
    {"passthrough": "s3://bucket/one.mp4"},
    {"passthrough": '{"source": "https://x.test/in.mp4?signature=abc", "url": "https://y.test"}'},
    {"meta": {"title": "see https://x.test", "external_id": "s3://bucket/1", "url": "https://x"}},
    {"new_asset_settings": {"passthrough": "gs://bucket/1", "meta": {"external_id": "a://b"}}},
    {"cors_origin": "https://app.example.com"},
    {"passthrough": "a\u200cb \u00a0\u3000\u00ad"},
]


@pytest.mark.parametrize("own", THE_APPS_OWN)
async def test_what_the_app_gave_is_kept_exactly(own: dict[str, Any]) -> None:
    asset = an_asset(**own)
    page = await list_of(asset)
    event = body_of(an_event(ID) | {"data": asset})

    for observation in (await get(asset), *page.entries, read_observation(event, NOW)):
        assert observation.metadata == asset
        assert observation.passthrough == own.get("passthrough")
    assert read_event(event).passthrough == own.get("passthrough")


async def test_the_passthrough_of_an_upload_is_kept_exactly() -> None:
    told = {"passthrough": "s3://bucket/one.mp4"}
    upload = {"id": UPLOAD, "status": "waiting", "new_asset_settings": told}

    observation = await get_upload(upload)

    assert (observation.passthrough, observation.metadata) == (told["passthrough"], upload)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text(st.sampled_from('url:/\\\x00é"{['), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["url", "x", "hls_url", "a"]), inner)
    ),
)


@given(JSON_VALUES, st.booleans(), st.sampled_from([(",", ":"), (" , ", " : ")]))
def test_what_is_kept_is_all_but_the_urls_of_files_and_nul(
    value: object,
    escaped: bool,  # noqa: FBT001
    separators: tuple[str, str],
) -> None:
    text = json.dumps({"id": "a", "told": value}, ensure_ascii=escaped, separators=separators)

    assert decoded(text.encode()) == without_file_urls(storable({"id": "a", "told": value}))


@pytest.mark.parametrize("depth", [90, 300, 450, 600, 750, 900])
async def test_what_is_kept_is_never_nested_so_deep_that_it_cannot_be_walked(depth: int) -> None:
    far_end = FarEnd(
        200, f'{{"data": [{{"id": "{ID}", "x": {"[" * depth}1{"]" * depth}}}]}}'.encode()
    )
    answer = await answer_or_error(CALLS["list_assets"](far_end.mux))
    assert [without_file_urls(observation.metadata) for observation in seen_in(answer)] == [
        observation.metadata for observation in seen_in(answer)
    ]
    assert isinstance(answer, Page | ProviderUnavailable)


async def test_a_cursor_is_kept_without_nul() -> None:
    page = await telling({"data": [], "next_cursor": "a\x00b"}).mux.list_assets(NOW)
    assert page.cursor == "a\ufffdb"


async def test_what_is_kept_of_an_answer_holds_no_url() -> None:
    secret = "https://master.mux.com/key?signature=planted"
    asset = await get(an_asset(master={"status": "ready", "url": secret}))
    upload = await get_upload({"id": UPLOAD, "status": "waiting", "url": secret})

    assert "planted" not in json.dumps([asset.metadata, upload.metadata])
    assert (asset.metadata or {})["master"] == {"status": "ready"}


# webhooks: whose they are

SIGNED_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
SIGNED_BODY = '{"type": "é"}'.encode()
SIGNED_BY = "whsec-of-the-tests"
MAC = "0d0eaaa1f4df1f77d70ef4688c1a848eb8cc36e96c213e3fb21121b563d613a3"
SIGNATURE = f"t=1795435200,v1={MAC}"


def signer_of(header: str | None, *secrets: str, late: float = 0) -> int:
    """The position of the secret that signed the body, which comes `late` seconds after signing."""
    headers = {} if header is None else {"mux-signature": header}
    now = SIGNED_AT + timedelta(seconds=late)
    return verify(headers, SIGNED_BODY, secrets or (SIGNED_BY,), now, tolerance=300)


def refusal_of(header: str | None, *secrets: str, late: float = 0) -> str:
    with pytest.raises(InvalidWebhook) as refused:
        signer_of(header, *secrets, late=late)
    return refused.value.reason


def test_a_body_is_signed_as_mux_signs_it() -> None:
    assert sign(SIGNED_BODY, SIGNED_BY, SIGNED_AT) == SIGNATURE


def test_a_signature_tells_which_secret_it_was_made_with() -> None:
    assert signer_of(SIGNATURE) == 0
    assert signer_of(SIGNATURE, "another", SIGNED_BY, "a third") == 1
    assert signer_of(SIGNATURE, "another", SIGNED_BY, SIGNED_BY) == 1


@pytest.mark.parametrize(
    "header",
    [
        f"t=1795435200,v1=guessed,v1={MAC}",
        f"t=1795435200,v1={MAC},v1=guessed",
        f"v1={MAC},t=1795435200",
        f"t=1795435200,v0=old,v1={MAC},v2=new=er,",
    ],
)
def test_one_true_signature_among_others_is_enough(header: str) -> None:
    assert signer_of(header) == 0


@pytest.mark.parametrize("late", [-300, 0, 300])
def test_a_signature_holds_to_the_very_end_of_its_window(late: float) -> None:
    assert signer_of(SIGNATURE, late=late) == 0


@pytest.mark.parametrize("late", [-300.5, 300.5])
def test_a_signature_from_outside_the_window_is_refused(late: float) -> None:
    assert refusal_of(SIGNATURE, late=late) == "timestamp_out_of_window"


def test_a_forged_signature_is_a_forgery_at_any_time() -> None:
    assert refusal_of("t=1795435200,v1=guessed", late=301) == "signature_mismatch"


@pytest.mark.parametrize("header", [None, ""])
def test_a_delivery_without_a_signature_is_refused(header: str | None) -> None:
    assert refusal_of(header) == "no_signature"


@pytest.mark.parametrize(
    "told",
    [
        "v1",
        "v1=",
        "t=",
        "t=1795435200,t=1795435200,v1",
        "t=soon,v1",
        "t=²,v1",
        "t=-1795435200,v1",
        "T=1795435200,v1",
    ],
)
def test_a_signature_without_one_plain_time_is_malformed(told: str) -> None:
    assert refusal_of(f"{told}={MAC}") == "malformed_header"


def test_a_time_has_fifteen_digits_at_most() -> None:
    assert refusal_of(f"t=1{'0' * 14},v1={MAC}") == "signature_mismatch"
    assert refusal_of(f"t=1{'0' * 15},v1={MAC}") == "malformed_header"


@pytest.mark.parametrize("others", ["", ",v0=a", f",V1={MAC}", ",v1x=a"])
def test_a_signature_of_no_scheme_that_we_know_is_refused(others: str) -> None:
    assert refusal_of(f"t=1795435200{others}") == "no_v1_signature"


@pytest.mark.parametrize(
    "given", ["", MAC[:-1], MAC + "0", MAC + "=", MAC.upper(), f" {MAC}", "é", "\udcff"]
)
def test_what_is_nearly_a_signature_is_none(given: str) -> None:
    assert refusal_of(f"t=1795435200,v1={given}") == "signature_mismatch"


@pytest.mark.parametrize("header", [f"t=1795435201,v1={MAC}", f"t=01795435200,v1={MAC}"])
def test_the_time_is_signed_as_it_is_written(header: str) -> None:
    assert refusal_of(header) == "signature_mismatch"


@pytest.mark.parametrize("secrets", [(), ("",), (SIGNED_BY, "")])
def test_a_secret_that_is_empty_verifies_nothing(secrets: tuple[str, ...]) -> None:
    with pytest.raises(
        ConfigurationError,
        match="mux_webhook_secrets: is not set: without it a forged webhook cannot",
    ) as no:
        verify({"mux-signature": SIGNATURE}, SIGNED_BODY, secrets, SIGNED_AT, tolerance=300)
    assert no.value.setting == "mux_webhook_secrets"


def test_a_test_delivery_is_signed_and_holds_an_event_of_its_own_that_nobody_acts_on() -> None:
    sent = a_delivery(SIGNED_BY, "env-of-tests", SIGNED_AT)
    event = json.loads(sent.body)

    assert verify(sent.headers, sent.body, [SIGNED_BY], SIGNED_AT, tolerance=0) == 0
    assert is_row_id(event["id"])
    assert event == {
        "type": "rindle_sync.doctor",
        "id": event["id"],
        "created_at": "2026-11-23T12:00:00+00:00",
        "environment": {"id": "env-of-tests"},
        "data": {},
    }
    assert read_event(sent.body) == ReceivedEvent(
        event_id=event["id"],
        type="rindle_sync.doctor",
        environment="env-of-tests",
        occurred_at=SIGNED_AT,
        acted_on=False,
    )


# webhooks: what they say about themselves


def body_of(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


def unreadable(read: Callable[..., object], *given: object) -> str:
    with pytest.raises(InvalidWebhook) as refused:
        read(*given)
    return refused.value.reason


def test_an_event_about_an_asset_says_whose_it_is() -> None:
    event = an_event(
        ID, id="event-1", passthrough="https://ours.example/7", upload_id=UPLOAD, asset_id="another"
    )

    assert read_event(
        body_of(event | {"object": {"type": "asset", "id": "another"}})
    ) == ReceivedEvent(
        event_id="event-1",
        type="video.asset.ready",
        environment="env-of-tests",
        occurred_at=SIGNED_AT,
        provider_asset_id=ID,
        provider_upload_id=UPLOAD,
        passthrough="https://ours.example/7",
        acted_on=True,
    )


def test_an_event_about_an_upload_says_whose_it_is() -> None:
    data: dict[str, Any] = {"asset_id": ID, "upload_id": "another", "passthrough": "another"}
    data |= {"id": UPLOAD, "new_asset_settings": {"passthrough": "ours"}}
    event = an_upload_event(UPLOAD, "video.upload.asset_created") | {"id": "event-1", "data": data}

    assert read_event(body_of(event)) == ReceivedEvent(
        event_id="event-1",
        type="video.upload.asset_created",
        environment="env-of-tests",
        occurred_at=SIGNED_AT,
        provider_asset_id=ID,
        provider_upload_id=UPLOAD,
        passthrough="ours",
        acted_on=True,
    )


def test_only_an_upload_takes_its_passthrough_from_its_settings() -> None:
    asset = an_event(ID, passthrough="ours", new_asset_settings={"passthrough": "another"})
    upload = an_upload_event(
        UPLOAD, "video.upload.created", passthrough="ours", new_asset_settings="unknown"
    )

    assert [read_event(body_of(event)).passthrough for event in (asset, upload)] == ["ours", "ours"]


def test_an_event_may_consist_of_its_type_and_its_id_alone() -> None:
    assert read_event(b'{"type": "video.asset.unheard_of", "id": "event-1"}') == ReceivedEvent(
        event_id="event-1", type="video.asset.unheard_of", acted_on=True
    )


def test_an_event_without_data_is_about_its_object() -> None:
    event = an_event(ID) | {"data": None}

    assert read_event(body_of(event)).provider_asset_id == ID


@pytest.mark.parametrize(
    ("told", "kept"), [("x", "x"), ("x" * 255, "x" * 255), ("x" * 256, None), ("", None), (7, None)]
)
def test_what_can_be_no_id_is_none(told: object, kept: str | None) -> None:
    assert read_event(body_of(an_event(ID, passthrough=told))).passthrough == kept


@pytest.mark.parametrize("field", ["id", "type"])
def test_an_event_has_an_id_and_a_type_of_some_length(field: str) -> None:
    event = an_event(ID)

    for good in ("x", "x" * 255):
        delivery = read_event(body_of(event | {field: good}))
        assert good in {delivery.event_id, delivery.type}
    for bad in ("", "x" * 256, 7, None):
        assert unreadable(read_event, body_of(event | {field: bad})) == "no_event"


def test_what_is_no_object_is_no_event() -> None:
    assert unreadable(read_event, b"[]") == "no_json_object"


# webhooks: what was seen in them


def test_an_event_about_an_asset_is_seen_as_it_is() -> None:
    event = an_event(
        ID,
        id="event-1",
        at="2026-11-23T11:59:00Z",
        passthrough="ours",
        upload_id=UPLOAD,
        playback_ids=[{"id": "p", "policy": "public"}],
        created_at=str(int(CREATED.timestamp())),
        master={"url": "https://planted.io"},
    )

    assert read_observation(body_of(event), NOW) == Observation(
        source=ObservationSource.WEBHOOK,
        at=NOW,
        occurred_at=datetime(2026, 11, 23, 11, 59, tzinfo=UTC),
        state=State.READY,
        status="ready",
        provider_asset_id=ID,
        provider_upload_id=UPLOAD,
        passthrough="ours",
        playback_ids=(PlaybackId("p", "public"),),
        created_at=CREATED,
        event_id="event-1",
        metadata=event["data"] | {"master": {}},
        media=Media(),
    )


@pytest.mark.parametrize(
    ("type_", "status", "state", "kind"),
    [
        ("video.asset.created", "preparing", State.PROCESSING, None),
        ("video.asset.updated", "ready", State.READY, None),
        ("video.asset.updated", "errored", State.ERRORED, ErrorKind.PROVIDER),
        ("video.asset.updated", "unheard of", None, None),
        ("video.asset.ready", "preparing", State.READY, None),
        ("video.asset.ready", "errored", State.READY, None),
        ("video.asset.errored", "preparing", State.ERRORED, ErrorKind.PROVIDER),
        ("video.asset.deleted", "ready", State.DELETED, None),
    ],
)
def test_the_type_of_an_event_says_more_than_the_status_beside_it(
    type_: str, status: str, state: State | None, kind: ErrorKind | None
) -> None:
    body = body_of(an_event(ID, type_) | {"data": an_asset(status=status)})

    observation = read_observation(body, NOW)

    assert (observation.state, observation.error_kind) == (state, kind)
    assert read_event(body).acted_on


@pytest.mark.parametrize(
    ("type_", "state", "kind", "text"),
    [
        ("video.upload.created", State.UPLOADING, None, None),
        ("video.upload.asset_created", State.PROCESSING, None, None),
        ("video.upload.cancelled", State.ERRORED, ErrorKind.UPLOAD, "mux upload cancelled"),
        ("video.upload.errored", State.ERRORED, ErrorKind.PROVIDER, "mux upload errored"),
    ],
)
def test_an_event_about_an_upload_is_seen_as_its_type_says(
    type_: str, state: State, kind: ErrorKind | None, text: str | None
) -> None:
    data = {
        "id": UPLOAD,
        "status": "unheard of",
        "asset_id": ID,
        "new_asset_settings": {"passthrough": "ours"},
    }
    event = an_upload_event(UPLOAD, type_) | {"id": "event-1", "data": data}

    assert read_observation(body_of(event), NOW) == Observation(
        source=ObservationSource.WEBHOOK,
        at=NOW,
        occurred_at=SIGNED_AT,
        state=state,
        status=type_.rpartition(".")[2] if state is not State.UPLOADING else "waiting",
        provider_asset_id=ID,
        provider_upload_id=UPLOAD,
        passthrough="ours",
        error_kind=kind,
        error_text=text,
        event_id="event-1",
        metadata=None,
    )


def test_only_of_an_upload_without_an_asset_an_event_is_kept() -> None:
    data = {"id": UPLOAD, "status": "waiting", "timeout": 60}
    event = an_upload_event(UPLOAD, "video.upload.created")

    seen = [
        read_observation(body_of(event | {"data": told}), NOW).metadata
        for told in (data, data | {"asset_id": ID})
    ]

    assert seen == [data, None]


@pytest.mark.parametrize("data", [None, [], {}, {"id": 7}, {"id": ""}])
def test_an_event_whose_data_is_none_cannot_be_seen(data: object) -> None:
    asset, upload = an_event(ID), an_upload_event(UPLOAD, "video.upload.created")

    for event in (asset, upload):
        assert (
            unreadable(read_observation, body_of(event | {"data": data}), NOW) == "unreadable_data"
        )


# Mux's own examples


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    if not VECTORS.is_file():
        pytest.skip(f"Mux's own examples are missing: there is no {VECTORS}")
    content: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))
    return content


async def test_muxs_example_of_an_asset_is_understood(vectors: dict[str, Any]) -> None:
    body = vectors["rest"]["asset_get"]
    observation = await telling(body).mux.get_asset(body["data"]["id"], NOW)
    assert observation.state is State.READY
    assert [(p.id, p.policy) for p in observation.playback_ids or ()] == [
        (p["id"], p["policy"]) for p in body["data"]["playback_ids"]
    ]
    assert observation.passthrough == body["data"]["passthrough"]
    assert observation.created_at == datetime.fromtimestamp(int(body["data"]["created_at"]), UTC)
    assert observation.metadata == body["data"]


async def test_muxs_example_of_a_list_is_understood(vectors: dict[str, Any]) -> None:
    body = vectors["rest"]["asset_list"]
    page = await telling(body).mux.list_assets(NOW)
    assert [observation.provider_asset_id for observation in page.entries] == [
        entry["id"] for entry in body["data"]
    ]
    assert {observation.state for observation in page.entries} == {State.READY}
    assert page.cursor == body["next_cursor"]
    assert list(page.created) == [observation.created_at for observation in page.entries]


@pytest.mark.parametrize("odd", [b"5", b'{"id": 5}', b'{"id": "x", "created_at": "\xff"}'], ids=str)
async def test_a_page_tells_when_its_assets_were_created(odd: bytes) -> None:
    dated = b'{"id": "b", "created_at": 1700000000}'
    content = b'{"data": [%s, %s, {"id": "c", "created_at": "soon"}]}' % (odd, dated)

    page = await FarEnd(200, content).mux.list_assets(NOW)

    assert list(page.created) == [datetime.fromtimestamp(1_700_000_000, UTC)]
    assert [seen.created_at for seen in page.entries][-2:] == [*page.created, None]


async def test_a_real_errored_asset_tells_its_reason_without_the_address_of_the_file(
    vectors: dict[str, Any],
) -> None:
    data = vectors["rest"]["asset_errored"]["data"]
    observation = await telling({"data": data}).mux.get_asset(data["id"], NOW)
    assert (observation.state, observation.error_kind) == (State.ERRORED, ErrorKind.PROVIDER)
    assert observation.error_text
    assert observation.error_text.startswith("download_failed: The input file '[url]")
    assert "could not be downloaded" in observation.error_text


@pytest.mark.parametrize("name", ["upload_get", "upload_create_201", "upload_cancel_200"])
async def test_muxs_examples_of_uploads_are_understood(vectors: dict[str, Any], name: str) -> None:
    data = vectors["rest"][name]["data"]
    observation = await telling({"data": data}).mux.get_upload(data["id"], NOW)
    assert (observation.status, observation.provider_asset_id) == (
        data["status"],
        data.get("asset_id"),
    )
    assert observation.state is not None
    assert "url" not in (observation.metadata or {})


async def test_muxs_example_of_whoami_names_the_environment(vectors: dict[str, Any]) -> None:
    body = vectors["rest"]["whoami"]
    assert await telling(body).mux.whoami() == body["data"]["environment_id"]


async def test_muxs_examples_of_errors_are_told_apart(vectors: dict[str, Any]) -> None:
    for error in vectors["rest"]["errors"]:
        raised = await error_of(telling(error["body"], error["status"]))
        assert type(raised) is expected_error(error["status"], error["body"])


async def test_every_status_that_mux_lists_is_a_state(vectors: dict[str, Any]) -> None:
    assert vectors["enums"]["asset_status"]
    for word in vectors["enums"]["asset_status"]:
        assert (await get(an_asset(status=word))).state is not None
    for word in vectors["enums"]["upload_status"]:
        assert (await get_upload({"id": UPLOAD, "status": word})).state is not None


def test_every_time_in_muxs_payloads_is_read(vectors: dict[str, Any]) -> None:
    payloads = [each["payload"] for each in vectors["webhook_payloads"]]
    told = [
        part["created_at"]
        for payload in payloads
        for part in (payload, payload["data"])
        if "created_at" in part
    ]
    assert {type(each) for each in told} >= {str, int}
    assert [each for each in told if parse_time(each) is None] == []


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_that_is_too_large_to_be_one_is_not_read_to_its_end(
    packed: Any, status: int
) -> None:
    mux, given = endless(status, packed=packed)

    with pytest.raises(ProviderUnavailable, match="too large"):
        await mux.get_asset(ID, NOW)
    with pytest.raises(ProviderUnavailable, match="too large"):
        await mux.list_assets(NOW)
    # what was read is bounded for each of the two calls
    assert sum(given) <= (LARGEST_ANSWER + LARGEST_PAGE + 2 * len(PART)) * 1.1


PART: Final = b" " * (1024 * 1024)


def endless(status: int, *, packed: bool) -> tuple[Mux, list[int]]:
    """A provider whose answers have no end; how much of them it has given, as unpacked."""
    given: list[int] = []

    def answer(_: httpx.Request) -> httpx.Response:
        packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)

        async def parts() -> AsyncIterator[bytes]:
            while True:
                given.append(len(PART))
                part = packer.compress(PART) + packer.flush(zlib.Z_SYNC_FLUSH)
                yield part if packed else PART

        headers = {"content-encoding": "gzip"} if packed else {}
        return httpx.Response(status, headers=headers, content=parts())

    return Mux(TOKEN, transport=httpx.MockTransport(answer)), given


async def test_fifty_bombs_at_once_take_no_more_memory_than_their_bound() -> None:
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(PART) for _ in range(64)) + packer.flush()
    async with listening(sending(bomb)) as url:
        mux = Mux(TOKEN, base_url=url, timeout=60)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        longest = asyncio.create_task(_longest_stall())
        calls = [mux.get_asset(ID, NOW) for _ in range(50)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        longest.cancel()
        await mux.close()
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert {str(outcome) for outcome in outcomes} == {"mux sent an answer too large to be one"}
    assert more * 1024 < 50 * 3 * LARGEST_ANSWER
    assert await longest < 2


async def _longest_stall() -> float:
    """The longest time in which the loop did nothing else, until cancelled."""
    longest, clock = 0.0, asyncio.get_running_loop().time
    with suppress(asyncio.CancelledError):
        while True:
            began = clock()
            await asyncio.sleep(0)
            longest = max(longest, clock() - began)
    return longest


def sending(body: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def talk(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return talk


@pytest.mark.parametrize(
    ("bend", "complaint"),
    [
        (lambda packed: packed[:-9], "only a part"),
        (lambda packed: packed * 2, "more than one"),
        (lambda packed: packed + b"x", "more than one"),
        (lambda packed: packed[:20] + b"xxxx" + packed[24:], "cannot be reached"),
        (lambda _: b"", "only a part"),
    ],
)
async def test_a_packed_answer_that_is_not_whole_is_none(
    bend: Callable[[bytes], bytes], complaint: str
) -> None:
    packed = gzip.compress(json.dumps({"data": an_asset()}).encode())
    far_end = FarEnd(200, bend(packed), {"content-encoding": "gzip"})

    with pytest.raises(ProviderUnavailable, match=complaint):
        await far_end.mux.get_asset(ID, NOW)


async def test_as_many_calls_as_a_sweep_makes_at_once_do_not_wait_for_each_other() -> None:
    all_asked = asyncio.Barrier(60)

    async def until_all_have_asked(_: float) -> None:
        await all_asked.wait()

    emulator = MuxEmulator(sleep=until_all_have_asked)
    emulator.add_fault("latency", seconds=1.0)
    ids = emulator.create_assets(60)
    with serving(emulator) as far_end:
        adapter = Mux(
            Credentials(emulator.token_id, emulator.token_secret),
            base_url=far_end.url,
            timeout=PATIENCE,
        )
        observations = await asyncio.gather(*(adapter.get_asset(asset_id, NOW) for asset_id in ids))
        await adapter.close()

    assert [observation.provider_asset_id for observation in observations] == ids


async def test_an_answer_that_is_packed_twice_is_not_unpacked() -> None:
    twice = gzip.compress(gzip.compress(b"{}"))

    def answer(_: httpx.Request) -> httpx.Response:
        async def parts() -> AsyncIterator[bytes]:
            yield twice

        return httpx.Response(200, headers={"content-encoding": "gzip, gzip"}, content=parts())

    mux = Mux(TOKEN, transport=httpx.MockTransport(answer))

    with pytest.raises(ProviderUnavailable, match="packed in a way that was not asked for"):
        await mux.get_asset(ID, NOW)
