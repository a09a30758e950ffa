"""What must be so of the media of rows: tracks, renditions, masters, recordings, titles."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rindle_sync.domain import MEDIA_FIELDS, ChangeKind
from rindle_sync.emulator.environment import Output, Truth
from rindle_sync.emulator.ids import derive
from simulation.history import Noted, Written
from simulation.world import World

_OF_STATE: Final = frozenset({"state", "error_kind", "playback_ids", "provider_asset_id"})
"""The columns whose change is one of kind `state`."""

_STATUSES: Final = {
    "preparing": "processing",
    "ready": "ready",
    "errored": "errored",
    "skipped": "skipped",
}
"""What a row calls the states of an output."""

_KINDS: Final = {"text": "captions", "audio": "audio"}

Shown = tuple[str, str, str]
"""An output as a row shows it: its kind, its id or the name of its file, its status."""


def media_changes(world: World) -> Iterator[str]:
    """Media that differ are one line in the outbox, and never move the time of the state."""
    lines = Counter((e.what.row_id, e.what.version) for e in world.history.of(Noted))
    for (row_id, version), number in lines.items():
        if number > 1:
            yield f"changes: {row_id} v{version} is noted {number} times"
    kinds = {(e.what.row_id, e.what.version): e.what.kind for e in world.history.of(Noted)}
    for entry in world.history.of(Written):
        written: Written = entry.what
        row = f"{written.row_id} v{written.to_version}"
        fields = written.moved & {*MEDIA_FIELDS}
        is_state = bool(written.moved & _OF_STATE)
        kind = kinds.get((written.row_id, written.to_version))
        right = ChangeKind.STATE if is_state else ChangeKind.MEDIA
        if fields and kind != right:
            names = ", ".join(sorted(fields))
            yield f"media: {row} has other {names}, and is noted as {kind}, not as {right}"
        if fields and not is_state and "updated_at" in written.moved:
            yield f"media: {row} differs in its media alone, and its updated_at was moved"
        if written.reopened and not world.plan.lag:
            yield f"media: {row} has an output under way that had ended"
        if written.lost_reason:
            yield f"media: {row} has forgotten why an output failed"
        if not fields and kind == ChangeKind.MEDIA:
            yield f"media: {row} is noted, and no media differ"
        if not fields and "media_updated_at" in written.moved:
            yield f"media: {row} has another media_updated_at, and no media differ"


def media_at_rest(world: World, row: Mapping[str, Any], *, is_audited: bool) -> Iterator[str]:
    """A row shows what the provider does; without audits, at least no output that has ended."""
    asset_id = row["provider_asset_id"]
    truth = world.emulator.truth(asset_id)
    shown, true = shown_outputs(row), true_outputs(truth)
    for output in shown - true:
        if is_audited or output[2] == "processing":
            yield f"media: {row['id']} shows {_told(output)}, and the provider does not"
    if row["is_live"] > truth.is_live or (is_audited and row["is_live"] != truth.is_live):
        yield f"media: {row['id']} has is_live {row['is_live']}, which is wrong"
    if not is_audited:
        return
    for output in true - shown:
        yield f"media: {row['id']} does not show {_told(output)}"
    title = (world.title(asset_id) or {}).get("title")
    if row["title"] != title:
        yield f"media: {row['id']} is called {row['title']}, and its asset {title}"
    if row["duration"] != truth.seconds:
        yield f"media: {row['id']} lasts {row['duration']} s, and its asset {truth.seconds}"


def is_watched(row: Mapping[str, Any]) -> bool:
    """Whether a row shows an output that has not ended."""
    return bool(row["is_live"]) or any(status == "processing" for *_, status in shown_outputs(row))


def shown_outputs(row: Mapping[str, Any]) -> set[Shown]:
    """What a row shows, without the audio of the video itself."""
    own_audio = derive(row["provider_asset_id"] or "", "audio")
    shown = {
        (track["kind"], track["id"], track["status"])
        for track in _json(row["tracks"])
        if track["id"] != own_audio
    }
    shown |= {("rendition", file["name"], file["status"]) for file in _json(row["renditions"])}
    master = _json(row["master"])
    return shown | {("master", "", master["status"])} if master else shown


def true_outputs(truth: Truth) -> set[Shown]:
    """The same by the provider."""
    return {_true(output) for output in truth.outputs}


def _true(output: Output) -> Shown:
    status = _STATUSES[output.state]
    if output.kind in _KINDS:
        return _KINDS[output.kind], output.id, status
    return ("master", "", status) if output.name is None else ("rendition", output.name, status)


def _told(output: Shown) -> str:
    kind, _, status = output
    return f"a {kind} that is {status}"


def _json(found: Any) -> Any:
    return json.loads(found) if isinstance(found, str) else found
