"""The slow pass over the whole library: what everybody has missed of rows at rest, and assets without a row."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from rindle_sync.asset import By, ProviderAsset, Seen, Silence, State, Via, redact_id
from rindle_sync.backfill import backfill
from rindle_sync.browse import match, strangers
from rindle_sync.decide import Verdict, at_rest, decide
from rindle_sync.errand import Step
from rindle_sync.errors import Refused
from rindle_sync.look import ask, ask_identity, is_about_row, note_identity, stop_if_refused
from rindle_sync.plan import ATTEMPTS
from rindle_sync.providers.base import Page
from rindle_sync.round import Outcome
from rindle_sync.settle import Finding, Settled, foresee, settle
from rindle_sync.store import PassKey
from rindle_sync.telemetry import Audited, milliseconds, nanoseconds
from rindle_sync.tools import Tools
from rindle_sync.walk import Walk

AUDIT: Final = Step.AUDIT.value

MOST_ENDED: Final = 20
SHARE_ENDED: Final = 0.05
"""An audit that does not find more rows than this, in number and as a share of all, is not believed."""

ENOUGH_ALIVE: Final = 50
SHARE_ALIVE: Final = 0.9
"""A list that lacks so many assets which are there after all says nothing by what it lacks."""

MOST_NOTED: Final = 1000
"""How many findings a report names one by one."""

SETTLED: Final = frozenset({State.READY, State.ERRORED})

SETTLED_AT_ONCE: Final = 100

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
    """One finding. `asset_id` is the redacted tag of the provider's id; an orphan has no row."""

    drift: Drift
    row_id: str | None
    asset_id: str | None
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

    def note(self, drift: Drift, row_id: str | None, provider_asset_id: str | None, text: str) -> None:
        """Count a finding, and name it."""
        self.drift[drift] += 1
        if len(self.notes) < MOST_NOTED:
            self.notes.append(Note(drift, row_id, redact_id(provider_asset_id), text))

    def figures(self) -> dict[str, Any]:
        """All but the notes, to be kept."""
        return {name: value for name, value in asdict(self).items() if name != "notes"}


async def is_audit_due(tools: Tools, every: timedelta) -> bool:
    """Whether it is time for an audit, or for going on with one that was broken off; never where `every` is 0."""
    standing = await tools.passes.get(PassKey(tools.provider.name, tools.environment, AUDIT))
    never = standing.ended_at is None or standing.began_at is not None
    return bool(every) and (never or tools.now() - (standing.ended_at or tools.now()) >= every)


async def audit_if_due(tools: Tools, every: timedelta, *, keep_going: Callable[[], bool]) -> None:
    """Make an audit if it is time for one. Raises as `audit` does."""
    if await is_audit_due(tools, every):
        await audit(tools, keep_going=keep_going)


async def audit(
    tools: Tools,
    *,
    keep_going: Callable[[], bool] = lambda: True,
    is_rehearsal: bool = False,
    adopts: bool = False,
    believes: bool = False,
    told: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Compare every row at rest with the provider's list, in spare budget; one that was broken off is gone on with.

    What has changed is settled. A row that is not found is looked at once more by the sweep, `confirm` later, before
    it is `deleted`; but when they are too many, nothing is done and the outcome is `alarm`, unless it `believes` that.
    It `adopts` assets that no row knows, if asked. A rehearsal writes nothing. `told` hears of it after each page.
    Raises `Refused`, `StoreUnavailable`.
    """
    tools = tools.rehearsing() if is_rehearsal else tools
    one = _Audit(Walk(tools, AUDIT, keep_going, is_rehearsal), believes)
    try:
        if (progress := await one.walk.begin()) is None:
            one.walk.outcome = Outcome.ELSEWHERE
        else:
            await one.run(progress, told)
            if adopts and not is_rehearsal and one.walk.outcome is Outcome.DONE:
                one.report.adopted = (await backfill(tools, keep_going=keep_going)).adopted
    except Refused:
        one.walk.outcome = Outcome.REFUSED
        raise
    except asyncio.CancelledError:
        one.walk.outcome = Outcome.STOPPED
        raise
    finally:
        one.report.outcome = one.walk.outcome
        await one.give_back()
    return one.report


@dataclass(slots=True)
class _Audit:
    walk: Walk
    believes: bool
    report: Report = field(default_factory=Report)
    reach: datetime | None = None
    """Down to here the rows have been compared with the list."""
    at_reach: set[str] = field(default_factory=set)
    """The assets of the last page: one moment may stand on two pages."""
    suspects: dict[str, datetime] = field(default_factory=dict)
    """Of a rehearsal; else they are in the database."""

    @property
    def tools(self) -> Tools:
        return self.walk.tools

    @property
    def here(self) -> tuple[str, str]:
        return self.tools.provider.name, self.tools.environment

    async def run(self, progress: Mapping[str, Any], told: Callable[[Report], None]) -> None:
        if silence := await ask_identity(self.tools):
            stop_if_refused(silence)
            self.walk.break_off()
            return
        await self._go_on(progress)
        await self._compare_all(told)
        if self.report.is_alarming and not self.believes:
            self.walk.outcome = Outcome.ALARM
            await self._acquit()
        elif self.walk.outcome is Outcome.DONE:
            await self._settle_suspects()
        if self.walk.outcome in {Outcome.DONE, Outcome.ALARM}:
            await self.walk.end(self.report.figures() | {"outcome": self.walk.outcome.value})

    async def _compare_all(self, told: Callable[[Report], None]) -> None:
        before = self.report.calls, self.report.pages
        async for page in self.walk.each():
            is_compared = await self._compare(page)
            self.report.calls, self.report.pages = before[0] + self.walk.calls, before[1] + self.walk.pages
            if not is_compared:
                self.walk.break_off()
                break
            await self.walk.keep(self._progress())
            told(self.report)
            if self.report.is_alarming and not self.believes:
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
        await self._acquit()
        self.report.rows = await self.tools.library.count_settled(*self.here)

    async def _compare(self, page: Page) -> bool:
        """Whether all is done that the page calls for."""
        matched = await match(self.tools, page)
        if matched:
            await note_identity(self.tools)
        self.report.seen += sum(row.state in SETTLED for row, _ in matched)
        await self._note_drift([Finding(row, seen) for row, seen in matched if self._has_drifted(row, seen)])
        await self._note_orphans(await strangers(self.tools, page, matched))
        return await self._unlisted(page)

    def _has_drifted(self, row: ProviderAsset, seen: Seen) -> bool:
        now = self.tools.now()
        if row.updated_at > now - self.tools.schedule.floor:
            return False
        verdict = decide(row, seen, now, self.tools.policy).verdict
        if verdict is Verdict.STALE and row.state is State.DELETED:
            self.report.note(Drift.REVIVED, row.id, row.provider_asset_id, "deleted here, but there at the provider")
        misplaced = seen.created_at is not None and seen.created_at != row.provider_created_at
        return verdict is Verdict.CHANGED or (verdict is Verdict.UNCHANGED and misplaced)

    async def _note_drift(self, findings: Sequence[Finding]) -> None:
        """Hold back what would change a row until all is compared; settle what only says when its asset was made."""
        foreseen = foresee(self.tools, findings, By.AUDIT, self.tools.now())
        drifted = {one.row.id: one.seen.at for one in foreseen if one.changed and one.seen}
        for one in foreseen:
            if one.changed:
                self.report.note(_drift(one), one.row.id, one.row.provider_asset_id, _told(one))
        if self.walk.is_rehearsal:
            self.report.changed += len(drifted)
            return
        if drifted:
            await self.tools.passes.suspect(self.walk.key, drifted, is_missing=False)
        rest = [finding for finding in findings if finding.row.id not in drifted]
        if rest:
            await settle(self.tools, rest, By.AUDIT)

    async def _note_orphans(self, orphans: Sequence[Seen]) -> None:
        for seen in orphans:
            made = f", made {seen.created_at:%Y-%m-%d %H:%M:%S} UTC" if seen.created_at else ""
            self.report.note(Drift.ORPHAN, None, seen.provider_asset_id, f"{seen.status or 'there'}{made}")

    async def _unlisted(self, page: Page) -> bool:
        """Ask about the rows that should have stood on this page, or the one before, and did not."""
        made = [seen.created_at for seen in page.entries if seen.created_at]
        bottom = min(made, default=None) if page.cursor else _EARLIEST
        top = self.reach or self.tools.now() + timedelta(days=1)
        listed = {seen.provider_asset_id for seen in page.entries if seen.provider_asset_id}
        if bottom is not None and bottom < top:
            rows = await self.tools.library.made_between(*self.here, bottom, top)
            known = listed | self.at_reach
            lacking = [
                row.id for row in rows if row.provider_asset_id not in known and at_rest(row) and not row.missing_since
            ]
            if not await self._ask(lacking):
                return False
            self.reach = bottom
            self.at_reach = {s.provider_asset_id or "" for s in page.entries if s.created_at == bottom}
        else:
            self.at_reach |= listed
        return True

    async def _ask(self, row_ids: Sequence[str]) -> bool:
        """Ask by id; False where no more calls may be made, and some of these rows were not asked about."""
        tools, rest, tries = self.tools, list(row_ids), Counter[str]()
        while rest and not self._has_enough():
            if not (granted := await self.walk.take(min(len(rest), tools.batch))):
                return False
            batch, rest = rest[:granted], rest[granted:]
            rows = list((await tools.store.get_many(batch)).values())
            await tools.budget.give_back(granted - len(rows))
            silent = await self._take_in(rows, await asyncio.gather(*(ask(tools, row) for row in rows)))
            tries.update(silent)
            rest += [row_id for row_id in silent if tries[row_id] < ATTEMPTS]
        return True

    def _has_enough(self) -> bool:
        return self.report.is_list_doubtful or (self.report.is_alarming and not self.believes)

    async def _take_in(self, rows: Sequence[ProviderAsset], answers: Sequence[Seen | Silence]) -> list[str]:
        """Settle what was answered; the rows that were not."""
        answered = [(row, seen) for row, seen in zip(rows, answers, strict=True) if isinstance(seen, Seen)]
        gone = {row.id: seen.at for row, seen in answered if seen.gone}
        self.walk.calls += len(rows)
        self.report.unlisted += len(answered)
        self.report.alive += len(answered) - len(gone)
        self.report.seen += len(answered)
        for row in rows:
            if row.id in gone:
                self.report.note(Drift.MISSING, row.id, row.provider_asset_id, "not found at the provider")
        if self.walk.is_rehearsal:
            self.suspects |= gone
        elif gone:
            await self.tools.passes.suspect(self.walk.key, gone, is_missing=True)
        await self._note_drift([Finding(row, seen) for row, seen in answered if not seen.gone])
        for answer in answers:
            stop_if_refused(answer)
        return [row.id for row, answer in zip(rows, answers, strict=True) if isinstance(answer, Silence)]

    async def _settle_suspects(self) -> None:
        """The audit is to be believed: what has changed is looked at and settled, what is missing is for the sweep."""
        if self.walk.is_rehearsal:
            return
        passes, key = self.tools.passes, self.walk.key
        while suspects := await passes.suspects(key, SETTLED_AT_ONCE, are_missing=True):
            rows = (await self.tools.store.get_many(list(suspects))).values()
            findings = [Finding(row, Seen(via=Via.GET, at=suspects[row.id], gone=True)) for row in rows]
            await settle(self.tools, findings, By.AUDIT)
            await passes.acquit(key, list(suspects))
        while changed := await passes.suspects(key, self.tools.batch, are_missing=False):
            granted = await self.walk.take(len(changed))
            if not granted:
                self.walk.break_off()
                return
            await self._settle_changed(list(changed)[:granted])

    async def _settle_changed(self, row_ids: Sequence[str]) -> None:
        """Look at rows that have changed; what is not answered is due from now on, and left to the sweep."""
        rows = list((await self.tools.store.get_many(row_ids)).values())
        answers = await asyncio.gather(*(ask(self.tools, row) for row in rows))
        self.walk.calls += len(rows)
        findings = [Finding(row, seen) for row, seen in zip(rows, answers, strict=True) if is_about_row(seen)]
        settled = await settle(self.tools, findings, By.AUDIT) if findings else []
        self.report.changed += sum(one.changed for one in settled)
        for answer in answers:
            stop_if_refused(answer)
        unasked = {row.id for row, seen in zip(rows, answers, strict=True) if not is_about_row(seen)}
        await self.tools.passes.acquit(self.walk.key, set(row_ids) - unasked)

    async def _acquit(self) -> None:
        if not self.walk.is_rehearsal:
            await self.tools.passes.acquit(self.walk.key)

    async def give_back(self) -> None:
        try:
            await self.walk.give_back()
        finally:
            if not self.walk.is_rehearsal and self.walk.outcome is not Outcome.ELSEWHERE:
                self._tell()

    def _tell(self) -> None:
        now, report = self.tools.now(), self.report
        self.tools.telemetry.tell(
            Audited(
                system_time=nanoseconds(now),
                provider=self.tools.provider.name,
                outcome=report.outcome.value,
                seen=report.seen,
                changed=report.changed,
                ended=report.ended,
                orphans=report.drift[Drift.ORPHAN],
                adopted=report.adopted,
                duration_ms=milliseconds(now - (self.walk.began_at or now)),
            )
        )


def _drift(settled: Settled) -> Drift:
    before, after = settled.before, settled.row
    if before.state is not after.state:
        return Drift.STATE
    same = {playback.id for playback in before.playback_ids} == {playback.id for playback in after.playback_ids}
    return Drift.POLICY if same else Drift.PLAYBACK_IDS


def _told(settled: Settled) -> str:
    before, after = settled.before, settled.row
    if before.state is not after.state:
        return f"{before.state} -> {after.state}"
    policies = [", ".join(playback.policy for playback in row.playback_ids) or "none" for row in (before, after)]
    return f"playback {' -> '.join(policies)}"
