"""Whether the provider may be called at all: not while it refuses us, and not right after a run of failures."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.store import Environments
from rindle_sync.telemetry import BreakerClosed, BreakerOpened, Telemetry, milliseconds, nanoseconds

RUN: Final = 10
"""After so many calls in a row without an answer, the provider is left alone for a while."""

FIRST_GAP: Final = timedelta(seconds=30)
LONGEST_GAP: Final = timedelta(minutes=5)
"""How long the first while is, and the longest; each is twice the one before."""

PROBE: Final = timedelta(seconds=60)
"""How long one call that tries whether all is well again keeps the others waiting, if it never ends."""


class Reason(StrEnum):
    """Why nothing is called."""

    REFUSED = "refused"
    OTHER_ENVIRONMENT = "other_environment"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """An open breaker: why, what the provider said, since when, and until when."""

    reason: Reason
    text: str
    at: datetime
    until: datetime


class CircuitBreaker:
    """The breaker of one provider environment, in this process; what it does is told, and kept for `status`."""

    def __init__(
        self,
        environments: Environments,
        telemetry: Telemetry,
        provider: str,
        environment: str,
        now: Callable[[], datetime],
    ) -> None:
        self._environments = environments
        self._telemetry = telemetry
        self._provider = provider
        self._environment = environment
        self._now = now
        self._failures = 0
        self._gap = FIRST_GAP
        self._probe_until: datetime | None = None
        self._noted_until: datetime | None = None
        """Until when it need not be noted again that all is well; another process may have noted otherwise."""
        self.opened: OpenCircuit | None = None

    def room(self, most: int) -> int:
        """How many of `most` calls may be made at once: all, one that tries whether all is well again, or none."""
        if self.opened is None:
            return most
        now = self._now()
        if now < self.opened.until or (self._probe_until and now < self._probe_until):
            return 0
        return min(most, 1)

    def enter(self) -> OpenCircuit | None:
        """Begin a call; where none may be made, the reason why."""
        if not self.room(1):
            return self.opened
        if self.opened:
            self._probe_until = self._now() + PROBE
        return None

    async def succeeded(self) -> None:
        """A call was answered, with whatever: all is well."""
        self._failures = 0
        opened, self.opened, self._probe_until, self._gap = self.opened, None, None, FIRST_GAP
        if opened:
            now = self._now()
            self._telemetry.emit(
                BreakerClosed(
                    system_time=nanoseconds(now),
                    provider=self._provider,
                    reason=opened.reason.value,
                    open_ms=milliseconds(now - opened.at),
                )
            )
        if self._noted_until is None or self._now() >= self._noted_until:
            self._noted_until = self._now() + LONGEST_GAP
            try:
                await self._environments.note_circuit(self._provider, self._environment, None, None)
            except DatabaseUnavailable:
                self._noted_until = None
                raise

    async def failed(self, text: str) -> None:
        """A call brought no answer; the tenth in a row, or one that was to try, opens the breaker."""
        self._failures += 1
        if self._failures >= RUN or self._probe_until:
            await self._open(Reason.UNREACHABLE, text)

    async def authentication_failed(self, text: str, reason: Reason = Reason.REFUSED) -> None:
        """Our credentials were refused: no other call would fare better."""
        await self._open(reason, text)

    async def _open(self, reason: Reason, text: str) -> None:
        now, before = self._now(), self.opened
        if before and now < before.until:
            return  # the others that were under way as it opened
        self._probe_until = self._noted_until = None
        self.opened = OpenCircuit(reason, text, before.at if before else now, now + self._gap)
        gap, self._gap = self._gap, min(self._gap * 2, LONGEST_GAP)
        if before and before.reason is reason:
            return
        self._telemetry.emit(
            BreakerOpened(
                system_time=nanoseconds(now),
                provider=self._provider,
                reason=reason.value,
                retry_ms=milliseconds(gap),
            )
        )
        await self._environments.note_circuit(
            self._provider, self._environment, reason, self.opened.at
        )
