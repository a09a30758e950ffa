"""Why a row stands as it does: its history in order, what comes next, and what to do. Tells no provider's id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rindle_sync.diagnostics.humanize import span_of
from rindle_sync.diagnostics.readiness import LATEST
from rindle_sync.diagnostics.status import GRACE
from rindle_sync.domain import (
    IN_FLIGHT,
    WATCHED,
    ErrorKind,
    EventStatus,
    LoggedDecision,
    ProviderAsset,
    State,
    StoredEvent,
    Trigger,
    read_log,
)
from rindle_sync.reconcile import Context
from rindle_sync.runtime import last_tick
from rindle_sync.store import CHECK_TRIGGERS, Change

MOST_WEBHOOK_EVENTS: Final = 50
"""How many deliveries about a row are told of: the newest."""


class MomentKind(StrEnum):
    """What a moment of a history is."""

    TRACKED = "tracked"
    WEBHOOK = "notice"
    DECISION = "decision"
    CHANGE = "change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of a history; `times` alike came from `at` to `until`."""

    at: datetime
    until: datetime
    times: int = 1
    kind: MomentKind
    trigger: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A row, its history from the oldest to the newest, when it is looked at next and why, and what to do."""

    row_id: str
    reference: str
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
    webhook_events: Sequence[StoredEvent]
    circuit: str | None
    throttled: timedelta
    """How long the provider still wants no calls."""
    engine_silence: str | None
    """Since when no engine has asked what is due, in words; None while one does."""
    context: Context
    now: datetime


async def explain(context: Context, row: ProviderAsset) -> Explanation:
    """What is known of `row`, out of the tables alone. Raises `DatabaseUnavailable`."""
    now = context.now()
    changes = await context.store.changes_of(row.id)
    webhook_events = await context.history.webhook_events_about(row, limit=MOST_WEBHOOK_EVENTS)
    known = await context.environments.get(row.provider_name, row.environment)
    (level,) = await context.rate_limiter.levels([context.rate_limiter])
    silence = _silence(await last_tick(context), now)
    case = _Case(
        row, changes, webhook_events, known.circuit_reason, level.pause, silence, context, now
    )
    return Explanation(
        row_id=row.id,
        reference=row.reference,
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
        history=sorted(
            _moments(row, changes, webhook_events),
            key=lambda moment: (moment.at, _ORDER.index(moment.kind)),
        ),
    )


_ORDER: Final = (MomentKind.TRACKED, MomentKind.WEBHOOK, MomentKind.DECISION, MomentKind.CHANGE)
"""What comes first of what is told of one moment."""


def _moments(
    row: ProviderAsset, changes: Sequence[Change], webhook_events: Sequence[StoredEvent]
) -> Iterator[Moment]:
    yield Moment(
        at=row.inserted_at,
        until=row.inserted_at,
        kind=MomentKind.TRACKED,
        trigger=Trigger.APP.value,
        text="the row was made",
    )
    yield from (_of_webhook_event(webhook_event) for webhook_event in webhook_events)
    yield from (_of_decision(entry) for entry in read_log(row.decision_log))
    yield from (_of_change(change) for change in changes)


def _of_webhook_event(webhook_event: StoredEvent) -> Moment:
    told = {
        EventStatus.PENDING: f"waits to be applied{f', {webhook_event.attempts} tried' if webhook_event.attempts else ''}",
        EventStatus.APPLIED: "applied",
        EventStatus.IGNORED: "says nothing of a row",
        EventStatus.DEAD: "not applied, and not tried again",
    }[webhook_event.status]
    reason = f": {webhook_event.reason}" if webhook_event.reason else ""
    text = f"{webhook_event.type} came, {told}{reason}"
    return Moment(
        at=webhook_event.received_at,
        until=webhook_event.received_at,
        kind=MomentKind.WEBHOOK,
        trigger=Trigger.WEBHOOK.value,
        text=text,
    )


def _of_decision(entry: LoggedDecision) -> Moment:
    seen = {
        None: "nothing asked",
        "get": "asked by id",
        "list": "seen on a list page",
        "upload": "asked by its upload",
    }
    how = seen.get(entry.source, f"told by the {entry.source}")
    if entry.verdict == "unanswered":
        how = "no answer"
    text = f"{how}: {entry.verdict} ({entry.reason})"
    return Moment(
        at=entry.at,
        until=entry.until,
        times=entry.times,
        kind=MomentKind.DECISION,
        trigger=entry.trigger.value,
        text=text,
    )


def _of_change(change: Change) -> Moment:
    kind = f" ({change.error_kind})" if change.error_kind else ""
    most = "" if change.trigger is Trigger.WEBHOOK else " at most"
    late = (
        f", {span_of(timedelta(milliseconds=change.late_ms))} late{most}" if change.late_ms else ""
    )
    webhook = ""
    if change.trigger in CHECK_TRIGGERS and change.webhook_at:
        webhook = f"; its webhook came {span_of(change.webhook_at - change.at)} later"
    text = f"{change.from_state} -> {change.to_state}{kind}: {change.reason}{late}{webhook}"
    return Moment(
        at=change.at,
        until=change.at,
        kind=MomentKind.CHANGE,
        trigger=change.trigger.value,
        text=text,
    )


def _silence(ticked: datetime | None, now: datetime) -> str | None:
    if ticked is None:
        return "no engine has ever asked what is due"
    if ticked - now > LATEST:
        return f"the last engine asked what is due {span_of(ticked - now)} from now, by a clock that was wrong"
    return (
        f"no engine has asked what is due for {span_of(now - ticked)}"
        if now - ticked > LATEST
        else None
    )


def _next(case: _Case) -> str:
    row, now = case.row, case.now
    if row.state is State.DELETED:
        return "never: it is deleted at the provider, and stays so"
    if not case.context.has_token:
        return "never, as the settings here are: without the provider's token only a webhook tells of it"
    if row.check_at is None:
        return _settled(case)
    if row.check_at > now:
        lull = max(row.check_at - now, case.throttled)
        return f"in {span_of(lull)}{_unless(case)}: {_why(row)}"
    return _why_not_yet(case, span_of(now - row.check_at))


def _settled(case: _Case) -> str:
    if not case.context.audit_every:
        return "never, unless a webhook tells of it: it is at rest, and there are no audits (audit_days is 0)"
    return "at the next audit, unless a webhook tells of it: it is at rest"


def _unless(case: _Case) -> str:
    if case.circuit:
        return ", unless the provider is still left alone"
    return ", if an engine runs by then" if case.engine_silence else ""


def _why_not_yet(case: _Case, since: str) -> str:
    row, now, floor = case.row, case.now, case.context.schedule.floor
    if row.lease_until and row.lease_until > now:
        return f"now: somebody holds it, for {span_of(row.lease_until - now)} at most"
    if case.circuit:
        return f"due for {since}, but the provider is left alone: {case.circuit}"
    if case.engine_silence:
        return f"due for {since}, but {case.engine_silence}"
    if case.throttled:
        return f"due for {since}, but the provider throttles us: not before {span_of(case.throttled)} from now"
    if row.age(now) < floor:
        return f"in {span_of(floor - row.age(now))}: it was changed a moment ago, and is left alone so long"
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
    awaits_look = case.row.check_at is not None and case.row.state is not State.DELETED
    if not case.context.has_token and awaits_look:
        yield "no token of the provider's is set here: does this shell have the settings of the service?"
    if case.engine_silence and awaits_look:
        yield f"{case.engine_silence}: start `rindle-sync run` or a worker"
    if case.circuit:
        yield f"the provider is left alone ({case.circuit}): `rindle-sync doctor --ping` says what to mend"
    if any(webhook_event.status is EventStatus.DEAD for webhook_event in case.webhook_events):
        yield "a delivery about it was not applied: `rindle-sync events list --status dead`, then `events replay`"
    if by_kind := _BY_KIND.get(case.row.error_kind):
        yield by_kind
    yield from _advice_in_flight(case)
    found = [
        one for one in case.changes if one.to_state is State.READY and one.trigger in CHECK_TRIGGERS
    ]
    if (
        case.context.webhooks.secrets
        and found
        and not case.webhook_events
        and case.now - found[-1].at > GRACE
    ):
        yield "no webhook about it ever came: is the endpoint set at the provider, for this environment?"


_BY_KIND: Final[dict[ErrorKind | None, str]] = {
    ErrorKind.STUCK: "it took too long: look at the asset at the provider; if that ends, the row comes back by itself",
    ErrorKind.NOT_FOUND: (
        "the provider has no such asset: was it deleted there, or tracked by a wrong id? "
        "Then delete the row, and track it by the right one"
    ),
    ErrorKind.PROVIDER: "the provider could not use the file: ingest it again; the row stays errored until then",
    ErrorKind.UPLOAD: "the upload came to nothing: begin it anew, for the same asset and profile",
}


def _advice_in_flight(case: _Case) -> Iterator[str]:
    row = case.row
    if row.state not in IN_FLIGHT:
        return
    if row.provider_asset_id is None:
        yield "it waits for the file: the provider has made no asset of its upload yet"
    if not row.check_at or case.engine_silence or case.circuit or not case.context.has_token:
        return
    if case.now - row.check_at > 10 * case.context.schedule.floor:
        yield "it is long overdue, though an engine runs: `rindle-sync status` tells how much the budget leaves"
