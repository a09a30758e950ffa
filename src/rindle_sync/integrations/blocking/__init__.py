"""The service for code without an event loop: Flask, Django views, scripts, notebooks."""

from rindle_sync.integrations.blocking.installation import (
    BlockingInstallation,
    connect,
    connect_all,
)
from rindle_sync.integrations.blocking.rindle import BlockingRindle, BlockingWebhookEvents
from rindle_sync.integrations.blocking.wsgi import WsgiApp, webhook_wsgi_app

__all__ = [
    "BlockingInstallation",
    "BlockingRindle",
    "BlockingWebhookEvents",
    "WsgiApp",
    "connect",
    "connect_all",
    "webhook_wsgi_app",
]
