"""Answers how things stand, from the tables; changes nothing."""

from rindle_sync.diagnostics.cached_query import SPARING, WITHIN, CachedQuery, ConcurrencyLimit
from rindle_sync.diagnostics.checks import (
    LONGEST_DUE,
    Check,
    DoctorFinding,
    Level,
    of_engine,
    of_environment,
    of_names,
    of_times,
    waiting_text,
)
from rindle_sync.diagnostics.explain import Explanation, MomentKind, explain
from rindle_sync.diagnostics.outcomes import SYNC_OUTCOMES, Outcome
from rindle_sync.diagnostics.readiness import OK, WARNING, Readiness
from rindle_sync.diagnostics.status import (
    DAY,
    GRACE,
    HOUR,
    Overview,
    Scan,
    Status,
    WebhookStatus,
    elsewhere,
    environment_status,
    fast_overview,
    figures_of,
    overview,
    scan,
)
from rindle_sync.diagnostics.waiting_events import WaitingEvents
