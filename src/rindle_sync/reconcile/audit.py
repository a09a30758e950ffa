"""The slow full pass: what was missed of settled rows, and assets that no row knows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import asdict

from rindle_sync.domain import (
    ATTEMPTS,
    FetchFailure,
    Observation,
    ObservationSource,
    Outcome,
    ProviderAsset,
    State,
    Trigger,
    Verdict,
    decide,
    is_refreshed,
    is_settled,
    redact_id,
)
from rindle_sync.gateway import Fetched
from rindle_sync.providers import Page
from rindle_sync.reconcile.apply import Applied, Observed, apply, preview
from rindle_sync.reconcile.audit_time import AUDIT
from rindle_sync.reconcile.backfill import backfill
from rindle_sync.reconcile.context import Context
from rindle_sync.reconcile.full_scan import FullScan, read_report
from rindle_sync.reconcile.list_pages import match, untracked
from rindle_sync.reconcile.sweep_run import noting_outcome
from rindle_sync.telemetry import Audited, milliseconds

MOST_ENDED: Final = 20
SHARE_ENDED: Final = 0.05
"""An audit that misses more rows than this, in number and as a share, is not believed."""

ENOUGH_ALIVE: Final = 50
SHARE_ALIVE: Final = 0.9
"""A list that lacks so many assets which are there after all says nothing by what it lacks."""

MOST_NOTED: Final = 1000
"""How many findings a report names one by one."""

SETTLED: Final = frozenset({State.READY, State.ERRORED})

APPLIED_AT_ONCE: Final = 100

_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Drift(StrEnum):
    """How a row, or an asset, was found out of sync."""

    STATE = "state"
    """The row's state was another one."""
    PLAYBACK_IDS = "playback_ids"
    """Its playback ids were others."""
    POLICY = "policy"
    """Its playback ids were the same, with another policy."""
    MISSING = "missing"
    """The provider does not find the asset."""
    ORPHAN = "orphan"
    """An asset without a row; `--adopt` makes one."""
    REVIVED = "revived"
    """`deleted` here, but listed at the provider; the row stays as it is."""


class Note(Struct, frozen=True):
    """One finding. `tag` is the redacted tag of the provider's id; an orphan has no row."""

    drift: Drift
    row_id: str | None
    tag: str | None
    text: str


class Report(Struct):
    """What an audit has found."""

    outcome: Outcome = Outcome.FAILED
    rows: int = 0
    """Rows that were settled at the beginning."""
    seen: int = 0
    """Those of them that were compared."""
    changed: int = 0
    drift: dict[str, int] = field(default_factory=lambda: {drift.value: 0 for drift in Drift})
    adopted: int = 0
    """Rows that were made of assets without one."""
    unlisted: int = 0
    """Rows that the list lacked and that were fetched by id."""
    alive: int = 0
    """Those of them whose assets are there."""
    calls: int = 0
    pages: int = 0
    notes: list[Note] = field(default_factory=list)
    """The first 1,000 findings of this run."""
    retry_after: float | None = None
    """Seconds until the next call is allowed, where the rate limit ended the audit."""

    @property
    def ended(self) -> int:
        """Rows that the provider did not find."""
        return self.drift[Drift.MISSING]

    @property
    def is_list_doubtful(self) -> bool:
        """Whether the list lacks so many assets that exist that its gaps say nothing."""
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
        figures = asdict(self)
        del figures["notes"]
        return figures


async def audit(
    context: Context,
    *,
    keep_going: Callable[[], bool] = lambda: True,
    adopt: bool = False,
    accept_mass_change: bool = False,
    on_progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Compare every settled row with the provider's list, in spare calls.

    An interrupted audit is resumed. What has changed is applied. A row that is not found is checked
    once more by the sweep, `confirm` later, before it is `deleted`; but when they are too many,
    nothing is done and the outcome is `alarm`, unless the caller accepts a mass change. With
    `adopt` assets that no row knows get one. A dry run writes nothing. `on_progress` is called
    after each page. Raises `AuthenticationFailed`, `DatabaseUnavailable`.
    """
    run = _Audit(context, FullScan(context, AUDIT, keep_going), accept_mass_change)
    try:
        with noting_outcome(run.scan):
            progress = await run.scan.begin()
            if progress is not None:
                await run.run(progress, on_progress)
                if adopt and not context.dry_run and run.scan.outcome is Outcome.DONE:
                    filled = await backfill(context, keep_going=keep_going)
                    run.report.adopted = filled.adopted
    finally:
        report = run.report
        report.outcome, report.retry_after = run.scan.outcome, run.scan.retry_after
        try:
            await run.scan.release()
        finally:
            if report.outcome is not Outcome.ALREADY_RUNNING:
                now = context.now()
                context.telemetry.emit(
                    Audited(
                        outcome=report.outcome.value,
                        seen=report.seen,
                        changed=report.changed,
                        ended=report.ended,
                        orphans=report.drift[Drift.ORPHAN],
                        adopted=report.adopted,
                        duration_ms=milliseconds(now - (run.scan.began_at or now)),
                    )
                )
    return run.report


class _Audit(Struct):
    context: Context
    scan: FullScan
    accept_mass_change: bool
    report: Report = field(default_factory=Report)
    reach: datetime | None = None
    """Down to here the rows have been compared with the list."""
    at_reach: set[str] = field(default_factory=set)
    """The assets of the last page: one moment may stand on two pages."""

    @property
    def must_stop(self) -> bool:
        """Whether more rows would end than is to be believed."""
        most = max(MOST_ENDED, SHARE_ENDED * self.report.rows)
        return self.report.ended > most and not self.accept_mass_change

    async def run(self, progress: Mapping[str, Any], on_progress: Callable[[Report], None]) -> None:
        await self._resume(progress)
        await self._compare_all(on_progress)
        if self.must_stop:
            self.scan.outcome = Outcome.ALARM
            if not self.context.dry_run:
                await self.context.store.job_runs.clear_candidates()
        elif self.scan.outcome is Outcome.DONE and not self.context.dry_run:
            await self._apply_missing()
            await self._apply_changed()
        if self.scan.outcome in {Outcome.DONE, Outcome.ALARM}:
            await self.scan.end(self.report.figures() | {"outcome": self.scan.outcome.value})

    async def _resume(self, progress: Mapping[str, Any]) -> None:
        report, reach = read_report(progress.get("report"), Report), progress.get("reach")
        if report and reach and progress.get("cursor"):
            self.report = report
            # another version may not have counted every kind of drift
            report.drift = Report().drift | report.drift
            self.reach = datetime.fromisoformat(reach)
            self.at_reach = set(progress.get("at_reach", ()))
            return
        # what an interrupted scan has saved is of no use: begin at the top
        self.scan.cursor = None
        if not self.context.dry_run:
            await self.context.store.job_runs.clear_candidates()
        self.report.rows = await self.context.store.queries.count_settled()

    async def _compare_all(self, on_progress: Callable[[Report], None]) -> None:
        calls, pages = self.report.calls, self.report.pages
        async for page in self.scan.each():
            is_compared = await self._compare(page)
            self.report.calls = calls + self.scan.calls
            self.report.pages = pages + self.scan.pages
            if not is_compared:
                self.scan.interrupt()
                break
            reach, at_reach = self.reach and self.reach.isoformat(), sorted(self.at_reach)
            figures = self.report.figures()
            await self.scan.save({"report": figures, "reach": reach, "at_reach": at_reach})
            on_progress(self.report)
            if self.must_stop:
                break

    async def _compare(self, page: Page) -> bool:
        """Whether all is done that the page calls for."""
        matched = await match(self.context, page)
        if matched:
            await self.context.gateway.identity.learn()
        drifted = []
        for row, observation in matched:
            self.report.seen += row.state in SETTLED
            if self._has_drifted(row, observation):
                drifted.append(Observed(row, observation))
        await self._note_drift(drifted)
        for orphan in await untracked(self.context, page, matched):
            created = orphan.created_at
            made = f", made {created:%Y-%m-%d %H:%M:%S} UTC" if created else ""
            text = f"{orphan.status or 'there'}{made}"
            self.report.note(Drift.ORPHAN, None, orphan.provider_asset_id, text)
        return await self._check_unlisted(page)

    def _has_drifted(self, row: ProviderAsset, observation: Observation) -> bool:
        now = self.context.now()
        if row.has_changed_since(now - self.context.schedule.floor, now):
            return False
        decision = decide(row, observation, now, self.context.policy)
        verdict = decision.verdict
        if verdict is Verdict.STALE and row.state is State.DELETED:
            text = "deleted here, but there at the provider"
            self.report.note(Drift.REVIVED, row.id, row.provider_asset_id, text)
        return verdict is Verdict.CHANGED or is_refreshed(row, decision.row)

    async def _note_drift(self, observed: Sequence[Observed]) -> None:
        """Hold back what would change a row; what only says more of its asset is applied."""
        drifted: dict[str, datetime] = {}
        for applied in preview(self.context, observed, Trigger.AUDIT, self.context.now()):
            if applied.changed and applied.observation:
                row = applied.row
                drifted[row.id] = applied.observation.at
                drift, text = _drift(applied)
                self.report.note(drift, row.id, row.provider_asset_id, text)
            elif set(applied.row.absent_playback_ids) - set(applied.before.absent_playback_ids):
                text = "playback ids are absent, to be confirmed"
                row_id, provider_asset_id = applied.row.id, applied.row.provider_asset_id
                self.report.note(Drift.PLAYBACK_IDS, row_id, provider_asset_id, text)
        if self.context.dry_run:
            self.report.changed += len(drifted)
            return
        if drifted:
            await self.context.store.job_runs.add_candidates(drifted, is_missing=False)
        rest = [seen for seen in observed if seen.row.id not in drifted]
        if rest:
            await apply(self.context, rest, Trigger.AUDIT)

    async def _check_unlisted(self, page: Page) -> bool:
        """Fetch the rows that should have stood on this page, or the one before, and did not."""
        bottom = min(page.created, default=None) if page.cursor else _EARLIEST
        top = self.reach or datetime.max.replace(tzinfo=UTC)  # a wrong clock may have dated rows
        listed = {entry.provider_asset_id for entry in page.entries if entry.provider_asset_id}
        if bottom is None or bottom >= top:
            self.at_reach |= listed
            return True
        known, unlisted = listed | self.at_reach, []
        for row in await self.context.store.queries.made_between(bottom, top):
            is_known = row.provider_asset_id in known or row.missing_since
            if not is_known and is_settled(row):
                unlisted.append(row.id)
        if not await self._fetch(unlisted):
            return False
        self.reach = bottom
        at_bottom = [entry for entry in page.entries if entry.created_at == bottom]
        self.at_reach = {entry.provider_asset_id or "" for entry in at_bottom}
        return True

    async def _fetch(self, row_ids: Sequence[str]) -> bool:
        """Fetch by id; False where no more calls may be made, and some were not fetched."""
        rest, attempts = list(row_ids), Counter[str]()
        while rest and not (self.report.is_list_doubtful or self.must_stop):
            fetched, batch = await self._fetch_batch(rest)
            if not batch:
                return False
            rest = rest[len(batch) :]
            unanswered = await self._take_in(fetched)
            if fetched.error:
                raise fetched.error
            attempts.update(unanswered)
            rest += [row_id for row_id in unanswered if attempts[row_id] < ATTEMPTS]
        return True

    async def _fetch_batch(self, row_ids: Sequence[str]) -> tuple[Fetched, Sequence[str]]:
        """Fetch the first of these rows, as many as calls are granted; what came of which rows."""
        context = self.context
        granted = await self.scan.take(min(len(row_ids), context.batch))
        batch = row_ids[:granted]
        rows = list((await context.store.assets.get_many(batch)).values())
        await context.gateway.reads.give_back(granted - len(rows))
        fetched = await context.gateway.fetch_all(rows)
        self.scan.calls += fetched.calls
        return fetched, batch

    async def _take_in(self, fetched: Fetched) -> list[str]:
        """Note what was answered about rows that the list lacks; the rows without an answer."""
        report, unanswered = self.report, list(fetched.skipped)
        present: list[Observed] = []
        missing: dict[str, datetime] = {}
        for row, observation in fetched.observed:
            if isinstance(observation, FetchFailure):
                unanswered.append(row.id)
            elif observation.gone:
                missing[row.id] = observation.at
                text = "not found at the provider"
                report.note(Drift.MISSING, row.id, row.provider_asset_id, text)
            else:
                present.append(Observed(row, observation))
        report.unlisted += len(present) + len(missing)
        report.alive += len(present)
        report.seen += len(present) + len(missing)
        if missing and not self.context.dry_run:
            await self.context.store.job_runs.add_candidates(missing, is_missing=True)
        await self._note_drift(present)
        return unanswered

    async def _apply_missing(self) -> None:
        """The audit is believed: each missing row counts as missing once; the sweep confirms it."""
        store = self.context.store
        while missing := await store.job_runs.candidates(APPLIED_AT_ONCE, are_missing=True):
            observed = []
            for row in (await store.assets.get_many(list(missing))).values():
                gone = Observation(source=ObservationSource.GET, at=missing[row.id], gone=True)
                observed.append(Observed(row, gone))
            await apply(self.context, observed, Trigger.AUDIT)
            # last: after a crash they are applied again
            await store.job_runs.clear_candidates(list(missing))

    async def _apply_changed(self) -> None:
        """Fetch and apply the rows that have changed; a row without an answer is left due."""
        job_runs = self.context.store.job_runs
        while changed := await job_runs.candidates(self.context.batch, are_missing=False):
            fetched, batch = await self._fetch_batch(list(changed))
            if not batch:
                self.scan.interrupt()
                return
            observed = [Observed(row, observation) for row, observation in fetched.observed]
            if observed:
                for applied in await apply(self.context, observed, Trigger.AUDIT):
                    self.report.changed += applied.changed
            if fetched.error:
                raise fetched.error
            await job_runs.clear_candidates(set(batch) - set(fetched.skipped))


def _drift(applied: Applied) -> tuple[Drift, str]:
    """How a row was out of sync, and the same in words."""
    before, after = applied.before, applied.row
    if before.state is not after.state:
        return Drift.STATE, f"{before.state} -> {after.state}"
    ids, policies = [], []
    for row in (before, after):
        ids.append({playback.id for playback in row.playback_ids})
        policies.append(", ".join(playback.policy for playback in row.playback_ids) or "none")
    drift = Drift.POLICY if ids[0] == ids[1] else Drift.PLAYBACK_IDS
    return drift, f"playback {policies[0]} -> {policies[1]}"
