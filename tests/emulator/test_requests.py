"""Bodies of calls to the Mux emulator: accepted and refused as Mux's OpenAPI file has them."""

import json
from collections.abc import AsyncIterator, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life

OPENAPI = Path(__file__).resolve().parents[3] / "shared/mux/openapi_video.json"
ASSETS = "/video/v1/assets"
ASSET = f"{ASSETS}/ASSET_ID"
UPLOADS = "/video/v1/uploads"
INPUTS = [{"url": "https://example.com/a.mp4"}]
CAPTIONS = {"url": "https://example.com/a.vtt", "type": "text", "language_code": "en"}

Case = tuple[str, str, Any, str]
"""Method, path, body, and the field that a refusal names."""

WRONG: list[Case] = [
    ("POST", ASSETS, {}, "inputs"),
    ("POST", ASSETS, {"inputs": []}, "inputs"),
    ("POST", ASSETS, {"inputs": [1]}, "inputs[0]"),
    ("POST", ASSETS, {"inputs": [{"url": 1}]}, "inputs[0].url"),
    ("POST", ASSETS, {"inputs": [{"type": "image"}]}, "inputs[0].type"),
    ("POST", ASSETS, {"inputs": [{"start_time": "0"}]}, "inputs[0].start_time"),
    ("POST", ASSETS, {"inputs": [{}, {"type": "text"}]}, "inputs[1].language_code"),
    (
        "POST",
        ASSETS,
        {"inputs": [{"overlay_settings": {"vertical_align": "up"}}]},
        "inputs[0].overlay_settings.vertical_align",
    ),
    (
        "POST",
        ASSETS,
        {"inputs": [{"generated_subtitles": [{"language_code": "xx"}]}]},
        "inputs[0].generated_subtitles[0].language_code",
    ),
    ("POST", ASSETS, {"input": {"url": "x"}}, "input"),
    ("POST", ASSETS, {"inputs": INPUTS, "static_renditions": 0}, "static_renditions"),
    ("POST", ASSETS, {"inputs": INPUTS, "static_renditions": [{}]}, "static_renditions[0].reso"),
    (
        "POST",
        ASSETS,
        {"inputs": INPUTS, "static_renditions": [{"resolution": "highest"}] * 2},
        "static_renditions",
    ),
    (
        "POST",
        ASSETS,
        {
            "inputs": INPUTS,
            "static_renditions": [{"resolution": "highest"}],
            "mp4_support": "standard",
        },
        "mp4_support",
    ),
    ("POST", ASSETS, {"inputs": INPUTS, "passthrough": "x" * 256}, "passthrough"),
    ("POST", ASSETS, {"inputs": INPUTS, "passthrough": 7}, "passthrough"),
    ("POST", ASSETS, {"inputs": INPUTS, "passthrough": None}, "passthrough"),
    ("POST", ASSETS, {"inputs": INPUTS, "playback_policies": ["open"]}, "playback_policies"),
    ("POST", ASSETS, {"inputs": INPUTS, "playback_policies": [["public"]]}, "playback_policies"),
    ("POST", ASSETS, {"inputs": INPUTS, "playback_policies": "public"}, "playback_policies"),
    ("POST", ASSETS, {"inputs": INPUTS, "playback_policy": 1}, "playback_policy"),
    (
        "POST",
        ASSETS,
        {"inputs": INPUTS, "advanced_playback_policies": ["drm"]},
        "advanced_playback_policies[0]",
    ),
    ("POST", ASSETS, {"inputs": INPUTS, "meta": {"title": "x" * 513}}, "meta.title"),
    ("POST", ASSETS, {"inputs": INPUTS, "meta": {"title": {}}}, "meta.title"),
    ("POST", ASSETS, {"inputs": INPUTS, "meta": []}, "meta"),
    ("POST", ASSETS, {"inputs": INPUTS, "test": "yes"}, "test"),
    ("POST", ASSETS, {"inputs": INPUTS, "test": 1}, "test"),
    ("POST", ASSETS, {"inputs": INPUTS, "normalize_audio": "on"}, "normalize_audio"),
    ("POST", ASSETS, {"inputs": INPUTS, "master_access": True}, "master_access"),
    ("POST", ASSETS, {"inputs": INPUTS, "mp4_support": "high"}, "mp4_support"),
    ("POST", ASSETS, {"inputs": INPUTS, "encoding_tier": "best"}, "encoding_tier"),
    ("POST", ASSETS, {"inputs": INPUTS, "video_quality": ["plus"]}, "video_quality"),
    ("POST", ASSETS, {"inputs": INPUTS, "max_resolution_tier": 1080}, "max_resolution_tier"),
    ("POST", ASSETS, {"inputs": INPUTS, "directives": [{}]}, "directives[0].id"),
    ("POST", ASSETS, [], "the body"),
    ("POST", ASSETS, None, "the body"),
    ("POST", UPLOADS, {}, "cors_origin"),
    ("POST", UPLOADS, {"cors_origin": 1}, "cors_origin"),
    ("POST", UPLOADS, {"cors_origin": "*", "timeout": 59}, "timeout"),
    ("POST", UPLOADS, {"cors_origin": "*", "timeout": 604_801}, "timeout"),
    ("POST", UPLOADS, {"cors_origin": "*", "timeout": 2369.5}, "timeout"),
    ("POST", UPLOADS, {"cors_origin": "*", "timeout": "3600"}, "timeout"),
    ("POST", UPLOADS, {"cors_origin": "*", "timeout": True}, "timeout"),
    ("POST", UPLOADS, {"cors_origin": "*", "timeout": 10**400}, "timeout"),
    ("POST", UPLOADS, {"cors_origin": "*", "new_asset_settings": []}, "new_asset_settings"),
    (
        "POST",
        UPLOADS,
        {"cors_origin": "*", "new_asset_settings": {"static_renditions": 0}},
        "new_asset_settings.static_renditions",
    ),
    ("POST", UPLOADS, "text", "the body"),
    ("PATCH", ASSET, {"passthrough": 1}, "passthrough"),
    ("PATCH", ASSET, {"meta": {"creator_id": "x" * 129}}, "meta.creator_id"),
    ("PATCH", ASSET, {"thumbnail_time": "1"}, "thumbnail_time"),
    ("PATCH", ASSET, {"thumbnail_time": 10**400}, "thumbnail_time"),
    ("PATCH", ASSET, [], "the body"),
    ("POST", f"{ASSET}/playback-ids", {"policy": "private"}, "policy"),
    ("POST", f"{ASSET}/tracks", {}, "url"),
    ("POST", f"{ASSET}/tracks", {**CAPTIONS, "type": "video"}, "type"),
    ("POST", f"{ASSET}/tracks", {**CAPTIONS, "closed_captions": 1}, "closed_captions"),
    ("POST", f"{ASSET}/static-renditions", {}, "resolution"),
    ("POST", f"{ASSET}/static-renditions", {"resolution": 1080}, "resolution"),
    ("PUT", f"{ASSET}/master-access", {"master_access": "permanent"}, "master_access"),
]

RIGHT: list[tuple[str, str, Any]] = [
    ("POST", ASSETS, {"inputs": INPUTS}),
    ("POST", ASSETS, {"inputs": [{}], "of_tomorrow": {"a": 1}}),
    ("POST", ASSETS, {"inputs": [{"start_time": -1.5, "end_time": 3}], "copy_overlays": False}),
    ("POST", ASSETS, {"inputs": INPUTS, "master_access": "none", "mp4_support": "none"}),
    (
        "POST",
        ASSETS,
        {"inputs": INPUTS, "static_renditions": [{"resolution": "highest", "passthrough": "p"}]},
    ),
    ("POST", UPLOADS, {"cors_origin": "*", "timeout": 2369.0}),
    ("POST", UPLOADS, {"cors_origin": "", "new_asset_settings": {"playback_policies": []}}),
    ("PATCH", ASSET, {}),
    ("PATCH", ASSET, {"passthrough": "", "meta": {}, "thumbnail_time": -0.5}),
    ("POST", f"{ASSET}/playback-ids", {"policy": "signed"}),
    ("POST", f"{ASSET}/tracks", CAPTIONS),
    ("POST", f"{ASSET}/static-renditions", {"resolution": "audio-only"}),
    ("PUT", f"{ASSET}/master-access", {"master_access": "temporary"}),
]

SUBTITLES = {"name": "n", "passthrough": "p", "language_code": "auto"}
FULL: list[tuple[str, str, Any]] = [
    (
        "POST",
        ASSETS,
        {
            "inputs": [
                {
                    "url": "u",
                    "type": "video",
                    "start_time": 1,
                    "overlay_settings": {"width": "1", "vertical_align": "top"},
                    "generated_subtitles": [SUBTITLES],
                }
            ],
            "playback_policies": ["public"],
            "playback_policy": ["public"],
            "passthrough": "p",
            "meta": {"title": "t", "creator_id": "c", "external_id": "e"},
            "mp4_support": "none",
            "normalize_audio": True,
            "master_access": "none",
            "test": False,
            "max_resolution_tier": "1080p",
            "encoding_tier": "smart",
            "video_quality": "plus",
            "static_renditions": [{"resolution": "720p", "passthrough": "p"}],
            "copy_overlays": True,
            "directives": [{"id": "i"}],
            "generate_shots": False,
        },
    ),
    (
        "POST",
        UPLOADS,
        {"cors_origin": "*", "timeout": 60, "test": True, "new_asset_settings": {"test": True}},
    ),
    ("PATCH", ASSET, {"passthrough": "p", "meta": {"title": "t"}, "thumbnail_time": 1.5}),
    ("POST", f"{ASSET}/playback-ids", {"policy": "signed", "drm_configuration_id": "d"}),
    (
        "POST",
        f"{ASSET}/tracks",
        {**CAPTIONS, "text_type": "subtitles", "closed_captions": True, "passthrough": "p"},
    ),
    ("POST", f"{ASSET}/static-renditions", {"resolution": "270p", "passthrough": "p"}),
    ("PUT", f"{ASSET}/master-access", {"master_access": "temporary"}),
]
"""Calls with every field that they may have."""

ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    2369.0,
    2.5,
    "",
    "odd",
    [],
    [1],
    ["public"],
    {},
    [{}],
    [None],
    [[]],
]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value within a JSON value."""
    yield place
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*place, name))
    if isinstance(value, list):
        for number, entry in enumerate(value):
            yield from places(entry, (*place, number))


def with_value(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy of a JSON value with another value at one place."""
    if not place:
        return value
    copy = body.copy()
    copy[place[0]] = with_value(body[place[0]], place[1:], value)
    return copy


@pytest.fixture
def emulator() -> MuxEmulator:
    return MuxEmulator(now=lambda: 1_800_000_000.0)


@pytest.fixture
async def mux(emulator: MuxEmulator) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=emulator.app)
    auth = ("emulator-token-id", "emulator-token-secret")
    async with httpx.AsyncClient(
        transport=transport, base_url="https://api.mux.example", auth=auth
    ) as client:
        yield client


async def call(
    emulator: MuxEmulator, mux: httpx.AsyncClient, method: str, path: str, body: Any
) -> httpx.Response:
    """A call about an asset that is ready."""
    asset_id = emulator.create_asset(life=Life(after=0))
    content = json.dumps(body).encode()
    return await mux.request(method, path.replace("ASSET_ID", asset_id), content=content)


@pytest.mark.parametrize("case", WRONG, ids=lambda case: f"{case[0]} {case[1]} {case[3]}")
async def test_a_wrong_body_is_refused_with_the_name_of_the_field(
    emulator: MuxEmulator, mux: httpx.AsyncClient, case: Case
) -> None:
    method, path, body, named = case
    answer = await call(emulator, mux, method, path, body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_parameters"
    assert answer.json()["error"]["messages"][0].startswith(named)
    assert len(emulator.truths()) == 1


@pytest.mark.parametrize(("method", "path", "body"), RIGHT)
async def test_a_right_body_is_accepted(
    emulator: MuxEmulator, mux: httpx.AsyncClient, method: str, path: str, body: Any
) -> None:
    answer = await call(emulator, mux, method, path, body)
    assert answer.status_code in {200, 201}, answer.text


def described(method: str, path: str) -> OAS31Validator:
    """Mux's own description of the body of a call."""
    if not OPENAPI.exists():
        pytest.skip(f"Mux's OpenAPI file is missing: put it at {OPENAPI}")
    spec = json.loads(OPENAPI.read_text())
    operation = spec["paths"][path.replace("ASSET_ID", "{ASSET_ID}")][method.lower()]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return OAS31Validator({**schema, "components": spec["components"]})


@pytest.mark.parametrize(("method", "path", "body"), RIGHT)
def test_muxs_description_accepts_the_same_bodies(method: str, path: str, body: Any) -> None:
    described(method, path).validate(body)


@pytest.mark.parametrize(("method", "path", "body"), FULL)
async def test_any_odd_value_is_accepted_exactly_if_muxs_description_accepts_it(
    emulator: MuxEmulator, mux: httpx.AsyncClient, method: str, path: str, body: Any
) -> None:
    description = described(method, path)
    for place, odd in product(places(body), ODD):
        # prose beside the description allows one URL, and wants at least one input
        if place == ("inputs",) and (isinstance(odd, str) or odd == []):
            continue
        given = with_value(body, place, odd)
        answer = await call(emulator, mux, method, path, given)
        assert answer.status_code in {200, 201, 400}, (place, odd)
        assert answer.is_success == description.is_valid(given), (place, odd, answer.text)


async def test_a_whole_number_with_a_fraction_of_zero_is_an_integer_as_in_json_schema(
    mux: httpx.AsyncClient,
) -> None:
    answer = await mux.post(UPLOADS, json={"cors_origin": "*", "timeout": 2369.0})
    assert answer.json()["data"]["timeout"] == 2369
    assert '"timeout":2369,' in answer.text


async def test_one_url_is_a_shortcut_for_a_list_of_inputs(mux: httpx.AsyncClient) -> None:
    answer = await mux.post(ASSETS, json={"input": "https://example.com/a.mp4"})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "content",
    [
        b" ",
        b"\xff{",
        b"{",
        b'{"inputs": NaN}',
        b"[" * 3000 + b"]" * 3000,
        b'{"meta": ' * 3000 + b"{}" + b"}" * 3000,
        b'{"inputs": [{}], "x": ' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"inputs": ' + b"[" * 100_000,
        b'{"timeout": ' + b"9" * 5000 + b"}",
    ],
)
@pytest.mark.parametrize("path", [ASSETS, UPLOADS, "/_emulator/assets", "/_emulator/life"])
async def test_a_body_that_is_no_json_or_nests_too_deeply_is_refused(
    mux: httpx.AsyncClient, path: str, content: bytes
) -> None:
    answer = await mux.post(path, content=content)
    assert answer.status_code == 400
    assert "the body" in answer.text


async def test_a_body_is_read_whatever_its_content_type(mux: httpx.AsyncClient) -> None:
    content = json.dumps({"inputs": INPUTS}).encode()
    for content_type in ("text/plain", "application/json; charset=latin-1", ";;"):
        answer = await mux.post(ASSETS, content=content, headers={"Content-Type": content_type})
        assert answer.status_code == 201


async def test_half_a_surrogate_pair_is_kept_as_it_came(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    content = b'{"inputs": [{}], "passthrough": "\\ud83d", "meta": {"title": "\\ud83d"}}'
    made = await mux.post(ASSETS, content=content)
    assert made.status_code == 201
    assert made.json()["data"]["passthrough"] == "\ud83d"
