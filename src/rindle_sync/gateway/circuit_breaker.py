"""Whether the provider may be called: not after refused credentials or a run of failures."""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from rindle_sync.domain import lasts
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.store import Environments
from rindle_sync.telemetry import BreakerClosed, BreakerOpened, Telemetry, milliseconds

RUN: Final = 10
"""The circuit opens after so many calls in a row without an answer."""

FIRST_GAP: Final = timedelta(seconds=30)
LONGEST_GAP: Final = timedelta(minutes=5)
"""How long the circuit stays open: twice as long each time, up to the longest."""

PROBE: Final = timedelta(seconds=60)
"""How long a trial call that never ends keeps the others waiting."""


class Reason(StrEnum):
    """Why the circuit is open."""

    REFUSED = "refused"
    OTHER_ENVIRONMENT = "other_environment"
    UNREACHABLE = "unreachable"


class OpenCircuit(Struct, frozen=True):
    """An open circuit: since `at`, with the next trial call at `until`."""

    reason: Reason
    text: str
    at: datetime
    until: datetime

    @property
    def shown(self) -> str:
        """Why no call is made, and when the next one is."""
        return f"{self.text}; no call before {self.until:%H:%M:%S} UTC"


class CircuitBreaker:
    """The breaker of one environment in this process; its changes are emitted, and stored."""

    def __init__(
        self, environments: Environments, telemetry: Telemetry, now: Callable[[], datetime]
    ) -> None:
        self._environments = environments
        self._telemetry = telemetry
        self._now = now
        self._failures = 0
        self._gap = FIRST_GAP
        self._probe_until: datetime | None = None
        self._noted_until: datetime | None = None
        """When to store again that it is closed: another process may have stored otherwise."""
        self.opened: OpenCircuit | None = None

    def room(self, most: int) -> int:
        """How many of `most` calls may be made now: all, one trial call, or none."""
        if self.opened is None:
            return most
        now = self._now()
        if lasts(self.opened.until, now, LONGEST_GAP) or lasts(self._probe_until, now, PROBE):
            return 0
        return min(most, 1)

    def enter(self) -> OpenCircuit | None:
        """Begin a call; the open circuit where none may be made."""
        if not self.room(1):
            return self.opened
        if self.opened:
            self._probe_until = self._now() + PROBE
        return None

    async def succeeded(self) -> None:
        """A call was answered: close the circuit."""
        self._failures = 0
        opened, self.opened, self._probe_until, self._gap = self.opened, None, None, FIRST_GAP
        if opened:
            open_ms = milliseconds(self._now() - opened.at)
            self._telemetry.emit(BreakerClosed(reason=opened.reason.value, open_ms=open_ms))
        if not lasts(self._noted_until, self._now(), LONGEST_GAP):
            self._noted_until = self._now() + LONGEST_GAP
            try:
                await self._environments.note_circuit(None, None)
            except DatabaseUnavailable:
                self._noted_until = None
                raise

    async def failed(self, text: str) -> None:
        """A call brought no answer: the tenth in a row, or a trial call, opens the circuit."""
        self._failures += 1
        if self._failures >= RUN or self._probe_until:
            await self.open(Reason.UNREACHABLE, text)

    async def open(self, reason: Reason, text: str) -> None:
        """Open the circuit; refused credentials do so at once, as every call would be refused."""
        now, before = self._now(), self.opened
        if before and lasts(before.until, now, LONGEST_GAP):
            return  # a call that was under way when the circuit opened
        self._probe_until = self._noted_until = None
        self.opened = OpenCircuit(reason, text, before.at if before else now, now + self._gap)
        gap, self._gap = self._gap, min(self._gap * 2, LONGEST_GAP)
        if before and before.reason is reason:
            return
        self._telemetry.emit(BreakerOpened(reason=reason.value, retry_ms=milliseconds(gap)))
        await self._environments.note_circuit(reason, self.opened.at)
