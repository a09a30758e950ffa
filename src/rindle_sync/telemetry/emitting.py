"""How listeners get events; knows no metric library."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from rindle_sync.domain import ProviderAsset, redact_id
from rindle_sync.telemetry.event import Event, ProviderEvent, RowEvent
from rindle_sync.telemetry.tracebacks import scrub_traceback
from rindle_sync.telemetry.work_events import RedactionFailed

_log: Final = logging.getLogger("rindle_sync")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)

Listener = Callable[[Event], None]


class Telemetry:
    """Emits events to listeners, in order; a listener that fails is logged.

    Fills in the fields that events share: the time, the provider, the environment, and the row.
    """

    def __init__(
        self,
        *listeners: Listener,
        now: Callable[[], datetime],
        provider: str = "",
        environment: str | None = None,
    ) -> None:
        self._listeners = list(listeners)
        self._now = now
        self._provider = provider
        self._environment = environment

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event from now on, until the result is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def emit(
        self, event: Event, row: ProviderAsset | None = None, *, at: datetime | None = None
    ) -> None:
        """Emit an event, about `row` if given; `at` is when its write was decided, if not now."""
        if not self._listeners:
            return
        at = at or self._now()
        values: dict[str, Any] = {"system_time": nanoseconds(at), "environment": self._environment}
        if isinstance(event, ProviderEvent):
            values["provider"] = self._provider
        if row:
            values["row_id"], values["reference"] = row.id, row.shown_reference
            if isinstance(event, RowEvent):
                values["profile"], values["asset_id"] = row.profile, row.tag
        event = replace(event, **values)
        if isinstance(event, RowEvent) and event.asset_id and not event.asset_id.startswith("..."):
            self.emit(RedactionFailed(event=event.name), row, at=at)
            event = replace(event, asset_id=redact_id(event.asset_id))
        # a copy: a listener may end itself or others while it is called
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  the app's code may raise anything
                _log.warning(
                    "a listener failed on %s: %s\n%s",
                    event.name,
                    type(error).__name__,
                    scrub_traceback(error),
                )


def nanoseconds(moment: datetime) -> int:
    """`moment` as nanoseconds since 1970."""
    # not by `timestamp()`: a float does not hold the nanoseconds of our time exactly
    return (moment - _EPOCH) // _MICROSECOND * 1000


def milliseconds(span: timedelta) -> int:
    """`span` in whole milliseconds; 0 for a negative one, as a clock makes that is set back."""
    return max(0, span // _MILLISECOND)
