"""What a page needs to play a row: URLs of every policy, captions, files, and whole players."""

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_type_hints
from urllib.parse import parse_qs, urlsplit

import pytest

from rindle_sync.domain import (
    OutputStatus,
    PlaybackId,
    ProviderAsset,
    Rendition,
    State,
    Track,
    TrackKind,
)
from rindle_sync.errors import ConfigurationError, NotPlayable
from rindle_sync.providers import (
    PlaybackBundle,
    PlaybackKind,
    PlaybackOptions,
    PlaybackRequest,
    PlaybackUrl,
)
from rindle_sync.providers.mux import MuxPlayback
from rindle_sync.providers.mux.playback import url_of
from tests.providers.test_playback import DRM, HOUR, LICENCES, OTHERS, a_signer, claims
from tests.support.rows import NOW, PUBLIC, SIGNED, a_row

TWO_HOURS = datetime(2026, 11, 23, 14, tzinfo=UTC)
READY, PROCESSING = OutputStatus.READY, OutputStatus.PROCESSING


def a_track(track_id: str, language: str | None, **values: Any) -> Track:
    values = {"kind": TrackKind.CAPTIONS, "status": READY, **values}
    return Track(id=track_id, language=language, **values)


ENGLISH, GERMAN = a_track("track-en", "en-US"), a_track("track-de", "de")
LATE = a_track("track-fr", "fr", status=PROCESSING)
SOUND = a_track("track-audio", "es", kind=TrackKind.AUDIO)
FULL = Rendition(name="1080p.mp4", status=READY, resolution="1080p")
SMALL = Rendition(name="270p.mp4", status=OutputStatus.SKIPPED, resolution="270p")
AUDIO = Rendition(name="audio.m4a", status=READY, resolution="audio-only")


def a_film(*playback_ids: PlaybackId, **values: Any) -> ProviderAsset:
    values = {
        "title": "A film",
        "duration": 12.5,
        "aspect_ratio": "16:9",
        "resolution": "1080p",
        "tracks": (SOUND, ENGLISH, GERMAN, LATE),
        "renditions": (FULL, SMALL, AUDIO),
        **values,
    }
    return a_row(State.READY, playback_ids=playback_ids or (PUBLIC,), **values)


def url(
    row: ProviderAsset,
    kind: PlaybackKind = PlaybackKind.VIDEO,
    of: str | Track | Rendition | None = None,
    **options: Any,
) -> PlaybackUrl:
    return MuxPlayback(a_signer()).url(row, kind, PlaybackRequest(**options), now=NOW, of=of)


def bundle(row: ProviderAsset, poster: Any = None, **options: Any) -> PlaybackBundle:
    return MuxPlayback(a_signer()).bundle(row, PlaybackRequest(**options), now=NOW, poster=poster)


# policies


@pytest.mark.parametrize("kind", OTHERS)
def test_a_public_url_has_no_token_and_needs_no_key_and_no_expiry(kind: PlaybackKind) -> None:
    found = MuxPlayback().url(a_film(), kind, now=NOW)

    assert found == PlaybackUrl(url_of(kind, PUBLIC.id), None, None, "public")


def test_what_is_for_a_token_leaves_a_public_url_as_it_is() -> None:
    found = url(a_film(), expires_at=HOUR, custom={"a": 1}, restriction_id="restriction-1")

    assert found == url(a_film())


def test_modifiers_stand_in_the_query_of_a_public_url() -> None:
    found = url(
        a_film(),
        PlaybackKind.THUMBNAIL_JPG,
        modifiers={"time": 2.5, "flip_v": True, "fit_mode": "a b&c"},
    )

    told = urlsplit(found.url)
    assert f"{told.scheme}://{told.netloc}{told.path}" == url_of(
        PlaybackKind.THUMBNAIL_JPG, PUBLIC.id
    )
    assert parse_qs(told.query) == {"time": ["2.5"], "flip_v": ["true"], "fit_mode": ["a b&c"]}


def test_a_wrong_modifier_is_refused_for_a_public_url_too() -> None:
    with pytest.raises(ConfigurationError, match=r"^modifiers: "):
        url(a_film(), modifiers={"token": None})


@pytest.mark.parametrize(
    ("own", "options", "chosen"),
    [
        ((DRM, SIGNED, PUBLIC), {}, PUBLIC),
        ((DRM, SIGNED), {}, SIGNED),
        ((DRM,), {}, DRM),
        ((PlaybackId("new", "quantum"), DRM), {}, DRM),
        ((PUBLIC, SIGNED, DRM), {"policy": "drm"}, DRM),
        ((PUBLIC, SIGNED, DRM), {"policy": "signed"}, SIGNED),
        ((PUBLIC, SIGNED, DRM), {"policy": "signed", "playback_id": DRM}, DRM),
        ((PUBLIC, SIGNED), {"playback_id": PUBLIC}, PUBLIC),
    ],
)
def test_the_most_open_playback_id_is_taken_unless_another_is_named(
    own: tuple[PlaybackId, ...], options: dict[str, Any], chosen: PlaybackId
) -> None:
    row = a_film(*own)

    assert url(row, expires_at=HOUR, **options).url.startswith(
        url_of(PlaybackKind.VIDEO, chosen.id)
    )
    assert bundle(row, expires_at=HOUR, **options).playback_id == chosen.id


def test_without_a_key_only_what_is_not_public_is_refused() -> None:
    playback = MuxPlayback()

    assert not playback.has_key
    with pytest.raises(ConfigurationError, match=r"^signer: is needed"):
        playback.url(a_film(SIGNED), PlaybackKind.VIDEO, PlaybackRequest(expires_at=HOUR), now=NOW)


# restrictions


@pytest.mark.parametrize("kind", [*OTHERS, *LICENCES])
def test_a_restriction_stands_in_the_token_of_every_kind(kind: PlaybackKind) -> None:
    found = url(a_film(DRM), kind, expires_at=HOUR, restriction_id="restriction-1")

    assert found.token
    aud = {"animated": "g"}.get(kind.partition(".")[0], kind[0])
    told = claims(found.token, {"l": "d"}.get(aud, aud))
    assert told["playback_restriction_id"] == "restriction-1"


@pytest.mark.parametrize("restriction_id", ["", " ", 3])
def test_a_restriction_without_an_id_is_refused(restriction_id: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^restriction_id: "):
        url(a_film(SIGNED), expires_at=HOUR, restriction_id=restriction_id)


# what type checks would have found


@pytest.mark.parametrize("kind", ["video", "thumbnail", "nonsense", None])
def test_a_kind_that_there_is_not_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^kind: must be one of video\.m3u8, "):
        url(a_film(), kind)


def test_a_kind_may_be_plain_text() -> None:
    kind: Any = "thumbnail.jpg"

    assert url(a_film(), kind) == url(a_film(), PlaybackKind.THUMBNAIL_JPG)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("expires_at", HOUR.date()),
        ("expires_at", "2026-11-23T13:00:00Z"),
        ("expires_at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))),
        ("playback_id", SIGNED.id),
        ("modifiers", [1]),
        ("modifiers", {1: 2}),
        ("modifiers", {"title": "\ud800"}),
    ],
)
def test_a_value_of_another_type_or_range_is_refused_by_its_name(setting: str, value: Any) -> None:
    options = {"expires_at": HOUR, setting: value}

    with pytest.raises(ConfigurationError) as refused:
        url(a_film(SIGNED), **options)

    assert refused.value.setting == setting
    assert SIGNED.id not in str(refused.value)


def test_the_last_time_of_all_is_an_expiry() -> None:
    found = url(a_film(SIGNED), expires_at=datetime.max.replace(tzinfo=UTC))

    assert found.expires_at == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


# captions and files


@pytest.mark.parametrize(
    ("of", "track"),
    [("de", GERMAN), ("DE", GERMAN), ("en-US", ENGLISH), ("en", ENGLISH), (ENGLISH, ENGLISH)],
)
def test_captions_are_found_by_their_language_or_track(of: str | Track, track: Track) -> None:
    for kind, form in ((PlaybackKind.CAPTIONS_VTT, "vtt"), (PlaybackKind.CAPTIONS_TXT, "txt")):
        address = f"https://stream.mux.com/{PUBLIC.id}/text/{track.id}.{form}"
        assert url(a_film(), kind, of).url == address


def test_signed_captions_and_files_take_the_token_of_the_video() -> None:
    row = a_film(SIGNED)

    for kind, of in (
        (PlaybackKind.CAPTIONS_VTT, "de"),
        (PlaybackKind.RENDITION, FULL),
        (PlaybackKind.AUDIO, None),
    ):
        token = url(row, kind, of, expires_at=HOUR).token
        assert token
        assert claims(token, "v")["sub"] == SIGNED.id


def test_the_only_captions_need_no_name() -> None:
    row = a_film(tracks=(SOUND, GERMAN, LATE))

    assert url(row, PlaybackKind.CAPTIONS_VTT).url.endswith("/text/track-de.vtt")


@pytest.mark.parametrize(
    ("of", "name"),
    [("1080p.mp4", "1080p.mp4"), ("1080p", "1080p.mp4"), (FULL, "1080p.mp4"), (AUDIO, "audio.m4a")],
)
def test_a_file_is_found_by_its_name_or_resolution(of: str | Rendition, name: str) -> None:
    found = url(a_film(), PlaybackKind.RENDITION, of, modifiers={"download": "film"})

    assert found.url == f"https://stream.mux.com/{PUBLIC.id}/{name}?download=film"


def test_the_sound_alone_is_a_file() -> None:
    assert url(a_film(), PlaybackKind.AUDIO).url == f"https://stream.mux.com/{PUBLIC.id}/audio.m4a"


@pytest.mark.parametrize(
    ("kind", "of", "reason"),
    [
        (PlaybackKind.CAPTIONS_VTT, "fr", "no_captions"),
        (PlaybackKind.CAPTIONS_VTT, LATE, "no_captions"),
        (PlaybackKind.CAPTIONS_VTT, "es", "no_captions"),
        (PlaybackKind.CAPTIONS_VTT, a_track("of-another", "de"), "no_captions"),
        (PlaybackKind.RENDITION, "270p.mp4", "no_rendition"),
        (PlaybackKind.RENDITION, "2160p.mp4", "no_rendition"),
    ],
)
def test_what_is_not_there_or_not_ready_is_refused(
    kind: PlaybackKind, of: str | Track, reason: str
) -> None:
    with pytest.raises(NotPlayable) as refused:
        url(a_film(), kind, of)

    assert refused.value.reason == reason


def test_sound_that_was_not_made_is_refused() -> None:
    with pytest.raises(NotPlayable) as refused:
        url(a_film(renditions=(FULL,)), PlaybackKind.AUDIO)

    assert refused.value.reason == "no_rendition"


@pytest.mark.parametrize(
    ("kind", "of"),
    [
        (PlaybackKind.CAPTIONS_VTT, None),
        (PlaybackKind.CAPTIONS_VTT, FULL),
        (PlaybackKind.RENDITION, None),
        (PlaybackKind.RENDITION, GERMAN),
        (PlaybackKind.VIDEO, "de"),
        (PlaybackKind.AUDIO, "de"),
    ],
)
def test_what_does_not_say_which_is_refused_by_its_name(
    kind: PlaybackKind, of: str | Track | Rendition | None
) -> None:
    with pytest.raises(ConfigurationError, match=r"^of: "):
        url(a_film(), kind, of)


def test_a_name_of_the_provider_cannot_lead_to_another_address() -> None:
    row = a_film(renditions=(Rendition(name="../a?b", status=READY),))

    assert url(row, PlaybackKind.RENDITION).url == (
        f"https://stream.mux.com/{PUBLIC.id}/..%2Fa%3Fb"
    )


# whole players


def test_a_public_player_needs_no_token() -> None:
    found = MuxPlayback().bundle(a_film(PUBLIC, SIGNED), now=NOW, poster={"time": 3})

    assert found.as_dict() == {
        "playback_id": PUBLIC.id,
        "policy": "public",
        "stream_url": f"https://stream.mux.com/{PUBLIC.id}.m3u8",
        "poster_url": f"https://image.mux.com/{PUBLIC.id}/thumbnail.jpg?time=3",
        "storyboard_url": f"https://image.mux.com/{PUBLIC.id}/storyboard.vtt",
        "tokens": {},
        "license_urls": {},
        "certificate_url": None,
        "expires_at": None,
        "is_live": False,
        "title": "A film",
        "duration": 12.5,
        "aspect_ratio": "16:9",
    }


def test_a_signed_player_has_a_token_for_each_thing_with_its_claims() -> None:
    found = bundle(
        a_film(SIGNED),
        expires_at=TWO_HOURS,
        modifiers={"max_resolution": "720p"},
        poster={"time": 3},
        custom={"session": "s-1"},
        restriction_id="restriction-1",
    )

    common = {
        "sub": SIGNED.id,
        "exp": int(TWO_HOURS.timestamp()),
        "kid": "signing-key-0001",
        "custom": {"session": "s-1"},
        "playback_restriction_id": "restriction-1",
    }
    assert {
        name: claims(token, name[0].replace("p", "v")) for name, token in found.tokens.items()
    } == {
        "playback": {"aud": "v", "max_resolution": "720p", **common},
        "thumbnail": {"aud": "t", "time": 3, **common},
        "storyboard": {"aud": "s", **common},
    }
    assert found.expires_at == TWO_HOURS
    assert found.stream_url == (
        f"https://stream.mux.com/{SIGNED.id}.m3u8?token={found.tokens['playback']}"
    )
    assert found.poster_url == (
        f"https://image.mux.com/{SIGNED.id}/thumbnail.jpg?token={found.tokens['thumbnail']}"
    )
    assert found.storyboard_url == (
        f"https://image.mux.com/{SIGNED.id}/storyboard.vtt?token={found.tokens['storyboard']}"
    )
    assert (found.license_urls, found.certificate_url) == ({}, None)


def test_a_player_of_drm_has_the_token_and_the_urls_of_its_licenses() -> None:
    found = bundle(a_film(DRM), expires_at=HOUR)

    token = found.tokens["drm"]
    assert claims(token, "d")["sub"] == DRM.id
    assert sorted(found.tokens) == ["drm", "playback", "storyboard", "thumbnail"]
    assert found.license_urls == {
        system: f"https://license.mux.com/license/{system}/{DRM.id}?token={token}"
        for system in ("widevine", "fairplay", "playready")
    }
    assert found.certificate_url == (
        f"https://license.mux.com/appcert/fairplay/{DRM.id}?token={token}"
    )


def test_sound_alone_has_no_picture_and_what_is_live_no_storyboard() -> None:
    sound = bundle(a_film(SIGNED, resolution="audio-only"), expires_at=HOUR)
    live = bundle(a_film(is_live=True))

    assert (sound.poster_url, sound.storyboard_url, list(sound.tokens)) == (
        None,
        None,
        ["playback"],
    )
    assert live.poster_url
    assert (live.is_live, live.storyboard_url) == (True, None)


def test_a_player_can_be_sent_as_json() -> None:
    found = bundle(a_film(DRM), expires_at=TWO_HOURS)

    told = json.loads(json.dumps(found.as_dict()))

    assert told["expires_at"] == "2026-11-23T14:00:00+00:00"
    assert told["tokens"] == found.tokens


def test_a_player_shows_nothing_that_plays() -> None:
    found = bundle(a_film(DRM), expires_at=HOUR)

    shown = f"{found!r} {found}"

    hidden = [DRM.id, "mux.com", "A film", *found.tokens.values()]
    assert [secret for secret in hidden if secret in shown] == []


def test_a_player_of_what_is_not_public_needs_an_expiry() -> None:
    with pytest.raises(ConfigurationError, match=r"^expires_at: is needed"):
        bundle(a_film(SIGNED))


def test_a_row_that_is_not_ready_has_no_player() -> None:
    with pytest.raises(NotPlayable) as refused:
        bundle(a_row(State.PROCESSING, playback_ids=(PUBLIC,)))

    assert refused.value.reason == "not_ready"


def test_the_options_of_a_method_are_the_fields_of_a_request() -> None:
    options = get_type_hints(PlaybackOptions)

    assert options == get_type_hints(PlaybackRequest)
    assert list(options) == [field.name for field in fields(PlaybackRequest)]
