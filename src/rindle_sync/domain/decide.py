"""What becomes of a row, given what was seen of it. The only code that chooses a state; pure.

| seen by                        | against the row                         | verdict                                   |
|--------------------------------|-----------------------------------------|-------------------------------------------|
| any observation                | a tombstone                             | stale                                     |
| nothing in hand                | in flight past the threshold, "declare" | stuck                                     |
| nothing in hand                | pending past the grace, without any id  | changed: errored, upload not begun        |
| nothing in hand                | anything else                           | ask                                       |
| look begun before the newest   | anything                                | stale                                     |
| look at an upload              | with its asset by now                   | stale                                     |
| look, overtaken by news        | not behind it, and other than it says   | doubted: another look decides             |
| look                           | same state, same playback ids           | unchanged                                 |
| look, in flight                | same state, past the threshold          | stuck                                     |
| look, in flight                | errored as stuck                        | unchanged: an answer in flight is no news |
| look                           | anything else                           | changed: the row becomes that             |
| look, a word we do not know    | anything                                | unchanged                                 |
| look, 404                      | not settled by the provider             | changed: errored, not found               |
| look, 404                      | at rest                                 | suspected; the second, later: deleted     |
| webhook, higher rank           | anything, but for the next line         | changed: the row becomes that             |
| webhook, not of its deletion   | errored, its asset not found            | doubted: a look decides                   |
| webhook, same rank             | without the asset that the event names  | changed: the row becomes that             |
| webhook, lower rank or older   | anything                                | stale                                     |
| webhook, same rank             | same state, same playback ids           | unchanged                                 |
| webhook, same rank             | in flight, same state                   | changed: playback ids come in             |
| webhook, anything else         | anything                                | doubted: a look decides                   |
| silence                        | anything                                | unanswered: only its text is kept         |
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from rindle_sync.domain.asset import (
    IN_FLIGHT,
    WATCHED,
    Due,
    ErrorKind,
    FailureKind,
    FetchFailure,
    Observation,
    ObservationSource,
    ProviderAsset,
    State,
    replace,
)

_RANK: Final = {
    State.PENDING: 0,
    State.UPLOADING: 1,
    State.PROCESSING: 2,
    State.READY: 3,
    State.ERRORED: 3,
    State.DELETED: 4,
}
_LOST_REASON: Final[dict[ErrorKind | None, str]] = {
    ErrorKind.PROVIDER: "errored at the provider",
    ErrorKind.STUCK: "stuck past threshold",
    ErrorKind.NOT_FOUND: "not found",
    ErrorKind.UPLOAD: "the upload failed",
}
"""What stands for a reason that the text of a failed look has overwritten."""


class StuckPolicy(StrEnum):
    """What to do with a row in flight past the threshold."""

    DECLARE = "declare"
    ASK_FIRST = "ask-first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that a verdict depends on."""

    stuck_threshold: timedelta = timedelta(seconds=7200)
    stuck_policy: StuckPolicy = StuckPolicy.DECLARE
    confirm: timedelta = timedelta(minutes=10)
    """How far apart two 404s must be to end a row at rest."""
    begin_grace: timedelta = timedelta(minutes=10)
    """How long a row may wait for its direct upload to be made."""


class Verdict(StrEnum):
    """What `decide` came to."""

    NEEDS_FETCH = "ask"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    STUCK = "stuck"
    MISSING_ONCE = "suspected"
    STALE = "stale"
    AMBIGUOUS = "doubted"
    UNANSWERED = "unanswered"


CHANGES: Final = frozenset({Verdict.CHANGED, Verdict.STUCK})
"""The verdicts that are a real change of the row."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, the row as it should become, and the reason in a few words."""

    verdict: Verdict
    row: ProviderAsset
    reason: str


def decide(
    row: ProviderAsset,
    observation: Observation | FetchFailure | None,
    now: datetime,
    policy: Policy,
) -> Decision:
    """What becomes of `row`; `observation` is None while nothing is in hand."""
    if observation is None:
        return _without_answer(row, now, policy)
    if reason := _stale(row, observation):
        return Decision(Verdict.STALE, row, reason)
    if isinstance(observation, FetchFailure):
        return _unanswered(row, observation)
    if observation.source is ObservationSource.WEBHOOK:
        return _from_webhook(row, observation, now)
    return _from_fetch(row, observation, now, policy)


def needs_fetch(row: ProviderAsset | Due, now: datetime, policy: Policy) -> bool:
    """Whether nothing can be said about `row` without the provider."""
    return row.is_fetchable and not (
        policy.stuck_policy is StuckPolicy.DECLARE and _past_threshold(row, now, policy)
    )


def _without_answer(row: ProviderAsset, now: datetime, policy: Policy) -> Decision:
    if needs_fetch(row, now, policy):
        return Decision(Verdict.NEEDS_FETCH, row, "the provider knows")
    if policy.stuck_policy is StuckPolicy.DECLARE and _past_threshold(row, now, policy):
        return _stuck(row, row, now)
    if row.state is State.PENDING and row.age(now) >= policy.begin_grace:
        text = f"{row.provider_name} upload was not begun"
        ended = replace(row, state=State.ERRORED, error_kind=ErrorKind.UPLOAD, last_sync_error=text)
        return _changed(ended, now, "the upload was not begun")
    return Decision(Verdict.UNCHANGED, row, "there is nothing to ask by")


def restart(row: ProviderAsset, fresh: ProviderAsset, now: datetime) -> Decision | None:
    """The row begun anew as `fresh`, where the app wants that of a row that has failed; None for any other row."""
    if row.state is not State.ERRORED:
        return None
    return _changed(
        replace(fresh, id=row.id, inserted_at=row.inserted_at, observed_at=now), now, "begun anew"
    )


def _stale(row: ProviderAsset, observation: Observation | FetchFailure) -> str | None:
    if row.state is State.DELETED:
        return "a tombstone is never revived"
    if isinstance(observation, Observation) and (reason := _about_something_else(row, observation)):
        return reason
    if isinstance(observation, Observation) and observation.source is ObservationSource.WEBHOOK:
        return _stale_event(row, observation)
    if row.observed_at and observation.at < row.observed_at:
        return "the look began before the newest one applied"
    return None


def _about_something_else(row: ProviderAsset, observation: Observation) -> str | None:
    if row.provider_asset_id and observation.provider_asset_id not in {None, row.provider_asset_id}:
        return "it is about another asset"
    if row.provider_asset_id and observation.source is ObservationSource.UPLOAD:
        return "it is about the upload, and the row has its asset by now"
    if observation.source is ObservationSource.APP and row.state not in {
        State.PENDING,
        State.UPLOADING,
    }:
        return "the row was ended meanwhile"
    return None


def _stale_event(row: ProviderAsset, observation: Observation) -> str | None:
    if observation.event_id and observation.event_id == row.last_event_id:
        return "the same event again"
    if (
        row.last_event_at
        and observation.occurred_at
        and observation.occurred_at < row.last_event_at
    ):
        return "the event is older than the last one applied"
    if observation.state and _RANK[observation.state] < _rank(row):
        return "the row is further on"
    return None


def _rank(row: ProviderAsset) -> int:
    """How far on the row is; a verdict of ours knows less than the provider, and counts as processing."""
    ours = row.error_kind not in {None, ErrorKind.PROVIDER}
    return _RANK[State.PROCESSING] if row.state is State.ERRORED and ours else _RANK[row.state]


def _unanswered(row: ProviderAsset, failure: FetchFailure) -> Decision:
    attempt = 0 if failure.kind in {FailureKind.THROTTLED, FailureKind.REFUSED} else 1
    after = replace(row, last_sync_error=failure.text, check_failures=row.check_failures + attempt)
    return Decision(Verdict.UNANSWERED, after, failure.kind.value)


def _from_webhook(row: ProviderAsset, observation: Observation, now: datetime) -> Decision:
    after = _become(row, observation)
    if observation.state is None:
        return Decision(Verdict.AMBIGUOUS, row, "the event says nothing that we know")
    if (
        row.error_kind is ErrorKind.NOT_FOUND
        and row.provider_asset_id
        and observation.state is not State.DELETED
    ):
        return Decision(
            Verdict.AMBIGUOUS,
            row,
            f"the event says {observation.state}, and the provider did not find it",
        )
    links = row.provider_asset_id is None and observation.provider_asset_id is not None
    if _RANK[observation.state] > _rank(row) or (links and _RANK[observation.state] == _rank(row)):
        return _changed(after, now, f"the event says {observation.state}")
    if _truth(after) == _truth(row):
        return Decision(Verdict.UNCHANGED, after, "the event says what we know")
    if after.state is row.state and row.state in IN_FLIGHT:
        return _changed(after, now, "the event tells more of the asset")
    return Decision(
        Verdict.AMBIGUOUS, row, f"the event says {observation.state}, the row says {row.state}"
    )


def _from_fetch(
    row: ProviderAsset, observation: Observation, now: datetime, policy: Policy
) -> Decision:
    if observation.overtaken and _contradicts(row, observation):
        return Decision(Verdict.AMBIGUOUS, row, "others wrote what we did not see, while we asked")
    return (
        _missing(row, observation, now, policy)
        if observation.gone
        else _answer(row, observation, now, policy)
    )


def _contradicts(row: ProviderAsset, observation: Observation) -> bool:
    """Whether an answer says other than the row, and not merely that things have gone on since."""
    if observation.gone or observation.state is None or _still_stuck(row, observation):
        return observation.gone
    return _RANK[observation.state] <= _rank(row) and _truth(_become(row, observation)) != _truth(
        row
    )


def _missing(
    row: ProviderAsset, observation: Observation, now: datetime, policy: Policy
) -> Decision:
    looked = replace(_checked(row, observation, now), missing_since=row.missing_since)
    if not is_settled(row):
        return _not_found(row, looked, now)
    if row.missing_since is None:
        return Decision(
            Verdict.MISSING_ONCE,
            replace(looked, missing_since=observation.at),
            "not found, to be confirmed",
        )
    if observation.at - row.missing_since < policy.confirm:
        return Decision(Verdict.UNCHANGED, looked, "not found again, too soon to tell")
    ended = replace(
        looked, state=State.DELETED, error_kind=None, last_sync_error=None, missing_since=None
    )
    return _changed(ended, now, "not found twice")


def is_settled(row: ProviderAsset | Due) -> bool:
    """Whether the provider has settled the row, so that nobody looks at it again but the audit."""
    return row.state is State.READY or (
        row.state is State.ERRORED and row.error_kind not in WATCHED
    )


def _not_found(row: ProviderAsset, looked: ProviderAsset, now: datetime) -> Decision:
    text = f"{row.provider_name} {'asset' if row.provider_asset_id else 'upload'} not found"
    after = replace(
        looked, state=State.ERRORED, error_kind=ErrorKind.NOT_FOUND, last_sync_error=text
    )
    if row.error_kind is ErrorKind.NOT_FOUND:
        return Decision(Verdict.UNCHANGED, after, "still not found")
    return _changed(after, now, "not found")


def _answer(
    row: ProviderAsset, observation: Observation, now: datetime, policy: Policy
) -> Decision:
    if observation.state is None:
        return Decision(
            Verdict.UNCHANGED, _checked(row, observation, now), "a status that we do not know"
        )
    if _still_stuck(row, observation):
        return Decision(
            Verdict.UNCHANGED,
            _checked(row, observation, now),
            "still in flight, and so still stuck",
        )
    after = _become(row, observation, checked_at=now, check_failures=0, missing_since=None)
    if after.state is row.state and _past_threshold(row, now, policy):
        return _stuck(row, after, now)
    if _truth(after) == _truth(row):
        return Decision(Verdict.UNCHANGED, after, "in step")
    return _changed(after, now, f"the provider says {observation.state}")


def _checked(row: ProviderAsset, observation: Observation, now: datetime) -> ProviderAsset:
    """The row after an answer that tells nothing of its state; the text of an earlier lack of answers goes."""
    failed = row.check_failures > 0 or row.error_kind is None
    text = _LOST_REASON.get(row.error_kind) if failed else row.last_sync_error
    return replace(
        row,
        observed_at=observation.at,
        checked_at=now,
        check_failures=0,
        missing_since=None,
        last_sync_error=text,
    )


def _past_threshold(row: ProviderAsset | Due, now: datetime, policy: Policy) -> bool:
    return row.state in IN_FLIGHT and row.age(now) > policy.stuck_threshold


def _still_stuck(row: ProviderAsset, observation: Observation) -> bool:
    """An answer in flight does not lift a stuck verdict, unless it brings the asset that the row was waiting for."""
    linked = row.provider_asset_id is None and observation.provider_asset_id is not None
    return row.error_kind is ErrorKind.STUCK and observation.state in IN_FLIGHT and not linked


def _stuck(row: ProviderAsset, after: ProviderAsset, now: datetime) -> Decision:
    text = f"stuck in :{row.state} past threshold"
    errored = replace(
        after,
        state=State.ERRORED,
        error_kind=ErrorKind.STUCK,
        last_sync_error=text,
        check_failures=0,
        updated_at=now,
    )
    return Decision(Verdict.STUCK, errored, text)


def _changed(after: ProviderAsset, now: datetime, reason: str) -> Decision:
    return Decision(Verdict.CHANGED, replace(after, updated_at=now), reason)


def is_news(before: ProviderAsset, after: ProviderAsset) -> bool:
    """Whether the provider's truth in the two is another."""
    return _truth(before) != _truth(after)


def _truth(row: ProviderAsset) -> tuple[object, ...]:
    """All that counts as a real change when it differs."""
    return row.state, row.error_kind, frozenset(row.playback_ids), row.provider_asset_id


def _become(row: ProviderAsset, observation: Observation, **looked: Any) -> ProviderAsset:
    """The row as the provider describes it; what the provider does not speak of stays, but for `checked`."""
    state = row.state if observation.state is None else observation.state
    event = observation.source is ObservationSource.WEBHOOK
    return replace(
        row,
        state=state,
        error_kind=_error_kind(row, observation),
        last_sync_error=_error_text(row, observation),
        playback_ids=row.playback_ids
        if observation.playback_ids is None
        else observation.playback_ids,
        provider_asset_id=row.provider_asset_id or observation.provider_asset_id,
        provider_upload_id=row.provider_upload_id
        or (None if row.provider_asset_id else observation.provider_upload_id),
        raw_provider_metadata=observation.metadata or row.raw_provider_metadata,
        provider_created_at=observation.created_at or row.provider_created_at,
        observed_at=max(row.observed_at, observation.at) if row.observed_at else observation.at,
        last_event_id=observation.event_id if event else row.last_event_id,
        last_event_at=observation.occurred_at if event else row.last_event_at,
        **looked,
    )


def _error_kind(row: ProviderAsset, observation: Observation) -> ErrorKind | None:
    if observation.state is None:
        return row.error_kind
    return (
        (observation.error_kind or ErrorKind.PROVIDER)
        if observation.state is State.ERRORED
        else None
    )


def _error_text(row: ProviderAsset, observation: Observation) -> str | None:
    if observation.state is State.ERRORED:
        return observation.error_text or f"{row.provider_name} says errored"
    return None
