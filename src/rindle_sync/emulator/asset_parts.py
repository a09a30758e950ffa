"""Makes the parts of an asset from the checked fields of a request."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rindle_sync.emulator.environment import Environment
from rindle_sync.emulator.lifecycle import Asset, Life, Lives
from rindle_sync.emulator.parts import (
    Master,
    MasterAccess,
    Resolution,
    StaticRendition,
    Track,
    TrackDetails,
    TrackType,
)
from rindle_sync.emulator.requests import TRACK_UPDATE
from rindle_sync.emulator.validation import reject

_DEFAULT_LANGUAGE: Final = "en"


def add_parts(
    environment: Environment, asset: Asset, options: Mapping[str, Any], lives: Lives, now: float
) -> None:
    """Make all tracks, static renditions and the master that a new asset was asked for with."""
    for number, given in enumerate(options.get("inputs", options.get("input", []))):
        kind = given.get("type")
        # the first input is the video itself, whatever its type
        if number and kind in list(TrackType):
            add_track(environment, asset, given, lives.track, now)
        add_subtitles(environment, asset, given.get("generated_subtitles", []), lives.track, now)
    for given in options.get("static_renditions", []):
        add_rendition(environment, asset, given, lives.static_rendition, now)
    set_master_access(environment, asset, options.get("master_access"), lives.master, now)


def add_track(
    environment: Environment, asset: Asset, given: Mapping[str, Any], life: Life, now: float
) -> Track:
    """Make a text or audio track."""
    details = {name: given[name] for name in TRACK_UPDATE if name in given}
    return environment.create_track(
        asset, now, kind=given["type"], details=TrackDetails(**details), life=life
    )


def add_subtitles(
    environment: Environment,
    asset: Asset,
    wanted: Sequence[Mapping[str, Any]],
    life: Life,
    now: float,
) -> list[Track]:
    """Make one text track for each entry of `generated_subtitles`."""
    return [
        environment.create_track(
            asset,
            now,
            kind=TrackType.TEXT,
            details=TrackDetails(**{"language_code": _DEFAULT_LANGUAGE, **subtitles}),
            life=life,
            is_generated=True,
        )
        for subtitles in wanted
    ]


def add_rendition(
    environment: Environment, asset: Asset, given: Mapping[str, Any], life: Life, now: float
) -> StaticRendition:
    """Make a static rendition; an asset has at most one of each resolution."""
    resolution = Resolution(given["resolution"])
    for present in asset.parts_of(StaticRendition, now):
        if present.resolution is resolution:
            reject("resolution", f"{resolution} exists already; delete that static rendition first")
    passthrough = given.get("passthrough")
    return environment.create_rendition(
        asset, now, resolution=resolution, life=life, passthrough=passthrough
    )


def set_master_access(
    environment: Environment, asset: Asset, access: str | None, life: Life, now: float
) -> None:
    """Prepare the master, or remove it; None changes nothing."""
    masters = asset.parts_of(Master, now)
    if access == MasterAccess.TEMPORARY and not masters:
        environment.create_master(asset, now, life)
    if access == MasterAccess.NONE:
        for master in masters:
            environment.delete_part(master, now)
