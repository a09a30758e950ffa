"""Every kind of answer of the Mux emulator against Mux's own OpenAPI file, where there is one."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life, RenditionLife

OPENAPI = Path(__file__).resolve().parents[3] / "shared/mux/openapi_video.json"
ASSETS = "/video/v1/assets"
UPLOADS = "/video/v1/uploads"


class Mux:
    """A client that checks each answer against the OpenAPI file, by path and method."""

    def __init__(self, client: httpx.AsyncClient, spec: dict[str, Any]) -> None:
        self._client = client
        self._spec = spec

    async def ask(self, method: str, path: str, template: str, status: int, **sent: Any) -> Any:
        answer = await self._client.request(method, path, **sent)
        told = self._spec["paths"][template][method.lower()]["responses"]
        assert answer.status_code == status, answer.text
        assert str(status) in told
        if "content" in told[str(status)]:
            self.check(answer.json(), told[str(status)]["content"]["application/json"]["schema"])
        return answer.json()["data"] if status in {200, 201} else None

    def check(self, body: Any, schema: dict[str, Any]) -> None:
        OAS31Validator({**schema, "components": self._spec["components"]}).validate(body)


def _with_null(schema: Any) -> Any:
    """`schema` with `nullable`, which OpenAPI 3.1 no longer knows, written as a type."""
    if isinstance(schema, list):
        return [_with_null(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    mended = {key: _with_null(part) for key, part in schema.items()}
    return mended | {"type": [mended["type"], "null"]} if schema.get("nullable") is True else mended


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    if not OPENAPI.exists():
        pytest.skip(f"Mux's OpenAPI file is missing: put it at {OPENAPI}")
    return dict(_with_null(json.loads(OPENAPI.read_text())))


class Clock:
    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulator(clock: Clock) -> MuxEmulator:
    return MuxEmulator(now=clock)


@pytest.fixture
async def mux(emulator: MuxEmulator, spec: dict[str, Any]) -> AsyncIterator[Mux]:
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=emulator.app),
        base_url="https://api.mux.example",
        auth=("emulator-token-id", "emulator-token-secret"),
    )
    async with client:
        yield Mux(client, spec)


@pytest.mark.parametrize("ends", ["ready", "errored", "never"])
@pytest.mark.parametrize("policies", [(), ("public", "signed", "drm")])
async def test_an_asset_is_as_mux_describes_it(
    mux: Mux, emulator: MuxEmulator, ends: Any, policies: tuple[str, ...]
) -> None:
    asset_id = emulator.create_asset(
        life=Life(ends, after=0), policies=policies, meta={"title": "t"}, passthrough="p"
    )
    await mux.ask("GET", f"{ASSETS}/{asset_id}", f"{ASSETS}/{{ASSET_ID}}", 200)


async def test_a_created_asset_is_as_mux_describes_it(mux: Mux) -> None:
    body = {
        "inputs": [{"url": "https://example.com/a.mp4"}],
        "playback_policies": ["public"],
        "test": True,
    }
    asset = await mux.ask("POST", ASSETS, ASSETS, 201, json=body)
    await mux.ask("DELETE", f"{ASSETS}/{asset['id']}", f"{ASSETS}/{{ASSET_ID}}", 204)


@pytest.mark.parametrize("ends", ["ready", "errored", "never"])
@pytest.mark.parametrize("live_seconds", [None, 60])
async def test_a_live_recording_is_as_mux_describes_it(
    mux: Mux, emulator: MuxEmulator, clock: Clock, ends: Any, live_seconds: float | None
) -> None:
    asset_id = emulator.create_asset(
        life=Life(ends, after=5), live_stream_id="live-1", live_seconds=live_seconds
    )
    emulator.create_static_rendition(asset_id)
    emulator.create_track(asset_id)
    for seconds in (0, 10, 60):
        clock.at += seconds
        await mux.ask("GET", f"{ASSETS}/{asset_id}", f"{ASSETS}/{{ASSET_ID}}", 200)
        await mux.ask("GET", ASSETS, ASSETS, 200)


@pytest.mark.parametrize("count", [0, 3, 30])
async def test_a_list_of_assets_is_as_mux_describes_it(
    mux: Mux, emulator: MuxEmulator, count: int
) -> None:
    if count:
        emulator.create_assets(count, life=lambda i: Life("errored" if i % 2 else "ready", after=0))
    assert len(await mux.ask("GET", ASSETS, ASSETS, 200)) == min(count, 25)


async def test_an_upload_is_as_mux_describes_it_at_each_end(
    mux: Mux, emulator: MuxEmulator, clock: Clock
) -> None:
    upload_path = f"{UPLOADS}/{{UPLOAD_ID}}"
    settings = {"playback_policies": ["public"], "passthrough": "p"}
    body = {"cors_origin": "https://example.com", "new_asset_settings": settings, "test": True}
    ids = [(await mux.ask("POST", UPLOADS, UPLOADS, 201, json=body))["id"] for _ in range(4)]
    failing = emulator.create_upload(life=Life("errored", after=1))

    emulator.finish_upload(ids[1])
    emulator.finish_upload(failing)
    await mux.ask("PUT", f"{UPLOADS}/{ids[2]}/cancel", f"{upload_path}/cancel", 200)
    await mux.ask("PUT", f"{UPLOADS}/{ids[2]}/cancel", f"{upload_path}/cancel", 403)
    waiting = await mux.ask("GET", f"{UPLOADS}/{ids[0]}", upload_path, 200)
    clock.at += 3600
    ended = [
        await mux.ask("GET", f"{UPLOADS}/{upload_id}", upload_path, 200)
        for upload_id in (*ids[1:], failing)
    ]

    assert waiting["status"] == "waiting"
    assert [upload["status"] for upload in ended] == [
        "asset_created",
        "cancelled",
        "timed_out",
        "errored",
    ]
    assert len(await mux.ask("GET", UPLOADS, UPLOADS, 200)) == 5


async def test_a_playback_id_is_as_mux_describes_it(mux: Mux, emulator: MuxEmulator) -> None:
    (playback_id,) = emulator.truth(emulator.create_asset()).playback_ids
    path = "/video/v1/playback-ids"
    await mux.ask("GET", f"{path}/{playback_id.id}", f"{path}/{{PLAYBACK_ID}}", 200)


async def test_an_updated_asset_is_as_mux_describes_it(mux: Mux, emulator: MuxEmulator) -> None:
    asset_id = emulator.create_asset(life=Life(after=0))
    change = {"passthrough": "p", "meta": {"title": "t"}, "thumbnail_time": 1.5}
    await mux.ask("PATCH", f"{ASSETS}/{asset_id}", f"{ASSETS}/{{ASSET_ID}}", 200, json=change)


async def test_the_playback_ids_of_an_asset_are_as_mux_describes_them(
    mux: Mux, emulator: MuxEmulator
) -> None:
    path, template = f"{ASSETS}/{emulator.create_asset()}", f"{ASSETS}/{{ASSET_ID}}"
    made = await mux.ask(
        "POST", f"{path}/playback-ids", f"{template}/playback-ids", 201, json={"policy": "signed"}
    )
    own, own_template = (
        f"{path}/playback-ids/{made['id']}",
        f"{template}/playback-ids/{{PLAYBACK_ID}}",
    )
    await mux.ask("GET", own, own_template, 200)
    await mux.ask("DELETE", own, own_template, 204)


@pytest.mark.parametrize("ends", ["ready", "errored", "never"])
@pytest.mark.parametrize("kind", ["text", "audio"])
async def test_tracks_are_as_mux_describes_them(
    mux: Mux, emulator: MuxEmulator, clock: Clock, ends: Any, kind: str
) -> None:
    emulator.lives = replace(emulator.lives, track=Life(ends, after=5))
    asset_id = emulator.create_asset(life=Life(after=0))
    path, template = f"{ASSETS}/{asset_id}", f"{ASSETS}/{{ASSET_ID}}"
    body = {"url": "https://example.com/a", "type": kind, "language_code": "en", "name": "n"}
    made = await mux.ask("POST", f"{path}/tracks", f"{template}/tracks", 201, json=body)
    own, own_template = f"{path}/tracks/{made['id']}", f"{template}/tracks/{{TRACK_ID}}"
    clock.at += 5

    asset = await mux.ask("GET", path, template, 200)
    audio = next(track["id"] for track in asset["tracks"] if track["type"] == "audio")
    await mux.ask(
        "POST",
        f"{path}/tracks/{audio}/generate-subtitles",
        f"{own_template}/generate-subtitles",
        201,
        json={"generated_subtitles": [{"language_code": "auto", "name": "n"}]},
    )
    await mux.ask("PATCH", own, own_template, 200, json={"closed_captions": True})
    await mux.ask("GET", ASSETS, ASSETS, 200)
    await mux.ask("DELETE", own, own_template, 204)


@pytest.mark.parametrize("resolution", ["highest", "audio-only", "2160p", "1080p", "270p"])
@pytest.mark.parametrize("ends", ["ready", "errored", "skipped", "never"])
async def test_static_renditions_are_as_mux_describes_them(
    mux: Mux, emulator: MuxEmulator, clock: Clock, ends: Any, resolution: str
) -> None:
    emulator.lives = replace(emulator.lives, static_rendition=RenditionLife(ends, after=5))
    asset_id = emulator.create_asset(life=Life(after=0))
    path, template = f"{ASSETS}/{asset_id}", f"{ASSETS}/{{ASSET_ID}}"
    body = {"resolution": resolution, "passthrough": "p"}
    made = await mux.ask(
        "POST", f"{path}/static-renditions", f"{template}/static-renditions", 201, json=body
    )
    clock.at += 5
    await mux.ask("GET", path, template, 200)
    await mux.ask(
        "DELETE",
        f"{path}/static-renditions/{made['id']}",
        f"{template}/static-renditions/{{STATIC_RENDITION_ID}}",
        204,
    )


@pytest.mark.parametrize("ends", ["ready", "errored", "never"])
async def test_master_access_is_as_mux_describes_it(
    mux: Mux, emulator: MuxEmulator, clock: Clock, ends: Any
) -> None:
    emulator.lives = replace(emulator.lives, master=Life(ends, after=5))
    asset_id = emulator.create_asset(life=Life(after=0))
    path, template = f"{ASSETS}/{asset_id}", f"{ASSETS}/{{ASSET_ID}}"
    for access in ("temporary", "none", "temporary"):
        await mux.ask(
            "PUT",
            f"{path}/master-access",
            f"{template}/master-access",
            200,
            json={"master_access": access},
        )
    clock.at += 5
    await mux.ask("GET", path, template, 200)


async def test_whoami_is_as_mux_describes_it(mux: Mux) -> None:
    await mux.ask("GET", "/system/v1/whoami", "/system/v1/whoami", 200)


@pytest.mark.parametrize(("kind", "status"), [("unauthorized", 401), ("rate_limited", 429)])
async def test_a_refusal_is_as_mux_describes_it(
    mux: Mux, emulator: MuxEmulator, kind: str, status: int
) -> None:
    emulator.add_fault(kind, times=1)
    await mux.ask("GET", "/system/v1/whoami", "/system/v1/whoami", status)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("not_found", "x"),
        ("forbidden", "x"),
        ("server_error", "x"),
        (None, "missing"),
        (None, "x/shots"),
        (None, "x/tracks"),
    ],
)
async def test_every_other_refusal_has_the_common_body(
    emulator: MuxEmulator, spec: dict[str, Any], kind: str | None, path: str
) -> None:
    if kind is not None:
        emulator.add_fault(kind)
    transport = httpx.ASGITransport(app=emulator.app)
    auth = ("emulator-token-id", "emulator-token-secret")
    async with httpx.AsyncClient(
        transport=transport, base_url="https://api.mux.example", auth=auth
    ) as client:
        answer = await client.get(f"{ASSETS}/{path}")
        Mux(client, spec).check(
            answer.json(), {"$ref": "#/components/schemas/UnauthorizedResponse"}
        )
