"""Signals for the real changes of videos: delivered at least once, with their effects exactly once.

Whatever process runs the jobs sends them, after the change is committed, in the order of each row.
The receivers of one change run in one `transaction.atomic` of our database, in which the note that
the change is dispatched is written as well: what they write there is written once. Where one
raises, nothing is, and all are called again later.

Each is sent with `sender` = `ProviderAsset`, `asset` (the `ProviderAsset` as it is now; None where
it was untracked since), `reference` (the app's own id) and `change` (what has changed: states,
kind, time).
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.db import close_old_connections, connections, transaction
from django.dispatch import Signal

from rindle_sync.app import add_callback
from rindle_sync.domain import ChangeKind, State
from rindle_sync.installation import Installation
from rindle_sync.integrations.blocking.background import CallFromThread
from rindle_sync.integrations.django import conf
from rindle_sync.runtime import ChangeCallback, ChangeEvent, Recorder
from rindle_sync.store import is_called_from_elsewhere, on_callers_thread

video_changed: Final = Signal()
"""A video has changed: its state, its playback ids, or its media."""

video_ready: Final = Signal()
"""A video can be played now."""

video_errored: Final = Signal()
"""A video has failed."""

NAME: Final = __name__
"""What the database knows these callbacks by."""

_BY_STATE: Final = {State.READY: video_ready, State.ERRORED: video_errored}


def connect_signals(installation: Installation) -> None:
    """Have the services of a process that runs jobs send the signals."""
    for service in installation.values():
        callback = ChangeCallback(name=NAME, function=_send, owns_transaction=True, wants=_wants)
        add_callback(service, callback)


def _signals(event: ChangeEvent) -> list[Signal]:
    """The signals of a change that somebody receives."""
    found = [video_changed]
    if event.kind is ChangeKind.STATE and event.change.to_state in _BY_STATE:
        found.append(_BY_STATE[event.change.to_state])
    return [signal for signal in found if signal.has_listeners(_sender())]


def _wants(event: ChangeEvent) -> bool:
    return bool(_signals(event))


def _sender() -> Any:
    from rindle_sync.integrations.django.models import ProviderAsset

    return ProviderAsset


async def _send(event: ChangeEvent, record: Recorder) -> None:
    """Send the signals of one change, on the thread that has called, or on one of their own."""
    loop = asyncio.get_running_loop()

    def record_on(connection: Any) -> None:
        call = CallFromThread(partial(_awaited, record, connection), loop)
        loop.call_soon_threadsafe(call.begin)
        call.result()

    if is_called_from_elsewhere():
        await on_callers_thread(lambda: _deliver(event, record_on))
    else:
        await asyncio.to_thread(_on_a_thread, event, record_on)


async def _awaited(record: Recorder, connection: Any) -> None:
    await record(connection)


def _on_a_thread(event: ChangeEvent, record_on: Callable[[Any], None]) -> None:
    # as Django does around each request: no connection is used or kept longer than CONN_MAX_AGE
    close_old_connections()
    try:
        _deliver(event, record_on)
    finally:
        close_old_connections()


def _deliver(event: ChangeEvent, record_on: Callable[[Any], None]) -> None:
    alias, sender = conf.database_alias(), _sender()
    with transaction.atomic(using=alias):
        record_on(connections[alias])
        asset = sender.everywhere.using(alias).filter(pk=event.change.row_id).first()
        for signal in _signals(event):
            signal.send(sender=sender, asset=asset, reference=event.reference, change=event.change)
