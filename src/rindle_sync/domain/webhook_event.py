"""A stored webhook event, and when it is tried again. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from rindle_sync.domain.value import Value


class EventStatus(StrEnum):
    """The processing status of a webhook event."""

    PENDING = "pending"
    APPLIED = "applied"
    IGNORED = "ignored"
    DEAD = "dead"


NO_ROW: Final = "no_row"
"""The reason of a pending event that no row is there for yet."""

UNTRACKED: Final = "untracked"
"""The reason of an ignored event about an asset that no row tracks."""

WAITS_FOR_ROW: Final = tuple(timedelta(seconds=s) for s in (5, 15, 45, 90))
"""The wait before each new attempt while no row has the event's ids."""

NOT_WANTED: Final = "not_wanted"
"""The reason of an ignored event for the app that no callback has wanted in time."""

WAITS_AFTER_FAILURE: Final = tuple(timedelta(seconds=s) for s in (2, 10, 60, 300))
"""The wait after each failure to apply an event; a fifth failure makes it dead."""

WAITS_FOR_APP: Final = tuple(timedelta(seconds=s) for s in (2, 10, 60, *[300] * 3, *[900] * 3))
"""The wait after each failure of a callback of the app; a tenth failure makes the event dead."""


_IDS: Final = frozenset(
    {"event_id", "provider_asset_id", "provider_upload_id", "passthrough", "object_id"}
)
"""Fields that may contain provider ids."""


class ReceivedEvent(Value, frozen=True, kw_only=True):
    """What a webhook says about itself: enough to store it before it is processed."""

    hidden = _IDS | {"environment"}

    event_id: str
    type: str
    environment: str | None = None
    """The provider's id of the event's environment."""
    occurred_at: datetime | None = None
    provider_asset_id: str | None = None
    provider_upload_id: str | None = None
    passthrough: str | None = None
    object_id: str | None = None
    """The provider's id of whatever it is about, where that is no asset and no upload of a row."""
    acted_on: bool = True
    """Whether events of this type say something about a row."""


class StoredEvent(Value, frozen=True, kw_only=True):
    """One row of `provider_webhook_events` without its body, which may have a megabyte."""

    hidden = _IDS

    id: str
    provider_name: str
    environment: str
    event_id: str
    type: str
    provider_asset_id: str | None = None
    provider_upload_id: str | None = None
    passthrough: str | None = None
    occurred_at: datetime | None = None
    received_at: datetime
    status: EventStatus = EventStatus.PENDING
    attempts: int = 0
    next_attempt_at: datetime | None = None
    reason: str | None = None
    for_app: bool = False
    """Whether it is for a callback of the app, and says nothing about a row."""
    object_id: str | None = None
    """The object of an event for the app, which gets those about one object in their order."""


class WebhookEvent(StoredEvent, frozen=True, kw_only=True):
    """One row of `provider_webhook_events` with its body."""

    hidden = _IDS | {"headers", "body"}

    headers: Mapping[str, str] = {}
    """Those that the provider reads the body with; names in lower case."""
    body: bytes


class WebhookEventSummary(StoredEvent, frozen=True, kw_only=True):
    """One row of `provider_webhook_events` with the size of its body."""

    size: int
    """In bytes; 0 once the body was pruned."""

    @property
    def can_replay(self) -> bool:
        """Whether it has its body still, and is of a type that is acted on, or for the app."""
        is_acted_on = self.status is not EventStatus.IGNORED or self.reason == UNTRACKED
        return is_acted_on and self.size > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Which webhook requests are accepted."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    tolerance: timedelta = timedelta(seconds=300)
    read_within: timedelta = timedelta(seconds=4)
    """The most time to read a request."""
    store_within: timedelta = timedelta(seconds=3)
    """The most time to store an event: the provider waits five seconds for the response."""
    environment: str | None = field(default=None, repr=False)
    """The provider's id of the environment of the rows; None accepts every signed event."""
    types: tuple[str, ...] = ()
    """Patterns of the types that are stored for the app, beside those of its callbacks here."""


def next_wait(attempts: int, waits: tuple[timedelta, ...]) -> timedelta | None:
    """The wait after `attempts` failed attempts; None after the last one."""
    return waits[attempts - 1] if attempts <= len(waits) else None
