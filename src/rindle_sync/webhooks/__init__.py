"""Accepts webhook requests, stores them once, and applies them through `reconcile.apply`."""

from rindle_sync.webhooks.asgi import (
    App,
    Receive,
    Scope,
    Send,
    WebhookApp,
    at_most,
    at_paths,
    nowhere,
    try_again,
    webhook_app,
)
from rindle_sync.webhooks.endpoints import (
    check_address,
    create_endpoint,
    delete_endpoint,
    find_endpoint,
    list_endpoints,
)
from rindle_sync.webhooks.events import WebhookEvents, replay
from rindle_sync.webhooks.process import BATCH, process_pending, process_webhook_events, rows_about
from rindle_sync.webhooks.receive import (
    LARGEST_BODY,
    TRY_AGAIN,
    Receiver,
    WebhookResponse,
    receiver_of,
)
