"""Webhook endpoints, and when each event is delivered to each: once, again, or never."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from heapq import heapify, heappop, heappush
from random import Random
from typing import Any, Final

import httpx

from rindle_sync.emulator.environment import Environment
from rindle_sync.emulator.ids import derive_text, derive_uuid
from rindle_sync.emulator.lifecycle import Asset
from rindle_sync.emulator.timeline import EventType, LifeEvent
from rindle_sync.emulator.validation import check_number, check_text, check_url, reject
from rindle_sync.emulator.webhook_payloads import WebhookEvent, timestamp

RESPONSE_SECONDS: Final = 5.0
"""How long Mux waits for a response."""

RETRY_GAPS: Final = (1, 5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 36_000)
"""Seconds after each failed attempt: increasing, and within the 24 hours that Mux promises."""

MAX_ATTEMPTS: Final = len(RETRY_GAPS) + 1

_LONGEST_BODY: Final = 1_000
_KEY_LENGTH: Final = 6
_SECRET_LENGTH: Final = 32
_DOUBLE_SECONDS: Final = (1.0, 10.0)
_SHUFFLE_SECONDS: Final = (1.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A webhook URL and the faults of its deliveries; each probability is for one event."""

    url: str
    secret: str = field(repr=False)
    drop: float = 0.0
    double: float = 0.0
    shuffle: float = 0.0
    delay: Sequence[float] = (0.0, 0.0)
    forge: float = 0.0
    timeout: float = RESPONSE_SECONDS

    def __post_init__(self) -> None:
        check_url("url", self.url)
        if not check_text("secret", self.secret, longest=1_024):
            reject("secret", "must not be empty; deliveries are signed with it")
        for name in ("drop", "double", "shuffle", "forge"):
            check_number(name, getattr(self, name), high=1.0)
        check_number("timeout", self.timeout, low=0.001)
        if not isinstance(self.delay, list | tuple) or len(self.delay) != 2:
            reject("delay", "must be two numbers of seconds, such as [0, 30]")
        if check_number("delay", self.delay[0]) > check_number("delay", self.delay[1]):
            reject("delay", "must begin with the smaller number")


@dataclass(slots=True)
class Deliveries:
    """Counts of events and deliveries; `answers` and `forged_answers` are by status.

    `planned` counts events. `sent` counts genuine POST requests, repeated ones too; once nothing
    is pending, it is `planned - dropped + doubled + retried`.
    """

    planned: int = 0
    dropped: int = 0
    sent: int = 0
    doubled: int = 0
    retried: int = 0
    unanswered: int = 0
    given_up: int = 0
    forged: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    forged_answers: Counter[int] = field(default_factory=Counter)

    def __add__(self, other: "Deliveries") -> "Deliveries":
        names = [count.name for count in fields(self)]
        return Deliveries(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(slots=True, eq=False)
class Delivery:
    """One delivery of an event, retried until it succeeds or is given up."""

    event: WebhookEvent
    is_double: bool = False
    is_forged: bool = False
    tries: int = 0


class DeliveryQueue:
    """The pending deliveries of one endpoint, in order of time."""

    def __init__(
        self, webhook_id: int, endpoint: Endpoint, environment: Environment, seed: int, since: float
    ) -> None:
        self.webhook_id = webhook_id
        self.endpoint = endpoint
        self.counts = Deliveries()
        self._environment = environment
        self._seed = seed
        self._feed = environment.timeline.follow(since)
        self.is_enabled = True
        self.pending: list[tuple[float, int, Delivery]] = []
        self._created = 0

    def close(self) -> None:
        """Discard what is pending and follow no more events."""
        self._environment.timeline.feeds.remove(self._feed)
        self.pending.clear()

    def plan(self, now: float) -> bool:
        """Plan the deliveries of every event up to `now`; whether any delivery is due then."""
        endpoint = self.endpoint
        for number, cause in self._feed.due(now):
            if not self.is_enabled:
                continue
            event_id = derive_uuid(self._seed, "event", number)
            event = WebhookEvent(event_id, cause, self._environment.subject(cause))
            # Every event draws all numbers, in this order and from a generator of its own, so that
            # one probability does not change the outcome of the others.
            chance = Random(f"{self._seed}:webhook:{self.webhook_id}:{number}")
            is_dropped = chance.random() < endpoint.drop
            is_double = chance.random() < endpoint.double
            is_shuffled = chance.random() < endpoint.shuffle
            is_forged = chance.random() < endpoint.forge
            due = cause.at + chance.uniform(*endpoint.delay)
            shuffle_seconds = chance.uniform(*_SHUFFLE_SECONDS)
            double_seconds = chance.uniform(*_DOUBLE_SECONDS)
            if is_shuffled:
                due += shuffle_seconds
            self.counts.planned += 1
            self.counts.dropped += is_dropped
            if is_forged:
                self.add(cause.at, Delivery(event.forged(), is_forged=True))
            if not is_dropped:
                self.add(due, Delivery(event))
                if is_double:
                    self.add(due + double_seconds, Delivery(event, is_double=True))
        return bool(self.pending) and self.pending[0][0] <= now

    def enable(self, now: float, *, is_enabled: bool) -> None:
        """Begin or stop to send; what is pending at a stop, and happens after it, is never sent."""
        if is_enabled is not self.is_enabled:
            self.plan(now)
            self.is_enabled = is_enabled
            self.counts.dropped += len(self.pending)
            self.pending.clear()

    def take_due(self, now: float) -> Iterator[Delivery]:
        """Remove and yield the next pending delivery, as long as it is due at `now`."""
        while self.pending and self.pending[0][0] <= now:
            yield heappop(self.pending)[2]

    def record(
        self, delivery: Delivery, response: httpx.Response | None, sent_at: float, now: float
    ) -> None:
        """Record an attempt and plan a retry if it failed; only 2xx counts, None is no response."""
        counts = self.counts
        statuses = [] if response is None else [response.status_code]
        if delivery.is_forged:
            counts.forged += 1
            counts.forged_answers.update(statuses)
            return
        counts.sent += 1
        counts.retried += delivery.tries > 0
        counts.doubled += delivery.is_double and not delivery.tries
        counts.unanswered += response is None
        counts.answers.update(statuses)
        attempts = delivery.event.attempts
        attempt: dict[str, Any] = {
            "webhook_id": self.webhook_id,
            "response_headers": {},
            "response_body": None,
            "max_attempts": MAX_ATTEMPTS,
            "id": derive_uuid(delivery.event.id, self.webhook_id, len(attempts)),
            "created_at": timestamp(sent_at),
            "address": self.endpoint.url,
        }
        if response is not None:
            attempt["response_headers"] = dict(response.headers)
            attempt["response_body"] = response.text[:_LONGEST_BODY]
            attempt["response_status_code"] = response.status_code
        attempts.append(attempt)
        delivery.tries += 1
        if response is not None and response.is_success:
            return
        if delivery.tries == MAX_ATTEMPTS:
            counts.given_up += 1
        else:
            self.add(now + RETRY_GAPS[delivery.tries - 1], delivery)

    def lose(self, now: float, wanted: Callable[[WebhookEvent], bool]) -> int:
        """Drop the pending deliveries of the events up to `now` that are `wanted`; how many."""
        self.plan(now)
        kept = [entry for entry in self.pending if not wanted(entry[2].event)]
        lost = len(self.pending) - len(kept)
        self.pending = kept
        heapify(self.pending)
        self.counts.dropped += lost
        return lost

    def repeat(self, now: float, wanted: Callable[[WebhookEvent], bool]) -> int:
        """Send the events up to `now` that are pending and `wanted` once more; how many."""
        self.plan(now)
        repeated = [delivery for *_, delivery in sorted(self.pending) if wanted(delivery.event)]
        for delivery in repeated:
            self.add(now, Delivery(delivery.event, is_double=True))
        return len(repeated)

    def reverse(self, now: float) -> int:
        """Send the pending deliveries of the events up to `now` newest first; how many."""
        self.plan(now)
        pending, self.pending = sorted(self.pending), []
        for *_, delivery in reversed(pending):
            self.add(now, delivery)
        return len(pending)

    def forge(self, now: float, asset: Asset) -> None:
        """Send an event with a wrong signature, which says that an asset is deleted."""
        event_id = derive_uuid(self._seed, "forged", self.webhook_id, self._created)
        cause = LifeEvent(now, EventType.ASSET_DELETED, asset.id, asset.upload_id)
        self.add(now, Delivery(WebhookEvent(event_id, cause, asset), is_forged=True))

    def add(self, due: float, delivery: Delivery) -> None:
        """Make a delivery pending until `due`."""
        # The running number keeps deliveries due at the same time in order of planning.
        self._created += 1
        heappush(self.pending, (due, self._created, delivery))


@dataclass(slots=True, eq=False)
class Webhook:
    """An endpoint that receives the events since it was added."""

    id: int
    endpoint: Endpoint
    queue: DeliveryQueue = field(repr=False)
    key: str = ""
    """The id by which Mux's API knows it."""
    created_at: float = 0.0
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False)
    last_error: Exception | None = field(default=None, repr=False)
    """What the endpoint, or the way to it, raised at the last delivery that raised anything."""
    last_refusal: httpx.Response | None = field(default=None, repr=False)
    """The last answer to a genuine delivery that was no 2xx."""

    def record(
        self, delivery: Delivery, response: httpx.Response | None, sent_at: float, now: float
    ) -> None:
        """See `DeliveryQueue.record`."""
        self.queue.record(delivery, response, sent_at, now)
        if response is not None and not response.is_success and not delivery.is_forged:
            self.last_refusal = response

    def change(self, now: float, *, url: str | None = None, enabled: bool | None = None) -> None:
        """Send to another address from now on, begin to send, or stop."""
        if url is not None:
            self.endpoint = self.queue.endpoint = replace(self.endpoint, url=url)
        if enabled is not None:
            self.queue.enable(now, is_enabled=enabled)

    @property
    def is_enabled(self) -> bool:
        """Whether events are sent to it."""
        return self.queue.is_enabled

    @property
    def deliveries(self) -> Deliveries:
        """Counts of its events and deliveries."""
        return self.queue.counts

    @property
    def pending(self) -> int:
        """How many deliveries are planned and not done, retries included; not future events."""
        return len(self.queue.pending)


class Webhooks:
    """All webhook endpoints of one environment."""

    def __init__(self, environment: Environment, seed: int) -> None:
        self._environment = environment
        self._seed = seed
        self._all: list[Webhook] = []
        self._created = 0

    def __iter__(self) -> Iterator[Webhook]:
        return iter(tuple(self._all))

    def add(
        self, endpoint: Endpoint, now: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> Webhook:
        """Send the events from `now` on to an endpoint."""
        self._created += 1
        queue = DeliveryQueue(self._created, endpoint, self._environment, self._seed, now)
        key = derive_text(self._seed, "webhook", self._created, length=_KEY_LENGTH)
        webhook = Webhook(self._created, endpoint, queue, key, now, transport)
        self._all.append(webhook)
        return webhook

    def create(self, url: str, now: float) -> Webhook:
        """Send the events from `now` on to an address, signed with a new secret."""
        number = self._created + 1
        secret = derive_text(self._seed, "webhook secret", number, length=_SECRET_LENGTH)
        return self.add(Endpoint(url=url, secret=secret), now)

    def find(self, key: str) -> Webhook | None:
        """The endpoint with this id of Mux's API."""
        return next((webhook for webhook in self if webhook.key == key), None)

    def remove(self, webhook: Webhook) -> None:
        """Remove one endpoint, if it is still there."""
        if webhook in self._all:
            webhook.queue.close()
            self._all.remove(webhook)

    def clear(self) -> None:
        """Remove all endpoints."""
        for webhook in self:
            webhook.queue.close()
        self._all.clear()

    def restart(self, environment: Environment, seed: int, now: float) -> None:
        """Keep the endpoints, discard their deliveries, and follow another environment."""
        self._environment = environment
        self._seed = seed
        for webhook in self:
            is_enabled = webhook.is_enabled
            webhook.queue.close()
            webhook.queue = DeliveryQueue(webhook.id, webhook.endpoint, environment, seed, now)
            webhook.queue.is_enabled = is_enabled
