"""What becomes of a row, given an observation of it. The only code that chooses a state; pure.

The first line that fits decides. docs/how-it-works.md has the same table, docs/decisions.md the
reasons; tests/domain/test_decide.py compares the tables and checks every line.

| observed                                | against the row                         | verdict      |
|-----------------------------------------|-----------------------------------------|--------------|
| any                                     | `deleted`                               | stale        |
| nothing yet                             | in flight past the threshold, `declare` | stuck        |
| nothing yet                             | asset asked for, no answer              | needs_fetch  |
| nothing yet                             | `pending` past the grace, without an id | changed      |
| nothing yet                             | anything else without an id             | unchanged    |
| nothing yet                             | anything else                           | needs_fetch  |
| about another asset or upload           | has an asset or upload                  | stale        |
| a check begun before the newest applied | anything                                | stale        |
| a check or an event of an upload        | has its asset                           | stale        |
| a check, overtaken by others' news      | says otherwise, and is not behind       | ambiguous    |
| a look for its asset, not there         | asset asked for, within the grace       | unchanged    |
| a look for its asset, not there         | asset asked for, past the grace         | changed      |
| a check, 404                            | not settled                             | changed      |
| a check, 404                            | settled                                 | missing_once |
| a check, second 404, too soon           | settled                                 | unchanged    |
| a check, second 404                     | settled                                 | changed      |
| a check, unknown status word            | anything                                | unchanged    |
| a check, in flight                      | `errored` as `stuck`                    | unchanged    |
| a check, in flight                      | same state, past the threshold          | stuck        |
| a check, lacks playback ids             | `ready`, and all else is the same       | unchanged    |
| a check, lacks the same ones later      | `ready`, and all else is the same       | changed      |
| a check                                 | same state, same playback ids           | unchanged    |
| a check                                 | anything else                           | changed      |
| a webhook, repeated                     | anything                                | stale        |
| a webhook, lower rank                   | anything                                | stale        |
| a webhook, older, says no more          | anything                                | stale        |
| a webhook about outputs                 | shows them so already                   | unchanged    |
| a webhook, unknown type or status word  | anything                                | ambiguous    |
| a webhook, but for a deletion           | `errored`, its asset was not found      | ambiguous    |
| a webhook, higher rank                  | anything                                | changed      |
| a webhook, same rank, names an asset    | has no asset yet                        | changed      |
| a webhook, same rank                    | same state, same playback ids           | unchanged    |
| a webhook, same rank                    | same state, in flight                   | changed      |
| a webhook, same rank                    | anything else                           | ambiguous    |
| a fetch failure                         | anything                                | unanswered   |
"""

from datetime import datetime
from typing import Any, Final

from rindle_sync.domain.asset import (
    IN_FLIGHT,
    ErrorKind,
    FailureKind,
    FetchFailure,
    Observation,
    ObservationSource,
    ProviderAsset,
    State,
    contradiction,
    is_of_upload,
    replace,
    with_credible_time,
)
from rindle_sync.domain.attempt import attempt_age, not_begun, not_listed
from rindle_sync.domain.clocks import is_ahead
from rindle_sync.domain.decision import Decision, Policy, StuckPolicy, Verdict
from rindle_sync.domain.media import MEDIA_FIELDS, media_values
from rindle_sync.domain.outputs import (
    ends_output,
    media_news,
    media_of,
    shows_output,
    takes_outputs_back,
    with_output,
)
from rindle_sync.domain.refresh import (
    absent_playback_ids,
    has_doubtful_outputs,
    is_newer,
    joined_playback_ids,
    known_metadata,
    newer_metadata,
    without_absent,
)
from rindle_sync.domain.standing import is_news, is_past_threshold, is_settled, without_wrong_times

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
"""Restores the reason of an errored row whose text a failed check has overwritten."""


def decide(
    row: ProviderAsset,
    observation: Observation | FetchFailure | None,
    now: datetime,
    policy: Policy,
) -> Decision:
    """What becomes of `row`; `observation` is None before anything is fetched."""
    decision = _decide(without_wrong_times(row, now), observation, now, policy)
    if has_doubtful_outputs(row, observation, decision.verdict):
        decision = replace(decision, is_doubtful=True)
    news = media_news(row, decision.row)
    if not news:
        return decision
    return replace(decision, row=replace(decision.row, media_updated_at=now), media=news)


def _decide(
    row: ProviderAsset,
    observation: Observation | FetchFailure | None,
    now: datetime,
    policy: Policy,
) -> Decision:
    if observation is None:
        return _without_answer(row, now, policy)
    if isinstance(observation, Observation):
        observation = with_credible_time(observation, now)
    if reason := _stale(row, observation):
        return Decision(Verdict.STALE, row, reason)
    if isinstance(observation, FetchFailure):
        failures = row.check_failures
        # a call that the provider did not process says nothing about this row
        if observation.kind not in {FailureKind.THROTTLED, FailureKind.REFUSED}:
            failures += 1
        after = replace(row, last_sync_error=observation.text, check_failures=failures)
        return Decision(Verdict.UNANSWERED, after, observation.kind.value)
    if observation.source is ObservationSource.WEBHOOK:
        return _from_webhook(row, observation, now)
    return _from_fetch(row, observation, now, policy)


def _without_answer(row: ProviderAsset, now: datetime, policy: Policy) -> Decision:
    if policy.stuck_policy is StuckPolicy.DECLARE and is_past_threshold(row, now, policy):
        return _stuck(row, row, now)
    if row.is_fetchable or row.is_unclear:
        return Decision(Verdict.NEEDS_FETCH, row, "the provider knows")
    if row.state is State.PENDING and attempt_age(row, now) >= policy.begin_grace:
        return not_begun(row, now)
    # no check will ever date such a row: its wait begins now
    known = replace(row, updated_at=now) if is_ahead(row.updated_at, now) else row
    return Decision(Verdict.UNCHANGED, known, "there is no id to fetch by")


def _stale(row: ProviderAsset, observation: Observation | FetchFailure) -> str | None:
    """Why the observation must not be applied; None if it may be."""
    if row.state is State.DELETED:
        return "a tombstone is never revived"
    if isinstance(observation, Observation):
        if reason := _about_something_else(row, observation):
            return reason
        if observation.source is ObservationSource.WEBHOOK:
            return _stale_event(row, observation)
    if row.observed_at and observation.at < row.observed_at:
        return "the check began before the newest one applied"
    return None


def _about_something_else(row: ProviderAsset, observation: Observation) -> str | None:
    if other := contradiction(row, observation):
        return f"it is about another {other}"
    if row.provider_asset_id and is_of_upload(observation):
        return "it is about the upload, and the row has its asset by now"
    if observation.source is ObservationSource.APP:
        is_begun = row.state in {State.PENDING, State.UPLOADING}
        return None if is_begun else "the row was ended meanwhile"
    return None


def _stale_event(row: ProviderAsset, observation: Observation) -> str | None:
    if observation.event_id and observation.event_id == row.last_event_id:
        return "the same event again"
    if observation.state and _RANK[observation.state] < _rank(row):
        return "the row is further on"
    # what an event means beats what its time says: stamps tie, contradict, and may be wrong
    if _is_older(row, observation) and not _says_more(row, observation):
        return "the event is older than the last one applied"
    return None


def _is_older(row: ProviderAsset, observation: Observation) -> bool:
    """Whether the event occurred before the last one that changed the row."""
    occurred_at, last = observation.occurred_at, row.last_event_at
    return occurred_at is not None and last is not None and occurred_at < last


def _says_more(row: ProviderAsset, observation: Observation) -> bool:
    """Whether the event is further on than the row or its output, or names the asset it lacks."""
    if observation.state is None:
        return ends_output(row, observation)
    ahead = _RANK[observation.state] - _rank(row)
    links = row.provider_asset_id is None and observation.provider_asset_id is not None
    return ahead > 0 or (links and ahead == 0)


def _rank(row: ProviderAsset) -> int:
    """How far the row has come: an error that rindle-sync declared counts as processing."""
    if row.state is State.ERRORED and row.error_kind not in {None, ErrorKind.PROVIDER}:
        return _RANK[State.PROCESSING]
    return _RANK[row.state]


def _from_webhook(row: ProviderAsset, observation: Observation, now: datetime) -> Decision:
    state = observation.state
    if state is None:
        return _from_later_event(row, observation)
    was_not_found = row.error_kind is ErrorKind.NOT_FOUND and row.provider_asset_id
    if was_not_found and state is not State.DELETED:
        reason = f"the event says {state}, and the provider did not find it"
        return Decision(Verdict.AMBIGUOUS, row, reason)
    after = _become(row, observation)
    if _says_more(row, observation):
        is_older = _is_older(row, observation)
        reason = f"the event says {state}" + (", and is older than the last one" * is_older)
        changed = replace(after, updated_at=now)
        return Decision(Verdict.CHANGED, changed, reason, is_doubtful=is_older)
    if not (is_news(row, after) or _lacks_playback_ids(row, observation)):
        newer = _newer_snapshot(row, observation)
        if newer["raw_provider_metadata"] == row.raw_provider_metadata:
            # an event that changed nothing must not make later ones look older
            after = replace(after, last_event_id=row.last_event_id, last_event_at=row.last_event_at)
        after = replace(after, **newer)
        return Decision(Verdict.UNCHANGED, after, "the event says nothing new")
    if after.state is row.state and row.state in IN_FLIGHT:
        return _changed(after, now, "the event says more about the asset")
    reason = f"the event says {state}, the row says {row.state}"
    if after.state is row.state:
        reason = "the event has other playback ids than the row"
    return Decision(Verdict.AMBIGUOUS, row, reason)


def _from_later_event(row: ProviderAsset, observation: Observation) -> Decision:
    """An event about outputs: what it shows of them is taken over, and a check brings the rest."""
    after = replace(row, **_newer_snapshot(row, observation))
    after = with_output(after, observation, is_newer=is_newer(row, observation))
    shown = replace(row, **media_of(row, observation))
    is_shown = observation.media is not None and row.state is State.READY and shown == row
    if after == row and (is_shown or shows_output(row, observation)):
        return Decision(Verdict.UNCHANGED, row, "the row shows it already")
    return Decision(Verdict.AMBIGUOUS, after, "the event does not say the state")


def _newer_snapshot(row: ProviderAsset, observation: Observation) -> dict[str, Any]:
    """Metadata and media: those of the event, unless the last check was answered after it."""
    media = media_of(row, observation)
    if not is_newer(row, observation):
        media = dict(zip(MEDIA_FIELDS, media_values(row), strict=True))
    return {"raw_provider_metadata": newer_metadata(row, observation), **media}


def _lacks_playback_ids(row: ProviderAsset, observation: Observation) -> bool:
    return observation.playback_ids is not None and bool(absent_playback_ids(row, observation))


def _from_fetch(
    row: ProviderAsset, observation: Observation, now: datetime, policy: Policy
) -> Decision:
    # before all else: not even a 404 counts against what was written during the call
    if observation.overtaken and _contradicts(row, observation, policy):
        return Decision(Verdict.AMBIGUOUS, row, "others wrote during the check what it did not see")
    if observation.gone:
        return _missing(row, observation, now, policy)
    if observation.state is None or _still_stuck(row, observation):
        known = "still in flight, and so still stuck"
        reason = known if observation.state else "an unknown status"
        return Decision(Verdict.UNCHANGED, _checked(row, observation, now), reason)
    after = _become(row, observation, checked_at=now, check_failures=0, missing_since=None)
    if after.state is row.state and is_past_threshold(row, now, policy):
        return _stuck(row, after, now)
    after = without_absent(row, after, observation, policy.confirm)
    if not is_news(row, after):
        absent = "playback ids are absent, to be confirmed"
        reason = absent if after.absent_playback_ids else "in sync"
        return Decision(Verdict.UNCHANGED, after, reason)
    gone = len(after.playback_ids) < len(row.playback_ids)
    reason = "playback ids are gone" if gone else f"the provider says {observation.state}"
    return _changed(after, now, reason)


def _contradicts(row: ProviderAsset, observation: Observation, policy: Policy) -> bool:
    """Whether an answer says other than the row, and is not mere progress."""
    if observation.gone:
        return True
    if takes_outputs_back(row, observation):
        return True
    if observation.state is None or _still_stuck(row, observation):
        return False
    is_further = _RANK[observation.state] > _rank(row)
    after = without_absent(row, _become(row, observation), observation, policy.confirm)
    return not is_further and is_news(row, after)


def _missing(
    row: ProviderAsset, observation: Observation, now: datetime, policy: Policy
) -> Decision:
    if row.is_unclear:
        return not_listed(_checked(row, observation, now), now, policy)
    checked = replace(_checked(row, observation, now), missing_since=row.missing_since)
    if not is_settled(row):
        about = "asset" if row.provider_asset_id else "upload"
        text = observation.error_text or f"{row.provider_name} {about} not found"
        after = replace(
            checked, state=State.ERRORED, error_kind=ErrorKind.NOT_FOUND, last_sync_error=text
        )
        if row.error_kind is ErrorKind.NOT_FOUND:
            return Decision(Verdict.UNCHANGED, after, "still not found")
        return _changed(after, now, "not found")
    # one 404 may be a fault of the provider: only a second one, some time later, deletes the row
    if row.missing_since is None:
        after = replace(checked, missing_since=observation.at)
        return Decision(Verdict.MISSING_ONCE, after, "not found, to be confirmed")
    if observation.at - row.missing_since < policy.confirm:
        return Decision(Verdict.UNCHANGED, checked, "not found again, too soon to count")
    ended = replace(
        checked, state=State.DELETED, error_kind=None, last_sync_error=None, missing_since=None
    )
    return _changed(ended, now, "not found twice")


def _checked(row: ProviderAsset, observation: Observation, now: datetime) -> ProviderAsset:
    """The row after an answer that leaves its state; the text of an earlier failed check goes."""
    text = row.last_sync_error
    if row.check_failures or row.error_kind is None:
        text = _LOST_REASON.get(row.error_kind)
    return replace(
        row,
        **media_of(row, observation),
        raw_provider_metadata=known_metadata(row, observation),
        observed_at=observation.at,
        checked_at=now,
        check_failures=0,
        missing_since=None,
        last_sync_error=text,
    )


def _still_stuck(row: ProviderAsset, observation: Observation) -> bool:
    """Whether a stuck verdict stands: an answer in flight lifts it only if it links the asset."""
    links = row.provider_asset_id is None and observation.provider_asset_id is not None
    return row.error_kind is ErrorKind.STUCK and observation.state in IN_FLIGHT and not links


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


def _become(row: ProviderAsset, observation: Observation, **checked: Any) -> ProviderAsset:
    """The row as the observation describes it, with `checked`; what it does not mention stays."""
    values: dict[str, Any] = checked | {
        **media_of(row, observation),
        "provider_asset_id": row.provider_asset_id or observation.provider_asset_id,
        "raw_provider_metadata": known_metadata(row, observation),
        "playback_ids": joined_playback_ids(row, observation),
        "provider_created_at": observation.created_at or row.provider_created_at,
        # a webhook may be processed after a check that began later
        "observed_at": max(row.observed_at or observation.at, observation.at),
        "last_sync_error": None,
    }
    if observation.state:
        values |= {"state": observation.state, "error_kind": None}
    if observation.state and observation.state is not State.READY:
        values |= {"absent_playback_ids": (), "playback_absent_since": None}
    if observation.state is State.ERRORED:
        text = observation.error_text or f"{row.provider_name} says errored"
        values["error_kind"] = observation.error_kind or ErrorKind.PROVIDER
        values["last_sync_error"] = text
    # only a row that still waits for its asset takes an upload id over
    if not row.provider_asset_id:
        values["provider_upload_id"] = row.provider_upload_id or observation.provider_upload_id
    if observation.source is ObservationSource.WEBHOOK:
        values["last_event_id"] = observation.event_id
        occurred = [at for at in (row.last_event_at, observation.occurred_at) if at]
        values["last_event_at"] = max(occurred, default=None)
    return replace(row, **values)
