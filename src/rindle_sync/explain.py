"""Why a row stands as it does: its history in order, what comes next, and what to do. Tells no provider's id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rindle_sync.asset import IN_FLIGHT, WATCHED, By, ErrorKind, ProviderAsset, State
from rindle_sync.decide import Policy
from rindle_sync.health import GRACE
from rindle_sync.notice import Kept, Status
from rindle_sync.phrases import span_of
from rindle_sync.plan import Schedule
from rindle_sync.store import LOOKED, Change
from rindle_sync.tools import Tools
from rindle_sync.trail import Entry, entries

MOST_NOTICES: Final = 50
"""How many deliveries about a row are told of: the newest."""


class Kind(StrEnum):
    """What a moment of a history is."""

    TRACKED = "tracked"
    NOTICE = "notice"
    DECISION = "decision"
    CHANGE = "change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of a history; `times` alike came from `at` to `until`."""

    at: datetime
    until: datetime
    times: int = 1
    kind: Kind
    by: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A row, its history from the oldest to the newest, when it is looked at next and why, and what to do."""

    row_id: str
    asset_id: str
    profile: str
    provider: str
    environment: str
    tag: str | None
    state: State
    error_kind: ErrorKind | None
    last_sync_error: str | None
    playback_ids: int
    updated_at: datetime
    checked_at: datetime | None
    check_at: datetime | None
    next: str
    """When it is looked at next, and why then."""
    advice: list[str]
    history: list[Moment]


@dataclass(frozen=True, slots=True)
class _Case:
    row: ProviderAsset
    changes: Sequence[Change]
    notices: Sequence[Kept]
    breaker: str | None
    policy: Policy
    schedule: Schedule
    now: datetime


async def explain(tools: Tools, row: ProviderAsset) -> Explanation:
    """What is known of `row`, out of the tables alone. Raises `StoreUnavailable`."""
    now = tools.now()
    changes = await tools.store.changes_of(row.id)
    notices = await tools.history.notices_about(row, limit=MOST_NOTICES)
    known = await tools.environments.get(row.provider_name, row.environment)
    case = _Case(row, changes, notices, known.breaker_reason, tools.policy, tools.schedule, now)
    return Explanation(
        row_id=row.id,
        asset_id=row.asset_id,
        profile=row.profile,
        provider=row.provider_name,
        environment=row.environment,
        tag=row.tag,
        state=row.state,
        error_kind=row.error_kind,
        last_sync_error=row.last_sync_error,
        playback_ids=len(row.playback_ids),
        updated_at=row.updated_at,
        checked_at=row.checked_at,
        check_at=row.check_at,
        next=_next(case),
        advice=list(_advice(case)),
        history=sorted(_moments(row, changes, notices), key=lambda moment: (moment.at, _ORDER.index(moment.kind))),
    )


_ORDER: Final = (Kind.TRACKED, Kind.NOTICE, Kind.DECISION, Kind.CHANGE)
"""What comes first of what is told of one moment."""


def _moments(row: ProviderAsset, changes: Sequence[Change], notices: Sequence[Kept]) -> Iterator[Moment]:
    yield Moment(at=row.inserted_at, until=row.inserted_at, kind=Kind.TRACKED, by=By.APP.value, text="the row was made")
    yield from (_of_notice(notice) for notice in notices)
    yield from (_of_decision(entry) for entry in entries(row.trail))
    yield from (_of_change(change) for change in changes)


def _of_notice(notice: Kept) -> Moment:
    told = {
        Status.PENDING: f"waits to be applied{f', {notice.attempts} tried' if notice.attempts else ''}",
        Status.APPLIED: "applied",
        Status.IGNORED: "says nothing of a row",
        Status.DEAD: "not applied, and not tried again",
    }[notice.status]
    reason = f": {notice.reason}" if notice.reason else ""
    text = f"{notice.type} came, {told}{reason}"
    return Moment(at=notice.received_at, until=notice.received_at, kind=Kind.NOTICE, by=By.WEBHOOK.value, text=text)


def _of_decision(entry: Entry) -> Moment:
    seen = {None: "nothing asked", "get": "asked by id", "list": "seen on a list page", "upload": "asked by its upload"}
    how = seen.get(entry.via, f"told by the {entry.via}")
    if entry.verdict == "unanswered":
        how = "no answer"
    text = f"{how}: {entry.verdict} ({entry.reason})"
    return Moment(at=entry.at, until=entry.until, times=entry.times, kind=Kind.DECISION, by=entry.by.value, text=text)


def _of_change(change: Change) -> Moment:
    kind = f" ({change.error_kind})" if change.error_kind else ""
    most = "" if change.by is By.WEBHOOK else " at most"
    late = f", {span_of(timedelta(milliseconds=change.late_ms))} late{most}" if change.late_ms else ""
    webhook = ""
    if change.by in LOOKED and change.webhook_at:
        webhook = f"; its webhook came {span_of(change.webhook_at - change.at)} later"
    text = f"{change.from_state} -> {change.to_state}{kind}: {change.reason}{late}{webhook}"
    return Moment(at=change.at, until=change.at, kind=Kind.CHANGE, by=change.by.value, text=text)


def _next(case: _Case) -> str:
    row, now = case.row, case.now
    if row.state is State.DELETED:
        return "never: it is deleted at the provider, and stays so"
    if row.check_at is None:
        return "at the next audit, unless a webhook tells of it: it is at rest"
    if row.check_at > now:
        return f"in {span_of(row.check_at - now)}: {_why(row)}"
    return _why_not_yet(case, span_of(now - row.check_at))


def _why_not_yet(case: _Case, since: str) -> str:
    row, now = case.row, case.now
    if row.lease_until and row.lease_until > now:
        return f"now: somebody holds it, for {span_of(row.lease_until - now)} at most"
    if case.breaker:
        return f"due for {since}, but the provider is left alone: {case.breaker}"
    if row.age(now) < case.schedule.floor:
        return (
            f"in {span_of(case.schedule.floor - row.age(now))}: it was changed a moment ago, and is left alone so long"
        )
    return f"due for {since}: at the next sweep, as the budget allows"


def _why(row: ProviderAsset) -> str:
    if row.missing_since:
        return "the provider did not find it, and is asked once more before it counts as deleted"
    if row.check_failures:
        return f"the last {row.check_failures} looks brought no answer"
    if row.state in IN_FLIGHT:
        return "it is in flight, and looked at with growing gaps"
    if row.error_kind in WATCHED:
        return "the provider may bring it back, and is asked with growing gaps"
    return "it is watched"


def _advice(case: _Case) -> Iterator[str]:
    if case.breaker:
        yield f"the provider is left alone ({case.breaker}): `rindle-sync doctor --ping` says what to mend"
    if any(notice.status is Status.DEAD for notice in case.notices):
        yield "a delivery about it was not applied: `rindle-sync events list --status dead`, then `events replay`"
    if by_kind := _BY_KIND.get(case.row.error_kind):
        yield by_kind
    yield from _advice_in_flight(case)
    found = [one for one in case.changes if one.to_state is State.READY and one.by in LOOKED]
    if found and not case.notices and case.now - found[-1].at > GRACE:
        yield "no webhook about it ever came: is the endpoint set at the provider, for this environment?"


_BY_KIND: Final[dict[ErrorKind | None, str]] = {
    ErrorKind.STUCK: "it took too long: look at the asset at the provider; if that ends, the row comes back by itself",
    ErrorKind.NOT_FOUND: "the provider has no such asset: was it deleted there, or tracked by a wrong id?",
    ErrorKind.PROVIDER: "the provider could not use the file: ingest it again; the row stays errored until then",
    ErrorKind.UPLOAD: "the upload came to nothing: begin it anew, for the same asset and profile",
}


def _advice_in_flight(case: _Case) -> Iterator[str]:
    row = case.row
    if row.state not in IN_FLIGHT:
        return
    if row.provider_asset_id is None:
        yield "it waits for the file: the provider has made no asset of its upload yet"
    if row.check_at and case.now - row.check_at > 10 * case.schedule.floor and not case.breaker:
        yield "it is long overdue: does an engine run? `rindle-sync doctor` tells"
