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
    AssetRequest,
    Modifiers,
    PlaybackBundle,
    PlaybackOptions,
    PlaybackRequest,
    PlaybackUrl,
    Transport,
    UploadRequest,
)
from rindle_sync.reconcile import Applied, Drift, Filled, Report, SweepResult
from rindle_sync.reconcile.audit import Note
from rindle_sync.runtime import Callback, TransactionalCallback, WebhookFunction, WebhookReceived
from rindle_sync.runtime.engines.base import Distributed
from rindle_sync.store import AnyConnection, Change, Tracking, WrongTimes
from rindle_sync.telemetry import Listener
from rindle_sync.tracking import PreparedAsset, PreparedUpload, Refusal, TrackedMany
from rindle_sync.webhooks import WebhookApp, WebhookEvents, WebhookResponse

__all__ = [
    "AnyConnection",
    "Applied",
    "AssetRequest",
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
    "PreparedAsset",
    "PreparedUpload",
    "RateLimitStatus",
    "Refusal",
    "Rendition",
    "Report",
    "RowFilters",
    "RowPage",
    "SettingsArguments",
    "Status",
    "SweepResult",
    "Track",
    "TrackKind",
    "TrackedMany",
    "Tracking",
    "TransactionalCallback",
    "Transport",
    "Trigger",
    "UploadRequest",
    "Verdict",
    "WebhookApp",
    "WebhookEventSummary",
    "WebhookEvents",
    "WebhookFunction",
    "WebhookReceived",
    "WebhookResponse",
    "WebhookStatus",
    "WrongTimes",
]
