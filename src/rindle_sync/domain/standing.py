"""How a row stands: whether it is settled, needs a call, is past its threshold. Pure."""

from datetime import datetime
from operator import attrgetter
from typing import Final

from rindle_sync.domain.asset import IN_FLIGHT, WATCHED, Due, ProviderAsset, State, replace
from rindle_sync.domain.clocks import is_ahead
from rindle_sync.domain.decision import Policy, StuckPolicy

_KNOWN_AT: Final = ("observed_at", "last_event_at", "checked_at", "missing_since")
_read_known_at: Final = attrgetter(*_KNOWN_AT)


def without_wrong_times(row: ProviderAsset, now: datetime) -> ProviderAsset:
    """The row without the times that no right clock can have written: they are unknown.

    Else every check would count as stale, and every event as old, until these times have come.
    """
    if row.state is State.DELETED:
        return row
    wrong: dict[str, datetime | None] = {}
    for name, moment in zip(_KNOWN_AT, _read_known_at(row), strict=True):
        if moment is not None and is_ahead(moment, now):
            wrong[name] = None
    # still to be confirmed: counted from now on
    if is_ahead(row.playback_absent_since, now):
        wrong["playback_absent_since"] = now
    return replace(row, **wrong) if wrong else row


def needs_fetch(row: ProviderAsset | Due, now: datetime, policy: Policy) -> bool:
    """Whether a verdict on `row` needs a call to the provider."""
    if policy.stuck_policy is StuckPolicy.DECLARE and is_past_threshold(row, now, policy):
        return False
    return row.is_fetchable or row.is_unclear


def is_past_threshold(row: ProviderAsset | Due, now: datetime, policy: Policy) -> bool:
    """Whether the row is in flight for longer than the stuck threshold."""
    return row.state in IN_FLIGHT and row.age(now) > policy.stuck_threshold


def is_settled(row: ProviderAsset | Due) -> bool:
    """Whether the provider has finished with the asset of the row.

    Only the audit checks it again, but for outputs of it that are still being made.
    """
    if row.state is State.ERRORED:
        return row.error_kind not in WATCHED
    return row.state is State.READY


def is_news(before: ProviderAsset, after: ProviderAsset) -> bool:
    """Whether the provider's truth differs between the two."""
    if before.state is not after.state or before.error_kind is not after.error_kind:
        return True
    if before.provider_asset_id != after.provider_asset_id:
        return True
    if before.playback_ids == after.playback_ids:
        return False
    # the provider may list playback ids in any order
    return frozenset(before.playback_ids) != frozenset(after.playback_ids)
