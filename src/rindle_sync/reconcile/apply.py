"""Decide, compare-and-swap, emit: the one way in which a row changes."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from rindle_sync.domain import (
    CHANGES,
    FETCH_SOURCES,
    MAX_ERROR_TEXT,
    ChangeKind,
    Decision,
    FailureKind,
    FetchFailure,
    Observation,
    ProviderAsset,
    Trigger,
    Verdict,
    credible,
    decide,
    finished_outputs,
    is_news,
    is_same_attempt,
    log_decision,
    media_news,
    next_check,
    replace,
)
from rindle_sync.errors import Conflict
from rindle_sync.reconcile.context import Context
from rindle_sync.store import REPLACED, Change, SupersededIds, Write, Written
from rindle_sync.telemetry import (
    Event,
    Failed,
    MediaChange,
    Resolved,
    StateChange,
    Stuck,
    UnknownStatus,
    milliseconds,
)

_log: Final = logging.getLogger("rindle_sync")

TRIES: Final = 5
"""How often a row that others write meanwhile is read and decided again."""


class Observed(Struct, frozen=True, gc=False):
    """A row as it was read, and what was then observed of it.

    The observation is None where a verdict stands without asking the provider.
    """

    row: ProviderAsset
    observation: Observation | FetchFailure | None


class Applied(Struct, frozen=True, gc=False):
    """What an observation came to, and the row before it."""

    before: ProviderAsset
    decision: Decision
    observation: Observation | FetchFailure | None

    @property
    def row(self) -> ProviderAsset:
        """The row as it stands now."""
        return self.decision.row

    @property
    def changed(self) -> bool:
        """Whether this was a real change, and not one of media alone."""
        return self.decision.verdict in CHANGES


async def apply(context: Context, observed: Sequence[Observed], trigger: Trigger) -> list[Applied]:
    """Bring rows to what was observed, and emit what was written.

    It takes a constant number of statements. A row that somebody else wrote since it was read is
    read and decided again. One with a value that the database refuses gets the reason as its error.
    Left out is a row that is gone, one that cannot be written at all, or one whose verdict without
    the provider no longer stands: it stays due. A dry run decides and writes nothing. Raises
    `Conflict` after `TRIES`, with all other rows applied, and `DatabaseUnavailable`.
    """
    if context.dry_run:
        return preview(context, observed, trigger, context.now())
    done: list[Applied] = []
    for _ in range(TRIES):
        now = context.now()
        decided = preview(context, observed, trigger, now)
        written = await _write_and_emit(context, decided, trigger, now)
        done += [applied for applied in decided if applied.row.id in written.ids]
        lost = [applied for applied in decided if applied.row.id not in written.ids]
        observed = await _read_again(context, lost, written.refused, now)
        if not observed:
            return done
    for left in observed:
        failed = Failed(reason="conflict", attempt=left.row.check_failures)
        context.telemetry.emit(failed, left.row)
    raise Conflict(
        f"{len(observed)} row(s) were written by others {TRIES} times in a row; "
        "nothing was overwritten"
    )


def preview(
    context: Context, observed: Sequence[Observed], trigger: Trigger, now: datetime
) -> list[Applied]:
    """What `apply` would come to; writes and emits nothing."""
    decided = []
    for seen in observed:
        decision = decide(seen.row, seen.observation, now, context.policy)
        if decision.verdict is not Verdict.NEEDS_FETCH:
            decided.append(_planned(context, seen, decision, trigger, now))
    return decided


async def commit(
    context: Context, before: ProviderAsset, decision: Decision, trigger: Trigger
) -> bool:
    """Write a decision of the app's own, and emit it; False if another writer was first.

    Ids of the provider that the row has no longer are superseded.
    """
    now = context.now()
    planned = _planned(context, Observed(before, None), decision, trigger, now)
    written = await _write_and_emit(context, [planned], trigger, now)
    return before.id in written.ids


async def _write_and_emit(
    context: Context, decided: Sequence[Applied], trigger: Trigger, now: datetime
) -> Written:
    writes = []
    for applied in decided:
        before, row = applied.before, applied.row
        change = _change(applied, trigger, now)
        writes.append(Write(row, before, change, _left(before, row, now)))
    written = await context.store.assets.write(writes)
    for applied, write in zip(decided, writes, strict=True):
        if write.row.id in written.ids:
            for event in _events(applied, write.change, now):
                context.telemetry.emit(event, write.row, at=now)
    return written


def _left(before: ProviderAsset, after: ProviderAsset, now: datetime) -> SupersededIds | None:
    """The ids that the row has no longer; only what the app begins anew loses any."""
    asset_id, upload_id = before.provider_asset_id, before.provider_upload_id
    if asset_id in {None, after.provider_asset_id} and upload_id in {
        None,
        after.provider_upload_id,
    }:
        return None
    return SupersededIds(
        row_id=before.id,
        provider_asset_id=asset_id if asset_id != after.provider_asset_id else None,
        provider_upload_id=upload_id if upload_id != after.provider_upload_id else None,
        reason=REPLACED,
        at=now,
    )


def _planned(
    context: Context, observed: Observed, decision: Decision, trigger: Trigger, now: datetime
) -> Applied:
    before, observation = observed.row, observed.observation
    check_at = next_check(decision, observation, now, context.policy, context.schedule)
    log = log_decision(before.decision_log, observation, decision, trigger, now)
    after = replace(decision.row, check_at=check_at, decision_log=log, version=before.version + 1)
    return Applied(before, replace(decision, row=after), observation)


def _change(applied: Applied, trigger: Trigger, now: datetime) -> Change | None:
    kind = applied.decision.kind
    if kind is None:
        return None
    before, after, observation = applied.before, applied.row, applied.observation
    occurred_at = None
    if isinstance(observation, Observation):
        occurred_at = credible(observation.occurred_at, now)
    known_at = occurred_at or before.checked_at or before.updated_at
    change = Change(
        row_id=after.id,
        reference=after.reference,
        provider_name=after.provider_name,
        environment=after.environment,
        version=after.version,
        from_state=before.state,
        to_state=after.state,
        error_kind=after.error_kind,
        trigger=trigger,
        reason=applied.decision.reason,
        at=now,
        late_ms=milliseconds(now - known_at),
        kind=kind,
    )
    return _of_media(change, applied) if kind is ChangeKind.MEDIA else change


def _of_media(change: Change, applied: Applied) -> Change:
    ended = finished_outputs(applied.before, applied.row)
    is_reported = change.trigger is Trigger.WEBHOOK
    return replace(
        change,
        reason=", ".join(applied.decision.media),
        outputs=dict.fromkeys(ended, is_reported) or None,
    )


async def _read_again(
    context: Context, lost: Sequence[Applied], refused: Mapping[str, str], now: datetime
) -> list[Observed]:
    """The rows to decide again, as they are now; those that the database refused say why.

    Left out are rows that the app untracked or began anew, and those that take not even the reason.
    """
    if not lost:
        return []
    fresh = await context.store.assets.get_many([applied.row.id for applied in lost])
    observed = []
    for applied in lost:
        row, before = fresh.get(applied.row.id), applied.before
        if row is None or not is_same_attempt(before, row):
            continue
        observation = _observation_of(applied, row)
        if row.id in refused:
            if _was_refused(applied):
                about = row.id, row.shown_reference, refused[row.id]
                _log.error("row %s (%s) cannot be written, not even its error: %s", *about)
                continue
            text = refusal_text(refused[row.id])
            observation = FetchFailure(kind=FailureKind.CLASH, at=now, text=text)
        # the lease is still ours: what others have read of the row may not free it
        observed.append(Observed(replace(row, lease_token=before.lease_token), observation))
    return observed


def _was_refused(applied: Applied) -> bool:
    observation = applied.observation
    return isinstance(observation, FetchFailure) and observation.kind is FailureKind.CLASH


def refusal_text(reason: str) -> str:
    """Why an answer could not be written, in letters that every database has."""
    text = f"the database does not take the answer: {reason}"
    return text.encode("ascii", "backslashreplace").decode()[:MAX_ERROR_TEXT]


def _observation_of(applied: Applied, row: ProviderAsset) -> Observation | FetchFailure | None:
    """The same observation, against `row`: a check may be older than what others have written."""
    observation = applied.observation
    if not isinstance(observation, Observation) or observation.source not in FETCH_SOURCES:
        return observation
    before = applied.before
    is_overtaken = is_news(before, row) or bool(media_news(before, row))
    return replace(observation, overtaken=True) if is_overtaken else observation


def _events(applied: Applied, change: Change | None, now: datetime) -> Iterator[Event]:
    observation = applied.observation
    if isinstance(observation, FetchFailure):
        yield Failed(reason=observation.kind.value, attempt=applied.row.check_failures)
    else:
        if observation and observation.source in FETCH_SOURCES:
            yield _synced(Resolved, applied, now)
            if observation.state is None and not observation.gone:
                yield UnknownStatus(status=observation.status)
        if applied.decision.verdict is Verdict.STUCK:
            yield _synced(Stuck, applied, now)
    if change and change.kind is ChangeKind.MEDIA:
        yield MediaChange(
            state=change.to_state.value,
            fields=change.reason,
            by=change.trigger.value,
            late_ms=change.late_ms,
        )
    elif change:
        yield StateChange(
            from_state=change.from_state.value,
            to_state=change.to_state.value,
            error_kind=change.error_kind.value if change.error_kind else None,
            by=change.trigger.value,
            late_ms=change.late_ms,
        )


def _synced(event: type[Resolved], applied: Applied, now: datetime) -> Resolved:
    """`resolved` or `stuck`; the age is that of the row as it was before this sync wrote."""
    before, row = applied.before, applied.row
    is_stuck = applied.decision.verdict is Verdict.STUCK
    answered_stuck = event is Resolved and is_stuck and applied.observation is not None
    return event(
        provider_state=(before if answered_stuck else row).state.value,
        age_ms=milliseconds(before.age(now)),
        no_change=answered_stuck or not applied.changed,
    )
