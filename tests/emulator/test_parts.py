"""What the Mux emulator's assets consist of: each changes by its own calls and by the clock."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rindle_sync.emulator import Life, MuxEmulator, RenditionLife

START = 1_800_000_000.0
ASSETS = "/video/v1/assets"
CAPTIONS = {"url": "https://example.com/a.vtt", "type": "text", "language_code": "en"}
DAY = 86_400


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.at += seconds


class Endpoint:
    """Keeps the webhooks that come."""

    def __init__(self) -> None:
        self.came: list[dict[str, Any]] = []
        app = Starlette(routes=[Route("/", self.receive, methods=["POST"])])
        self.transport = httpx.ASGITransport(app=app)

    async def receive(self, request: Request) -> Response:
        self.came.append(json.loads(await request.body()))
        return Response()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.came if event["type"].startswith(f"video.asset.{kind}")]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulator(clock: Clock) -> MuxEmulator:
    return MuxEmulator(now=clock)


@pytest.fixture
def endpoint(emulator: MuxEmulator) -> Endpoint:
    endpoint = Endpoint()
    emulator.add_webhook("http://endpoint/", "secret", transport=endpoint.transport)
    return endpoint


@pytest.fixture
async def mux(emulator: MuxEmulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=emulator.app),
        base_url="https://api.mux.example",
        auth=("emulator-token-id", "emulator-token-secret"),
    ) as client:
        yield client


@pytest.fixture
def asset_id(emulator: MuxEmulator) -> str:
    return emulator.create_asset(life=Life(after=0), passthrough="row-1", meta={"title": "old"})


async def shown(mux: httpx.AsyncClient, asset_id: str) -> dict[str, Any]:
    return dict((await mux.get(f"{ASSETS}/{asset_id}")).json()["data"])


async def make(mux: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await mux.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["data"])


# The asset itself


async def test_an_asset_can_be_updated(
    emulator: MuxEmulator, mux: httpx.AsyncClient, asset_id: str
) -> None:
    change = {"passthrough": "row-2", "meta": {"title": "new", "external_id": "e"}}
    answer = await mux.patch(f"{ASSETS}/{asset_id}", json={**change, "thumbnail_time": 2.5})

    assert answer.status_code == 200
    assert answer.json()["data"] == await shown(mux, asset_id)
    assert answer.json()["data"].items() >= {**change, "thumbnail_time": 2.5}.items()
    assert emulator.truth(asset_id).passthrough == "row-2"


async def test_an_update_leaves_alone_what_it_does_not_name(
    mux: httpx.AsyncClient, asset_id: str
) -> None:
    await mux.patch(f"{ASSETS}/{asset_id}", json={"meta": {"title": "new"}})
    assert (await shown(mux, asset_id))["passthrough"] == "row-1"


async def test_an_event_from_before_an_update_shows_what_was_so_then(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, endpoint: Endpoint
) -> None:
    asset_id = emulator.create_asset(life=Life(after=5), passthrough="row-1")
    clock.pass_by(10)
    await mux.patch(f"{ASSETS}/{asset_id}", json={"passthrough": "row-2"})
    await emulator.deliver_due()

    told = [(event["type"], event["data"]["passthrough"]) for event in endpoint.came]
    assert told == [
        ("video.asset.created", "row-1"),
        ("video.asset.ready", "row-1"),
        ("video.asset.updated", "row-2"),
    ]


async def test_a_playback_id_can_be_added_and_removed(
    emulator: MuxEmulator, mux: httpx.AsyncClient, asset_id: str, endpoint: Endpoint
) -> None:
    (first,) = (await shown(mux, asset_id))["playback_ids"]
    added = await make(mux, f"{ASSETS}/{asset_id}/playback-ids", policy="signed")
    own_path = f"{ASSETS}/{asset_id}/playback-ids/{added['id']}"

    assert (await shown(mux, asset_id))["playback_ids"] == [first, added]
    assert (await mux.get(own_path)).json()["data"] == added
    found = (await mux.get(f"/video/v1/playback-ids/{added['id']}")).json()["data"]
    assert found == {**added, "object": {"type": "asset", "id": asset_id}}

    assert (await mux.delete(own_path)).status_code == 204
    assert (await shown(mux, asset_id))["playback_ids"] == [first]
    assert (await mux.get(own_path)).status_code == 404
    assert (await mux.delete(own_path)).status_code == 404
    assert (await mux.get(f"/video/v1/playback-ids/{added['id']}")).status_code == 404
    await emulator.deliver_due()
    assert len(endpoint.of("updated")) == 2


async def test_a_playback_id_is_found_at_its_own_asset_only(
    emulator: MuxEmulator, mux: httpx.AsyncClient, asset_id: str
) -> None:
    (first,) = (await shown(mux, asset_id))["playback_ids"]
    other = emulator.create_asset()
    assert (await mux.delete(f"{ASSETS}/{other}/playback-ids/{first['id']}")).status_code == 404
    assert (await shown(mux, asset_id))["playback_ids"] == [first]


# Tracks


async def test_a_track_prepares_and_becomes_ready_by_the_clock(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, asset_id: str, endpoint: Endpoint
) -> None:
    track = await make(
        mux, f"{ASSETS}/{asset_id}/tracks", **CAPTIONS, name="English", passthrough="t"
    )
    clock.pass_by(4.9)
    assert (await shown(mux, asset_id))["tracks"][-1] == track
    clock.pass_by(0.1)
    assert (await shown(mux, asset_id))["tracks"][-1] == {**track, "status": "ready"}

    await emulator.deliver_due()
    created, ready = endpoint.of("track")
    assert (track["status"], track["text_source"], track["name"]) == (
        "preparing",
        "uploaded",
        "English",
    )
    assert (created["type"], created["data"]) == (
        "video.asset.track.created",
        {**track, "asset_id": asset_id},
    )
    assert (ready["type"], ready["data"]["status"]) == ("video.asset.track.ready", "ready")
    assert ready["object"] == {"type": "track", "id": track["id"]}


async def test_a_track_can_fail_be_updated_and_be_deleted(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, asset_id: str, endpoint: Endpoint
) -> None:
    life = {"of": "track", "ends": "errored", "after": 1, "error_type": "download_failed"}
    assert (await mux.post("/_emulator/life", json=life)).status_code == 200
    track = await make(mux, f"{ASSETS}/{asset_id}/tracks", **CAPTIONS)
    own_path = f"{ASSETS}/{asset_id}/tracks/{track['id']}"
    clock.pass_by(2)
    renamed = (await mux.patch(own_path, json={"name": "Deutsch", "language_code": "de"})).json()
    assert (renamed["data"]["name"], renamed["data"]["status"]) == ("Deutsch", "errored")
    assert (await mux.delete(own_path)).status_code == 204
    assert (await mux.delete(own_path)).status_code == 404
    assert track["id"] not in {shown["id"] for shown in (await shown(mux, asset_id))["tracks"]}

    await emulator.deliver_due()
    _, errored, deleted = endpoint.of("track")
    assert (errored["data"]["error"]["type"], errored["data"]["language_code"]) == (
        "download_failed",
        "en",
    )
    assert (deleted["type"], deleted["data"]["status"], deleted["data"]["language_code"]) == (
        "video.asset.track.deleted",
        "deleted",
        "de",
    )


async def test_tracks_wait_for_a_ready_asset_and_the_main_ones_stay(
    emulator: MuxEmulator, mux: httpx.AsyncClient, asset_id: str
) -> None:
    preparing = emulator.create_asset(life=Life("never"))
    early = await mux.post(f"{ASSETS}/{preparing}/tracks", json=CAPTIONS)
    assert (early.status_code, "ready" in early.text) == (400, True)
    for track in (await shown(mux, asset_id))["tracks"]:
        refused = await mux.delete(f"{ASSETS}/{asset_id}/tracks/{track['id']}")
        assert refused.status_code == 400


async def test_subtitles_are_generated_from_an_audio_track(
    mux: httpx.AsyncClient, asset_id: str, clock: Clock
) -> None:
    video, audio = (await shown(mux, asset_id))["tracks"]
    path = f"{ASSETS}/{asset_id}/tracks/{{}}/generate-subtitles"
    body = {"generated_subtitles": [{"language_code": "fr", "name": "Français"}, {}]}

    made = await mux.post(path.format(audio["id"]), json=body)
    assert (await mux.post(path.format(video["id"]), json=body)).status_code == 400
    assert (await mux.post(path.format("none"), json=body)).status_code == 404

    assert made.status_code == 201
    clock.pass_by(5)
    tracks = (await shown(mux, asset_id))["tracks"][2:]
    told = [(track["text_source"], track["language_code"], track["status"]) for track in tracks]
    assert told == [("generated_vod", "fr", "ready"), ("generated_vod", "en", "ready")]


# Static renditions


async def test_a_static_rendition_prepares_and_becomes_ready_by_the_clock(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, asset_id: str, endpoint: Endpoint
) -> None:
    path = f"{ASSETS}/{asset_id}/static-renditions"
    rendition = await make(mux, path, resolution="720p", passthrough="p")
    again = await mux.post(path, json={"resolution": "720p"})
    assert (rendition["status"], rendition["name"]) == ("preparing", "720p.mp4")
    assert (again.status_code, "resolution: 720p exists" in again.text) == (400, True)

    clock.pass_by(5)
    (file,) = (await shown(mux, asset_id))["static_renditions"]["files"]
    assert (file["id"], file["status"], file["height"]) == (rendition["id"], "ready", 720)
    await emulator.deliver_due()
    created, ready = endpoint.of("static_rendition")
    assert created["data"] == {**rendition, "asset_id": asset_id}
    assert created["object"] == {"type": "static-rendition", "id": rendition["id"]}
    assert (ready["type"], ready["data"]["status"]) == (
        "video.asset.static_rendition.ready",
        "ready",
    )

    assert (await mux.delete(f"{path}/{rendition['id']}")).status_code == 204
    assert (await mux.delete(f"{path}/{rendition['id']}")).status_code == 404
    assert "static_renditions" not in await shown(mux, asset_id)
    await emulator.deliver_due()
    assert endpoint.of("static_rendition")[-1]["type"] == "video.asset.static_rendition.deleted"


@pytest.mark.parametrize(
    ("life", "status"),
    [
        (RenditionLife("skipped", after=1), "skipped"),
        (RenditionLife("errored", after=1), "errored"),
        (RenditionLife("never"), "preparing"),
    ],
)
async def test_a_static_rendition_ends_as_planned(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, life: RenditionLife, status: str
) -> None:
    asset_id = emulator.create_asset(life=Life(after=0))
    emulator.create_static_rendition(asset_id, life=life)
    clock.pass_by(60)
    (file,) = (await shown(mux, asset_id))["static_renditions"]["files"]
    assert file["status"] == status


async def test_a_static_rendition_higher_than_its_source_is_skipped(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, asset_id: str
) -> None:
    emulator.create_static_rendition(asset_id, "2160p")
    clock.pass_by(5)
    (file,) = (await shown(mux, asset_id))["static_renditions"]["files"]
    assert file["status"] == "skipped"


def test_only_a_static_rendition_can_be_skipped() -> None:
    with pytest.raises(ValueError, match=r"ends: must be one of ready, errored, never$"):
        Life("skipped")


async def test_parts_asked_for_with_a_new_asset_prepare_once_it_is_ready(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, endpoint: Endpoint
) -> None:
    emulator.life = Life(after=30)
    asked = {
        "inputs": [
            {"url": "https://example.com/a.mp4", "generated_subtitles": [{"language_code": "en"}]},
            {**CAPTIONS, "language_code": "de"},
        ],
        "static_renditions": [{"resolution": "highest"}],
        "master_access": "temporary",
    }
    asset = await make(mux, ASSETS, **asked)
    clock.pass_by(34)
    waiting = await shown(mux, asset["id"])
    clock.pass_by(1)
    ready = await shown(mux, asset["id"])

    assert (waiting["status"], waiting["master"], ready["master"]["status"]) == (
        "ready",
        {"status": "preparing"},
        "ready",
    )
    told = [(track["language_code"], track["status"]) for track in ready["tracks"][2:]]
    assert told == [("en", "ready"), ("de", "ready")]
    assert ready["static_renditions"]["files"][0]["status"] == "ready"
    await emulator.deliver_due()
    assert [event["type"].removeprefix("video.asset.") for event in endpoint.came] == [
        "created",
        "track.created",
        "track.created",
        "static_rendition.created",
        "master.preparing",
        "ready",
        "track.ready",
        "track.ready",
        "static_rendition.ready",
        "master.ready",
    ]


async def test_parts_asked_for_with_an_upload_come_with_its_asset(
    mux: httpx.AsyncClient, emulator: MuxEmulator
) -> None:
    settings = {"static_renditions": [{"resolution": "audio-only"}]}
    upload = await make(mux, "/video/v1/uploads", cors_origin="*", new_asset_settings=settings)
    assert (await mux.put(upload["url"], content=b"a film")).status_code == 200
    (asset_id,) = emulator.truths()
    (file,) = (await shown(mux, asset_id))["static_renditions"]["files"]
    assert (file["name"], file["status"]) == ("audio.m4a", "preparing")


async def test_parts_fail_with_their_asset(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    asset_id = emulator.create_asset(life=Life("errored", after=5))
    emulator.create_static_rendition(asset_id)
    clock.pass_by(5)
    (file,) = (await shown(mux, asset_id))["static_renditions"]["files"]
    late = await mux.post(f"{ASSETS}/{asset_id}/static-renditions", json={"resolution": "720p"})
    assert (file["status"], late.status_code) == ("errored", 400)


async def test_nothing_is_told_of_parts_after_their_asset_is_deleted(
    emulator: MuxEmulator, clock: Clock, asset_id: str, endpoint: Endpoint
) -> None:
    emulator.create_track(asset_id, life=Life(after=10))
    emulator.set_master_access(asset_id, "temporary", life=Life(after=10))
    clock.pass_by(5)
    emulator.delete_asset(asset_id)
    clock.pass_by(DAY)
    await emulator.deliver_due()
    assert [event["type"].removeprefix("video.asset.") for event in endpoint.came] == [
        "created",
        "ready",
        "track.created",
        "master.preparing",
        "deleted",
    ]


# Master access


async def test_the_master_can_be_downloaded_for_a_day_once_it_is_ready(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, asset_id: str, endpoint: Endpoint
) -> None:
    path = f"{ASSETS}/{asset_id}/master-access"
    asked = (await mux.put(path, json={"master_access": "temporary"})).json()["data"]
    again = (await mux.put(path, json={"master_access": "temporary"})).json()["data"]
    clock.pass_by(5)
    ready = await shown(mux, asset_id)
    clock.pass_by(DAY)
    after = await shown(mux, asset_id)

    assert (asked["master_access"], asked["master"]) == ("temporary", {"status": "preparing"})
    assert again == asked
    assert (ready["master"]["status"], ready["master"]["url"][:8]) == ("ready", "https://")
    assert (after["master_access"], "master" in after) == ("none", False)
    await emulator.deliver_due()
    told = [(event["type"], event["data"].get("master")) for event in endpoint.of("master")]
    assert told == [
        ("video.asset.master.preparing", {"status": "preparing"}),
        ("video.asset.master.ready", ready["master"]),
        ("video.asset.master.deleted", None),
    ]
    assert endpoint.of("master")[0]["object"] == {"type": "asset", "id": asset_id}


async def test_the_master_can_be_removed_and_asked_for_again(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, asset_id: str, endpoint: Endpoint
) -> None:
    path = f"{ASSETS}/{asset_id}/master-access"
    for access in ("temporary", "none", "none", "temporary"):
        answer = await mux.put(path, json={"master_access": access})
        assert (answer.status_code, answer.json()["data"]["master_access"]) == (200, access)
        clock.pass_by(1)
    clock.pass_by(60)
    await emulator.deliver_due()
    told = [event["type"].removeprefix("video.asset.master.") for event in endpoint.of("master")]
    assert told == ["preparing", "deleted", "preparing", "ready"]


# Common to all


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", ""),
        ("POST", "/playback-ids"),
        ("POST", "/tracks"),
        ("PATCH", "/tracks/x"),
        ("DELETE", "/tracks/x"),
        ("POST", "/tracks/x/generate-subtitles"),
        ("POST", "/static-renditions"),
        ("DELETE", "/static-renditions/x"),
        ("PUT", "/master-access"),
    ],
)
async def test_nothing_of_a_deleted_asset_is_found(
    emulator: MuxEmulator, mux: httpx.AsyncClient, asset_id: str, method: str, path: str
) -> None:
    emulator.delete_asset(asset_id)
    for gone in (asset_id, "none"):
        answer = await mux.request(method, f"{ASSETS}/{gone}{path}", json={})
        assert answer.status_code == 404


async def test_the_webhooks_of_parts_are_dropped_doubled_and_forged_like_the_others(
    emulator: MuxEmulator, clock: Clock
) -> None:
    doubling, losing, forging = Endpoint(), Endpoint(), Endpoint()
    for endpoint, faults in (
        (doubling, {"double": 1.0}),
        (losing, {"drop": 1.0}),
        (forging, {"forge": 1.0}),
    ):
        emulator.add_webhook("http://endpoint/", "s", transport=endpoint.transport, **faults)
    asset_id = emulator.create_asset(life=Life(after=0))
    emulator.create_track(asset_id)
    emulator.create_static_rendition(asset_id)
    clock.pass_by(60)
    await emulator.deliver_due()

    assert len(doubling.of("track")) == len(doubling.of("static_rendition")) == 4
    assert losing.came == []
    assert len(forging.of("track")) == 2
    assert {event["object"]["id"] for event in forging.of("deleted")} == {asset_id}


async def test_a_fault_can_strike_one_part_alone(
    emulator: MuxEmulator, mux: httpx.AsyncClient, asset_id: str
) -> None:
    first, second = (emulator.create_track(asset_id) for _ in range(2))
    emulator.add_fault("server_error", operation="delete_track", object_id=first)
    assert (await mux.delete(f"{ASSETS}/{asset_id}/tracks/{first}")).status_code == 500
    assert (await mux.delete(f"{ASSETS}/{asset_id}/tracks/{second}")).status_code == 204
    assert emulator.calls["delete_track"] == 2


async def test_the_python_methods_do_what_the_calls_do(
    emulator: MuxEmulator, mux: httpx.AsyncClient, asset_id: str
) -> None:
    emulator.update_asset(asset_id, passthrough="row-9")
    playback_id = emulator.create_playback_id(asset_id, "signed")
    rendition_id = emulator.create_static_rendition(asset_id)
    emulator.set_master_access(asset_id, "temporary")
    asset = await shown(mux, asset_id)
    assert (asset["passthrough"], asset["master_access"]) == ("row-9", "temporary")
    assert asset["playback_ids"][-1]["id"] == playback_id
    assert asset["static_renditions"]["files"][0]["id"] == rendition_id

    emulator.delete_playback_id(playback_id)
    emulator.delete_part(rendition_id)
    emulator.set_master_access(asset_id, "none")
    asset = await shown(mux, asset_id)
    assert len(asset["playback_ids"]) == 1
    assert not asset.keys() & {"static_renditions", "master"}


def test_a_field_that_does_not_exist_is_refused(emulator: MuxEmulator, asset_id: str) -> None:
    with pytest.raises(ValueError, match="passthru: is not a field here; use passthrough"):
        emulator.update_asset(asset_id, passthru="row-1")
    with pytest.raises(ValueError, match="language: is not a field here"):
        emulator.create_track(asset_id, language="en")
    with pytest.raises(ValueError, match="meta: must be a JSON object"):
        emulator.update_asset(asset_id, meta="title")


async def test_the_same_seed_gives_the_same_parts(clock: Clock) -> None:
    made = []
    for _ in range(2):
        emulator = MuxEmulator(now=clock, seed=3)
        asset_id = emulator.create_asset()
        made.append((emulator.create_track(asset_id), emulator.create_static_rendition(asset_id)))
    assert made[0] == made[1]


# Live recordings


async def test_a_live_recording_is_ready_grows_and_is_completed_by_the_clock(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, endpoint: Endpoint
) -> None:
    asset_id = emulator.create_asset(
        life=Life(after=5), live_stream_id="live-1", live_seconds=100.5
    )
    seen = []
    for seconds in (0, 5, 8, 50, 37.5, 60):
        clock.pass_by(seconds)
        asset = await shown(mux, asset_id)
        progress = asset["progress"]["state"]
        seen.append((asset["status"], asset["is_live"], asset.get("duration"), progress))

    assert seen == [
        ("preparing", True, None, "ingesting"),
        ("ready", True, 0.0, "live"),
        ("ready", True, 12.0, "live"),
        ("ready", True, 60.0, "live"),
        ("ready", False, 100.5, "completed"),
        ("ready", False, 100.5, "completed"),
    ]
    await emulator.deliver_due()
    assert [event["type"].removeprefix("video.asset.") for event in endpoint.came] == [
        "created",
        "ready",
        "live_stream_completed",
    ]
    completed = endpoint.came[-1]["data"]
    assert (completed["is_live"], completed["duration"]) == (False, 100.5)
    assert completed["recording_times"] == [
        {"started_at": {"seconds": int(START), "nanos": 0}, "duration": 100.5, "type": "content"}
    ]


async def test_files_of_a_live_recording_wait_for_its_end_and_captions_do_not(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    asset_id = emulator.create_asset(life=Life(after=0), live_stream_id="live-1", live_seconds=60)
    emulator.create_track(asset_id)
    emulator.create_static_rendition(asset_id)
    emulator.set_master_access(asset_id, "temporary")

    states = []
    for seconds in (5, 59, 1):
        clock.pass_by(seconds)
        states.append([output.state for output in emulator.truth(asset_id).outputs])

    assert states == [
        ["ready", "preparing", "preparing"],
        ["ready", "preparing", "preparing"],
        ["ready", "ready", "ready"],
    ]


# The truth


async def test_the_truth_names_every_output_with_its_state(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, asset_id: str
) -> None:
    text = emulator.create_track(asset_id)
    audio = emulator.create_track(asset_id, type="audio", life=Life("errored", after=1))
    rendition = emulator.create_static_rendition(asset_id, life=RenditionLife("skipped"))
    emulator.set_master_access(asset_id, "temporary")
    clock.pass_by(2)

    told = [(output.id, output.kind, output.state) for output in emulator.truth(asset_id).outputs]
    assert told[:3] == [
        (text, "text", "preparing"),
        (audio, "audio", "errored"),
        (rendition, "static_rendition", "preparing"),
    ]
    assert [(kind, state) for _, kind, state in told[3:]] == [("master", "preparing")]
    assert emulator.truth(asset_id).seconds == (await shown(mux, asset_id))["duration"]

    clock.pass_by(10)
    emulator.delete_part(text)
    emulator.set_master_access(asset_id, "none")
    told = [(output.id, output.kind, output.state) for output in emulator.truth(asset_id).outputs]
    assert told == [(audio, "audio", "errored"), (rendition, "static_rendition", "skipped")]


async def test_only_webhooks_say_why_a_track_failed(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock, asset_id: str, endpoint: Endpoint
) -> None:
    life = Life("errored", after=1, error_type="bad_captions", error_message="Line 3 is odd.")
    emulator.create_track(asset_id, life=life)
    clock.pass_by(2)
    emulator.announce_update(asset_id)
    await emulator.deliver_due()

    why = {"type": "bad_captions", "messages": ["Line 3 is odd."]}
    assert endpoint.of("track.errored")[0]["data"]["error"] == why
    assert endpoint.of("updated")[0]["data"]["tracks"][-1]["error"] == why
    assert "error" not in (await shown(mux, asset_id))["tracks"][-1]
