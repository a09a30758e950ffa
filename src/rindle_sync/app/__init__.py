"""The public object and the composition root: settings in, a running service out."""

from rindle_sync.app.callbacks import add_callback
from rindle_sync.app.core import lease_of, now
from rindle_sync.app.rindle import (
    RindleSync,
    connect,
    http_api,
    no_environment,
    only_environment,
    open_rindle,
)
