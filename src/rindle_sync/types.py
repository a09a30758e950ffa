"""The types of what the public object takes, returns and calls, for annotations in an app."""

from rindle_sync.config import SettingsArguments
from rindle_sync.diagnostics import Explanation, Status
from rindle_sync.diagnostics.explain import Moment, MomentKind
from rindle_sync.diagnostics.status import Lateness, RateLimitStatus, WebhookStatus
from rindle_sync.domain import (
    ChangeKind,
    Decision,
    EventStatus,
    FailureKind,
    FetchFailure,
    Master,
    Media,
    Observation,
    ObservationSource,
    Outcome,
    OutputStatus,
    PlaybackId,
    Rendition,
    RowFilters,
    RowPage,
    Track,
    TrackKind,
    Trigger,
    Verdict,
    WebhookEventSummary,
)
from rindle_sync.providers import (
    Modifiers,
    PlaybackBundle,
    PlaybackOptions,
    PlaybackRequest,
    PlaybackUrl,
    Transport,
)
from rindle_sync.reconcile import Applied, Drift, Filled, Report, SweepResult
from rindle_sync.reconcile.audit import Note
from rindle_sync.runtime import Callback
from rindle_sync.runtime.engines.base import Distributed
from rindle_sync.store import Change, WrongTimes
from rindle_sync.telemetry import Listener
from rindle_sync.webhooks import WebhookApp, WebhookEvents, WebhookResponse

__all__ = [
    "Applied",
    "Callback",
    "Change",
    "ChangeKind",
    "Decision",
    "Distributed",
    "Drift",
    "EventStatus",
    "Explanation",
    "FailureKind",
    "FetchFailure",
    "Filled",
    "Lateness",
    "Listener",
    "Master",
    "Media",
    "Modifiers",
    "Moment",
    "MomentKind",
    "Note",
    "Observation",
    "ObservationSource",
    "Outcome",
    "OutputStatus",
    "PlaybackBundle",
    "PlaybackId",
    "PlaybackOptions",
    "PlaybackRequest",
    "PlaybackUrl",
    "RateLimitStatus",
    "Rendition",
    "Report",
    "RowFilters",
    "RowPage",
    "SettingsArguments",
    "Status",
    "SweepResult",
    "Track",
    "TrackKind",
    "Transport",
    "Trigger",
    "Verdict",
    "WebhookApp",
    "WebhookEventSummary",
    "WebhookEvents",
    "WebhookResponse",
    "WebhookStatus",
    "WrongTimes",
]
