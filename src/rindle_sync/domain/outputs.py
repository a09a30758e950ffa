"""What is made of an asset beside its video, and may be finished later: its outputs. Pure.

An output is a track, a rendition, the master, or the recording of a live stream that goes on.
"""

from collections.abc import Mapping
from dataclasses import replace as replaced
from typing import Any, Final, TypeVar

from rindle_sync.domain.asset import Observation, ProviderAsset, replace
from rindle_sync.domain.media import (
    MEDIA_FIELDS,
    Master,
    Media,
    OutputStatus,
    Rendition,
    Track,
    media_fields,
    media_values,
)

O = TypeVar("O", Track, Rendition)  # noqa: E741  an output

FINISHED: Final = frozenset({OutputStatus.READY, OutputStatus.ERRORED, OutputStatus.SKIPPED})
"""The statuses at which the provider has ended its work."""

MASTER: Final = "master"
LIVE: Final = "live"


def output_key(output: Track | Rendition) -> str:
    """What tells an output apart from the others of its asset."""
    if isinstance(output, Track):
        return f"track {output.id}"
    return f"rendition {output.name}"


def output_statuses(media: ProviderAsset | Media) -> dict[str, OutputStatus]:
    """The status of each output, by its key."""
    outputs: tuple[Track | Rendition, ...] = (*media.tracks, *media.renditions)
    statuses = {output_key(output): output.status for output in outputs}
    if media.master:
        statuses[MASTER] = media.master.status
    if media.is_live:
        statuses[LIVE] = OutputStatus.PROCESSING
    return statuses


def has_unfinished_outputs(row: ProviderAsset) -> bool:
    """Whether the provider still makes something of the asset."""
    return OutputStatus.PROCESSING in output_statuses(row).values()


def finished_outputs(before: ProviderAsset, after: ProviderAsset) -> list[str]:
    """The keys of the outputs that have ended between the two.

    None where `before` had no media yet: they may have ended long ago.
    """
    if before.media_updated_at is None:
        return []
    known, statuses = output_statuses(before), output_statuses(after)
    finished = [
        key
        for key, status in statuses.items()
        if status in FINISHED and known.get(key) not in FINISHED
    ]
    if before.is_live and not after.is_live:
        finished.append(LIVE)
    return finished


def media_news(before: ProviderAsset, after: ProviderAsset) -> tuple[str, ...]:
    """The names of the fields of `Media` in which the two differ."""
    was, now_is = media_values(before), media_values(after)
    if was == now_is:
        return ()
    compared = zip(MEDIA_FIELDS, was, now_is, strict=True)
    return tuple(name for name, old, new in compared if old != new)


def media_of(row: ProviderAsset, observation: Observation) -> Mapping[str, Any]:
    """What a row takes over of the media in an observation, by field; nothing where it has none."""
    media = observation.media
    if media is None:
        return {}
    values = media_fields(media)
    values["tracks"] = _joined(row.tracks, media.tracks)
    values["renditions"] = _joined(row.renditions, media.renditions)
    values["master"] = media.master and _with_reason(media.master, row.master)
    return values


def _joined(before: tuple[O, ...], outputs: tuple[O, ...]) -> tuple[O, ...]:
    """`outputs` with the reasons that only an event has told; in the order of before, if equal."""
    if not before:
        return outputs
    known = {output_key(output): output for output in before}
    joined = tuple(_with_reason(output, known.get(output_key(output))) for output in outputs)
    # the provider may list them in any order
    return before if frozenset(before) == frozenset(joined) else joined


P = TypeVar("P", Track, Rendition, Master)


def _with_reason(output: P, before: P | None) -> P:
    if output.status is not OutputStatus.ERRORED or output.error or before is None:
        return output
    return replaced(output, error=before.error)


def shows_output(row: ProviderAsset, observation: Observation) -> bool:
    """Whether the row shows the output that an event is about with the event's status."""
    output = observation.output
    if output is None:
        return False
    status = output_statuses(row).get(output_key(output))
    return status is None if observation.output_gone else status is output.status


def ends_output(row: ProviderAsset, observation: Observation) -> bool:
    """Whether an event says that an output has ended which the row shows unfinished."""
    output = observation.output
    if output is None or observation.output_gone or output.status not in FINISHED:
        return False
    status = output_statuses(row).get(output_key(output))
    return status is not None and status not in FINISHED


def with_output(row: ProviderAsset, observation: Observation, *, is_newer: bool) -> ProviderAsset:
    """The row with the output that an event is about, where the event says more of it.

    An output that the row lacks is only taken from an event that `is_newer` than the last check:
    it may have been deleted since.
    """
    output = observation.output
    if output is None or observation.output_gone or output.status is OutputStatus.UNKNOWN:
        return row
    is_new = is_newer and output_key(output) not in output_statuses(row)
    if not is_new and not ends_output(row, observation):
        return row
    if isinstance(output, Track):
        return replace(row, tracks=_put(row.tracks, output))
    return replace(row, renditions=_put(row.renditions, output))


def _put(outputs: tuple[O, ...], output: O) -> tuple[O, ...]:
    """`outputs` with `output` in its place, or at the end."""
    key, is_known = output_key(output), False
    put: list[O] = []
    for known in outputs:
        is_same = output_key(known) == key
        is_known = is_known or is_same
        put.append(output if is_same else known)
    if not is_known:
        put.append(output)
    return tuple(put)
