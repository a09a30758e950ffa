"""What each page shows, read from the tables; knows no HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from rindle_sync.diagnostics import (
    DAY,
    GRACE,
    LONGEST_DUE,
    SYNC_OUTCOMES,
    DoctorFinding,
    Overview,
    Scan,
    fast_overview,
    of_engine,
    of_environment,
    scan,
)
from rindle_sync.domain import TOLERANCE, ProviderAsset, State, many, redact_id
from rindle_sync.errors import ConfigurationError
from rindle_sync.gateway import ProviderGateway
from rindle_sync.runtime import JobRunner, last_heartbeat
from rindle_sync.store import ChangeQuery, EventQuery, ListedRows, RowCondition, RowQuery
from rindle_sync.store.activity import HOUR, HourFigures
from rindle_sync.web.console.charts import Chart, charts_of
from rindle_sync.web.console.links import link_of
from rindle_sync.web.console.searches import ChangeSearch, EventSearch, Only, RowSearch
from rindle_sync.webhooks import rows_about

_GOOD: Final = "done"
_BAD: Final = "health bad"
_MICROSECOND: Final = timedelta(microseconds=1)
HOURS: Final = 24
ROWS: Final = 50
CHANGES: Final = 100
WEBHOOK_EVENTS: Final = 100

_CONDITIONS: Final = {
    Only.DUE: RowCondition.DUE,
    Only.OVERDUE: RowCondition.DUE,
    Only.FAILING: RowCondition.FAILING,
    Only.UNLINKED: RowCondition.UNLINKED,
}


def done(query: Mapping[str, str]) -> dict[str, str] | None:
    """The outcome of an action, as the query of a URL names it; None for anything unknown."""
    outcome, number = query.get("done", ""), query.get("number", "")
    if outcome == "replayed" and number.isascii() and number.isdecimal() and len(number) < 10:
        return {"style": _GOOD, "text": f"{many(int(number), 'webhook event')} to be replayed."}
    if outcome in SYNC_OUTCOMES:
        synced = SYNC_OUTCOMES[outcome]
        return {"style": _GOOD if synced.is_good else _BAD, "text": synced.text}
    return None


@dataclass(frozen=True, slots=True)
class AllOverviews:
    """How all environments stand, as far as no scan is needed."""

    overviews: Sequence[Overview]
    ticked: datetime | None
    """The last heartbeat of an engine."""
    engine: Sequence[DoctorFinding]


async def all_overviews(job_runners: Sequence[JobRunner]) -> AllOverviews:
    """How all environments stand; as fast beside a million videos as beside ten."""
    context = job_runners[0].context
    ticked = await last_heartbeat(context.store)
    overviews = await fast_overview([job_runner.context for job_runner in job_runners])
    return AllOverviews(overviews, ticked, [*of_engine(ticked, context.now())])


@dataclass(frozen=True, slots=True)
class Counted:
    """What a scan has found of each environment, and when it was begun."""

    at: datetime
    scans: Mapping[str, Scan]


async def counted(job_runners: Sequence[JobRunner]) -> Counted:
    """What only a scan finds: its time grows with the changes of a day."""
    at = job_runners[0].context.now()
    return Counted(at, await scan([job_runner.context for job_runner in job_runners]))


def overview(found: AllOverviews, counted: Counted | None) -> dict[str, Any]:
    """How all environments stand, and what needs attention; None while that is counted."""
    overviews, findings = found.overviews, [*found.engine]
    if counted:
        overviews = [counted.scans[old.environment].added_to(old) for old in overviews]
    for environment in overviews:
        findings += of_environment(environment)
    linked = [(finding, link_of(finding)) for finding in findings]
    return {
        "overviews": overviews,
        "findings": linked,
        "ticked": found.ticked,
        "counted_at": counted.at if counted else None,
    }


async def rows(job_runner: JobRunner, wanted: RowSearch) -> dict[str, Any]:
    """Videos of one environment."""
    store = job_runner.context.store
    if wanted.name:
        found = await store.assets.find_by_id_or_reference(wanted.name)
        named = tuple(row for row in found if _fits(row, wanted))
        return {"search": wanted, "page": ListedRows(named), "following": None}
    query = _row_query(wanted, job_runner.context.now())
    try:
        page = await store.row_listing.page(query, after=wanted.after or None, limit=ROWS)
    except ConfigurationError:
        # a link that was cut off, or is of an older version: the first page is better than none
        page = await store.row_listing.page(query, limit=ROWS)
    following = wanted.address(after=page.next) if page.next else None
    return {"search": wanted, "page": page, "following": following}


def _row_query(wanted: RowSearch, now: datetime) -> RowQuery:
    return RowQuery(
        state=wanted.state,
        error_kind=wanted.kind,
        profile=wanted.profile or None,
        condition=_CONDITIONS[wanted.only] if wanted.only else None,
        due_by=now - LONGEST_DUE if wanted.only is Only.OVERDUE else now,
        order=wanted.sorted_by.order,
        is_descending=wanted.sorted_by.is_descending,
    )


def _fits(row: ProviderAsset, wanted: RowSearch) -> bool:
    return (
        wanted.state in {None, row.state}
        and wanted.kind in {None, row.error_kind}
        and wanted.profile in {"", row.profile}
    )


async def changes(job_runner: JobRunner, wanted: ChangeSearch) -> dict[str, Any]:
    """Changes of one environment in 24 hours, or in one hour, the newest first."""
    context = job_runner.context
    store, query = context.store, _change_query(job_runner, wanted)
    try:
        page = await store.change_listing.page(query, after=wanted.after or None, limit=CHANGES)
    except ConfigurationError:
        page = await store.change_listing.page(query, limit=CHANGES)
    # the reference may contain an id of the provider: only the row knows that, and hides it
    known = await store.row_listing.find({change.row_id for change in page.changes})
    listed = [(change, known.get(change.row_id)) for change in page.changes]
    following = wanted.address(after=page.next) if page.next else None
    return {"search": wanted, "page": page, "changes": listed, "following": following}


def _change_query(job_runner: JobRunner, wanted: ChangeSearch) -> ChangeQuery:
    context = job_runner.context
    now, begins = context.now(), wanted.begins
    # what a clock slightly ahead has dated is counted, too
    since, until = now - DAY, now + TOLERANCE
    if begins:
        # a list has what is later than `since`, an hour what is not earlier than its begin
        since, until = begins - _MICROSECOND, begins + HOUR - _MICROSECOND
    return ChangeQuery(
        since=since,
        until=until,
        trigger=wanted.trigger,
        to_state=wanted.to_state,
        webhook=wanted.webhook,
        final_before=now - GRACE,
        never_reported=_never_reported(job_runner),
    )


async def charts(job_runner: JobRunner) -> list[Chart]:
    """The last 24 hours of one environment, and the hour that is not over."""
    context = job_runner.context
    now = context.now()
    newest = now.replace(minute=0, second=0, microsecond=0)
    begins = [newest - HOUR * place for place in range(HOURS - 1, -1, -1)]
    hours = await context.store.activity.hours(
        begins, final_before=now - GRACE, never_reported=_never_reported(job_runner)
    )
    if not context.webhooks.secrets:  # none is received, so none is missed
        for hour in hours:
            hour.expected = hour.missed = 0
    await _count_calls(context.gateway, hours)
    return charts_of(context.store.environment, hours, context.gateway.reads.per_hour)


async def _count_calls(gateway: ProviderGateway, hours: Sequence[HourFigures]) -> None:
    """Note the calls of each hour: all are reads where the provider has one limit for both."""
    begins = [hour.begins for hour in hours]
    for hour, calls in zip(hours, await gateway.reads.calls_in(begins), strict=True):
        hour.reads = calls
    if gateway.creates is gateway.reads:
        return
    for hour, calls in zip(hours, await gateway.creates.calls_in(begins), strict=True):
        hour.creates = calls


def _never_reported(job_runner: JobRunner) -> State | None:
    """The state whose changes no webhook of the provider reports."""
    return None if job_runner.context.gateway.provider.reports_deletion else State.DELETED


async def webhook_events(job_runner: JobRunner, wanted: EventSearch) -> dict[str, Any]:
    """Webhook events of one environment, the newest first; what is pending in its own order."""
    context = job_runner.context
    store, since = context.store, context.now() - DAY if wanted.within else None
    query = EventQuery(status=wanted.status, since=since)
    try:
        page = await store.event_listing.page(
            query, after=wanted.after or None, limit=WEBHOOK_EVENTS
        )
    except ConfigurationError:
        page = await store.event_listing.page(query, limit=WEBHOOK_EVENTS)
    shown = []
    for event, row in await rows_about(store.assets, page.events):
        tag = redact_id(event.provider_asset_id or event.provider_upload_id)
        # a pruned event has no body left to apply
        shown.append({"event": event, "row": row, "tag": tag, "can_replay": event.can_replay})
    following = wanted.address(after=page.next) if page.next else None
    return {"search": wanted, "page": page, "events": shown, "following": following}
