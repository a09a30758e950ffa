"""What the bodies of Mux's calls may hold, as Mux's OpenAPI file has it.

Fields that Mux does not know are ignored.
"""

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, Final

from rindle_sync.emulator.lifecycle import MaxResolution, Policy, Settings, VideoQuality
from rindle_sync.emulator.parts import MasterAccess, Resolution, TextType, TrackType
from rindle_sync.emulator.validation import (
    check_flag,
    check_integer,
    check_list,
    check_number,
    check_object,
    check_text,
    check_word,
    check_words,
    reject,
)

Check = Callable[[str, Any], Any]
"""Returns the value of the field that it is given, or raises the ValueError that rejects it."""


class EncodingTier(StrEnum):
    """The deprecated words for the video quality."""

    SMART = "smart"
    BASELINE = "baseline"
    PREMIUM = "premium"


class Mp4Support(StrEnum):
    """The deprecated way to ask for static renditions."""

    NONE = "none"
    STANDARD = "standard"
    CAPPED = "capped-1080p"
    AUDIO_ONLY = "audio-only"
    BOTH = "audio-only,capped-1080p"


class InputType(StrEnum):
    """The kinds of input."""

    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"


class VerticalAlign(StrEnum):
    """Where an overlay begins."""

    TOP = "top"
    MIDDLE = "middle"
    BOTTOM = "bottom"


class HorizontalAlign(StrEnum):
    """Where an overlay begins."""

    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"


SUBTITLE_LANGUAGES: Final = (
    *("en", "es", "it", "pt", "de", "fr", "pl", "ru", "nl", "ca", "tr", "sv"),
    *("uk", "no", "fi", "sk", "el", "cs", "hr", "da", "ro", "bg", "auto"),
)


def read_fields(
    values: Mapping[str, Any], checks: Mapping[str, Check], *, required: str = "", prefix: str = ""
) -> dict[str, Any]:
    """The known fields of an object, each checked; `required` names those that must be there."""
    for name in required.split():
        if name not in values:
            reject(prefix + name, "is required")
    return {
        name: check(prefix + name, values[name]) for name, check in checks.items() if name in values
    }


def read_known(values: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    """The fields of an object that has no others, each checked."""
    for name in values:
        if name not in checks:
            reject(name, f"is not a field here; use {', '.join(checks)}")
    return read_fields(values, checks)


def an_object(checks: Mapping[str, Check], required: str = "") -> Check:
    """The check of an object with these fields."""

    def check(field: str, value: object) -> dict[str, Any]:
        values = check_object(field, value)
        return read_fields(values, checks, required=required, prefix=f"{field}.")

    return check


def a_list(check: Check) -> Check:
    """The check of a list, each of whose entries passes `check`."""
    return lambda field, value: check_list(field, value, check)


def a_word(words: Any) -> Check:
    """The check of a word of an enumeration."""
    return partial(check_word, words=words)


def a_text(longest: int = 100_000) -> Check:
    """The check of a text of at most so many code points."""
    return partial(check_text, longest=longest)


def _inputs(field: str, value: object) -> list[dict[str, Any]]:
    # Mux describes a single URL as a shortcut for a list with one input.
    if isinstance(value, str):
        return [{"url": value}]
    inputs = check_list(field, value, an_object(_INPUT))
    for number, given in enumerate(inputs[1:], start=1):
        if given.get("type") in list(TrackType) and "language_code" not in given:
            reject(f"{field}[{number}].language_code", "is required for a further track")
    return inputs


def _renditions(field: str, value: object) -> list[dict[str, Any]]:
    values = check_list(field, value, an_object(RENDITION, "resolution"))
    resolutions = [entry["resolution"] for entry in values]
    if len(set(resolutions)) < len(resolutions):
        reject(field, "must have each resolution once at most")
    return values


_NAME: Final = a_text(255)
_ANY_NUMBER: Final = partial(check_number, low=-math.inf)
_DESCRIBED: Final[Mapping[str, Check]] = {
    "language_code": a_text(),
    "name": a_text(),
    "closed_captions": check_flag,
    "passthrough": _NAME,
}
GENERATED_SUBTITLES: Final = a_list(
    an_object({"name": a_text(), "passthrough": _NAME, "language_code": a_word(SUBTITLE_LANGUAGES)})
)
_OVERLAY: Final = an_object(
    {
        "vertical_align": a_word(VerticalAlign),
        "horizontal_align": a_word(HorizontalAlign),
        **dict.fromkeys(
            ("vertical_margin", "horizontal_margin", "width", "height", "opacity"), a_text()
        ),
    }
)
_INPUT: Final[Mapping[str, Check]] = {
    "url": a_text(),
    "overlay_settings": _OVERLAY,
    "generated_subtitles": GENERATED_SUBTITLES,
    "start_time": _ANY_NUMBER,
    "end_time": _ANY_NUMBER,
    "type": a_word(InputType),
    "text_type": a_word(TextType),
    **_DESCRIBED,
}
META: Final = an_object(
    {"title": a_text(512), "creator_id": a_text(128), "external_id": a_text(128)}
)
RENDITION: Final[Mapping[str, Check]] = {"resolution": a_word(Resolution), "passthrough": _NAME}
PLAYBACK_ID: Final[Mapping[str, Check]] = {
    "policy": a_word(Policy),
    "drm_configuration_id": a_text(),
}
ASSET_OPTIONS: Final[Mapping[str, Check]] = {
    "inputs": _inputs,
    "input": _inputs,
    "playback_policies": partial(check_words, words=Policy),
    "playback_policy": partial(check_words, words=Policy),
    "advanced_playback_policies": a_list(an_object(PLAYBACK_ID)),
    "passthrough": _NAME,
    "meta": META,
    "test": check_flag,
    "mp4_support": a_word(Mp4Support),
    "normalize_audio": check_flag,
    "master_access": a_word(MasterAccess),
    "max_resolution_tier": a_word(MaxResolution),
    "encoding_tier": a_word(EncodingTier),
    "video_quality": a_word(VideoQuality),
    "static_renditions": _renditions,
    "copy_overlays": check_flag,
    "directives": a_list(an_object({"id": a_text()}, "id")),
    "generate_shots": check_flag,
}
UPLOAD: Final[Mapping[str, Check]] = {
    "cors_origin": a_text(2048),
    "timeout": partial(check_integer, low=60, high=604_800),
    "new_asset_settings": an_object(ASSET_OPTIONS),
    "test": check_flag,
}
ASSET_UPDATE: Final[Mapping[str, Check]] = {
    "passthrough": _NAME,
    "meta": META,
    "thumbnail_time": _ANY_NUMBER,
}
TRACK_UPDATE: Final = _DESCRIBED
TRACK: Final[Mapping[str, Check]] = {
    "url": a_text(),
    "type": a_word(TrackType),
    "text_type": a_word(TextType),
    **_DESCRIBED,
}
MASTER_ACCESS: Final[Mapping[str, Check]] = {"master_access": a_word(MasterAccess)}


def read_settings(options: Mapping[str, Any]) -> Settings:
    """The settings of a new asset, from checked fields with current or deprecated names."""
    if options.get("static_renditions") and options.get("mp4_support", "none") != "none":
        reject("mp4_support", "excludes static_renditions; leave it out, it is deprecated")
    policies = options.get("playback_policies", options.get("playback_policy", ()))
    advanced = options.get("advanced_playback_policies", [])
    if Policy.DRM in policies:
        reject("playback_policies", "cannot have drm; use advanced_playback_policies")
    for entry in advanced:
        if "policy" not in entry:
            reject("advanced_playback_policies", "each entry must have a policy")
        if (entry["policy"] == Policy.DRM) != bool(entry.get("drm_configuration_id")):
            name = "advanced_playback_policies.drm_configuration_id"
            reject(name, "must be set for the policy drm, and for no other")
    return Settings(
        policies=(*policies, *(entry["policy"] for entry in advanced)),
        passthrough=options.get("passthrough"),
        meta=options.get("meta"),
        test=options.get("test", False),
        video_quality=options.get("video_quality", VideoQuality.BASIC),
        max_resolution_tier=options.get("max_resolution_tier", MaxResolution.FULL_HD),
    )
