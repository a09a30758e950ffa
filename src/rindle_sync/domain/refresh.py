"""What a row takes over from an observation beside its state: playback ids and metadata. Pure."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rindle_sync.domain.asset import (
    WHOLE_SOURCES,
    FetchFailure,
    Observation,
    PlaybackId,
    ProviderAsset,
    State,
    replace,
)
from rindle_sync.domain.decision import Verdict
from rindle_sync.domain.outputs import contradicts_outputs, media_news


def is_refreshed(before: ProviderAsset, after: ProviderAsset) -> bool:
    """Whether an answer that is no news says more of the asset than is stored."""
    return (
        before.raw_provider_metadata != after.raw_provider_metadata
        or before.absent_playback_ids != after.absent_playback_ids
        or before.provider_created_at != after.provider_created_at
        or bool(media_news(before, after))
    )


def known_metadata(row: ProviderAsset, observation: Observation) -> Mapping[str, Any] | None:
    """The asset as it was observed; what the row has where that is equal, or not observed.

    Where it is the row's own, it needs not be written again.
    """
    shown, stored = observation.metadata, row.raw_provider_metadata
    return stored if not shown or shown == stored else shown


def joined_playback_ids(row: ProviderAsset, observation: Observation) -> tuple[PlaybackId, ...]:
    """Those of the observation first, then those of the row that it lacks: one may have erred."""
    if observation.playback_ids is None or observation.playback_ids == row.playback_ids:
        return row.playback_ids
    listed = {playback.id for playback in observation.playback_ids}
    kept = [playback for playback in row.playback_ids if playback.id not in listed]
    return (*observation.playback_ids, *kept)


def absent_playback_ids(row: ProviderAsset, observation: Observation) -> tuple[str, ...]:
    """The playback ids of the row that an observation of its asset as ready lacks."""
    if observation.state is not State.READY or observation.playback_ids == row.playback_ids:
        return ()
    listed = {playback.id for playback in observation.playback_ids or ()}
    return tuple(sorted({playback.id for playback in row.playback_ids} - listed))


def without_absent(
    row: ProviderAsset, after: ProviderAsset, observation: Observation, confirm: timedelta
) -> ProviderAsset:
    """`after`, without the playback ids that two whole answers lacked, `confirm` apart."""
    if observation.source not in WHOLE_SOURCES:
        return after
    absent, since = absent_playback_ids(row, observation), row.playback_absent_since
    if not absent:
        if not after.absent_playback_ids and after.playback_absent_since is None:
            return after
        return replace(after, absent_playback_ids=(), playback_absent_since=None)
    # a first answer, or a time that a clock ahead has left: only one later than this may remove
    if absent != row.absent_playback_ids or since is None or since > observation.at:
        return replace(after, absent_playback_ids=absent, playback_absent_since=observation.at)
    if observation.at - since < confirm:
        return after
    left = tuple(playback for playback in after.playback_ids if playback.id not in absent)
    return replace(after, playback_ids=left, absent_playback_ids=(), playback_absent_since=None)


def is_newer(row: ProviderAsset, observation: Observation) -> bool:
    """Whether a webhook's event occurred after the last check was answered."""
    checked_at, occurred_at = row.checked_at, observation.occurred_at
    return checked_at is None or (occurred_at is not None and occurred_at > checked_at)


def has_doubtful_outputs(
    row: ProviderAsset, observation: Observation | FetchFailure | None, verdict: Verdict
) -> bool:
    """Whether a check is to say which outputs there are: an event that counts contradicts."""
    if not isinstance(observation, Observation) or not contradicts_outputs(row, observation):
        return False
    if verdict is Verdict.UNCHANGED:
        return is_newer(row, observation)
    return verdict is Verdict.CHANGED


def newer_metadata(row: ProviderAsset, observation: Observation) -> Mapping[str, Any] | None:
    """The snapshot of a webhook, unless the last check was answered after its event."""
    if not is_newer(row, observation):
        return row.raw_provider_metadata
    return known_metadata(row, observation)
