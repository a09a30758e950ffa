"""The words of the pages, for people who know videos and not our tables."""

from typing import Final

from rindle_sync.domain import ErrorKind, EventStatus, State, Trigger
from rindle_sync.store import WebhookOutcome
from rindle_sync.web.console.searches import Only, Sort

STATES: Final = {
    State.PENDING: "not begun at the provider yet",
    State.UPLOADING: "waits for its file",
    State.PROCESSING: "the provider works on it",
    State.READY: "can be played",
    State.ERRORED: "cannot be played",
    State.DELETED: "deleted at the provider",
}

ERRORS: Final = {
    ErrorKind.PROVIDER: "the file cannot be used",
    ErrorKind.STUCK: "takes too long",
    ErrorKind.NOT_FOUND: "not found at the provider",
    ErrorKind.UPLOAD: "the upload failed",
}

TRIGGERS: Final = {
    Trigger.WEBHOOK: "webhook",
    Trigger.SWEEP: "regular check",
    Trigger.SYNC: "sync by your app",
    Trigger.AUDIT: "audit",
    Trigger.CLI: "command",
    Trigger.CONSOLE: "console",
    Trigger.APP: "upload or replacement by your app",
    Trigger.API: "HTTP API",
}

ONLY: Final = {
    Only.DUE: "due for a check",
    Only.OVERDUE: "due for over 10 minutes",
    Only.FAILING: "last check unanswered",
    Only.UNLINKED: "waiting for a file",
}

SORTS: Final = {
    Sort.NEWEST: "newest first",
    Sort.OLDEST: "oldest first",
    Sort.CHECKED_LATELY: "checked last",
    Sort.CHECKED_LONG_AGO: "not checked for longest",
    Sort.NEXT: "next check soonest",
    Sort.NEXT_LAST: "next check latest",
}

WEBHOOKS: Final = {WebhookOutcome.LATE: "came after a check", WebhookOutcome.MISSED: "never came"}

STATUSES: Final = {
    EventStatus.PENDING: "waits to be applied",
    EventStatus.APPLIED: "applied",
    EventStatus.IGNORED: "says nothing about a video",
    EventStatus.DEAD: "could not be applied",
}

WORDS: Final = {
    "states": STATES,
    "state_names": {state: state.value for state in State},
    "errors": ERRORS,
    "triggers": TRIGGERS,
    "only": ONLY,
    "sorts": SORTS,
    "webhooks": WEBHOOKS,
    "statuses": STATUSES,
    "status_names": {status: status.value for status in EventStatus},
}
