"""What is read of the media in Mux's answers and webhooks, whatever they hold."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.domain import (
    MEDIA_FIELDS,
    Master,
    Media,
    Observation,
    OutputStatus,
    Rendition,
    Track,
    TrackKind,
)
from rindle_sync.errors import InvalidWebhook
from rindle_sync.providers.mux import asset_media
from rindle_sync.providers.mux.media import MOST_OUTPUTS
from rindle_sync.providers.mux.responses import read_list
from rindle_sync.providers.mux.webhooks import read_observation
from tests.support.rows import NOW
from tests.support.webhooks import an_event
from tests.support.world import READY, World

MUX = Path(__file__).parents[3] / "shared" / "mux"
ID = "lJ4bPlantedAsset0123456789zLf02nMg015W02iHQLN9X"
VIDEO = {"type": "video", "id": "track-v", "max_width": 1920}
AUDIO = {"type": "audio", "id": "track-a", "max_channels": 2, "primary": True}
TEXT = {
    "type": "text",
    "id": "track-t",
    "status": "preparing",
    "language_code": "en-US",
    "name": "English",
}
FILE = {
    "name": "1080p.mp4",
    "status": "ready",
    "resolution": "1080p",
    "bitrate": 2_000_000,
    "filesize": "12345",
}
WHOLE: dict[str, Any] = {
    "id": ID,
    "status": "ready",
    "duration": 61.5,
    "aspect_ratio": "16:9",
    "resolution_tier": "1080p",
    "max_stored_resolution": "UHD",
    "max_stored_frame_rate": 29.97,
    "meta": {"title": "A title", "external_id": "7"},
    "is_live": True,
    "test": True,
    "tracks": [VIDEO, AUDIO, TEXT],
    "static_renditions": {"files": [FILE]},
    "master": {"status": "preparing"},
}
MEDIA = Media(
    duration=61.5,
    aspect_ratio="16:9",
    resolution="1080p",
    max_frame_rate=29.97,
    title="A title",
    is_live=True,
    is_test=True,
    tracks=(
        Track(id="track-a", kind=TrackKind.AUDIO, status=OutputStatus.READY),
        Track(
            id="track-t",
            kind=TrackKind.CAPTIONS,
            status=OutputStatus.PROCESSING,
            language="en-US",
            name="English",
        ),
    ),
    renditions=(
        Rendition(
            name="1080p.mp4",
            status=OutputStatus.READY,
            resolution="1080p",
            bitrate=2_000_000,
            size=12_345,
        ),
    ),
    master=Master(status=OutputStatus.PROCESSING),
)
WITH_THE_ASSET = (
    *("created", "ready", "errored", "updated", "deleted", "live_stream_completed"),
    *("non_standard_input_detected", "master.ready", "master.errored", "static_renditions.ready"),
)
ODD: list[Any] = [None, "", "x", 7, -1, 0.5, True, [], {}, [None], {"a": 1}, [[]], 10**400]


def seen(event: dict[str, Any]) -> Observation:
    return read_observation(json.dumps(event).encode(), NOW)


def of_type(type_: str, **data: Any) -> dict[str, Any]:
    return an_event(ID, f"video.asset.{type_}") | {"data": data}


def of_part(type_: str, **data: Any) -> Observation:
    return seen(of_type(type_, asset_id=ID, **data))


def renditions(**data: Any) -> tuple[Rendition, ...]:
    return asset_media(data).renditions


@pytest.mark.parametrize("type_", WITH_THE_ASSET)
def test_a_webhook_with_the_whole_asset_shows_its_media(type_: str) -> None:
    assert seen(of_type(type_, **WHOLE)).media == MEDIA


def test_an_entry_of_a_list_shows_its_media() -> None:
    [entry] = read_list(json.dumps({"data": [WHOLE]}).encode(), NOW).entries

    assert entry.media == MEDIA


@pytest.mark.parametrize("of", ["get", "list"])
async def test_an_answer_shows_all_that_was_made_of_an_asset(world: World, of: str) -> None:
    emulator = world.emulator
    asset_id = emulator.create_asset(life=READY, test=True, meta={"title": "A title"})
    emulator.create_track(asset_id, type="text", language_code="en", name="English", life=READY)
    emulator.create_static_rendition(asset_id, "1080p", life=READY)
    emulator.set_master_access(asset_id, "temporary", life=READY)
    world.clock.move(60)
    provider = world.context.gateway.provider

    if of == "get":
        media = (await provider.get_asset(asset_id, NOW)).media
    else:
        [media] = [entry.media for entry in (await provider.list_assets(NOW, None)).entries]

    assert media
    assert (media.title, media.is_test, media.duration, media.aspect_ratio) == (
        "A title",
        True,
        10,
        "16:9",
    )
    assert [(track.kind, track.status, track.name) for track in media.tracks] == [
        (TrackKind.AUDIO, OutputStatus.READY, None),
        (TrackKind.CAPTIONS, OutputStatus.READY, "English"),
    ]
    [file] = media.renditions
    assert (file.name, file.status, file.bitrate) == ("1080p.mp4", OutputStatus.READY, 2_000_000)
    assert file.size
    assert media.master == Master(status=OutputStatus.READY)


def test_an_asset_that_says_nothing_has_no_media() -> None:
    assert asset_media({"id": ID}) == Media()


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """Assets in Mux's own examples, and where they stand."""

    def walk(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(value, dict):
            if value.get("status") in ["ready", "preparing", "errored"] and "created_at" in value:
                yield place, value
            for key, inner in value.items():
                yield from walk(inner, f"{place}/{key}")
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                yield from walk(inner, f"{place}/{number}")

    for name in ("vectors.json", "openapi_video.json"):
        path = MUX / name
        if not path.is_file():
            pytest.skip(f"Mux's own examples are missing: there is no {path}")
        yield from walk(json.loads(path.read_text("utf-8")), name)


def test_the_assets_in_muxs_own_examples_show_what_they_say() -> None:
    number = 0
    for place, asset in examples():
        media, number = asset_media(asset), number + 1
        said = {track["id"] for track in asset.get("tracks", []) if track["type"] != "video"}

        assert {track.id for track in media.tracks} == said, place
        assert media.duration == asset.get("duration"), place
        assert media.resolution or "resolution_tier" not in asset, place
        statuses = [track.status for track in media.tracks]
        statuses += [file.status for file in media.renditions]
        assert OutputStatus.UNKNOWN not in statuses, place
    assert number > 5


def test_every_word_that_muxs_schemas_have_for_an_output_is_known() -> None:
    path = MUX / "openapi_video.json"
    if not path.is_file():
        pytest.skip(f"Mux's own schemas are missing: there is no {path}")
    schemas = json.loads(path.read_text("utf-8"))["components"]["schemas"]

    def words(*keys: str) -> list[str]:
        found = schemas
        for key in keys:
            found = found[key]
        return list(found["enum"])

    for status in words("Track", "properties", "status"):
        tracks = asset_media({"tracks": [TEXT | {"status": status}]}).tracks
        assert [track.status for track in tracks] != [OutputStatus.UNKNOWN]
        assert bool(tracks) is (status != "deleted")
    for status in words("StaticRendition", "properties", "status"):
        [file] = renditions(static_renditions={"files": [FILE | {"status": status}]})
        assert file.status is not OutputStatus.UNKNOWN
    for status in words("Asset", "properties", "master", "properties", "status"):
        master = asset_media({"master": {"status": status}}).master
        assert master
        assert master.status is not OutputStatus.UNKNOWN
    for tier in words("Asset", "properties", "max_stored_resolution"):
        assert asset_media({"max_stored_resolution": tier}).resolution


@pytest.mark.parametrize(
    ("said", "resolution"),
    [
        ({"max_stored_resolution": "FHD"}, "1080p"),
        ({"max_stored_resolution": "Audio only"}, "audio-only"),
        ({"max_stored_resolution": "8K"}, None),
        ({"resolution_tier": "audio-only"}, "audio-only"),
        ({"resolution_tier": 7, "max_stored_resolution": "SD"}, "720p"),
    ],
)
def test_the_resolution_is_that_of_the_tier_or_else_of_the_deprecated_word(
    said: dict[str, Any], resolution: str | None
) -> None:
    assert asset_media(said).resolution == resolution


@pytest.mark.parametrize(("said", "rate"), [(-1, None), (0, None), (25, 25.0), ("25", None)])
def test_a_frame_rate_that_mux_could_not_tell_is_none(said: Any, rate: float | None) -> None:
    assert asset_media({"max_stored_frame_rate": said}).max_frame_rate == rate


@pytest.mark.parametrize("status", ["ready", "preparing", "errored"])
def test_a_track_of_the_input_is_as_far_as_its_asset(status: str) -> None:
    [track] = asset_media({"status": status, "tracks": [AUDIO]}).tracks

    expected = {"preparing": OutputStatus.PROCESSING}.get(status)
    assert track.status is (expected or OutputStatus(status))


def test_what_is_deleted_or_disabled_is_left_out() -> None:
    media = asset_media(
        {
            "tracks": [TEXT | {"status": "deleted"}],
            "static_renditions": {"status": "disabled"},
            "master": {"status": "deleted"},
        }
    )

    assert media == Media()


@pytest.mark.parametrize("status", ["ready", "preparing", "errored"])
def test_the_deprecated_files_have_the_status_of_all(status: str) -> None:
    files = [{"name": "low.mp4", "height": 360, "filesize": 7}, {"name": "high.mp4"}]

    found = renditions(mp4_support="standard", static_renditions={"status": status, "files": files})

    assert [(file.name, file.resolution, file.size) for file in found] == [
        ("low.mp4", "360p", 7),
        ("high.mp4", None, None),
    ]
    assert {file.status for file in found} == {
        {"preparing": OutputStatus.PROCESSING}.get(status) or OutputStatus(status)
    }


def test_deprecated_files_that_are_not_listed_yet_are_waited_for() -> None:
    found = renditions(
        mp4_support="audio-only,capped-1080p", static_renditions={"status": "preparing"}
    )

    assert [(file.name, file.status) for file in found] == [
        ("audio.m4a", OutputStatus.PROCESSING),
        ("capped-1080p.mp4", OutputStatus.PROCESSING),
    ]


@pytest.mark.parametrize("field", [name for name in WHOLE if name not in {"id", "status"}])
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_a_field_of_another_type_costs_itself_alone(field: str, value: Any) -> None:
    found, plain = asset_media(WHOLE | {field: value}), asset_media(WHOLE)

    differs = [name for name in MEDIA_FIELDS if getattr(found, name) != getattr(plain, name)]
    assert len(differs) <= 1


@pytest.mark.parametrize("field", ["type", "id", "status", "language_code", "name", "error"])
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_a_bad_track_or_rendition_never_costs_the_others(field: str, value: Any) -> None:
    data = WHOLE | {
        "tracks": [None, TEXT | {field: value}, 7, AUDIO, TEXT | {"id": "other"}],
        "static_renditions": {"files": [[], FILE | {field: value}, FILE | {"name": "other.mp4"}]},
    }

    media = asset_media(data)

    assert {"track-a", "other"} <= {track.id for track in media.tracks}
    assert "other.mp4" in {file.name for file in media.renditions}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(WHOLE)), JSON))
def test_whatever_an_asset_holds_can_be_stored(odd: dict[str, Any]) -> None:
    media = asset_media(WHOLE | odd)

    assert media.title is None or len(media.title) <= 512
    assert json.dumps(media.duration)


def test_no_more_is_kept_than_can_be_shown() -> None:
    tracks = [TEXT | {"id": f"track-{n}", "name": "n" * 999} for n in range(2 * MOST_OUTPUTS)]
    media = asset_media({"tracks": tracks, "meta": {"title": "t" * 9999}, "aspect_ratio": "1" * 99})

    assert len(media.tracks) == MOST_OUTPUTS
    assert len(media.tracks[0].name or "") == 255
    assert len(media.title or "") == 512
    assert len(media.aspect_ratio or "") <= 64


def test_an_output_that_failed_says_why_without_ids_and_addresses() -> None:
    error = {
        "type": "download_failed",
        "messages": [f"https://example.com/a.vtt of {ID} and part-1234 is no file"],
    }

    failed = of_part("track.errored", **TEXT | {"id": "part-1234", "error": error}).output
    [of_asset] = asset_media(
        WHOLE | {"errors": error, "tracks": [TEXT | {"status": "errored"}]}
    ).tracks

    played = {"playback_ids": [{"id": "download_failed"}], "errors": error}
    [hidden] = asset_media(played | {"tracks": [TEXT | {"status": "errored"}]}).tracks
    assert (hidden.error or "").startswith("...iled: ")
    for output in (failed, of_asset):
        assert output
        assert output.error
        assert output.error.startswith("download_failed: [url] of ...LN9X and")
        assert ID not in output.error
        assert ("part-1234" in output.error) is (output is of_asset)


# events about outputs


@pytest.mark.parametrize("word", ["created", "ready", "errored", "deleted"])
def test_an_event_about_a_track_shows_it_and_whether_it_has_ended(word: str) -> None:
    status = {"created": "preparing", "deleted": "deleted"}.get(word, word)

    observation = of_part(f"track.{word}", **TEXT | {"status": status})

    assert isinstance(observation.output, Track)
    assert (observation.output.id, observation.output.name) == ("track-t", "English")
    assert observation.output_gone is (word == "deleted")
    assert observation.reported == (("track track-t",) if word in {"ready", "errored"} else ())
    assert (observation.media, observation.metadata, observation.state) == (None, None, None)


@pytest.mark.parametrize("word", ["created", "ready", "errored", "skipped", "deleted"])
def test_an_event_about_a_rendition_shows_it_and_whether_it_has_ended(word: str) -> None:
    observation = of_part(f"static_rendition.{word}", **FILE | {"status": "preparing"})

    assert isinstance(observation.output, Rendition)
    ends = word in {"ready", "errored", "skipped"}
    expected = OutputStatus(word) if ends else OutputStatus.PROCESSING
    assert (observation.output.status, observation.output.name) == (expected, "1080p.mp4")
    assert observation.output_gone is (word == "deleted")
    assert observation.reported == (("rendition 1080p.mp4",) if ends else ())


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("track.ready", VIDEO),
        ("track.ready", {"type": "text"}),
        ("track.ready", {}),
        ("static_rendition.ready", {"name": 7}),
        ("shots.ready", {"status": "completed"}),
        ("warning", {"id": ID}),
        ("a_word_of_tomorrow", WHOLE),
    ],
)
def test_an_event_that_names_no_output_shows_none(type_: str, data: dict[str, Any]) -> None:
    observation = of_part(type_, **data)

    assert (observation.output, observation.reported, observation.media) == (None, (), None)


@pytest.mark.parametrize(
    ("type_", "reported"),
    [
        ("master.ready", ("master",)),
        ("master.errored", ("master",)),
        ("master.preparing", ()),
        ("static_renditions.ready", ("rendition 1080p.mp4",)),
        ("static_renditions.errored", ("rendition 1080p.mp4",)),
        ("static_renditions.preparing", ()),
        ("live_stream_completed", ("live",)),
        ("updated", ()),
        ("ready", ()),
    ],
)
def test_an_event_with_the_whole_asset_reports_the_outputs_that_it_is_about(
    type_: str, reported: tuple[str, ...]
) -> None:
    assert seen(of_type(type_, **WHOLE | {"is_live": False})).reported == reported


def test_what_is_no_asset_is_no_observation_of_media() -> None:
    with pytest.raises(InvalidWebhook):
        seen(of_type("ready", status="ready"))
