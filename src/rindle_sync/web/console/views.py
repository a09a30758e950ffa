"""What each page shows, read from the tables; knows no HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rindle_sync.diagnostics import SYNC_OUTCOMES, of_engine, of_environment, overview
from rindle_sync.domain import (
    LONGEST_TEXT,
    ErrorKind,
    EventStatus,
    State,
    many,
    redact_id,
    row_filter,
)
from rindle_sync.errors import ConfigurationError
from rindle_sync.runtime import JobRunner, last_heartbeat
from rindle_sync.webhooks import rows_about

_GOOD: Final = "done"
_BAD: Final = "health bad"
ROWS: Final = 50
WEBHOOK_EVENTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSearch:
    """Which rows a browser asks for; an unknown state or kind counts as none."""

    environment: str
    state: State | None = None
    kind: ErrorKind | None = None
    name: str = ""
    after: str = ""
    """The cursor of the page before."""

    @classmethod
    def of(cls, query: Mapping[str, str], environments: Sequence[str]) -> "RowSearch":
        """What the query of a URL asks for."""
        environment = query.get("environment", "")
        state, kind = query.get("state"), query.get("kind")
        return cls(
            environment=environment if environment in environments else environments[0],
            state=State(state) if state in set(State) else None,
            kind=ErrorKind(kind) if kind in set(ErrorKind) else None,
            # PostgreSQL refuses a text with a NUL
            name=query.get("name", "").replace("\0", "").strip()[:LONGEST_TEXT],
            after=query.get("after", "")[:100],
        )


def done(query: Mapping[str, str]) -> dict[str, str] | None:
    """The outcome of an action, as the query of a URL names it; None for anything unknown."""
    outcome, number = query.get("done", ""), query.get("number", "")
    if outcome == "replayed" and number.isascii() and number.isdecimal() and len(number) < 10:
        return {"style": _GOOD, "text": f"{many(int(number), 'webhook event')} to be replayed."}
    if outcome in SYNC_OUTCOMES:
        synced = SYNC_OUTCOMES[outcome]
        return {"style": _GOOD if synced.is_good else _BAD, "text": synced.text}
    return None


async def all_overviews(job_runners: Sequence[JobRunner]) -> dict[str, Any]:
    """How all environments stand, and what needs attention."""
    context = job_runners[0].context
    ticked = await last_heartbeat(context.store)
    overviews = await overview([job_runner.context for job_runner in job_runners])
    findings = [*of_engine(ticked, context.now())]
    for environment in overviews:
        findings += of_environment(environment)
    return {"overviews": overviews, "findings": findings, "ticked": ticked}


async def rows(job_runner: JobRunner, wanted: RowSearch) -> dict[str, Any]:
    """Rows of one environment, the newest assets first."""
    store = job_runner.context.store
    if wanted.name:
        found = await store.assets.find_by_id_or_reference(wanted.name)
        return {"search": wanted, "rows": found, "following": None}
    chosen = row_filter(state=wanted.state, error_kind=wanted.kind)
    try:
        page = await store.queries.page(chosen, after=wanted.after or None, limit=ROWS)
    except ConfigurationError:
        # a link that was cut off, or is of an older version: the first page is better than none
        page = await store.queries.page(chosen, limit=ROWS)
    return {"search": wanted, "rows": page.rows, "following": page.next}


async def webhook_events(job_runner: JobRunner, status: str) -> dict[str, Any]:
    """The newest webhook events of one environment."""
    store = job_runner.context.store
    wanted = EventStatus(status) if status in set(EventStatus) else None
    events = await store.inbox.list(status=wanted, limit=WEBHOOK_EVENTS)
    about = await rows_about(store.assets, events)
    shown = []
    for event, row in about:
        tag = redact_id(event.provider_asset_id or event.provider_upload_id)
        # a pruned event has no body left to apply
        shown.append({"event": event, "row": row, "tag": tag, "can_replay": event.can_replay})
    return {"events": shown, "wanted_status": wanted, "statuses": list(EventStatus)}
