"""One webhook delivery that we kept, and what may become of it. Pure."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final


class EventStatus(StrEnum):
    """Where a notice stands."""

    PENDING = "pending"
    APPLIED = "applied"
    IGNORED = "ignored"
    DEAD = "dead"


NO_ROW: Final = "no_row"
"""The reason of a notice that is about an asset which no row tracks."""

WAITS_FOR_ROW: Final = tuple(timedelta(seconds=s) for s in (5, 15, 45, 90))
"""How long a notice waits for a row that is not there yet, before each new attempt."""

WAITS_AFTER_FAILURE: Final = tuple(timedelta(seconds=s) for s in (2, 10, 60, 300))
"""How long a notice waits after a failure of ours; a fifth failure makes it dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """What a webhook says about itself: enough to keep it, before anything is done about it."""

    event_id: str = field(repr=False)
    type: str
    environment: str | None = field(default=None, repr=False)
    """The provider's id of the environment that it is about."""
    occurred_at: datetime | None = None
    provider_asset_id: str | None = field(default=None, repr=False)
    provider_upload_id: str | None = field(default=None, repr=False)
    passthrough: str | None = field(default=None, repr=False)
    acted_on: bool = True
    """Whether it is of a type that says something about a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """What one row of `provider_webhook_events` says but for its body, which may have a megabyte."""

    id: str
    provider_name: str
    environment: str
    event_id: str = field(repr=False)
    type: str
    provider_asset_id: str | None = field(default=None, repr=False)
    provider_upload_id: str | None = field(default=None, repr=False)
    passthrough: str | None = field(default=None, repr=False)
    occurred_at: datetime | None = None
    received_at: datetime
    status: EventStatus = EventStatus.PENDING
    attempts: int = 0
    next_attempt_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent(StoredEvent):
    """One row of `provider_webhook_events`."""

    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEventSummary(StoredEvent):
    """One of many rows of `provider_webhook_events`, in a list."""

    size: int
    """Of its body, in bytes; 0 once that was emptied."""


def next_wait(attempts: int, waits: tuple[timedelta, ...]) -> timedelta | None:
    """How long to wait after `attempts` attempts in vain; None when it was the last one."""
    return waits[attempts - 1] if attempts <= len(waits) else None
