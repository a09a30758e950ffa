"""Runs due jobs, here or by Procrastinate or Celery; dispatches changes to the app."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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
    from rindle_sync.runtime.dispatching import BATCH, dispatch
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

# imported when first asked for: a command that runs no jobs needs few of them
_MODULES: Final = {
    "BATCH": "dispatching",
    "CALL_LIMIT": "callbacks",
    "Callback": "callbacks",
    "ChangeCallback": "callbacks",
    "ChangeEvent": "callbacks",
    "EngineState": "heartbeat",
    "Heartbeat": "heartbeat",
    "JobRunner": "job_runner",
    "LONGEST_RETRY": "callbacks",
    "LeaseLost": "callbacks",
    "PRUNE_LEASE": "job_runner",
    "Recorder": "callbacks",
    "Runnable": "runnable",
    "Runtime": "run",
    "SILENT_AFTER": "heartbeat",
    "TransactionalCallback": "callbacks",
    "WebhookCallback": "app_webhooks",
    "WebhookFunction": "app_webhooks",
    "WebhookReceived": "app_webhooks",
    "callback_name": "callbacks",
    "change_callback": "callbacks",
    "check_arguments": "callbacks",
    "check_async": "callbacks",
    "dispatch": "dispatching",
    "dispatch_webhook_events": "app_webhooks",
    "engine_state": "heartbeat",
    "extra": "run",
    "is_async": "callbacks",
    "last_heartbeat": "heartbeat",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
