"""Decide, compare-and-swap, tell: the one tail of every road."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from dataclasses import replace as replace_seen
from datetime import datetime
from typing import Any, Final

from rindle_sync.asset import LOOKS, By, Lack, ProviderAsset, Seen, Silence, replace
from rindle_sync.decide import CHANGES, Decision, Verdict, decide, is_news
from rindle_sync.errors import Conflict
from rindle_sync.plan import next_check
from rindle_sync.store import Change, Write, Written
from rindle_sync.telemetry import Event, Failed, Resolved, StateChange, Stuck, UnknownStatus, milliseconds, nanoseconds
from rindle_sync.tools import Tools
from rindle_sync.trail import follow

TRIES: Final = 5
"""How often a row that others write meanwhile is read and decided again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A row as it was read, and what was then seen of it; None where a verdict stands without the provider."""

    row: ProviderAsset
    seen: Seen | Silence | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What a finding came to, and the row before it."""

    before: ProviderAsset
    decision: Decision
    seen: Seen | Silence | None

    @property
    def row(self) -> ProviderAsset:
        """The row as it stands now."""
        return self.decision.row

    @property
    def changed(self) -> bool:
        """Whether this was a real change."""
        return self.decision.verdict in CHANGES


async def settle(tools: Tools, findings: Sequence[Finding], by: By) -> list[Settled]:
    """Bring the rows of `findings` to what was seen, in a constant number of statements, and tell what was written.

    A row that somebody else wrote since it was read is read and decided again. Left out is a row that is gone, or
    one whose verdict without the provider no longer stands: it stays due.
    Raises `Conflict` after `TRIES`, with all other rows settled, and `StoreUnavailable`.
    """
    done: list[Settled] = []
    for _ in range(TRIES):
        now = tools.now()
        settled = foresee(tools, findings, by, now)
        written = await _write_and_tell(tools, settled, by, now)
        done += [s for s in settled if s.row.id in written.ids]
        findings = await _read_again(tools, [s for s in settled if s.row.id not in written.ids], written.clashes, now)
        if not findings:
            return done
    for finding in findings:
        tools.telemetry.tell(_failed(finding.row, "conflict", tools.now()))
    raise Conflict(f"{len(findings)} row(s) were written by others {TRIES} times in a row; nothing of ours was lost")


def foresee(tools: Tools, findings: Sequence[Finding], by: By, now: datetime) -> list[Settled]:
    """What `settle` would come to; writes and tells nothing."""
    settled = (_decided(tools, finding, by, now) for finding in findings)
    return [s for s in settled if s.decision.verdict is not Verdict.ASK]


async def commit(tools: Tools, before: ProviderAsset, decision: Decision, by: By) -> bool:
    """Write a decision that the app asked for, and tell it; False if somebody else wrote the row meanwhile."""
    now = tools.now()
    written = await _write_and_tell(tools, [_planned(tools, Finding(before, None), decision, by, now)], by, now)
    return before.id in written.ids


async def _write_and_tell(tools: Tools, settled: Sequence[Settled], by: By, now: datetime) -> Written:
    writes = [Write(s.row, _change(s, by, now)) for s in settled]
    written = await tools.store.write(writes)
    for one, write in zip(settled, writes, strict=True):
        if write.row.id in written.ids:
            for event in (*_events(one, now), *_state_change(write, now)):
                tools.telemetry.tell(event)
    return written


def _decided(tools: Tools, finding: Finding, by: By, now: datetime) -> Settled:
    return _planned(tools, finding, decide(finding.row, finding.seen, now, tools.policy), by, now)


def _planned(tools: Tools, finding: Finding, decision: Decision, by: By, now: datetime) -> Settled:
    before, seen = finding.row, finding.seen
    check_at = next_check(decision, seen, now, tools.policy, tools.schedule)
    trail = follow(before.trail, seen, decision, by, now)
    after = replace(decision.row, check_at=check_at, trail=trail, version=before.version + 1)
    return Settled(before, Decision(decision.verdict, after, decision.reason), seen)


def _change(settled: Settled, by: By, now: datetime) -> Change | None:
    if not settled.changed:
        return None
    before, after, seen = settled.before, settled.row, settled.seen
    event_at = seen.occurred_at if isinstance(seen, Seen) else None
    known_at = event_at or before.checked_at or before.updated_at
    return Change(
        row_id=after.id,
        provider_name=after.provider_name,
        environment=after.environment,
        version=after.version,
        from_state=before.state,
        to_state=after.state,
        error_kind=after.error_kind,
        by=by,
        reason=settled.decision.reason,
        at=now,
        late_ms=max(0, milliseconds(now - known_at)),
    )


async def _read_again(tools: Tools, unwritten: Sequence[Settled], clashes: Set[str], now: datetime) -> list[Finding]:
    if not unwritten:
        return []
    fresh = await tools.store.get_many([s.row.id for s in unwritten])
    return [
        Finding(replace(row, lease_token=s.before.lease_token), _clash(now) if s.row.id in clashes else _seen(s, row))
        for s in unwritten
        if (row := fresh.get(s.row.id)) and row.passthrough == s.before.passthrough  # else it was begun anew
    ]


def _seen(settled: Settled, row: ProviderAsset) -> Seen | Silence | None:
    """What was seen, by one who now reads `row`: a look may be older than what others wrote meanwhile."""
    seen = settled.seen
    if isinstance(seen, Seen) and seen.via in LOOKS and is_news(settled.before, row):
        return replace_seen(seen, overtaken=True)
    return seen


def _clash(now: datetime) -> Silence:
    text = "the database does not take the answer: another row holds its asset already, or a value is too long"
    return Silence(lack=Lack.CLASH, at=now, text=text)


def _events(settled: Settled, now: datetime) -> list[Event]:
    seen = settled.seen
    if isinstance(seen, Silence):
        return [_failed(settled.row, seen.lack.value, now)]
    events: list[Event] = []
    if seen and seen.via in LOOKS:
        events.append(_synced(Resolved, settled, now))
        if seen.state is None and not seen.gone:
            events.append(_unknown(settled, seen, now))
    if settled.decision.verdict is Verdict.STUCK:
        events.append(_synced(Stuck, settled, now))
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
            by=change.by.value,
            late_ms=change.late_ms,
        )
    ]


def _synced(kind: type[Resolved], settled: Settled, now: datetime) -> Resolved:
    """`resolved` or `stuck`; the age is that of the row as it was before this sync wrote."""
    before, row, seen = settled.before, settled.row, settled.seen
    answered_stuck = kind is Resolved and settled.decision.verdict is Verdict.STUCK and isinstance(seen, Seen)
    return kind(
        **_about(row, now),
        provider_state=(before if answered_stuck else row).state.value,
        age_ms=milliseconds(before.age(now)),
        no_change=answered_stuck or not settled.changed,
    )


def _failed(row: ProviderAsset, reason: str, now: datetime) -> Failed:
    return Failed(**_about(row, now), reason=reason, attempt=row.check_failures)


def _unknown(settled: Settled, seen: Seen, now: datetime) -> UnknownStatus:
    row = settled.row
    return UnknownStatus(
        **_about(row, now),
        status=seen.status,
    )


def _about(row: ProviderAsset, now: datetime) -> dict[str, Any]:
    """What every event about a row begins with."""
    return {
        "system_time": nanoseconds(now),
        "row_id": row.id,
        "profile": row.profile,
        "provider": row.provider_name,
        "asset_id": row.tag,
    }
