"""What an asset of Mux's, or an event about a part of one, shows of its media and its outputs."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rindle_sync.domain import (
    LONGEST_TEXT,
    Master,
    Media,
    OutputStatus,
    Rendition,
    Track,
    TrackKind,
)
from rindle_sync.providers.mux.fields import count, number, reason, text, text_id, word

_STATUSES: Final = {
    "preparing": OutputStatus.PROCESSING,
    "ready": OutputStatus.READY,
    "errored": OutputStatus.ERRORED,
    "skipped": OutputStatus.SKIPPED,
}
_GONE: Final = frozenset({"deleted", "disabled"})
_KINDS: Final = {"audio": TrackKind.AUDIO, "text": TrackKind.CAPTIONS}
_RESOLUTIONS: Final = {
    "Audio only": "audio-only",
    "SD": "720p",
    "HD": "720p",
    "FHD": "1080p",
    "UHD": "2160p",
}
"""Tiers by the words of the deprecated `max_stored_resolution`; none is lower than 720p."""
_OLD_FILES: Final = {
    "standard": "low.mp4",
    "capped-1080p": "capped-1080p.mp4",
    "audio-only": "audio.m4a",
}
"""A file that the deprecated `mp4_support` always makes, by its words."""

_LONGEST_TITLE: Final = 512

MOST_OUTPUTS: Final = 500
"""How many tracks, and how many renditions, of an asset are kept."""


def asset_media(data: Mapping[str, Any]) -> Media:
    """The media of a whole asset."""
    tier = word(data.get("resolution_tier"))
    stored = _RESOLUTIONS.get(text(data.get("max_stored_resolution")))
    meta = data.get("meta")
    title = text(meta.get("title")) if isinstance(meta, dict) else ""
    master = data.get("master")
    return Media(
        duration=number(data.get("duration")),
        aspect_ratio=word(data.get("aspect_ratio")),
        resolution=tier or stored,
        # -1 where Mux could not tell
        max_frame_rate=number(data.get("max_stored_frame_rate")) or None,
        title=title[:_LONGEST_TITLE] or None,
        is_live=data.get("is_live") is True,
        is_test=data.get("test") is True,
        tracks=tuple(_tracks(data)),
        renditions=tuple(_renditions(data)),
        master=_master(master, data) if isinstance(master, dict) else None,
    )


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    listed = value[:MOST_OUTPUTS] if isinstance(value, list) else []
    for entry in listed:
        if isinstance(entry, dict):
            yield entry


def _tracks(data: Mapping[str, Any]) -> Iterator[Track]:
    seen = set()
    for entry in _objects(data.get("tracks")):
        if text(entry.get("type")) not in _KINDS:
            continue  # the video, above all
        # Mux gives the tracks of the input no status: they are as far as the asset
        track = read_track({"status": data.get("status"), **entry}, data)
        if track and text(entry.get("status")) not in _GONE and track.id not in seen:
            seen.add(track.id)
            yield track


def read_track(entry: Mapping[str, Any], asset: Mapping[str, Any]) -> Track | None:
    """An audio track or captions; None for the video, and for what cannot be read."""
    kind, track_id = _KINDS.get(text(entry.get("type"))), text_id(entry.get("id"))
    if kind is None or track_id is None:
        return None
    status = _status(entry.get("status"))
    return Track(
        id=track_id,
        kind=kind,
        status=status,
        language=word(entry.get("language_code")),
        name=text(entry.get("name"))[:LONGEST_TEXT] or None,
        error=_error(status, entry, asset),
    )


def _renditions(data: Mapping[str, Any]) -> Iterator[Rendition]:
    made = data.get("static_renditions")
    if not isinstance(made, dict):
        return
    # the deprecated `mp4_support` has one status for all, and lists no file before it is ready
    of_all, seen = {"status": made.get("status")}, set()
    files = list(_objects(made.get("files")))
    if not files and _status(made.get("status")) is not OutputStatus.UNKNOWN:
        wanted = text(data.get("mp4_support")).split(",")
        files = [{"name": _OLD_FILES[kind]} for kind in wanted if kind in _OLD_FILES]
    for entry in files:
        described = of_all | dict(entry)
        rendition = read_rendition(described, data)
        if rendition and text(described.get("status")) not in _GONE and rendition.name not in seen:
            seen.add(rendition.name)
            yield rendition


def read_rendition(entry: Mapping[str, Any], asset: Mapping[str, Any]) -> Rendition | None:
    """A file to download; None for what cannot be read."""
    name = text(entry.get("name"))[:LONGEST_TEXT]
    if not name:
        return None
    status, height = _status(entry.get("status")), count(entry.get("height"))
    by_height = f"{height}p" if height else None
    return Rendition(
        name=name,
        status=status,
        resolution=word(entry.get("resolution")) or word(entry.get("resolution_tier")) or by_height,
        bitrate=count(entry.get("bitrate")),
        size=count(entry.get("filesize")),
        error=_error(status, entry, asset),
    )


def _master(entry: Mapping[str, Any], asset: Mapping[str, Any]) -> Master | None:
    if "status" not in entry or text(entry["status"]) in _GONE:
        return None
    status = _status(entry.get("status"))
    # Mux does not say when it removes it
    return Master(status=status, error=_error(status, entry, asset))


def _status(value: Any) -> OutputStatus:
    return _STATUSES.get(text(value), OutputStatus.UNKNOWN)


def _error(status: OutputStatus, entry: Mapping[str, Any], asset: Mapping[str, Any]) -> str | None:
    """The reason of an output that failed: its own, else that of its asset."""
    if status is not OutputStatus.ERRORED:
        return None
    ids = [text_id(entry.get(name)) for name in ("id", "passthrough")]
    ids += [text_id(asset.get(name)) for name in ("id", "upload_id", "passthrough")]
    ids += [text_id(playback.get("id")) for playback in _objects(asset.get("playback_ids"))]
    for told in (entry.get("error"), entry.get("errors"), asset.get("errors")):
        if found := reason(told, *ids):
            return found
    return None
