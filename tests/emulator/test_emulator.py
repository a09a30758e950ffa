"""The Mux emulator over its own HTTP, in this process, with a clock that only moves when told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.faults import FaultKind
from rindle_sync.emulator.lifecycle import AssetState, Life
from rindle_sync.emulator.timeline import EventType

START = 1_800_000_000.0
CREDENTIALS = ("emulator-token-id", "emulator-token-secret")
ASSETS = "/video/v1/assets"
UPLOADS = "/video/v1/uploads"


class Clock:
    """Seconds that pass only by `pass_by` and by sleeping."""

    def __init__(self) -> None:
        self.at = START
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.at += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.pass_by(seconds)


def client_of(
    emulator: MuxEmulator, auth: tuple[str, str] | None = CREDENTIALS
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=emulator.app),
        base_url="https://api.mux.example",
        auth=auth,
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulator(clock: Clock) -> MuxEmulator:
    return MuxEmulator(now=clock, sleep=clock.sleep)


@pytest.fixture
async def mux(emulator: MuxEmulator) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(emulator) as client:
        yield client


async def status_of(mux: httpx.AsyncClient, asset_id: str) -> str:
    answer = await mux.get(f"{ASSETS}/{asset_id}")
    return (
        str(answer.json()["data"]["status"])
        if answer.status_code == 200
        else str(answer.status_code)
    )


async def pages(mux: httpx.AsyncClient, limit: int = 100) -> AsyncIterator[list[str]]:
    cursor = None
    while True:
        page = (
            await mux.get(ASSETS, params={"limit": limit} | ({"cursor": cursor} if cursor else {}))
        ).json()
        yield [entry["id"] for entry in page["data"]]
        if (cursor := page["next_cursor"]) is None:
            return


# Assets and their lives


async def test_an_asset_is_preparing_until_its_time_and_ready_from_then_on(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    asset_id = emulator.create_asset(life=Life(after=30))

    clock.pass_by(29.9)
    assert await status_of(mux, asset_id) == "preparing"
    clock.pass_by(0.1)
    assert await status_of(mux, asset_id) == "ready"


async def test_an_errored_asset_tells_why_and_lacks_what_only_media_has(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    asset_id = emulator.create_asset(
        life=Life("errored", after=0, error_type="download_failed", error_message="no")
    )

    data = (await mux.get(f"{ASSETS}/{asset_id}")).json()["data"]

    assert data["status"] == "errored"
    assert data["errors"] == {"type": "download_failed", "messages": ["no"]}
    assert not data.keys() & {"duration", "tracks", "aspect_ratio"}


async def test_an_asset_that_never_ends_stays_preparing(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    asset_id = emulator.create_asset(life=Life("never"))
    clock.pass_by(1e9)
    assert await status_of(mux, asset_id) == "preparing"


async def test_an_asset_past_its_deletion_is_not_found_and_not_listed(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    asset_id = emulator.create_asset(life=Life(after=1, deleted_after=60))
    playback_id = emulator.truth(asset_id).playback_ids[0].id
    clock.pass_by(60)

    assert await status_of(mux, asset_id) == "404"
    assert (await mux.get(ASSETS)).json() == {"next_cursor": None, "data": []}
    assert (await mux.get(f"/video/v1/playback-ids/{playback_id}")).status_code == 404
    assert emulator.truth(asset_id).state is AssetState.DELETED


async def test_a_test_asset_is_deleted_after_a_day(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    asset_id = emulator.create_asset(test=True)
    clock.pass_by(86_399)
    assert (await mux.get(f"{ASSETS}/{asset_id}")).json()["data"]["test"] is True
    clock.pass_by(1)
    assert await status_of(mux, asset_id) == "404"


async def test_an_asset_made_without_a_policy_lacks_playback_ids_altogether(
    mux: httpx.AsyncClient,
) -> None:
    answer = await mux.post(ASSETS, json={"inputs": [{"url": "https://example.com/a.mp4"}]})
    assert answer.status_code == 201
    assert "playback_ids" not in answer.json()["data"]


async def test_what_was_asked_for_on_creation_comes_back(mux: httpx.AsyncClient) -> None:
    asked = {
        "passthrough": "row-1",
        "meta": {"title": "A film", "external_id": "7"},
        "video_quality": "plus",
    }

    body = {
        "inputs": [{"url": "https://example.com/a.mp4"}],
        "playback_policies": ["public", "signed"],
        **asked,
    }
    asset_id = (await mux.post(ASSETS, json=body)).json()["data"]["id"]

    data = (await mux.get(f"{ASSETS}/{asset_id}")).json()["data"]
    assert {key: data[key] for key in asked} == asked
    assert [playback_id["policy"] for playback_id in data["playback_ids"]] == ["public", "signed"]
    assert data["created_at"] == "1800000000"


@pytest.mark.parametrize("odd", ["Ünïcödé \u2028 文", 'a "quoted" \\ word', "\ud800", "\x00"])
async def test_a_passthrough_comes_back_whatever_is_in_it(
    emulator: MuxEmulator, mux: httpx.AsyncClient, odd: str
) -> None:
    asset_id = emulator.create_asset(passthrough=odd)
    assert (await mux.get(f"{ASSETS}/{asset_id}")).json()["data"]["passthrough"] == odd


async def test_a_deleted_asset_is_gone_at_once_and_cannot_be_deleted_twice(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    asset_id = emulator.create_asset()
    assert (await mux.delete(f"{ASSETS}/{asset_id}")).status_code == 204
    assert await status_of(mux, asset_id) == "404"
    assert (await mux.delete(f"{ASSETS}/{asset_id}")).status_code == 404


async def test_a_playback_id_leads_to_its_asset(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    asset_id = emulator.create_asset(policies=["signed"])
    (playback_id,) = emulator.truth(asset_id).playback_ids

    answer = await mux.get(f"/video/v1/playback-ids/{playback_id.id}")

    assert answer.json()["data"] == {
        "id": playback_id.id,
        "policy": "signed",
        "object": {"type": "asset", "id": asset_id},
    }


async def test_the_truth_is_told_for_every_asset_whatever_the_answers_say(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    ready, gone = emulator.create_asset(passthrough="a"), emulator.create_asset()
    emulator.add_fault("unknown_status")
    clock.pass_by(10)
    emulator.delete_asset(gone)

    assert await status_of(mux, ready) == "transmogrifying"
    assert {asset_id: truth.state for asset_id, truth in emulator.truths().items()} == {
        ready: "ready",
        gone: "deleted",
    }
    assert emulator.truth(ready).passthrough == "a"


def test_an_asset_cannot_be_made_in_the_future(emulator: MuxEmulator) -> None:
    with pytest.raises(ValueError, match=r"created_at.*future"):
        emulator.create_asset(created_at=START + 1)


def test_a_life_must_end_in_a_known_way() -> None:
    with pytest.raises(ValueError, match=r"^ends: must be one of ready, errored, never$"):
        Life("finished")  # type: ignore[arg-type]


# The list


async def test_the_list_is_complete_and_newest_first(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    ids = emulator.create_assets(250, every=1)
    listed = [page async for page in pages(mux)]
    assert [len(page) for page in listed] == [100, 100, 50]
    assert [asset_id for page in listed for asset_id in page] == ids[::-1]


async def test_paging_neither_repeats_nor_skips_while_assets_come_and_go(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    ids = emulator.create_assets(250)
    listed: list[str] = []
    async for page in pages(mux):
        listed += page
        emulator.create_assets(7)
        emulator.delete_asset(page[-1])
    assert listed == ids[::-1]


async def test_an_asset_made_with_an_earlier_time_takes_its_place_in_the_list(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    new = emulator.create_asset()
    old = emulator.create_asset(created_at=START - 100)
    middle = emulator.create_asset(created_at=START - 50)
    assert [page async for page in pages(mux, limit=1)] == [[new], [middle], [old]]


async def test_a_list_page_never_holds_more_than_a_hundred(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    emulator.create_assets(150)
    for limit, shown in {"101": 100, "2147483647": 100, "0": 1, "-5": 1, "+7": 7}.items():
        assert len((await mux.get(ASSETS, params={"limit": limit})).json()["data"]) == shown
    assert len((await mux.get(ASSETS)).json()["data"]) == 25


async def test_a_page_before_the_first_is_the_first_and_one_past_the_last_is_empty(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    first, *_, last = emulator.create_assets(3)
    for page, shown in {"0": [last], "-1": [last], "3": [first], "2147483647": []}.items():
        answer = await mux.get(ASSETS, params={"limit": 1, "page": page})
        assert [entry["id"] for entry in answer.json()["data"]] == shown


async def test_parameters_that_mux_does_not_know_are_ignored(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    emulator.create_assets(2)
    answer = await mux.get(ASSETS, params={"status": "ready", "limit[]": "x"})
    assert len(answer.json()["data"]) == 2


async def test_a_full_last_page_has_no_next_cursor(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    emulator.create_assets(100)
    assert (await mux.get(ASSETS, params={"limit": 100})).json()["next_cursor"] is None


async def test_the_list_can_be_read_by_page_number(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    ids = emulator.create_assets(30)[::-1]
    second = (await mux.get(ASSETS, params={"limit": 10, "page": 2})).json()["data"]
    assert [entry["id"] for entry in second] == ids[10:20]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "many"},
        {"limit": "2.5"},
        {"limit": ""},
        {"page": "x"},
        {"page": "2147483648"},
        {"cursor": "made-up"},
    ],
)
async def test_a_list_asked_for_in_nonsense_is_refused(
    mux: httpx.AsyncClient, query: dict[str, str]
) -> None:
    answer = await mux.get(ASSETS, params=query)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_parameters"
    assert next(iter(query)) in answer.json()["error"]["messages"][0]


async def test_the_list_can_be_narrowed_to_the_asset_of_an_upload(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    emulator.create_assets(3)
    upload_id = emulator.create_upload()
    asset_id = emulator.finish_upload(upload_id)

    found = (await mux.get(ASSETS, params={"upload_id": upload_id})).json()["data"]
    none = (await mux.get(ASSETS, params={"upload_id": "another"})).json()["data"]

    assert [(entry["id"], entry["upload_id"]) for entry in found] == [(asset_id, upload_id)]
    assert none == []


# Uploads


async def new_upload(mux: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    answer = await mux.post(UPLOADS, json={"cors_origin": "*", **asked})
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["data"])


async def upload_now(mux: httpx.AsyncClient, upload_id: str) -> dict[str, Any]:
    return dict((await mux.get(f"{UPLOADS}/{upload_id}")).json()["data"])


async def test_an_upload_waits_with_a_url_for_an_hour(mux: httpx.AsyncClient, clock: Clock) -> None:
    upload = await new_upload(mux)
    clock.pass_by(3599)
    assert await upload_now(mux, upload["id"]) == upload
    assert (upload["status"], upload["timeout"]) == ("waiting", 3600)
    assert upload["url"].startswith("https://api.mux.example/")


async def test_bytes_sent_to_the_url_make_the_asset(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    upload = await new_upload(
        mux, test=True, new_asset_settings={"passthrough": "row-1", "playback_policies": ["signed"]}
    )

    async with client_of(emulator, auth=None) as browser:
        sent = await browser.put(upload["url"], content=b"a film")

    after = await upload_now(mux, upload["id"])
    asset = (await mux.get(f"{ASSETS}/{after['asset_id']}")).json()["data"]
    assert sent.status_code == 200
    assert (after["status"], "url" in after) == ("asset_created", False)
    assert (asset["upload_id"], asset["passthrough"], asset["test"]) == (
        upload["id"],
        "row-1",
        True,
    )
    assert asset["playback_ids"][0]["policy"] == "signed"


async def test_bytes_sent_in_chunks_make_the_asset_with_the_last_one(
    mux: httpx.AsyncClient,
) -> None:
    upload = await new_upload(mux)

    first = await mux.put(upload["url"], content=b"abc", headers={"Content-Range": "bytes 0-2/6"})
    assert (first.status_code, first.headers["range"]) == (308, "bytes=0-2")
    assert (await upload_now(mux, upload["id"]))["status"] == "waiting"

    last = await mux.put(upload["url"], content=b"def", headers={"Content-Range": "bytes 3-5/6"})
    assert last.status_code == 200
    assert (await upload_now(mux, upload["id"]))["status"] == "asset_created"


async def test_an_upload_whose_asset_fails_is_errored(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    upload_id = emulator.create_upload(
        life=Life("errored", after=5, error_type="invalid_input", error_message="no")
    )
    emulator.finish_upload(upload_id)
    assert (await upload_now(mux, upload_id))["status"] == "asset_created"

    clock.pass_by(5)
    after = await upload_now(mux, upload_id)
    assert (after["status"], after["error"]) == (
        "errored",
        {"type": "invalid_input", "message": "no"},
    )


async def test_a_waiting_upload_can_be_cancelled_once(mux: httpx.AsyncClient) -> None:
    upload = await new_upload(mux)

    first = await mux.put(f"{UPLOADS}/{upload['id']}/cancel")
    again = await mux.put(f"{UPLOADS}/{upload['id']}/cancel")
    late = await mux.put(upload["url"], content=b"a film")

    assert (first.status_code, first.json()["data"]["status"]) == (200, "cancelled")
    assert (again.status_code, late.status_code) == (403, 403)
    assert "url" not in first.json()["data"]


async def test_an_upload_without_bytes_times_out_by_the_clock(
    mux: httpx.AsyncClient, clock: Clock
) -> None:
    upload = await new_upload(mux, timeout=60)
    clock.pass_by(60)
    assert (await upload_now(mux, upload["id"]))["status"] == "timed_out"
    assert (await mux.put(upload["url"], content=b"a film")).status_code == 403
    assert (await mux.put(f"{UPLOADS}/{upload['id']}/cancel")).status_code == 403


async def test_bytes_with_a_wrong_signature_make_nothing(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    upload = await new_upload(mux)
    assert (
        await mux.put(f"/_upload/{upload['id']}?signature=guessed", content=b"x")
    ).status_code == 403
    assert emulator.truths() == {}


async def test_uploads_are_listed_newest_first(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    ids = [emulator.create_upload() for _ in range(5)][::-1]
    first = (await mux.get(UPLOADS, params={"limit": 3})).json()
    second = (await mux.get(UPLOADS, params={"limit": 3, "page": 2})).json()
    assert [entry["id"] for entry in first["data"] + second["data"]] == ids


def test_an_upload_that_no_longer_waits_cannot_be_finished(emulator: MuxEmulator) -> None:
    upload_id = emulator.create_upload()
    emulator.cancel_upload(upload_id)
    with pytest.raises(ValueError, match="no longer waits"):
        emulator.finish_upload(upload_id)


# Bad bodies, credentials, other paths


async def test_a_body_that_is_not_json_is_refused(mux: httpx.AsyncClient) -> None:
    assert (await mux.post(ASSETS, content=b"\xff{")).status_code == 400


@pytest.mark.parametrize(
    "auth", [None, ("emulator-token-id", "wrong"), ("wrong", "emulator-token-secret")]
)
@pytest.mark.parametrize(
    "path", [ASSETS, f"{ASSETS}/x", UPLOADS, "/system/v1/whoami", "/no/such/path"]
)
async def test_nothing_is_answered_without_the_right_token(
    emulator: MuxEmulator, auth: tuple[str, str] | None, path: str
) -> None:
    async with client_of(emulator, auth=auth) as stranger:
        answer = await stranger.get(path)
    assert answer.status_code == 401
    assert answer.json() == {
        "error": {"type": "unauthorized", "messages": ["Unauthorized request"]}
    }
    assert answer.headers["x-request-id"]


async def test_whoami_names_the_environment(clock: Clock) -> None:
    async with client_of(MuxEmulator(now=clock, environment_id="env-7")) as mux:
        assert (await mux.get("/system/v1/whoami")).json()["data"]["environment_id"] == "env-7"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{ASSETS}/x/input-info"),
        ("GET", f"{ASSETS}/x/shots"),
        ("PUT", f"{ASSETS}/x/mp4-support"),
        ("POST", "/video/v1/live-streams"),
        ("GET", "/video/v1/drm-configurations"),
        ("POST", "/system/v1/signing-keys"),
        ("OPTIONS", "/video/v2/assets"),
        ("BREW", "/"),
    ],
)
async def test_a_call_that_is_not_served_is_named_and_never_looks_like_a_deleted_asset(
    mux: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await mux.request(method, path)
    assert (answer.status_code, answer.json()["error"]["type"]) == (501, "not_implemented")
    assert f"does not serve {method} {path};" in answer.json()["error"]["messages"][0]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", ASSETS, "POST, GET, HEAD"),
        ("OPTIONS", f"{ASSETS}/x", "GET, PATCH, DELETE, HEAD"),
        ("GET", f"{ASSETS}/x/tracks", "POST"),
        ("POST", "/system/v1/whoami", "GET, HEAD"),
        ("BREW", UPLOADS, "POST, GET, HEAD"),
    ],
)
async def test_a_wrong_method_of_a_served_path_is_told_the_right_ones(
    mux: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await mux.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["error"]["type"] == "method_not_allowed"
    assert f"{method} is not possible at {path}" in answer.json()["error"]["messages"][0]


async def test_head_is_answered_as_get_is(emulator: MuxEmulator, mux: httpx.AsyncClient) -> None:
    asset_id = emulator.create_asset()
    assert (await mux.head(f"{ASSETS}/{asset_id}")).status_code == 200
    assert (await mux.head(f"{ASSETS}/none")).status_code == 404


@pytest.mark.parametrize(
    "name", ["%00", "%ff", "a%2Fb", "..%2f..", "%20", "%25", "%F0%9F%8E%AC", "x" * 5000, "%3Cb%3E"]
)
@pytest.mark.parametrize(
    "path",
    [
        f"{ASSETS}/NAME",
        f"{ASSETS}/NAME/playback-ids/NAME",
        f"{UPLOADS}/NAME",
        "/video/v1/playback-ids/NAME",
        "/video/v1/live-streams/NAME",
    ],
)
async def test_an_odd_id_names_nothing(mux: httpx.AsyncClient, name: str, path: str) -> None:
    assert (await mux.get(path.replace("NAME", name))).status_code == 404


async def test_there_are_no_live_streams(mux: httpx.AsyncClient) -> None:
    assert (await mux.get("/video/v1/live-streams")).json() == {"data": []}
    assert (await mux.get("/video/v1/live-streams/any")).status_code == 404
    assert (await mux.delete("/video/v1/live-streams/any")).status_code == 404


async def test_the_list_can_be_narrowed_to_the_recordings_of_a_live_stream(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    body = {"live_stream_id": "live-1"}
    (older,) = (await mux.post("/_emulator/assets", json=body)).json()["ids"]
    emulator.create_assets(3)
    newer = emulator.create_asset(live_stream_id="live-1")
    emulator.create_asset(live_stream_id="live-2")
    upload_id = emulator.create_upload()
    emulator.finish_upload(upload_id)

    found = (await mux.get(ASSETS, params={"live_stream_id": "live-1", "limit": 1})).json()
    rest = (
        await mux.get(ASSETS, params={"live_stream_id": "live-1", "cursor": found["next_cursor"]})
    ).json()
    both = await mux.get(ASSETS, params={"live_stream_id": "live-1", "upload_id": upload_id})

    assert [entry["id"] for entry in found["data"] + rest["data"]] == [newer, older]
    assert (found["data"][0]["live_stream_id"], rest["next_cursor"]) == ("live-1", None)
    assert both.json()["data"] == []


async def test_every_answer_has_a_request_id_of_its_own(mux: httpx.AsyncClient) -> None:
    seen = {
        (await mux.get(path)).headers["x-request-id"]
        for path in [ASSETS, UPLOADS, f"{ASSETS}/x", "/x"]
    }
    assert len(seen) == 4


# Counts


async def test_calls_are_counted_by_operation_and_by_status(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    asset_id = emulator.create_asset()
    for path in [ASSETS, f"{ASSETS}/{asset_id}", f"{ASSETS}/{asset_id}", f"{ASSETS}/none", "/x"]:
        await mux.get(path)

    assert emulator.calls == Counter(list_assets=1, get_asset=3, unknown=1)
    assert emulator.statuses == Counter({200: 3, 404: 1, 501: 1})
    emulator.reset_calls()
    assert emulator.calls.total() == emulator.statuses.total() == 0


# Rate limits


@pytest.mark.parametrize(
    ("priority", "method", "burst", "per_second"),
    [
        ("high", "GET", 100, 5),
        ("high", "POST", 20, 1),
        ("low", "GET", 20, 1),
        ("low", "POST", 4, 1),
    ],
)
async def test_each_bucket_holds_its_burst_and_fills_by_the_clock(
    clock: Clock, priority: Any, method: str, burst: int, per_second: int
) -> None:
    async with client_of(MuxEmulator(now=clock, rate_limits=priority)) as mux:

        async def passed(calls: int) -> int:
            answers = [
                await mux.request(method, ASSETS, json={"inputs": [{}]}) for _ in range(calls)
            ]
            return sum(answer.status_code != 429 for answer in answers)

        assert await passed(burst + 3) == burst
        clock.pass_by(2)
        assert await passed(2 * per_second + 3) == 2 * per_second
        clock.pass_by(1e6)
        assert await passed(burst + 3) == burst


async def test_reads_and_posts_have_buckets_of_their_own(clock: Clock) -> None:
    emulator = MuxEmulator(now=clock, rate_limits="low")
    async with client_of(emulator) as mux:
        posts = [(await mux.post(ASSETS, json={"inputs": [{}]})).status_code for _ in range(5)]
        read = await mux.get(ASSETS)

    assert (posts, read.status_code) == ([201] * 4 + [429], 200)
    assert len(emulator.truths()) == 4, "a throttled call is not processed"


async def test_answers_tell_the_size_of_the_bucket_and_what_is_left(clock: Clock) -> None:
    async with client_of(MuxEmulator(now=clock, rate_limits="low")) as mux:
        answers = [await mux.get(ASSETS) for _ in range(21)]

    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"20"}
    assert [int(answer.headers["X-RateLimit-Remaining"]) for answer in answers] == [
        *range(19, -1, -1),
        0,
    ]
    assert answers[-1].json() == {"errors": ["Too many requests, retry later."]}
    assert "Retry-After" not in answers[-1].headers


async def test_a_throttled_answer_names_the_wait_where_told_to(clock: Clock) -> None:
    async with client_of(MuxEmulator(now=clock, rate_limits="low", retry_after=True)) as mux:
        answers = [await mux.get(ASSETS) for _ in range(21)]
        clock.pass_by(int(answers[-1].headers["Retry-After"]))
        assert (await mux.get(ASSETS)).status_code == 200


async def test_without_limits_nothing_is_throttled_and_no_header_says_so(
    mux: httpx.AsyncClient,
) -> None:
    answers = [await mux.get(ASSETS) for _ in range(150)]
    assert {answer.status_code for answer in answers} == {200}
    assert "X-RateLimit-Limit" not in answers[0].headers


# Faults


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        (FaultKind.NOT_FOUND, 404, "not_found"),
        (FaultKind.UNAUTHORIZED, 401, "unauthorized"),
        (FaultKind.FORBIDDEN, 403, "forbidden"),
        (FaultKind.RATE_LIMITED, 429, "Too many requests"),
        (FaultKind.SERVER_ERROR, 500, "internal_error"),
        (FaultKind.BAD_GATEWAY, 502, "<html>"),
    ],
)
async def test_a_refusal_comes_as_often_as_told_and_then_no_more(
    emulator: MuxEmulator, mux: httpx.AsyncClient, kind: FaultKind, status: int, text: str
) -> None:
    asset_id = emulator.create_asset()
    rule = emulator.add_fault(kind, times=2)

    answers = [await mux.get(f"{ASSETS}/{asset_id}") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [status, status, 200, 200]
    assert text in answers[0].text
    assert rule.fired == 2


async def test_a_refused_call_is_not_processed(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    emulator.add_fault("server_error", operation="create_asset", times=1)
    assert (await mux.post(ASSETS, json={"inputs": [{}]})).status_code == 500
    assert emulator.truths() == {}


async def test_a_rate_limited_answer_names_a_wait_only_where_told_to(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    emulator.add_fault("rate_limited", times=1, retry_after=7)
    emulator.add_fault("rate_limited", times=1)
    first, second = await mux.get(ASSETS), await mux.get(ASSETS)
    assert first.headers["Retry-After"] == "7"
    assert "Retry-After" not in second.headers


async def test_not_found_once_hides_each_object_from_the_first_look_only(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    first, other = emulator.create_assets(2)
    emulator.add_fault("not_found_once")
    seen = [await status_of(mux, asset_id) for asset_id in (first, first, other, first, other)]
    assert seen == ["404", "preparing", "404", "preparing", "preparing"]


async def test_latency_lets_time_pass_before_the_call_is_processed(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    asset_id = emulator.create_asset(life=Life(after=10))
    emulator.add_fault("latency", seconds=10)
    assert await status_of(mux, asset_id) == "ready"
    assert clock.slept == [10]


async def test_a_late_answer_says_what_was_so_before_the_wait(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    asset_id = emulator.create_asset(life=Life(after=10))
    emulator.add_fault("late_answer", seconds=10)
    assert await status_of(mux, asset_id) == "preparing"
    assert emulator.truth(asset_id).state is AssetState.READY


async def test_silence_answers_nothing_for_as_long_as_anybody_waits(clock: Clock) -> None:
    emulator = MuxEmulator(now=clock)
    emulator.add_fault("silence", operation="list_assets")
    async with client_of(emulator) as mux:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await mux.get(ASSETS)
        assert (await mux.get("/system/v1/whoami")).status_code == 200


@pytest.mark.parametrize("kind", ["broken_json", "truncated"])
async def test_a_broken_body_comes_as_valid_http(
    emulator: MuxEmulator, mux: httpx.AsyncClient, kind: str
) -> None:
    emulator.create_assets(3)
    emulator.add_fault(kind, operation="list_assets", times=1)

    broken, whole = await mux.get(ASSETS), await mux.get(ASSETS)

    assert (broken.status_code, int(broken.headers["content-length"])) == (200, len(broken.content))
    with pytest.raises(ValueError, match="line 1"):
        broken.json()
    assert len(whole.json()["data"]) == 3
    if kind == "truncated":
        assert whole.text.startswith(broken.text)


async def test_an_odd_text_is_in_one_entry_of_a_page_which_no_strict_reader_takes(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    emulator.create_assets(3)
    emulator.add_fault("odd_text", operation="list_assets")

    pages = [(await mux.get(ASSETS)).content for _ in range(40)]

    assert all(page.count(b'"odd":') == 1 for page in pages)
    assert len({page.partition(b'"odd":')[2][:8] for page in pages}) == 6
    for page in set(pages):
        # NUL is JSON, but no database takes it
        if b"\\u0000" not in page:
            with pytest.raises((ValueError, RecursionError)):
                msgspec.json.decode(page)


@pytest.mark.parametrize("named", [True, False])
async def test_an_unknown_status_word_comes_for_one_asset_or_for_all(
    emulator: MuxEmulator, mux: httpx.AsyncClient, *, named: bool
) -> None:
    first, other = emulator.create_assets(2)
    emulator.add_fault("unknown_status", object_id=first if named else None)

    listed = {entry["id"]: entry["status"] for entry in (await mux.get(ASSETS)).json()["data"]}

    assert listed == {first: "transmogrifying", other: "preparing" if named else "transmogrifying"}
    assert await status_of(mux, first) == "transmogrifying"


async def test_a_fault_of_one_asset_leaves_pages_without_it_alone(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    first, other = emulator.create_assets(2)
    rule = emulator.add_fault("not_found", object_id=first)
    assert await status_of(mux, other) == "preparing"
    assert rule.fired == 0
    assert await status_of(mux, first) == "404"


async def test_playback_ids_can_be_missing_from_an_answer(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    asset_id = emulator.create_asset()
    emulator.add_fault("missing_playback_ids", times=1)
    first, second = [(await mux.get(f"{ASSETS}/{asset_id}")).json()["data"] for _ in range(2)]
    assert first == {key: value for key, value in second.items() if key != "playback_ids"}
    assert "playback_ids" in second


@pytest.mark.parametrize(("kind", "listed"), [("repeated_entries", 11), ("dropped_entries", 9)])
async def test_entries_can_be_repeated_or_dropped(
    emulator: MuxEmulator, mux: httpx.AsyncClient, kind: str, listed: int
) -> None:
    ids = emulator.create_assets(10)
    emulator.add_fault(kind, object_id=ids[3])
    seen = Counter(entry["id"] for entry in (await mux.get(ASSETS)).json()["data"])
    assert seen.total() == listed
    assert {asset_id for asset_id in ids if seen[asset_id] != 1} == {ids[3]}


async def test_a_list_can_come_out_of_order(emulator: MuxEmulator, mux: httpx.AsyncClient) -> None:
    ids = emulator.create_assets(10)
    emulator.add_fault("out_of_order")
    seen = [entry["id"] for entry in (await mux.get(ASSETS)).json()["data"]]
    assert sorted(seen) == sorted(ids)
    assert seen != ids[::-1]


async def test_a_list_can_lag_behind_what_is_so(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    gone, preparing = (emulator.create_asset(life=Life(after=5)) for _ in range(2))
    clock.pass_by(10)
    emulator.delete_asset(gone)
    new = emulator.create_asset()
    emulator.add_fault("lagging_list", seconds=8)

    listed = [(await mux.get(ASSETS)).json()["data"]]
    clock.pass_by(8)
    listed.append((await mux.get(ASSETS)).json()["data"])

    assert [[(entry["id"], entry["status"]) for entry in page] for page in listed] == [
        [(preparing, "preparing"), (gone, "preparing")],
        [(new, "preparing"), (preparing, "ready")],
    ]
    assert await status_of(mux, preparing) == "ready"
    assert await status_of(mux, gone) == "404"


async def test_faults_of_a_list_do_nothing_to_an_empty_one(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    rules = [
        emulator.add_fault(kind) for kind in ("repeated_entries", "dropped_entries", "out_of_order")
    ]
    assert (await mux.get(ASSETS)).json()["data"] == []
    assert [rule.fired for rule in rules] == [0, 0, 0]


async def test_a_fault_by_chance_comes_about_that_often(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    rule = emulator.add_fault("server_error", operation="whoami", probability=0.3)
    for _ in range(300):
        await mux.get("/system/v1/whoami")
    assert 60 < rule.fired < 120


async def test_a_fault_that_is_removed_happens_no_more_and_leaves_the_others(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    asset = emulator.create_asset()
    first = emulator.add_fault("server_error", operation="get_asset")
    second = emulator.add_fault("bad_gateway", operation="get_asset")

    emulator.remove_fault(first)
    answer = await mux.get(f"/video/v1/assets/{asset}")

    assert (answer.status_code, first.fired, second.fired) == (502, 0, 1)


async def test_cleared_faults_happen_no_more(emulator: MuxEmulator, mux: httpx.AsyncClient) -> None:
    emulator.add_fault("server_error")
    emulator.clear_faults()
    assert (await mux.get(ASSETS)).status_code == 200


async def test_every_kind_of_fault_can_be_set(emulator: MuxEmulator) -> None:
    for kind in FaultKind:
        emulator.add_fault(kind, seconds=1)
    assert [rule.fault.kind for rule in emulator.faults.rules] == list(FaultKind)


# Determinism


async def story(seed: int) -> list[Any]:
    clock = Clock()
    emulator = MuxEmulator(now=clock, sleep=clock.sleep, seed=seed)
    emulator.create_assets(20)
    emulator.add_fault("server_error", probability=0.5, times=3)
    emulator.add_fault("out_of_order", probability=0.5)
    async with client_of(emulator) as mux:
        answers = [await mux.get(ASSETS) for _ in range(10)]
    return [
        (answer.status_code, answer.content, answer.headers["x-request-id"]) for answer in answers
    ]


async def test_the_same_seed_tells_the_same_story_and_another_seed_another() -> None:
    assert await story(1) == await story(1)
    assert await story(1) != await story(2)


def test_ids_are_long_unlike_each_other_and_look_like_those_of_mux(emulator: MuxEmulator) -> None:
    ids = emulator.create_assets(1000)
    assert len(set(ids)) == 1000
    assert all(
        len(asset_id) >= 40 and asset_id.isalnum() and asset_id.isascii() for asset_id in ids
    )


# Events


def told(emulator: MuxEmulator, since: float, until: float) -> list[tuple[float, str]]:
    return [
        (event.at - START, str(event.type))
        for event in emulator.events(START + since, START + until)
    ]


def test_the_events_of_a_life_come_in_order_of_time(emulator: MuxEmulator) -> None:
    emulator.create_asset(life=Life(after=30, deleted_after=60))
    emulator.create_asset(life=Life("errored", after=10))
    assert told(emulator, 0, 100) == [
        (0, "video.asset.created"),
        (0, "video.asset.created"),
        (10, "video.asset.errored"),
        (30, "video.asset.ready"),
        (60, "video.asset.deleted"),
    ]
    assert told(emulator, 10, 30) == [(10, "video.asset.errored")]


def test_a_deletion_overtakes_the_events_that_were_planned_after_it(
    emulator: MuxEmulator, clock: Clock
) -> None:
    asset_id = emulator.create_asset(life=Life(after=30, deleted_after=60))
    clock.pass_by(5)
    emulator.delete_asset(asset_id)
    assert told(emulator, 0, 100) == [(0, "video.asset.created"), (5, "video.asset.deleted")]


def test_an_upload_and_its_asset_are_told_together(emulator: MuxEmulator, clock: Clock) -> None:
    upload_id = emulator.create_upload(life=Life("errored", after=3))
    clock.pass_by(2)
    asset_id = emulator.finish_upload(upload_id)

    events = list(emulator.events(START, START + 100))

    assert [(event.at - START, event.type) for event in events] == [
        (0, EventType.UPLOAD_CREATED),
        (2, EventType.UPLOAD_ASSET_CREATED),
        (2, EventType.ASSET_CREATED),
        (5, EventType.ASSET_ERRORED),
        (5, EventType.UPLOAD_ERRORED),
    ]
    assert [event.asset_id for event in events] == [None, *[asset_id] * 4]
    assert {event.upload_id for event in events} == {upload_id}


def test_nothing_tells_of_an_upload_that_timed_out_and_one_that_was_cancelled_does(
    emulator: MuxEmulator, clock: Clock
) -> None:
    emulator.create_upload(timeout=60)
    emulator.cancel_upload(emulator.create_upload())
    clock.pass_by(100)
    assert told(emulator, 0, 100) == [(0, "video.upload.created")] * 2 + [
        (0, "video.upload.cancelled")
    ]


# Control over HTTP


async def test_control_needs_no_token_and_lists_its_paths(emulator: MuxEmulator) -> None:
    async with client_of(emulator, auth=None) as stranger:
        listed = (await stranger.get("/_emulator/")).json()["paths"]
        for method, path in (route.split() for route in listed if not route.startswith("POST")):
            assert (await stranger.request(method, path)).is_success
    assert emulator.calls.total() == 0


async def test_assets_can_be_made_over_http_and_their_truth_read(
    mux: httpx.AsyncClient, clock: Clock
) -> None:
    body = {
        "n": 3,
        "life": {"ends": "errored", "after": 5},
        "passthrough": "p",
        "policies": ["signed"],
        "every": 1,
    }
    ids = (await mux.post("/_emulator/assets", json=body)).json()["ids"]
    clock.pass_by(5)

    truth = (await mux.get("/_emulator/truth")).json()["assets"]
    single = (await mux.get("/_emulator/truth", params={"id": ids[1]})).json()["assets"]

    assert [(entry["asset_id"], entry["state"], entry["passthrough"]) for entry in truth] == [
        (asset_id, "errored", "p") for asset_id in ids
    ]
    assert single == [truth[1]]
    assert single[0]["playback_ids"][0]["policy"] == "signed"
    assert (await mux.get("/_emulator/truth", params={"id": "none"})).status_code == 404


async def test_faults_can_be_set_seen_and_cleared_over_http(mux: httpx.AsyncClient) -> None:
    made = await mux.post(
        "/_emulator/faults", json={"kind": "server_error", "operation": "list_assets", "times": 5}
    )
    assert (made.status_code, (await mux.get(ASSETS)).status_code) == (201, 500)

    (fault,) = (await mux.get("/_emulator/faults")).json()["faults"]
    assert (fault["kind"], fault["operation"], fault["times"], fault["fired"]) == (
        "server_error",
        "list_assets",
        5,
        1,
    )

    assert (await mux.delete("/_emulator/faults")).status_code == 204
    assert (await mux.get(ASSETS)).status_code == 200


async def test_counts_can_be_read_and_forgotten_over_http(mux: httpx.AsyncClient) -> None:
    await mux.post("/_emulator/faults", json={"kind": "rate_limited", "times": 1})
    await mux.get(ASSETS)
    await mux.get(ASSETS)

    counts = (await mux.get("/_emulator/calls")).json()
    assert counts == {
        "total": 2,
        "operations": {"list_assets": 2},
        "statuses": {"200": 1, "429": 1},
        "throttled": 1,
    }

    await mux.delete("/_emulator/calls")
    assert (await mux.get("/_emulator/calls")).json()["total"] == 0


async def test_limits_can_be_set_and_lifted_over_http(mux: httpx.AsyncClient) -> None:
    await mux.post("/_emulator/rate-limits", json={"priority": "low", "retry_after": True})
    answers = [await mux.get(ASSETS) for _ in range(21)]
    assert (answers[-1].status_code, answers[-1].headers["Retry-After"]) == (429, "1")

    await mux.post("/_emulator/rate-limits", json={"priority": None})
    assert (await mux.get(ASSETS)).status_code == 200


async def test_the_life_of_assets_to_come_can_be_set_over_http(
    emulator: MuxEmulator, mux: httpx.AsyncClient, clock: Clock
) -> None:
    await mux.post("/_emulator/life", json={"ends": "errored", "after": 1})
    asset_id = (await mux.post(ASSETS, json={"inputs": [{}]})).json()["data"]["id"]
    clock.pass_by(1)
    assert emulator.truth(asset_id).state is AssetState.ERRORED


async def test_reset_leaves_an_emulator_as_it_was_at_first(
    emulator: MuxEmulator, mux: httpx.AsyncClient
) -> None:
    first = emulator.create_assets(3)
    emulator.add_fault("server_error")
    emulator.life = Life("never")
    await mux.get(ASSETS)

    assert (await mux.post("/_emulator/reset")).status_code == 204
    assert (emulator.truths(), emulator.faults.rules, emulator.calls.total()) == ({}, [], 0)
    assert (emulator.life.ends, emulator.create_assets(3)) == ("ready", first)

    await mux.post("/_emulator/reset", json={"seed": 9})
    assert emulator.create_assets(3) != first


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("faults", {}, "kind: is missing"),
        ("faults", {"kind": "gremlins"}, "kind: must be one of latency"),
        ("faults", {"kind": "latency"}, "seconds: is missing"),
        ("faults", {"kind": "latency", "seconds": -1}, "seconds: must be a number of at least 0"),
        (
            "faults",
            {"kind": "server_error", "times": 0},
            "times: must be a whole number of at least 1",
        ),
        ("faults", {"kind": "server_error", "times": True}, "times: must be a whole number"),
        (
            "faults",
            {"kind": "server_error", "probability": 2},
            "probability: must be a number of at least 0 and at",
        ),
        (
            "faults",
            {"kind": "server_error", "operation": "dance"},
            "operation: must be one of create_asset",
        ),
        (
            "faults",
            {"kind": "out_of_order", "operation": "get_asset"},
            "operation: out_of_order cannot happen to it",
        ),
        (
            "faults",
            {"kind": "server_error", "retry_after": 3},
            "retry_after: belongs to rate_limited only",
        ),
        ("faults", {"kind": "server_error", "object_id": 3}, "object_id: must be a text"),
        (
            "faults",
            {"kind": "server_error", "colour": "red"},
            "colour: is not a field here; use kind, operation",
        ),
        ("faults", [], "the body: must be a JSON object"),
        ("assets", {"n": 0}, "n: must be a whole number of at least 1"),
        ("assets", {"n": 3, "every": 1e308}, "created_at: must not be before 1970"),
        ("assets", {"n": 2, "every": 10**400}, "every: must be a number"),
        ("assets", {"n": "three"}, "n: must be a whole number"),
        ("assets", {"life": 3}, "life: must be a JSON object"),
        ("assets", {"life": {"ends": "well"}}, "ends: must be one of ready, errored, never"),
        ("assets", {"life": {"deleted_after": 0}}, "deleted_after: must be a number"),
        ("assets", {"created_at": 9e9}, "created_at: must not be in the future"),
        ("assets", {"live_seconds": 3}, "live_stream_id: is missing"),
        (
            "assets",
            {"live_stream_id": "x", "live_seconds": 0},
            "live_seconds: must be a number of at least 0.001",
        ),
        ("assets", {"policies": 3}, "policies: must be a list"),
        ("assets", {"policies": ["open"]}, "policies: must be one of public, signed, drm"),
        ("assets", {"passthrough": 3}, "passthrough: must be a text"),
        ("life", {"after": "soon"}, "after: must be a number"),
        ("rate-limits", {}, "priority: is missing"),
        ("rate-limits", {"priority": "middling"}, "priority: must be one of high, low"),
        (
            "rate-limits",
            {"priority": "low", "retry_after": 1},
            "retry_after: must be true or false",
        ),
        ("reset", {"seed": "x"}, "seed: must be a whole number"),
    ],
)
async def test_a_bad_control_body_is_answered_with_what_to_mend(
    emulator: MuxEmulator, mux: httpx.AsyncClient, path: str, body: Any, sentence: str
) -> None:
    answer = await mux.post(f"/_emulator/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(sentence)
    assert (emulator.faults.rules, emulator.truths()) == ([], {})


async def test_a_control_body_that_is_not_json_is_answered_with_a_sentence(
    mux: httpx.AsyncClient,
) -> None:
    answer = await mux.post("/_emulator/faults", content=b"kind=latency")
    assert (answer.status_code, answer.json()["error"][:22]) == (400, "the body: must be JSON")


async def test_an_unknown_control_path_leads_to_the_list_of_paths(mux: httpx.AsyncClient) -> None:
    for answer in [
        await mux.get("/_emulator/wishes"),
        await mux.put("/_emulator/calls"),
        await mux.get("/_emulator"),
    ]:
        assert answer.status_code == 404
        assert "GET /_emulator/ lists" in answer.json()["error"]
