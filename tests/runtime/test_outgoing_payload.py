"""What an outgoing webhook says: the change, the row as it is now, and no id of the asset's."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from rindle_sync.domain import (
    CHANGE_TYPES,
    ChangeKind,
    ErrorKind,
    PlaybackId,
    State,
    Trigger,
    endpoint_url_fault,
    type_pattern_fault,
    wants_type,
)
from rindle_sync.runtime.outgoing.payload import change_payload, iso_time, message_id
from rindle_sync.store import Change, PublishedChange
from tests.support.rows import NOW, a_rendition, a_row, a_track

ROW_ID = "0192f0c1-7b3a-7c55-8d1e-2f6b8a9c0d1e"
ROW = a_row(
    State.READY,
    id=ROW_ID,
    reference="film-1",
    provider_asset_id="secretassetid0001",
    provider_upload_id="secretuploadid001",
    passthrough="secretpassthrough",
    playback_ids=(PlaybackId("playback-1", "public"),),
    duration=61.5,
    aspect_ratio="16:9",
    resolution="1080p",
    max_frame_rate=25.0,
    title="A title",
    tracks=(a_track(id="secrettrackid0001", language="en-US", name="English"),),
    renditions=(a_rendition(resolution="1080p", bitrate=2_000_000, size=12),),
    last_event_id="secretevent000001",
    raw_provider_metadata={"id": "secretassetid0001"},
    updated_at=NOW,
    version=3,
)


def a_change(**values: Any) -> Change:
    change: dict[str, Any] = {
        "row_id": ROW_ID,
        "reference": "film-1",
        "provider_name": "mux",
        "environment": "default",
        "version": 3,
        "from_state": State.PROCESSING,
        "to_state": State.READY,
        "error_kind": None,
        "trigger": Trigger.WEBHOOK,
        "reason": "rank",
        "at": NOW,
        "late_ms": 0,
    }
    return Change(**change | values)


def test_a_change_is_told_with_its_row() -> None:
    payload = change_payload(PublishedChange(17, a_change()), ROW)

    assert payload == {
        "type": "asset.ready",
        "timestamp": "2026-11-23T12:00:00.123456Z",
        "data": {
            "id": 17,
            "version": 3,
            "environment": "default",
            "from_state": "processing",
            "state": "ready",
            "error_kind": None,
            "row_id": ROW_ID,
            "reference": "film-1",
            "profile": "default",
            "asset": {
                "state": "ready",
                "version": 3,
                "playback_ids": [{"id": "playback-1", "policy": "public"}],
                "duration": 61.5,
                "aspect_ratio": "16:9",
                "resolution": "1080p",
                "max_frame_rate": 25.0,
                "title": "A title",
                "is_live": False,
                "tracks": [
                    {"kind": "captions", "status": "ready", "language": "en-US", "name": "English"}
                ],
                "renditions": [
                    {
                        "name": "1080p.mp4",
                        "status": "ready",
                        "resolution": "1080p",
                        "bitrate": 2_000_000,
                        "size": 12,
                    }
                ],
                "updated_at": "2026-11-23T12:00:00.123456Z",
            },
        },
    }


def test_nothing_of_the_provider_is_told() -> None:
    assert "secret" not in json.dumps(change_payload(PublishedChange(17, a_change()), ROW))


def test_a_change_of_a_row_that_is_gone_is_told_without_it() -> None:
    change = a_change(to_state=State.ERRORED, error_kind=ErrorKind.STUCK)

    data = change_payload(PublishedChange(17, change), None)["data"]

    assert (data["asset"], data["profile"]) == (None, None)
    assert (data["state"], data["error_kind"]) == ("errored", "stuck")


def test_the_type_says_what_has_changed() -> None:
    states = [change_payload(PublishedChange(1, a_change(to_state=s)), ROW)["type"] for s in State]
    of_media = change_payload(PublishedChange(1, a_change(kind=ChangeKind.MEDIA)), ROW)["type"]

    assert (*states, of_media) == CHANGE_TYPES
    assert of_media == "asset.media_changed"


def test_the_message_id_is_that_of_a_version_of_a_row() -> None:
    assert message_id(ROW_ID, 3) == "msg_0192f0c17b3a7c558d1e2f6b8a9c0d1e_3"


def test_times_are_in_utc() -> None:
    moment = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))

    assert iso_time(moment) == "2025-12-31T23:00:00.000000Z"
    assert iso_time(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"


def test_patterns_choose_types() -> None:
    assert wants_type([], "asset.ready")
    assert wants_type(["asset.*"], "asset.media_changed")
    assert wants_type(["*.ready", "asset.errored"], "asset.errored")
    assert not wants_type(["asset.ready"], "asset.errored")


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    for pattern in ("*", "asset.*", "asset.ready", "*.media_changed"):
        assert type_pattern_fault(pattern) is None
    for pattern in ("", "asset", "video.asset.ready", "asset.[a-z]*", "ASSET.READY", "x" * 101):
        assert "or a pattern as in asset.*" in (type_pattern_fault(pattern) or "")


def test_what_no_endpoint_can_have_as_its_url_is_said() -> None:
    faults = {
        "https://app.example.com/hooks?key=1": None,
        "https://[2001:db8::1]:8443/": None,
        "http://app.example.com/": "begin with https",
        "https://user@app.example.com/": "user or password",
        "https://:word@app.example.com/": "user or password",
        "https://app.example.com/#part": "fragment",
        "ftp://app.example.com/": "must be a URL",
        "https://": "must be a URL",
        "https://app.example.com:99999/": "must be a URL",
        "https://app.example.com:0/": "must be a URL",
        "https://[app/": "must be a URL",
        "app.example.com": "must be a URL",
        "https://app.example.com/a b": "visible",
        "https://app.example.com/\n": "visible",
        "https://app.example.com/" + "x" * 2000: "2000",
    }
    for url, fault in faults.items():
        found = endpoint_url_fault(url, allow_private=False)
        assert found is None if fault is None else fault in (found or ""), url
        assert "app.example.com/a" not in (found or "")
    assert endpoint_url_fault("http://127.0.0.1:8000/x", allow_private=True) is None
