"""What a row is, what an observation says of it, what becomes of it, when it is checked. Pure."""

from rindle_sync.domain.actor import (
    COMMAND,
    CONSOLE,
    LONGEST_TOKEN_NAME,
    SETTINGS_TOKEN,
    Action,
    Actor,
    RowAction,
    token_name_fault,
)
from rindle_sync.domain.asset import (
    ADOPTED,
    DIRECT_UPLOAD,
    FETCH_SOURCES,
    FINAL,
    FROM_URL,
    IN_FLIGHT,
    ROW_FIELDS,
    WATCHED,
    ChangeKind,
    Due,
    ErrorKind,
    FailureKind,
    FetchFailure,
    HasProviderIds,
    Observation,
    ObservationSource,
    PlaybackId,
    ProviderAsset,
    State,
    Trigger,
    as_row_id,
    contradiction,
    is_row_id,
    replace,
    with_credible_time,
)
from rindle_sync.domain.attempt import attempt_age, is_same_attempt, reassign, restart
from rindle_sync.domain.clocks import LONGEST_WAIT, TOLERANCE, credible, has_come, is_ahead, lasts
from rindle_sync.domain.decide import decide
from rindle_sync.domain.decision import CHANGES, Decision, Policy, StuckPolicy, Verdict
from rindle_sync.domain.decision_log import MOST, LoggedDecision, log_decision, read_log
from rindle_sync.domain.hourly_calls import add_calls, calls_in
from rindle_sync.domain.humanize import ago, many, moment_of, seconds_of, span_of
from rindle_sync.domain.jobs import PROVIDER_JOBS, DueThresholds, DueWork, Job, JobKind, Outcome
from rindle_sync.domain.media import (
    MEDIA_FIELDS,
    Master,
    Media,
    OutputStatus,
    Rendition,
    Track,
    TrackKind,
    media_fields,
    media_values,
)
from rindle_sync.domain.outgoing import (
    CHANGE_TYPES,
    LONGEST_URL,
    MEDIA_CHANGED,
    MOST_SECRETS,
    OF_SETTINGS,
    SECRET_PREFIX,
    TEST_TYPE,
    OutgoingSettings,
    change_type,
    endpoint_url_fault,
    secret_fault,
    shown_url,
    signing_key,
    type_pattern_fault,
    wants_type,
)
from rindle_sync.domain.outgoing_retry import (
    ANSWERED_GONE,
    BY_OPERATOR,
    DISABLED_AFTER,
    FAILED_FOR_LONG,
    LONGEST_ASKED_PAUSE,
    LONGEST_RETRY_WAIT,
    REMOVED_FROM_SETTINGS,
    RETRY_WAITS,
    Attempt,
    AttemptOutcome,
    EndpointHealth,
    OutgoingEndpoint,
    OutgoingSecret,
    OutgoingStatus,
    OutgoingWebhook,
    after_attempt,
    health_after,
    is_probed,
    newest_first,
)
from rindle_sync.domain.outputs import (
    FINISHED,
    LIVE,
    MASTER,
    finished_outputs,
    has_unfinished_outputs,
    media_news,
    output_key,
    output_statuses,
)
from rindle_sync.domain.redact import MAX_ERROR_TEXT, hide, hide_urls, redact_id, scrub
from rindle_sync.domain.refresh import is_refreshed
from rindle_sync.domain.row_filter import (
    MOST_LISTED,
    Place,
    RowFilter,
    RowFilters,
    RowPage,
    check_limit,
    cursor_at,
    cursor_of,
    place_of,
    question_of,
    row_filter,
)
from rindle_sync.domain.schedule import (
    ATTEMPTS,
    LongestGaps,
    Schedule,
    is_due,
    is_nearly_due,
    longest_gaps,
    next_check,
    regular_check,
    retry_gap,
)
from rindle_sync.domain.standing import is_news, is_settled, needs_fetch
from rindle_sync.domain.text import LONGEST_TEXT, check_is_text, is_text, shown_text, text_fault
from rindle_sync.domain.token_bucket import (
    LONGEST_PAUSE,
    Bucket,
    BucketLevel,
    BucketState,
    Grant,
    Priority,
)
from rindle_sync.domain.value import Value
from rindle_sync.domain.webhook_event import (
    NO_ROW,
    NOT_WANTED,
    UNTRACKED,
    WAITS_AFTER_FAILURE,
    WAITS_FOR_APP,
    WAITS_FOR_ROW,
    EventStatus,
    ReceivedEvent,
    StoredEvent,
    WebhookEvent,
    WebhookEventSummary,
    WebhookSettings,
    next_wait,
)
from rindle_sync.domain.webhook_types import matches_any, pattern_fault
