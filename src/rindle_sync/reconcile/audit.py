"""The slow pass over the whole library: what everybody has missed of rows at rest, and assets without a row."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from rindle_sync.domain import (
    ATTEMPTS,
    FetchFailure,
    JobKind,
    Observation,
    ObservationSource,
    Outcome,
    ProviderAsset,
    State,
    Trigger,
    Verdict,
    decide,
    is_settled,
    redact_id,
)
from rindle_sync.errors import AuthenticationFailed
from rindle_sync.providers import Page
from rindle_sync.reconcile.apply import Applied, Observed, apply, preview
from rindle_sync.reconcile.backfill import backfill
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.fetch import (
    fetch_granted,
    is_about_row,
    raise_if_authentication_failed,
    verify_identity,
)
from rindle_sync.reconcile.full_scan import FullScan
from rindle_sync.reconcile.identity import note_identity
from rindle_sync.reconcile.list_pages import match, untracked
from rindle_sync.store import JobKey
from rindle_sync.telemetry import Audited, milliseconds, nanoseconds

AUDIT: Final = JobKind.AUDIT.value

MOST_ENDED: Final = 20
SHARE_ENDED: Final = 0.05
"""An audit that does not find more rows than this, in number and as a share of all, is not believed."""

ENOUGH_ALIVE: Final = 50
SHARE_ALIVE: Final = 0.9
"""A list that lacks so many assets which are there after all says nothing by what it lacks."""

MOST_NOTED: Final = 1000
"""How many findings a report names one by one."""

SETTLED: Final = frozenset({State.READY, State.ERRORED})

APPLIED_AT_ONCE: Final = 100

_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Drift(StrEnum):
    """How a row, or an asset, was found out of step."""

    STATE = "state"
    PLAYBACK_IDS = "playback_ids"
    POLICY = "policy"
    MISSING = "missing"
    ORPHAN = "orphan"
    REVIVED = "revived"


@dataclass(frozen=True, slots=True)
class Note:
    """One finding. `tag` is the redacted tag of the provider's id; an orphan has no row."""

    drift: Drift
    row_id: str | None
    tag: str | None
    text: str


@dataclass(slots=True)
class Report:
    """What an audit has found; `seen` counts rows that were compared."""

    outcome: Outcome = Outcome.FAILED
    rows: int = 0
    seen: int = 0
    changed: int = 0
    drift: dict[str, int] = field(default_factory=lambda: {drift.value: 0 for drift in Drift})
    adopted: int = 0
    unlisted: int = 0
    """Rows that the list lacked, and that were asked about by id."""
    alive: int = 0
    """Those of them that are there after all."""
    calls: int = 0
    pages: int = 0
    notes: list[Note] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Rows that the provider did not find."""
        return self.drift[Drift.MISSING]

    @property
    def is_alarming(self) -> bool:
        """Whether more rows would end than is to be believed."""
        return self.ended > max(MOST_ENDED, SHARE_ENDED * self.rows)

    @property
    def is_list_doubtful(self) -> bool:
        """Whether the list has lacked so much that is there that its gaps are not looked into any more."""
        return self.unlisted >= ENOUGH_ALIVE and self.alive >= SHARE_ALIVE * self.unlisted

    def note(
        self, drift: Drift, row_id: str | None, provider_asset_id: str | None, text: str
    ) -> None:
        """Count a finding, and name it."""
        self.drift[drift] += 1
        if len(self.notes) < MOST_NOTED:
            self.notes.append(Note(drift, row_id, redact_id(provider_asset_id), text))

    def figures(self) -> dict[str, Any]:
        """All but the notes, to be kept."""
        return {name: value for name, value in asdict(self).items() if name != "notes"}


async def is_audit_due(context: Context, every: timedelta) -> bool:
    """Whether it is time for an audit, or for going on with one that was broken off; never where `every` is 0."""
    standing = await context.job_runs.get(JobKey(context.provider.name, context.environment, AUDIT))
    never = standing.ended_at is None or standing.began_at is not None
    return bool(every) and (never or context.now() - (standing.ended_at or context.now()) >= every)


async def audit_if_due(
    context: Context, every: timedelta, *, keep_going: Callable[[], bool]
) -> None:
    """Make an audit if it is time for one. Raises as `audit` does."""
    if await is_audit_due(context, every):
        await audit(context, keep_going=keep_going)


async def audit(
    context: Context,
    *,
    keep_going: Callable[[], bool] = lambda: True,
    dry_run: bool = False,
    adopt: bool = False,
    accept_mass_change: bool = False,
    on_progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Compare every row at rest with the provider's list, in spare budget; one that was broken off is gone on with.

    What has changed is settled. A row that is not found is looked at once more by the sweep, `confirm` later, before
    it is `deleted`; but when they are too many, nothing is done and the outcome is `alarm`, unless it `accept_mass_change` that.
    It `adopt` assets that no row knows, if asked. A rehearsal writes nothing. `on_progress` hears of it after each page.
    Raises `AuthenticationFailed`, `DatabaseUnavailable`.
    """
    context = context.for_dry_run() if dry_run else context
    one = _Audit(FullScan(context, AUDIT, keep_going, dry_run), accept_mass_change)
    try:
        if (progress := await one.scan.begin()) is None:
            one.scan.outcome = Outcome.ALREADY_RUNNING
        else:
            await one.run(progress, on_progress)
            if adopt and not dry_run and one.scan.outcome is Outcome.DONE:
                one.report.adopted = (await backfill(context, keep_going=keep_going)).adopted
    except AuthenticationFailed:
        one.scan.outcome = Outcome.REFUSED
        raise
    except asyncio.CancelledError:
        one.scan.outcome = Outcome.STOPPED
        raise
    finally:
        one.report.outcome = one.scan.outcome
        await one.give_back()
    return one.report


@dataclass(slots=True)
class _Audit:
    scan: FullScan
    accept_mass_change: bool
    report: Report = field(default_factory=Report)
    reach: datetime | None = None
    """Down to here the rows have been compared with the list."""
    at_reach: set[str] = field(default_factory=set)
    """The assets of the last page: one moment may stand on two pages."""
    candidates: dict[str, datetime] = field(default_factory=dict)
    """Of a rehearsal; else they are in the database."""

    @property
    def context(self) -> Context:
        return self.scan.context

    @property
    def here(self) -> tuple[str, str]:
        return self.context.provider.name, self.context.environment

    async def run(self, progress: Mapping[str, Any], on_progress: Callable[[Report], None]) -> None:
        if failure := await verify_identity(self.context):
            raise_if_authentication_failed(failure)
            self.scan.break_off()
            return
        await self._go_on(progress)
        await self._compare_all(on_progress)
        if self.report.is_alarming and not self.accept_mass_change:
            self.scan.outcome = Outcome.ALARM
            await self._clear_candidates()
        elif self.scan.outcome is Outcome.DONE:
            await self._apply_candidates()
        if self.scan.outcome in {Outcome.DONE, Outcome.ALARM}:
            await self.scan.end(self.report.figures() | {"outcome": self.scan.outcome.value})

    async def _compare_all(self, on_progress: Callable[[Report], None]) -> None:
        before = self.report.calls, self.report.pages
        async for page in self.scan.each():
            is_compared = await self._compare(page)
            self.report.calls, self.report.pages = (
                before[0] + self.scan.calls,
                before[1] + self.scan.pages,
            )
            if not is_compared:
                self.scan.break_off()
                break
            await self.scan.keep(self._progress())
            on_progress(self.report)
            if self.report.is_alarming and not self.accept_mass_change:
                break

    def _progress(self) -> dict[str, Any]:
        reach = self.reach and self.reach.isoformat()
        return {"report": self.report.figures(), "reach": reach, "at_reach": sorted(self.at_reach)}

    async def _go_on(self, progress: Mapping[str, Any]) -> None:
        kept, reach = progress.get("report"), progress.get("reach")
        if kept and reach and progress.get("cursor"):
            self.report = Report(**kept)
            self.reach = datetime.fromisoformat(reach)
            self.at_reach = set(progress.get("at_reach", ()))
            return
        await self._clear_candidates()
        self.report.rows = await self.context.asset_queries.count_settled(*self.here)

    async def _compare(self, page: Page) -> bool:
        """Whether all is done that the page calls for."""
        matched = await match(self.context, page)
        if matched:
            await note_identity(self.context)
        self.report.seen += sum(row.state in SETTLED for row, _ in matched)
        await self._note_drift(
            [Observed(row, seen) for row, seen in matched if self._has_drifted(row, seen)]
        )
        await self._note_orphans(await untracked(self.context, page, matched))
        return await self._unlisted(page)

    def _has_drifted(self, row: ProviderAsset, seen: Observation) -> bool:
        now = self.context.now()
        if row.updated_at > now - self.context.schedule.floor:
            return False
        verdict = decide(row, seen, now, self.context.policy).verdict
        if verdict is Verdict.STALE and row.state is State.DELETED:
            self.report.note(
                Drift.REVIVED,
                row.id,
                row.provider_asset_id,
                "deleted here, but there at the provider",
            )
        misplaced = seen.created_at is not None and seen.created_at != row.provider_created_at
        return verdict is Verdict.CHANGED or (verdict is Verdict.UNCHANGED and misplaced)

    async def _note_drift(self, observed: Sequence[Observed]) -> None:
        """Hold back what would change a row until all is compared; settle what only says when its asset was made."""
        foreseen = preview(self.context, observed, Trigger.AUDIT, self.context.now())
        drifted = {
            one.row.id: one.observation.at for one in foreseen if one.changed and one.observation
        }
        for one in foreseen:
            if one.changed:
                self.report.note(_drift(one), one.row.id, one.row.provider_asset_id, _told(one))
        if self.scan.dry_run:
            self.report.changed += len(drifted)
            return
        if drifted:
            await self.context.job_runs.add_candidates(self.scan.key, drifted, is_missing=False)
        rest = [item for item in observed if item.row.id not in drifted]
        if rest:
            await apply(self.context, rest, Trigger.AUDIT)

    async def _note_orphans(self, orphans: Sequence[Observation]) -> None:
        for seen in orphans:
            made = f", made {seen.created_at:%Y-%m-%d %H:%M:%S} UTC" if seen.created_at else ""
            self.report.note(
                Drift.ORPHAN, None, seen.provider_asset_id, f"{seen.status or 'there'}{made}"
            )

    async def _unlisted(self, page: Page) -> bool:
        """Ask about the rows that should have stood on this page, or the one before, and did not."""
        made = [seen.created_at for seen in page.entries if seen.created_at]
        bottom = min(made, default=None) if page.cursor else _EARLIEST
        top = self.reach or self.context.now() + timedelta(days=1)
        listed = {seen.provider_asset_id for seen in page.entries if seen.provider_asset_id}
        if bottom is not None and bottom < top:
            rows = await self.context.asset_queries.made_between(*self.here, bottom, top)
            known = listed | self.at_reach
            lacking = [
                row.id
                for row in rows
                if row.provider_asset_id not in known and is_settled(row) and not row.missing_since
            ]
            if not await self._fetch(lacking):
                return False
            self.reach = bottom
            self.at_reach = {
                s.provider_asset_id or "" for s in page.entries if s.created_at == bottom
            }
        else:
            self.at_reach |= listed
        return True

    async def _fetch(self, row_ids: Sequence[str]) -> bool:
        """Ask by id; False where no more calls may be made, and some of these rows were not asked about."""
        context, rest, tries = self.context, list(row_ids), Counter[str]()
        while rest and not self._has_enough():
            if not (granted := await self.scan.take(min(len(rest), context.batch))):
                return False
            batch, rest = rest[:granted], rest[granted:]
            rows = list((await context.store.get_many(batch)).values())
            await context.rate_limiter.give_back(granted - len(rows))
            silent = await self._take_in(
                rows, await asyncio.gather(*(fetch_granted(context, row) for row in rows))
            )
            tries.update(silent)
            rest += [row_id for row_id in silent if tries[row_id] < ATTEMPTS]
        return True

    def _has_enough(self) -> bool:
        return self.report.is_list_doubtful or (
            self.report.is_alarming and not self.accept_mass_change
        )

    async def _take_in(
        self, rows: Sequence[ProviderAsset], answers: Sequence[Observation | FetchFailure]
    ) -> list[str]:
        """Settle what was answered; the rows that were not."""
        answered = [
            (row, seen)
            for row, seen in zip(rows, answers, strict=True)
            if isinstance(seen, Observation)
        ]
        gone = {row.id: seen.at for row, seen in answered if seen.gone}
        self.scan.calls += len(rows)
        self.report.unlisted += len(answered)
        self.report.alive += len(answered) - len(gone)
        self.report.seen += len(answered)
        for row in rows:
            if row.id in gone:
                self.report.note(
                    Drift.MISSING, row.id, row.provider_asset_id, "not found at the provider"
                )
        if self.scan.dry_run:
            self.candidates |= gone
        elif gone:
            await self.context.job_runs.add_candidates(self.scan.key, gone, is_missing=True)
        await self._note_drift([Observed(row, seen) for row, seen in answered if not seen.gone])
        for answer in answers:
            raise_if_authentication_failed(answer)
        return [
            row.id
            for row, answer in zip(rows, answers, strict=True)
            if isinstance(answer, FetchFailure)
        ]

    async def _apply_candidates(self) -> None:
        """The audit is to be believed: what has changed is looked at and settled, what is missing is for the sweep."""
        if self.scan.dry_run:
            return
        passes, key = self.context.job_runs, self.scan.key
        while candidates := await passes.candidates(key, APPLIED_AT_ONCE, are_missing=True):
            rows = (await self.context.store.get_many(list(candidates))).values()
            observed = [
                Observed(
                    row, Observation(source=ObservationSource.GET, at=candidates[row.id], gone=True)
                )
                for row in rows
            ]
            await apply(self.context, observed, Trigger.AUDIT)
            await passes.clear_candidates(key, list(candidates))
        while changed := await passes.candidates(key, self.context.batch, are_missing=False):
            granted = await self.scan.take(len(changed))
            if not granted:
                self.scan.break_off()
                return
            await self._apply_changed(list(changed)[:granted])

    async def _apply_changed(self, row_ids: Sequence[str]) -> None:
        """Look at rows that have changed; what is not answered is due from now on, and left to the sweep."""
        rows = list((await self.context.store.get_many(row_ids)).values())
        answers = await asyncio.gather(*(fetch_granted(self.context, row) for row in rows))
        self.scan.calls += len(rows)
        observed = [
            Observed(row, seen)
            for row, seen in zip(rows, answers, strict=True)
            if is_about_row(seen)
        ]
        applied = await apply(self.context, observed, Trigger.AUDIT) if observed else []
        self.report.changed += sum(one.changed for one in applied)
        for answer in answers:
            raise_if_authentication_failed(answer)
        unasked = {
            row.id for row, seen in zip(rows, answers, strict=True) if not is_about_row(seen)
        }
        await self.context.job_runs.clear_candidates(self.scan.key, set(row_ids) - unasked)

    async def _clear_candidates(self) -> None:
        if not self.scan.dry_run:
            await self.context.job_runs.clear_candidates(self.scan.key)

    async def give_back(self) -> None:
        try:
            await self.scan.give_back()
        finally:
            if not self.scan.dry_run and self.scan.outcome is not Outcome.ALREADY_RUNNING:
                self._emit()

    def _emit(self) -> None:
        now, report = self.context.now(), self.report
        self.context.telemetry.emit(
            Audited(
                system_time=nanoseconds(now),
                provider=self.context.provider.name,
                outcome=report.outcome.value,
                seen=report.seen,
                changed=report.changed,
                ended=report.ended,
                orphans=report.drift[Drift.ORPHAN],
                adopted=report.adopted,
                duration_ms=milliseconds(now - (self.scan.began_at or now)),
            )
        )


def _drift(applied: Applied) -> Drift:
    before, after = applied.before, applied.row
    if before.state is not after.state:
        return Drift.STATE
    same = {playback.id for playback in before.playback_ids} == {
        playback.id for playback in after.playback_ids
    }
    return Drift.POLICY if same else Drift.PLAYBACK_IDS


def _told(applied: Applied) -> str:
    before, after = applied.before, applied.row
    if before.state is not after.state:
        return f"{before.state} -> {after.state}"
    policies = [
        ", ".join(playback.policy for playback in row.playback_ids) or "none"
        for row in (before, after)
    ]
    return f"playback {' -> '.join(policies)}"
