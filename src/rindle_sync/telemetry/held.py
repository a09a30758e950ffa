"""Events of a transaction, kept until it has committed."""

from datetime import datetime

from rindle_sync.domain import ProviderAsset
from rindle_sync.telemetry.emitting import Telemetry
from rindle_sync.telemetry.events import Event


class HeldTelemetry(Telemetry):
    """Keeps what is emitted until it is released: a transaction may yet be rolled back."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._kept: list[tuple[Event, ProviderAsset | None, datetime | None]] = []

    def emit(
        self, event: Event, row: ProviderAsset | None = None, *, at: datetime | None = None
    ) -> None:
        """Keep an event."""
        self._kept.append((event, row, at))

    def clear(self) -> None:
        """Forget what is kept: the transaction begins again."""
        self._kept.clear()

    def release(self) -> None:
        """Emit what is kept, after the commit."""
        for event, row, at in self._kept:
            self._telemetry.emit(event, row, at=at)
        self._kept.clear()
