"""When an outgoing webhook is sent again, and when its endpoint is left in peace. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from rindle_sync.domain.asset import replace
from rindle_sync.domain.clocks import TOLERANCE
from rindle_sync.domain.outgoing import shown_url

RETRY_WAITS: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""The waits between attempts, by the schedule of the specification; then it is dead."""

JITTER: Final = 0.1
"""A wait is longer by up to this share, so that what failed together is not tried together."""

LONGEST_RETRY_WAIT: Final = RETRY_WAITS[-1] * (1 + JITTER)
WHOLE_SCHEDULE: Final = sum(RETRY_WAITS, timedelta()) * (1 + JITTER)

MOST_FAILURES: Final = 10
"""Attempts in a row that may fail before an endpoint is paused."""
FIRST_PAUSE: Final = timedelta(seconds=5)
LONGEST_GROWN_PAUSE: Final = timedelta(minutes=5)
FIRST_ASKED_PAUSE: Final = timedelta(seconds=1)
"""The shortest pause of an endpoint that asks to slow down: the next is twice as long, up to the
above, until it takes one. An endpoint that asks for no wait at all would be called without end."""
LONGEST_ASKED_PAUSE: Final = timedelta(hours=1)
"""The longest `Retry-After` that is kept to."""

DISABLED_AFTER: Final = timedelta(days=5)
"""An endpoint at which every attempt has failed for so long is disabled."""

LONGEST_SILENCE: Final = timedelta(days=2)
"""Two failures that are further apart say nothing of the time between them."""

ANSWERED_GONE: Final = "it answered 410 Gone"
FAILED_FOR_LONG: Final = f"every attempt has failed for {DISABLED_AFTER.days} days"
REMOVED_FROM_SETTINGS: Final = "outgoing_webhook_url was removed from the settings"
BY_OPERATOR: Final = "by an operator"

_GONE: Final = 410
_SLOW_DOWN: Final = (429, 502, 503, 504)


class OutgoingStatus(StrEnum):
    """What became of an outgoing webhook."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class AttemptOutcome(StrEnum):
    """How an attempt to send an outgoing webhook ended."""

    DELIVERED = "delivered"
    FAILED = "failed"
    THROTTLED = "throttled"
    """The endpoint asks to slow down."""
    GONE = "gone"
    """The endpoint wants no more."""


@dataclass(frozen=True, slots=True)
class OutgoingSecret:
    """A secret of an endpoint, and when it stops signing; None for one that goes on."""

    secret: str = field(repr=False)
    until: datetime | None = None


class EndpointHealth(Struct, frozen=True, kw_only=True):
    """How the last attempts at an endpoint went."""

    failures: int = 0
    """In a row."""
    failing_since: datetime | None = None
    failed_at: datetime | None = None
    """When the last of them failed."""
    paused_until: datetime | None = None
    disabled_at: datetime | None = None
    disabled_reason: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether the last attempt was a success, as far as is known."""
        return not (self.failures or self.failing_since)

    def is_paused(self, now: datetime) -> bool:
        """Whether nothing is sent now. A pause that no right clock has written is none."""
        until = self.paused_until
        return until is not None and now < until <= now + LONGEST_ASKED_PAUSE


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingEndpoint:
    """An address that outgoing webhooks are sent to."""

    id: str
    name: str
    url: str = field(repr=False)
    """Its path may hold a secret: people see `shown_url`."""
    secrets: tuple[OutgoingSecret, ...] = field(repr=False)
    """The newest first."""
    types: tuple[str, ...] = ()
    """Patterns of the types that it wants; none for all."""
    allow_private: bool = False
    """Whether it may be on a private network, or be reached without TLS."""
    created_at: datetime
    health: EndpointHealth = field(default_factory=EndpointHealth)

    @property
    def shown_url(self) -> str:
        """Its URL without path and query."""
        return shown_url(self.url)

    @property
    def is_enabled(self) -> bool:
        """Whether webhooks are made for it and sent to it."""
        return self.health.disabled_at is None

    def signing_secrets(self, now: datetime) -> list[str]:
        """The secrets that sign now, the newest first."""
        return [kept.secret for kept in self.secrets if kept.until is None or now < kept.until]


class OutgoingWebhook(Struct, frozen=True, kw_only=True):
    """An outgoing webhook: one change, for one endpoint."""

    id: int
    endpoint_id: str
    change_id: int
    row_id: str
    version: int
    type: str
    status: OutgoingStatus
    attempts: int
    """That have failed, or the one that did not."""
    next_attempt_at: datetime | None
    created_at: datetime
    """When the change was."""
    ended_at: datetime | None = None
    response_status: int | None = None
    """Of the last answer."""
    reason: str | None = None
    """Why the last attempt failed."""


class Attempt(Struct, frozen=True):
    """What came of sending an outgoing webhook once."""

    status: int | None = None
    """Of the answer; None where there was none."""
    reason: str | None = None
    """Why there was none, in a word or a sentence without anything that the endpoint said."""
    retry_after: timedelta | None = None
    """How long the endpoint asks to wait."""

    @property
    def outcome(self) -> AttemptOutcome:
        """How it ended."""
        if self.status is not None and 200 <= self.status < 300:
            return AttemptOutcome.DELIVERED
        if self.status == _GONE:
            return AttemptOutcome.GONE
        return AttemptOutcome.THROTTLED if self.status in _SLOW_DOWN else AttemptOutcome.FAILED

    @property
    def text(self) -> str | None:
        """Why it failed; None where it did not."""
        if self.outcome is AttemptOutcome.DELIVERED:
            return None
        return self.reason or f"answered {self.status}"


def after_attempt(
    webhook: OutgoingWebhook, attempt: Attempt, now: datetime, *, chance: float
) -> OutgoingWebhook:
    """The webhook after an attempt; `chance` is random, from 0 to 1."""
    webhook = replace(webhook, response_status=attempt.status, reason=attempt.text)
    if attempt.outcome is AttemptOutcome.GONE:  # it waits until somebody enables the endpoint
        return replace(webhook, next_attempt_at=now)
    if _is_free(webhook, attempt, now):
        return replace(webhook, next_attempt_at=now + (attempt.retry_after or timedelta(0)))
    tried = replace(webhook, attempts=webhook.attempts + 1, next_attempt_at=None, ended_at=now)
    if attempt.outcome is AttemptOutcome.DELIVERED:
        return replace(tried, status=OutgoingStatus.DELIVERED)
    if webhook.attempts >= len(RETRY_WAITS):
        return replace(tried, status=OutgoingStatus.DEAD)
    wait = RETRY_WAITS[webhook.attempts] * (1 + JITTER * chance)
    return replace(tried, next_attempt_at=now + wait, ended_at=None)


def _is_free(webhook: OutgoingWebhook, attempt: Attempt, now: datetime) -> bool:
    """Whether an attempt costs none of the schedule: the endpoint asked to come again soon.

    An endpoint that asks so for ever would keep a webhook for ever.
    """
    asked = attempt.retry_after
    is_asked = asked is not None and asked <= LONGEST_ASKED_PAUSE
    is_young = now - webhook.created_at < WHOLE_SCHEDULE
    return is_asked and is_young and attempt.outcome is AttemptOutcome.THROTTLED


def health_after(
    health: EndpointHealth, attempts: Iterable[Attempt], now: datetime
) -> EndpointHealth:
    """How an endpoint stands after these attempts, in the order in which they ended."""
    for attempt in attempts:
        health = _after_one(health, attempt, now)
    since = health.failing_since
    if health.disabled_at is None and since and now - since >= DISABLED_AFTER:
        return replace(health, disabled_at=now, disabled_reason=FAILED_FOR_LONG)
    return health


def _after_one(health: EndpointHealth, attempt: Attempt, now: datetime) -> EndpointHealth:
    if attempt.outcome is AttemptOutcome.DELIVERED:
        return replace(health, failures=0, failing_since=None, failed_at=None)
    if attempt.outcome is AttemptOutcome.GONE:
        disabled = replace(health, disabled_at=now, disabled_reason=ANSWERED_GONE)
        return health if health.disabled_at else disabled
    health = replace(health, failing_since=_since(health, now), failed_at=now)
    is_throttled = attempt.outcome is AttemptOutcome.THROTTLED
    if is_throttled and attempt.retry_after is not None:
        return _paused_as_asked(health, attempt.retry_after, now)
    if health.is_paused(now):
        return health  # what was under way when the pause began says nothing new
    return _failed_once_more(health, now, is_throttled=is_throttled)


def _paused_as_asked(health: EndpointHealth, asked: timedelta, now: datetime) -> EndpointHealth:
    until = now + min(asked, LONGEST_ASKED_PAUSE)
    if health.is_paused(now) and health.paused_until:
        return replace(health, paused_until=max(until, health.paused_until))
    grown = min(FIRST_ASKED_PAUSE * 2 ** _exponent(health.failures), LONGEST_GROWN_PAUSE)
    paused_until = max(until, now + grown)
    return replace(health, failures=health.failures + 1, paused_until=paused_until)


def _exponent(failures: int) -> int:
    return max(0, min(failures, 10))


def _since(health: EndpointHealth, now: datetime) -> datetime:
    """Since when all attempts have failed: a clock that was wrong for a moment counts no days."""
    last = health.failed_at
    is_next = last is not None and last - TOLERANCE <= now <= last + LONGEST_SILENCE
    return health.failing_since if is_next and health.failing_since else now


def _failed_once_more(
    health: EndpointHealth, now: datetime, *, is_throttled: bool
) -> EndpointHealth:
    grown = health.failures if is_throttled else health.failures + 1 - MOST_FAILURES
    health = replace(health, failures=health.failures + 1)
    if grown < 0:
        return health
    pause = min(FIRST_PAUSE * 2 ** _exponent(grown), LONGEST_GROWN_PAUSE)
    return replace(health, paused_until=now + pause)


def is_probed(health: EndpointHealth) -> bool:
    """Whether one webhook at a time is tried, since many have failed in a row."""
    return health.failures >= MOST_FAILURES


def newest_first(secrets: Sequence[str]) -> tuple[OutgoingSecret, ...]:
    """Secrets that all go on signing."""
    return tuple(OutgoingSecret(secret) for secret in secrets)
