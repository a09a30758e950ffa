"""Decide, compare-and-swap, tell: the one tail of every road."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from dataclasses import replace as replace_observation
from datetime import datetime
from typing import Any, Final

from rindle_sync.domain import (
    CHANGES,
    FETCH_SOURCES,
    Decision,
    FailureKind,
    FetchFailure,
    Observation,
    ProviderAsset,
    Trigger,
    Verdict,
    decide,
    is_news,
    log_decision,
    next_check,
    replace,
)
from rindle_sync.errors import Conflict
from rindle_sync.reconcile.context import Context
from rindle_sync.store import Change, Write, Written
from rindle_sync.telemetry import (
    Event,
    Failed,
    Resolved,
    StateChange,
    Stuck,
    UnknownStatus,
    milliseconds,
    nanoseconds,
)

TRIES: Final = 5
"""How often a row that others write meanwhile is read and decided again."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A row as it was read, and what was then seen of it; None where a verdict stands without the provider."""

    row: ProviderAsset
    observation: Observation | FetchFailure | None


@dataclass(frozen=True, slots=True)
class Applied:
    """What a finding came to, and the row before it."""

    before: ProviderAsset
    decision: Decision
    observation: Observation | FetchFailure | None

    @property
    def row(self) -> ProviderAsset:
        """The row as it stands now."""
        return self.decision.row

    @property
    def changed(self) -> bool:
        """Whether this was a real change."""
        return self.decision.verdict in CHANGES


async def apply(context: Context, observed: Sequence[Observed], trigger: Trigger) -> list[Applied]:
    """Bring the rows of `observed` to what was seen, in a constant number of statements, and tell what was written.

    A row that somebody else wrote since it was read is read and decided again. Left out is a row that is gone, or
    one whose verdict without the provider no longer stands: it stays due.
    Raises `Conflict` after `TRIES`, with all other rows settled, and `DatabaseUnavailable`.
    """
    done: list[Applied] = []
    for _ in range(TRIES):
        now = context.now()
        applied = preview(context, observed, trigger, now)
        written = await _write_and_emit(context, applied, trigger, now)
        done += [s for s in applied if s.row.id in written.ids]
        observed = await _read_again(
            context, [s for s in applied if s.row.id not in written.ids], written.clashes, now
        )
        if not observed:
            return done
    for item in observed:
        context.telemetry.emit(_failed(item.row, "conflict", context.now()))
    raise Conflict(
        f"{len(observed)} row(s) were written by others {TRIES} times in a row; nothing of ours was lost"
    )


def preview(
    context: Context, observed: Sequence[Observed], trigger: Trigger, now: datetime
) -> list[Applied]:
    """What `apply` would come to; writes and tells nothing."""
    applied = (_decided(context, item, trigger, now) for item in observed)
    return [s for s in applied if s.decision.verdict is not Verdict.NEEDS_FETCH]


async def commit(
    context: Context, before: ProviderAsset, decision: Decision, trigger: Trigger
) -> bool:
    """Write a decision that the app asked for, and tell it; False if somebody else wrote the row meanwhile."""
    now = context.now()
    written = await _write_and_emit(
        context, [_planned(context, Observed(before, None), decision, trigger, now)], trigger, now
    )
    return before.id in written.ids


async def _write_and_emit(
    context: Context, applied: Sequence[Applied], trigger: Trigger, now: datetime
) -> Written:
    writes = [Write(s.row, _change(s, trigger, now)) for s in applied]
    written = await context.store.write(writes)
    for one, write in zip(applied, writes, strict=True):
        if write.row.id in written.ids:
            for event in (*_events(one, now), *_state_change(write, now)):
                context.telemetry.emit(event)
    return written


def _decided(context: Context, observed: Observed, trigger: Trigger, now: datetime) -> Applied:
    return _planned(
        context,
        observed,
        decide(observed.row, observed.observation, now, context.policy),
        trigger,
        now,
    )


def _planned(
    context: Context, observed: Observed, decision: Decision, trigger: Trigger, now: datetime
) -> Applied:
    before, observation = observed.row, observed.observation
    check_at = next_check(decision, observation, now, context.policy, context.schedule)
    decision_log = log_decision(before.decision_log, observation, decision, trigger, now)
    after = replace(
        decision.row, check_at=check_at, decision_log=decision_log, version=before.version + 1
    )
    return Applied(before, Decision(decision.verdict, after, decision.reason), observation)


def _change(applied: Applied, trigger: Trigger, now: datetime) -> Change | None:
    if not applied.changed:
        return None
    before, after, observation = applied.before, applied.row, applied.observation
    event_at = observation.occurred_at if isinstance(observation, Observation) else None
    known_at = event_at or before.checked_at or before.updated_at
    return Change(
        row_id=after.id,
        provider_name=after.provider_name,
        environment=after.environment,
        version=after.version,
        from_state=before.state,
        to_state=after.state,
        error_kind=after.error_kind,
        trigger=trigger,
        reason=applied.decision.reason,
        at=now,
        late_ms=max(0, milliseconds(now - known_at)),
    )


async def _read_again(
    context: Context, unwritten: Sequence[Applied], clashes: Set[str], now: datetime
) -> list[Observed]:
    if not unwritten:
        return []
    fresh = await context.store.get_many([s.row.id for s in unwritten])
    return [
        Observed(
            replace(row, lease_token=s.before.lease_token),
            _clash(now) if s.row.id in clashes else _observed(s, row),
        )
        for s in unwritten
        if (row := fresh.get(s.row.id))
        and row.passthrough == s.before.passthrough  # else it was begun anew
    ]


def _observed(applied: Applied, row: ProviderAsset) -> Observation | FetchFailure | None:
    """What was seen, by one who now reads `row`: a look may be older than what others wrote meanwhile."""
    observation = applied.observation
    if (
        isinstance(observation, Observation)
        and observation.source in FETCH_SOURCES
        and is_news(applied.before, row)
    ):
        return replace_observation(observation, overtaken=True)
    return observation


def _clash(now: datetime) -> FetchFailure:
    text = "the database does not take the answer: another row holds its asset already, or a value is too long"
    return FetchFailure(kind=FailureKind.CLASH, at=now, text=text)


def _events(applied: Applied, now: datetime) -> list[Event]:
    observation = applied.observation
    if isinstance(observation, FetchFailure):
        return [_failed(applied.row, observation.kind.value, now)]
    events: list[Event] = []
    if observation and observation.source in FETCH_SOURCES:
        events.append(_synced(Resolved, applied, now))
        if observation.state is None and not observation.gone:
            events.append(_unknown(applied, observation, now))
    if applied.decision.verdict is Verdict.STUCK:
        events.append(_synced(Stuck, applied, now))
    return events


def _state_change(write: Write, now: datetime) -> list[Event]:
    change = write.change
    if change is None:
        return []
    return [
        StateChange(
            **_about(write.row, now),
            from_state=change.from_state.value,
            to_state=change.to_state.value,
            error_kind=change.error_kind.value if change.error_kind else None,
            by=change.trigger.value,
            late_ms=change.late_ms,
        )
    ]


def _synced(kind: type[Resolved], applied: Applied, now: datetime) -> Resolved:
    """`resolved` or `stuck`; the age is that of the row as it was before this sync wrote."""
    before, row, observation = applied.before, applied.row, applied.observation
    answered_stuck = (
        kind is Resolved
        and applied.decision.verdict is Verdict.STUCK
        and isinstance(observation, Observation)
    )
    return kind(
        **_about(row, now),
        provider_state=(before if answered_stuck else row).state.value,
        age_ms=milliseconds(before.age(now)),
        no_change=answered_stuck or not applied.changed,
    )


def _failed(row: ProviderAsset, reason: str, now: datetime) -> Failed:
    return Failed(**_about(row, now), reason=reason, attempt=row.check_failures)


def _unknown(applied: Applied, observation: Observation, now: datetime) -> UnknownStatus:
    row = applied.row
    return UnknownStatus(**_about(row, now), status=observation.status)


def _about(row: ProviderAsset, now: datetime) -> dict[str, Any]:
    """What every event about a row begins with."""
    return {
        "system_time": nanoseconds(now),
        "row_id": row.id,
        "reference": row.shown_reference,
        "profile": row.profile,
        "provider": row.provider_name,
        "asset_id": row.tag,
    }
