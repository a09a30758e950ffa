"""Runs due jobs, here or by Procrastinate or Celery; dispatches changes to the app."""

from rindle_sync.runtime.app_webhooks import (
    WebhookCallback,
    WebhookFunction,
    WebhookReceived,
    dispatch_webhook_events,
)
from rindle_sync.runtime.callbacks import (
    CALL_LIMIT,
    LONGEST_RETRY,
    Callback,
    ChangeCallback,
    ChangeEvent,
    LeaseLost,
    Recorder,
    TransactionalCallback,
    callback_name,
    change_callback,
    check_arguments,
    check_async,
    is_async,
)
from rindle_sync.runtime.dispatch import BATCH, dispatch
from rindle_sync.runtime.heartbeat import (
    SILENT_AFTER,
    EngineState,
    Heartbeat,
    engine_state,
    last_heartbeat,
)
from rindle_sync.runtime.job_runner import PRUNE_LEASE, JobRunner
from rindle_sync.runtime.run import Runtime, extra
from rindle_sync.runtime.runnable import Runnable
