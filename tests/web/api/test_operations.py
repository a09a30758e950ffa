"""What the operations of the API do, over real HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from rindle_sync.domain import EventStatus
from tests.support.api import ApiWorld
from tests.support.world import NEVER


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert {"type", "title", "detail"} <= found.keys()
    return found


def fields(found: dict[str, Any]) -> list[str]:
    return [error["field"] for error in found["errors"]]


async def test_a_tracked_asset_is_the_same_row_however_often_it_is_tracked(api: ApiWorld) -> None:
    body = {"reference": "film-1", "provider_asset_id": api.asset()}

    first = await api.client.post("/assets", json=body)
    again = await api.client.post("/assets", json=body)
    other = await api.client.post("/assets", json=body | {"provider_asset_id": api.asset()})

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["state"] == "processing"
    assert again.json()["id"] == first.json()["id"]
    found = problem(other, 409)
    assert found["type"].endswith(":already-tracked")
    assert (found["row_id"], found["state"]) == (first.json()["id"], "processing")
    assert found["differs"] == ["provider_asset_id"]


async def test_assets_are_listed_page_by_page_and_filtered(api: ApiWorld) -> None:
    ids = [(await api.ready(f"film-{number}"))["id"] for number in range(5)]
    waiting = {"reference": "waits", "provider_asset_id": api.asset(NEVER)}
    await api.client.post("/assets", json=waiting)

    seen, query = list[str](), {"limit": "2", "order": "oldest", "state": "ready"}
    while True:
        page = (await api.client.get("/assets", params=query)).json()
        seen += [row["id"] for row in page["data"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    named = await api.client.get("/assets?reference=film-1&reference=film-3")
    in_flight = await api.client.get("/assets?state=processing&state=uploading")
    later = datetime.now(UTC) + timedelta(days=1)
    none = await api.client.get("/assets", params={"since": later.isoformat()})

    assert sorted(seen) == sorted(ids)
    assert len(seen) == 5
    assert {row["reference"] for row in named.json()["data"]} == {"film-1", "film-3"}
    assert [row["reference"] for row in in_flight.json()["data"]] == ["waits"]
    assert none.json() == {"data": [], "next": None}


async def test_one_asset_is_got_explained_and_checked(api: ApiWorld) -> None:
    body = {"reference": "film-1", "provider_asset_id": api.asset(policies=("public",))}
    row_id = (await api.client.post("/assets", json=body)).json()["id"]

    synced = await api.client.post(f"/assets/{row_id}/sync")
    got = await api.client.get(f"/assets/{row_id}")
    explained = await api.client.get(f"/assets/{row_id}/explanation")

    assert synced.status_code == 200, synced.text
    assert (synced.json()["outcome"], synced.json()["asset"]["state"]) == ("changed", "ready")
    assert got.json()["state"] == "ready"
    assert got.json()["playback_ids"][0]["policy"] == "public"
    assert explained.json()["row_id"] == row_id
    assert "processing -> ready" in explained.text


async def test_a_check_that_the_provider_does_not_answer_says_so(api: ApiWorld) -> None:
    row = await api.ready("film-1")
    api.emulator.add_fault("server_error", operation="get_asset")

    synced = await api.client.post(f"/assets/{row['id']}/sync")

    assert (synced.status_code, synced.json()["outcome"]) == (200, "unanswered")


async def test_a_row_gets_another_asset(api: ApiWorld) -> None:
    row = await api.ready("film-1")

    replaced = await api.client.post(
        f"/assets/{row['id']}/replace", json={"provider_asset_id": api.asset(NEVER)}
    )
    lacking = await api.client.post(f"/assets/{row['id']}/replace", json={})

    assert (replaced.status_code, replaced.json()["id"]) == (200, row["id"])
    assert replaced.json()["state"] == "processing"
    assert fields(problem(lacking, 422)) == ["provider_asset_id"]


async def test_an_asset_is_forgotten_and_deleted_at_the_provider(api: ApiWorld) -> None:
    kept, deleted = await api.ready("kept"), await api.ready("deleted")

    first = await api.client.delete(f"/assets/{kept['id']}")
    second = await api.client.delete(f"/assets/{deleted['id']}?delete_asset=true&history=true")
    gone = await api.client.delete(f"/assets/{kept['id']}")

    assert (first.json()["id"], second.json()["id"]) == (kept["id"], deleted["id"])
    problem(gone, 404)
    states = sorted(truth.state.value for truth in api.emulator.truths().values())
    assert states == ["deleted", "ready"]


async def test_an_upload_is_created_resumed_and_cancelled(api: ApiWorld) -> None:
    body = {"reference": "film-1", "cors_origin": "https://app.example.com", "expires_in": 600}

    made = await api.client.post("/uploads", json=body)
    refused = await api.client.post("/uploads", json=body)
    resumed = await api.client.post("/uploads", json=body | {"resume": True})
    row_id = made.json()["asset"]["id"]
    cancelled = await api.client.post(f"/assets/{row_id}/cancel-upload")

    assert made.status_code == 201, made.text
    assert made.json()["asset"]["state"] == "uploading"
    assert problem(refused, 409)["row_id"] == row_id
    assert resumed.json()["upload_url"] == made.json()["upload_url"]
    assert (cancelled.json()["state"], cancelled.json()["error_kind"]) == ("errored", "upload")


async def test_the_provider_fetches_a_file_from_a_url(api: ApiWorld) -> None:
    body = {"reference": "film-1", "input": "https://files.example.com/film-1.mp4"}

    made = await api.client.post("/assets/from-url", json=body)
    wrong = await api.client.post("/assets/from-url", json=body | {"input": "film-1.mp4"})

    assert (made.status_code, made.json()["state"]) == (201, "processing"), made.text
    assert fields(problem(wrong, 422)) == ["input"]
    assert len(api.emulator.truths()) == 1


async def test_a_refused_setting_of_a_new_asset_is_named(api: ApiWorld) -> None:
    body = {"reference": "film-1", "input": "https://files.example.com/film-1.mp4"}
    settings = {"new_asset_settings": {"video_quality": "no such quality"}}

    refused = await api.client.post("/assets/from-url", json=body | settings)

    assert fields(problem(refused, 422)) == ["new_asset_settings"]


async def test_a_ready_asset_has_urls_that_play_it(api: ApiWorld) -> None:
    row = await api.ready("film-1")
    path = f"/assets/{row['id']}"

    url = await api.client.get(f"{path}/playback-url?kind=thumbnail.jpg&modifier=width:640")
    bundle = await api.client.get(f"{path}/playback-bundle")
    signed = await api.client.get(f"{path}/playback-url?kind=video.m3u8&policy=signed")
    foreign = await api.client.get(f"{path}/playback-url?kind=video.m3u8&playback_id=other")
    twice = await api.client.get(
        f"{path}/playback-bundle", params={"expires_in": 5, "expires_at": "2030-01-01T00:00:00Z"}
    )

    playback_id = row["playback_ids"][0]["id"]
    assert url.json()["url"].endswith(f"{playback_id}/thumbnail.jpg?width=640")
    assert bundle.json()["stream_url"].endswith(f"{playback_id}.m3u8")
    assert problem(signed, 409)["reason"] == "no_signed_id"
    assert problem(foreign, 409)["reason"] == "foreign_id"
    assert fields(problem(twice, 422)) == ["expires_in"]


async def test_what_is_not_ready_does_not_play(api: ApiWorld) -> None:
    body = {"reference": "film-1", "provider_asset_id": api.asset(NEVER)}
    row = (await api.client.post("/assets", json=body)).json()

    refused = await api.client.get(f"/assets/{row['id']}/playback-bundle")

    found = problem(refused, 409)
    assert (found["reason"], found["row_id"]) == ("not_ready", row["id"])
    assert found["type"].endswith(":not-playable")


async def test_webhook_events_are_listed_and_replayed(api: ApiWorld) -> None:
    await api.tell(api.asset())
    (event,) = (await api.client.get("/webhook-events")).json()["data"]

    one = await api.client.get(f"/webhook-events/{event['id']}")
    replayed = await api.client.post(f"/webhook-events/{event['id']}/replay")
    dead = await api.client.post("/webhook-events/replay-dead")
    none = await api.client.get("/webhook-events?status=dead")
    other = await api.client.post(f"/webhook-events/{api.emulator.token_id}/replay")

    assert (one.json(), event["status"]) == (event, EventStatus.PENDING)
    assert event["row_id"] is None
    assert (replayed.json(), dead.json()) == ({"replayed": 1}, {"replayed": 0})
    assert none.json() == {"data": []}
    problem(other, 404)


async def test_the_status_has_the_figures_of_the_environment(api: ApiWorld) -> None:
    await api.ready("film-1")

    status = (await api.client.get("/status")).json()

    assert (status["environment"], status["rows"], status["by_state"]["ready"]) == ("default", 1, 1)


async def test_who_acts_is_recorded(api: ApiWorld) -> None:
    writer = await api.token("ci", may_write=True)
    body = {"reference": "film-1", "provider_asset_id": api.asset()}

    row = (await api.client.post("/assets", json=body, headers=writer)).json()
    await api.client.post(f"/assets/{row['id']}/sync")

    actions = await api.rindle.store.row_actions.of_row(row["id"], 10)
    found = [(action.action.value, action.actor.text, action.outcome) for action in actions]
    assert found == [("track", "token:ci", "done"), ("sync", "token:settings", "changed")]


@pytest.mark.parametrize(
    ("fault", "status"), [("server_error", 502), ("unauthorized", 502), ("rate_limited", 429)]
)
async def test_a_failure_of_the_provider_is_told_apart(
    api: ApiWorld, fault: str, status: int
) -> None:
    api.emulator.add_fault(fault, operation="create_asset")
    body = {"reference": "film-1", "input": "https://files.example.com/film-1.mp4"}

    refused = await api.client.post("/assets/from-url", json=body)

    problem(refused, status)
    assert ("retry-after" in refused.headers) is (fault != "unauthorized")
