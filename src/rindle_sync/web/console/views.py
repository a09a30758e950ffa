"""What each view shows, read out of the tables; knows no HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rindle_sync.diagnostics import explain, many, of_engine, of_environment, overview
from rindle_sync.domain import (
    ErrorKind,
    EventStatus,
    ProviderAsset,
    State,
    WebhookEventSummary,
    is_row_id,
    redact_id,
)
from rindle_sync.runtime import JobRunner, last_tick
from rindle_sync.webhooks import rows_about

_DONE: Final = {
    "changed": ("done", "Looked at: it has changed."),
    "unchanged": ("done", "Looked at: it is as it was."),
    "stuck": ("health bad", "It was in flight for too long, and counts as stuck now."),
    "suspected": (
        "health bad",
        "The provider does not know it: asked again later, before it counts as deleted.",
    ),
    "stale": ("done", "Somebody else has looked at it meanwhile."),
    "doubted": ("health bad", "It was changed meanwhile: it will be looked at again."),
    "unanswered": ("health bad", "The provider did not answer: it will be asked again."),
    "gone": ("health bad", "The row is not there any more."),
    "late": ("health bad", "No answer in time: the row will be looked at again."),
}
"""How the outcome of a look is shown: its class, and the sentence."""

ROWS: Final = 50
WEBHOOK_EVENTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """Which rows a browser asks for; what it wrote that is no state or kind counts as none."""

    environment: str
    state: State | None = None
    kind: ErrorKind | None = None
    name: str = ""
    before: str = ""
    """The place in the list from which on: what the page before has given."""

    @classmethod
    def of(cls, query: Mapping[str, str], environments: Sequence[str]) -> "RowFilter":
        """What the query of an address asks for."""
        environment, state, kind = (
            query.get("environment", ""),
            query.get("state"),
            query.get("kind"),
        )
        return cls(
            environment=environment if environment in environments else environments[0],
            state=State(state) if state in set(State) else None,
            kind=ErrorKind(kind) if kind in set(ErrorKind) else None,
            name=query.get("name", "").replace("\0", "").strip()[:255],
            before=query.get("before", "")[:100],
        )


def done(query: Mapping[str, str]) -> dict[str, str] | None:
    """What has been done, as the query of an address says; None for what nothing of ours says."""
    outcome, number = query.get("done", ""), query.get("number", "")
    if outcome == "replayed" and number.isascii() and number.isdecimal() and len(number) < 10:
        return {
            "look": "done",
            "text": f"{many(int(number), 'delivery', 'deliveries')} to be applied again.",
        }
    return {"look": _DONE[outcome][0], "text": _DONE[outcome][1]} if outcome in _DONE else None


async def standing(job_runners: Sequence[JobRunner]) -> dict[str, Any]:
    """How everything stands, and what somebody should look at."""
    context = job_runners[0].context
    now, ticked = context.now(), await last_tick(context)
    overviews = await overview([job_runner.context for job_runner in job_runners])
    worries = [
        *of_engine(ticked, now),
        *(found for one in overviews for found in of_environment(one)),
    ]
    return {"overviews": overviews, "worries": worries, "ticked": ticked}


async def rows(job_runner: JobRunner, wanted: RowFilter) -> dict[str, Any]:
    """Rows of one environment, the newest assets first."""
    context = job_runner.context
    if wanted.name:
        found, following = (
            await context.store.find_by_id_or_reference(
                context.provider.name, context.environment, wanted.name
            ),
            None,
        )
    else:
        found, following = await context.asset_queries.list_rows(
            context.provider.name,
            context.environment,
            state=wanted.state,
            error_kind=wanted.kind,
            after=_place(wanted.before),
            limit=ROWS,
        )
    return {
        "wanted": wanted,
        "rows": found,
        "following": following and f"{following[0].isoformat()}_{following[1]}",
    }


def _place(before: str) -> tuple[datetime, str] | None:
    moment, _, row_id = before.partition("_")
    try:
        return (
            (datetime.fromisoformat(moment).astimezone(UTC), row_id) if is_row_id(row_id) else None
        )
    except (ValueError, OverflowError):
        return None


async def one_row(job_runner: JobRunner, row: ProviderAsset) -> dict[str, Any]:
    """One row with its history."""
    return {"row": row, "told": await explain(job_runner.context, row)}


async def inbox(job_runner: JobRunner, status: str) -> dict[str, Any]:
    """The newest deliveries of one environment."""
    context, wanted = (
        job_runner.context,
        EventStatus(status) if status in set(EventStatus) else None,
    )
    webhook_events = await context.inbox.list(
        context.provider.name, context.environment, status=wanted, limit=WEBHOOK_EVENTS
    )
    about = await rows_about(context, webhook_events)
    return {
        "notices": [_shown(webhook_event, row) for webhook_event, row in about],
        "chosen": wanted,
        "statuses": list(EventStatus),
    }


def _shown(webhook_event: WebhookEventSummary, row: ProviderAsset | None) -> dict[str, Any]:
    return {
        "id": webhook_event.id,
        "row": row,
        "type": webhook_event.type,
        "status": webhook_event.status,
        "attempts": webhook_event.attempts,
        "received_at": webhook_event.received_at,
        "reason": webhook_event.reason,
        "tag": redact_id(webhook_event.provider_asset_id or webhook_event.provider_upload_id),
        "can_replay": webhook_event.status is not EventStatus.IGNORED and bool(webhook_event.size),
    }
