"""What is made of an asset beside its video, and may be finished later: its outputs. Pure.

An output is a track, a rendition, the master, or the recording of a live stream that goes on.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from rindle_sync.domain.asset import Observation, ObservationSource, ProviderAsset, State, replace
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

FINISHED: Final = (OutputStatus.READY, OutputStatus.ERRORED, OutputStatus.SKIPPED)
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
    """What a row takes over of the media in an observation, by field; nothing where it has it all.

    An event may be older than the one before it: it takes no output away, and none back to where it
    has not ended. See `contradicts_outputs`.
    """
    media = observation.media
    if media is None or media_values(media) == media_values(row):
        return {}
    is_event = observation.source is ObservationSource.WEBHOOK
    values = media_fields(media)
    values["tracks"] = _joined(row.tracks, media.tracks, is_event=is_event)
    values["renditions"] = _joined(row.renditions, media.renditions, is_event=is_event)
    master = media.master and _with_reason(media.master, row.master)
    if is_event and row.master:
        master = _further(master, row.master) if master else row.master
    values["master"] = master
    values["is_live"] = media.is_live and not (is_event and _is_completed(row))
    return values


def contradicts_outputs(row: ProviderAsset, observation: Observation) -> bool:
    """Whether an event takes an output back: a check decides."""
    is_event = observation.source is ObservationSource.WEBHOOK
    return is_event and takes_outputs_back(row, observation)


def takes_outputs_back(row: ProviderAsset, observation: Observation) -> bool:
    """Whether an observation lacks an output of the row, or shows one as it was before its end.

    It is the older of the two, or the output was deleted or is made again.
    """
    media = observation.media
    if media is None:
        return False
    told = output_statuses(media)
    for key, status in output_statuses(row).items():
        told_status = told.get(key)
        is_back = status in FINISHED and told_status not in FINISHED
        if key != LIVE and (told_status is None or is_back):
            return True
    return media.is_live and _is_completed(row)


def _is_completed(row: ProviderAsset) -> bool:
    """Whether the live stream is known to be over, if it is one."""
    return row.state is State.READY and row.media_updated_at is not None and not row.is_live


def _joined(before: tuple[O, ...], outputs: tuple[O, ...], *, is_event: bool) -> tuple[O, ...]:
    """`outputs` with the reasons that only an event has told; in the order of before, if equal."""
    if not before:
        return outputs
    known = {output_key(output): output for output in before}
    joined: list[O] = []
    for output in outputs:
        was = known.pop(output_key(output), None)
        with_reason = _with_reason(output, was)
        joined.append(_further(with_reason, was) if is_event and was else with_reason)
    if is_event:
        joined += known.values()
    # the provider may list them in any order
    return before if frozenset(before) == frozenset(joined) else tuple(joined)


P = TypeVar("P", Track, Rendition, Master)


def _with_reason(output: P, before: P | None) -> P:
    if output.status is not OutputStatus.ERRORED or output.error or before is None:
        return output
    return replace(output, error=before.error)


def _further(output: P, before: P) -> P:
    """The one of the two that is further on."""
    is_back = before.status in FINISHED and output.status not in FINISHED
    return before if is_back else output


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
