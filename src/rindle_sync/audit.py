"""The slow pass over the whole library: what everybody has missed of rows at rest, and assets without a row."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from rindle_sync.asset import By, ProviderAsset, Seen, Silence, State, Via, redact_id
from rindle_sync.browse import match, strangers
from rindle_sync.decide import Verdict, at_rest, decide
from rindle_sync.errors import Refused
from rindle_sync.look import ask, ask_identity, note_identity, stop_if_refused
from rindle_sync.providers.base import Page
from rindle_sync.round import Outcome
from rindle_sync.settle import Finding, Settled, foresee, settle
from rindle_sync.store import PassKey
from rindle_sync.telemetry import Audited, milliseconds, nanoseconds
from rindle_sync.tools import Tools
from rindle_sync.track import adopt
from rindle_sync.walk import Walk

AUDIT: Final = "audit"

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
    one = _Audit(Walk(tools, AUDIT, keep_going, is_rehearsal), adopts, believes)
    try:
        if (progress := await one.walk.begin()) is None:
            one.walk.outcome = Outcome.ELSEWHERE
        else:
            await one.run(progress, told)
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
    adopts: bool
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
        stop_if_refused(await ask_identity(self.tools))
        await self._go_on(progress)
        async for page in self.walk.each():
            await self._compare(page)
            self.report.calls, self.report.pages = self.walk.calls, self.walk.pages
            await self.walk.keep({"report": self.report.figures(), "reach": self.reach and self.reach.isoformat()})
            told(self.report)
            if self.report.is_alarming and not self.believes:
                break
        if self.report.is_alarming and not self.believes:
            self.walk.outcome = Outcome.ALARM
            await self._acquit()
        elif self.walk.outcome is Outcome.DONE:
            await self._suspect_for_good()
        if self.walk.outcome in {Outcome.DONE, Outcome.ALARM}:
            await self.walk.end(self.report.figures() | {"outcome": self.walk.outcome.value})

    async def _go_on(self, progress: Mapping[str, Any]) -> None:
        kept, reach = progress.get("report"), progress.get("reach")
        if kept and reach and progress.get("cursor"):
            self.report = Report(**kept)
            self.reach = datetime.fromisoformat(reach)
            return
        await self._acquit()
        self.report.rows = await self.tools.library.count_settled(*self.here)

    async def _compare(self, page: Page) -> None:
        matched = await match(self.tools, page)
        if matched:
            await note_identity(self.tools)
        self.report.seen += sum(row.state in SETTLED for row, _ in matched)
        await self._settle([Finding(row, seen) for row, seen in matched if self._has_drifted(row, seen)])
        await self._note_orphans(await strangers(self.tools, page, matched))
        await self._unlisted(page)

    def _has_drifted(self, row: ProviderAsset, seen: Seen) -> bool:
        now = self.tools.now()
        if row.updated_at > now - self.tools.schedule.floor:
            return False
        verdict = decide(row, seen, now, self.tools.policy).verdict
        if verdict is Verdict.STALE and row.state is State.DELETED:
            self.report.note(Drift.REVIVED, row.id, row.provider_asset_id, "deleted here, but there at the provider")
        return verdict is Verdict.CHANGED

    async def _settle(self, findings: Sequence[Finding]) -> None:
        if not findings:
            return
        settled = (
            foresee(self.tools, findings, self.tools.now())
            if self.walk.is_rehearsal
            else await settle(self.tools, findings, By.AUDIT)
        )
        for one in settled:
            if one.changed:
                self.report.changed += 1
                self.report.note(_drift(one), one.row.id, one.row.provider_asset_id, _told(one))

    async def _note_orphans(self, orphans: Sequence[Seen]) -> None:
        for seen in orphans:
            made = f", made {seen.created_at:%Y-%m-%d %H:%M:%S} UTC" if seen.created_at else ""
            self.report.note(Drift.ORPHAN, None, seen.provider_asset_id, f"{seen.status or 'there'}{made}")
        if self.adopts and not self.walk.is_rehearsal:
            self.report.adopted += await adopt(self.tools, orphans)

    async def _unlisted(self, page: Page) -> None:
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
            await self._ask(lacking)
            self.reach = bottom
            self.at_reach = {s.provider_asset_id or "" for s in page.entries if s.created_at == bottom}
        else:
            self.at_reach |= listed

    async def _ask(self, row_ids: Sequence[str]) -> None:
        tools, rest = self.tools, list(row_ids)
        while rest and not self._has_enough() and (granted := await self.walk.take(min(len(rest), tools.batch))):
            batch, rest = rest[:granted], rest[granted:]
            rows = list((await tools.store.get_many(batch)).values())
            await tools.budget.give_back(granted - len(rows))
            await self._take_in(rows, await asyncio.gather(*(ask(tools, row) for row in rows)))

    def _has_enough(self) -> bool:
        return self.report.is_list_doubtful or (self.report.is_alarming and not self.believes)

    async def _take_in(self, rows: Sequence[ProviderAsset], answers: Sequence[Seen | Silence]) -> None:
        answered = [(row, seen) for row, seen in zip(rows, answers, strict=True) if isinstance(seen, Seen)]
        gone = {row.id: seen.at for row, seen in answered if seen.gone}
        self.walk.calls += len(rows)
        self.report.unlisted += len(rows)
        self.report.alive += len(answered) - len(gone)
        self.report.seen += len(answered)
        for row in rows:
            if row.id in gone:
                self.report.note(Drift.MISSING, row.id, row.provider_asset_id, "not found at the provider")
        if self.walk.is_rehearsal:
            self.suspects |= gone
        elif gone:
            await self.tools.passes.suspect(self.walk.key, gone)
        await self._settle([Finding(row, seen) for row, seen in answered if not seen.gone])
        for answer in answers:
            stop_if_refused(answer)

    async def _suspect_for_good(self) -> None:
        """The audit is to be believed: the sweep looks at its suspects once more, and ends them."""
        if self.walk.is_rehearsal:
            return
        while suspects := await self.tools.passes.suspects(self.walk.key, SETTLED_AT_ONCE):
            rows = (await self.tools.store.get_many(list(suspects))).values()
            findings = [Finding(row, Seen(via=Via.GET, at=suspects[row.id], gone=True)) for row in rows]
            await settle(self.tools, findings, By.AUDIT)
            await self.tools.passes.acquit(self.walk.key, list(suspects))

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
