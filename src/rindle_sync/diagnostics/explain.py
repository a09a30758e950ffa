"""Why a row has its state: its history, its next check, and what to do. Shows no provider id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from rindle_sync.diagnostics.status import GRACE
from rindle_sync.domain import (
    IN_FLIGHT,
    LONGEST_WAIT,
    WATCHED,
    ChangeKind,
    ErrorKind,
    EventStatus,
    LoggedDecision,
    ProviderAsset,
    RowAction,
    State,
    StoredEvent,
    Trigger,
    has_come,
    has_unfinished_outputs,
    hide,
    is_due,
    moment_of,
    read_log,
    span_of,
)
from rindle_sync.reconcile import Context
from rindle_sync.runtime import EngineState, engine_state, last_heartbeat
from rindle_sync.store import CHECK_TRIGGERS, Change

MOST_WEBHOOK_EVENTS: Final = 50
"""How many webhook events about a row are in its history: the newest."""


MOST_ACTIONS: Final = 50
"""How many actions of people and programs are in its history: the newest."""


class MomentKind(StrEnum):
    """What a moment of a history is; in the order of moments at the same time."""

    ACTION = "action"
    TRACKED = "tracked"
    WEBHOOK = "webhook_event"
    DECISION = "decision"
    CHANGE = "change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of a history, which stands for `times` alike from `at` to `until`."""

    at: datetime
    until: datetime
    times: int = 1
    kind: MomentKind
    trigger: str
    """What led to it; of an action, who did it."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A row, its history from the oldest moment on, its next check, and what to do."""

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
    """When it is checked next, and why then."""
    advice: list[str]
    history: list[Moment]


class _Case(Struct, frozen=True):
    row: ProviderAsset
    changes: Sequence[Change]
    webhook_events: Sequence[StoredEvent]
    actions: Sequence[RowAction]
    circuit: str | None
    pause: timedelta
    """How long the provider's rate limit still forbids calls."""
    engine_silence: str | None
    """That no engine runs, and since when, in words; None while one does."""
    context: Context
    now: datetime


async def explain(context: Context, row: ProviderAsset) -> Explanation:
    """What the tables know of `row`. Raises `DatabaseUnavailable`."""
    now, store = context.now(), context.store
    (level,) = await context.gateway.reads.levels([context.gateway.reads])
    case = _Case(
        row=row,
        changes=await store.assets.changes_of(row.id),
        webhook_events=await store.history.webhook_events_about(row, limit=MOST_WEBHOOK_EVENTS),
        actions=await store.row_actions.of_row(row.id, MOST_ACTIONS),
        circuit=(await store.environments.get()).circuit_reason,
        pause=level.pause,
        engine_silence=_engine_silence(await last_heartbeat(store), now),
        context=context,
        now=now,
    )
    # of what happened at the same time, the cause stands before its effect
    order = list(MomentKind)
    return Explanation(
        row_id=row.id,
        reference=row.reference,
        profile=row.profile,
        provider=row.provider_name,
        environment=row.environment,
        tag=row.tag,
        state=row.state,
        error_kind=row.error_kind,
        last_sync_error=row.last_sync_error and hide(row.last_sync_error, *row.secrets),
        playback_ids=len(row.playback_ids),
        updated_at=row.updated_at,
        checked_at=row.checked_at,
        check_at=row.check_at,
        next=_next(case),
        advice=list(_advice(case)),
        history=sorted(_moments(case), key=lambda moment: (moment.at, order.index(moment.kind))),
    )


def _moments(case: _Case) -> Iterator[Moment]:
    yield _moment(MomentKind.TRACKED, Trigger.APP, case.row.inserted_at, "the row was made")
    for action in case.actions:
        text = f"{action.action.label}: {action.outcome}"
        yield _moment(MomentKind.ACTION, action.actor.text, action.at, text)
    for webhook_event in case.webhook_events:
        text = _event_text(webhook_event)
        yield _moment(MomentKind.WEBHOOK, Trigger.WEBHOOK, webhook_event.received_at, text)
    for entry in read_log(case.row.decision_log):
        moment = _moment(MomentKind.DECISION, entry.trigger, entry.at, _decision_text(entry))
        yield replace(moment, until=entry.until, times=entry.times)
    for change in case.changes:
        yield _moment(MomentKind.CHANGE, change.trigger, change.at, _change_text(change))


def _moment(kind: MomentKind, trigger: str, at: datetime, text: str) -> Moment:
    return Moment(at=at, until=at, kind=kind, trigger=str(trigger), text=text)


def _event_text(webhook_event: StoredEvent) -> str:
    status = {
        EventStatus.PENDING: "waits to be applied",
        EventStatus.APPLIED: "applied",
        EventStatus.IGNORED: "says nothing about a row",
        EventStatus.DEAD: "not applied, and not tried again",
    }[webhook_event.status]
    if webhook_event.status is EventStatus.PENDING and webhook_event.attempts:
        status += f", {webhook_event.attempts} tried"
    reason = f": {webhook_event.reason}" if webhook_event.reason else ""
    return f"{webhook_event.type} received, {status}{reason}"


def _decision_text(entry: LoggedDecision) -> str:
    sources = {
        None: "no call made",
        "get": "fetched by id",
        "list": "found on a list page",
        "upload": "fetched by its upload",
    }
    source = sources.get(entry.source, f"reported by the {entry.source}")
    if entry.verdict == "unanswered":
        source = "no answer"
    return f"{source}: {entry.verdict} ({entry.reason})"


def _change_text(change: Change) -> str:
    text = f"{change.from_state} -> {change.to_state}"
    if change.error_kind:
        text += f" ({change.error_kind})"
    if change.kind is ChangeKind.MEDIA:
        text = "media"
    text += f": {change.reason}"
    if change.late_ms:
        # a webhook says when it happened; a check only finds that it has
        at_most = "" if change.trigger is Trigger.WEBHOOK else " at most"
        text += f", {span_of(timedelta(milliseconds=change.late_ms))} late{at_most}"
    if change.trigger in CHECK_TRIGGERS and change.webhook_at:
        text += f"; its webhook came {span_of(change.webhook_at - change.at)} later"
    return text


def _engine_silence(last: datetime | None, now: datetime) -> str | None:
    if last is None:
        return "no engine has ever run"
    match engine_state(last, now):
        case EngineState.SILENT:
            return f"no engine heartbeat for {span_of(now - last)}"
        case EngineState.AHEAD:
            ahead = span_of(last - now)
            return f"the last engine heartbeat is {ahead} ahead: was a clock set back?"
        case _:
            return None


def _next(case: _Case) -> str:
    row, now = case.row, case.now
    if row.state is State.DELETED:
        return "never: it is deleted at the provider, and stays so"
    if not case.context.gateway.has_token:
        return "never with the settings here: without the token only a webhook reports about it"
    if row.check_at is None:
        if case.context.audit_every:
            return "at the next audit, or by a webhook: it is settled"
        return "never, but for a webhook: it is settled, and there are no audits (audit_days is 0)"
    if is_due(row, now, case.context.longest_gaps):
        due = f"due for {span_of(now - row.check_at)}"
        if row.check_at > now:
            due = f"due, since a wrong clock planned it for {moment_of(row.check_at)}"
        return _why_not_yet(case, due)
    condition = ""
    if case.circuit:
        condition = ", unless the circuit is still open"
    elif case.engine_silence:
        condition = ", if an engine runs by then"
    why = _UNCLEAR if row.is_unclear else _why(row)
    return f"in {span_of(max(row.check_at - now, case.pause))}{condition}: {why}"


_UNCLEAR: Final = (
    "the provider was asked for its asset without an answer; it is looked for in the list"
)


def _why_not_yet(case: _Case, due: str) -> str:
    row, now, floor = case.row, case.now, case.context.schedule.floor
    if row.lease_until and not has_come(row.lease_until, now, LONGEST_WAIT):
        return f"now: a process has leased it, for {span_of(row.lease_until - now)} at most"
    if case.circuit:
        return f"{due}, but the circuit is open: {case.circuit}"
    if case.engine_silence:
        return f"{due}, but {case.engine_silence}"
    if case.pause:
        return f"{due}, but the provider limits the rate: in {span_of(case.pause)} at the earliest"
    if row.age(now) < floor:
        wait = span_of(floor - row.age(now))
        return f"in {wait}: it changed a moment ago, and is not checked yet"
    return f"{due}: at the next sweep, as the rate limit allows"


def _why(row: ProviderAsset) -> str:
    if row.missing_since:
        return "the provider did not find it; it is checked again before it counts as deleted"
    if row.playback_absent_since:
        return "the provider lacks playback ids of it; it is checked again before they are removed"
    if row.check_failures:
        checks = "check" if row.check_failures == 1 else f"{row.check_failures} checks"
        return f"the last {checks} had no answer"
    if row.state in IN_FLIGHT:
        return "it is in flight, and checked with growing gaps"
    if row.error_kind in WATCHED:
        return "the provider may bring it back, and it is checked with growing gaps"
    return _why_ready(row)


def _why_ready(row: ProviderAsset) -> str:
    if row.state is State.READY and has_unfinished_outputs(row):
        return "outputs of it are not finished, and it is checked with growing gaps"
    is_unanswered = row.state is State.READY and row.last_sync_error
    return "the last check had no answer" if is_unanswered else "it is to be checked once more"


_BY_KIND: Final[dict[ErrorKind | None, str]] = {
    ErrorKind.STUCK: (
        "it took too long: look at the asset at the provider; "
        "once it is finished there, the row follows by itself"
    ),
    ErrorKind.NOT_FOUND: (
        "the provider has no such asset: was it deleted there, or tracked by a wrong id? "
        "Then delete the row, and track it by the right one"
    ),
    ErrorKind.PROVIDER: (
        "the provider could not use the file: ingest it again; the row stays errored until then"
    ),
    ErrorKind.UPLOAD: "the upload failed: begin it again, for the same reference and profile",
}


def _advice(case: _Case) -> Iterator[str]:
    row, has_token = case.row, case.context.gateway.has_token
    # what stops all checks comes first: advice about the row alone would not help until then
    awaits_check = row.check_at is not None and row.state is not State.DELETED
    if awaits_check and not has_token:
        yield "the token is not set here: does this shell have the settings of the service?"
    if awaits_check and case.engine_silence:
        yield f"{case.engine_silence}: start `rindle-sync run` or a worker"
    if case.circuit:
        yield f"the circuit is open ({case.circuit}): `rindle-sync doctor --ping` says what to fix"
    if any(webhook_event.status is EventStatus.DEAD for webhook_event in case.webhook_events):
        yield (
            "a webhook event about it was not applied: `rindle-sync events list --status dead`, "
            "then `events replay`"
        )
    if row.error_kind in _BY_KIND:
        yield _BY_KIND[row.error_kind]
    if row.state in IN_FLIGHT and row.provider_asset_id is None:
        yield "it waits for the file: the provider has made no asset of its upload yet"
    is_stopped = case.engine_silence or case.circuit or not has_token
    overdue = case.now - row.check_at if row.check_at else timedelta(0)
    is_long = overdue > 10 * case.context.schedule.floor
    if row.state in IN_FLIGHT and is_long and not is_stopped:
        yield "it is long overdue though an engine runs: is the rate limit too low for the rows?"
    if _came_without_webhook(case):
        yield (
            "no webhook about it ever came: "
            "is the endpoint set at the provider, for this environment?"
        )


def _came_without_webhook(case: _Case) -> bool:
    """Whether a check found it ready, so long ago that its webhook should have come."""
    if case.webhook_events or not case.context.webhooks.secrets:
        return False
    found = [
        change.at
        for change in case.changes
        if change.kind is ChangeKind.STATE
        and change.to_state is State.READY
        and change.trigger in CHECK_TRIGGERS
    ]
    return bool(found) and case.now - found[-1] > GRACE
