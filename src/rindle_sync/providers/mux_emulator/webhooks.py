"""Who is told of events, and which deliveries come of each: when, how often, or never; opens no socket."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

import httpx

from rindle_sync.providers.mux_emulator.checks import check_number, check_text, refuse
from rindle_sync.providers.mux_emulator.envelopes import Notice, timestamp
from rindle_sync.providers.mux_emulator.ids import derive_uuid
from rindle_sync.providers.mux_emulator.timeline import Feed
from rindle_sync.providers.mux_emulator.world import World

ANSWER_SECONDS: Final = 5.0
"""How long Mux waits for an answer."""

RETRY_GAPS: Final = (1, 5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 36_000)
"""Seconds after each failed attempt; growing, and within Mux's 24 hours in all."""

MOST_ATTEMPTS: Final = len(RETRY_GAPS) + 1

_LONGEST_BODY: Final = 1_000
_DOUBLE_SECONDS: Final = (1.0, 10.0)
_SHUFFLE_SECONDS: Final = (1.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where deliveries go, and what happens to them on the way; the chances are for each event."""

    url: str
    secret: str = field(repr=False)
    drop: float = 0.0
    double: float = 0.0
    shuffle: float = 0.0
    delay: Sequence[float] = (0.0, 0.0)
    forge: float = 0.0
    timeout: float = ANSWER_SECONDS

    def __post_init__(self) -> None:
        _check_url(check_text("url", self.url, longest=2_048))
        if not check_text("secret", self.secret, longest=1_024):
            refuse("secret", "must not be empty; deliveries are signed with it")
        for name in ("drop", "double", "shuffle", "forge"):
            check_number(name, getattr(self, name), high=1.0)
        check_number("timeout", self.timeout, low=0.001)
        if not isinstance(self.delay, list | tuple) or len(self.delay) != 2:
            refuse("delay", "must be two numbers of seconds, such as [0, 30]")
        low, high = (check_number("delay", one) for one in self.delay)
        if low > high:
            refuse("delay", "must begin with the smaller number")


@dataclass(slots=True)
class Deliveries:
    """What became of events at one endpoint or at all; `answers` and `forged_answers` are by status.

    `planned` counts events. `sent` counts true POSTs, `retried` and doubled ones too; once all is through, it is
    `planned - dropped + doubled + retried`.
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
        both = {one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)}
        return Deliveries(**both)


@dataclass(slots=True, eq=False)
class Delivery:
    """One delivery of a notice, until it is answered with 2xx or given up."""

    notice: Notice
    is_double: bool = False
    is_forged: bool = False
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint answered."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def is_success(self) -> bool:
        """Whether the delivery is done; only 2xx counts."""
        return 200 <= self.status < 300


class Outbox:
    """What one endpoint has yet to be sent, in order of time."""

    def __init__(self, webhook_id: int, endpoint: Endpoint, world: World, seed: int, since: float) -> None:
        self.webhook_id = webhook_id
        self.endpoint = endpoint
        self.counts = Deliveries()
        self._world = world
        self._seed = seed
        self._feed: Feed = world.follow(since)
        self._pending: list[tuple[float, int, Delivery]] = []
        self._made = 0

    def __len__(self) -> int:
        return len(self._pending)

    def close(self) -> None:
        """Send nothing more, and follow no more events."""
        self._world.unfollow(self._feed)
        self._pending.clear()

    def plan(self, now: float) -> None:
        """Decide on the deliveries of all that has happened by `now`."""
        for number, event in self._feed.due(now):
            notice = Notice(derive_uuid(self._seed, "event", number), event, self._world.subject(event))
            self._plan_one(notice, Random(f"{self._seed}:webhook:{self.webhook_id}:{number}"))

    def _plan_one(self, notice: Notice, chance: Random) -> None:
        # All is drawn for each event, so that a change of one chance leaves what the others gave alone.
        endpoint, at = self.endpoint, notice.event.at
        is_dropped, is_double, is_shuffled, is_forged = (
            chance.random() < odds for odds in (endpoint.drop, endpoint.double, endpoint.shuffle, endpoint.forge)
        )
        due = at + chance.uniform(*endpoint.delay)
        held, again = chance.uniform(*_SHUFFLE_SECONDS), chance.uniform(*_DOUBLE_SECONDS)
        due += held if is_shuffled else 0.0
        self.counts.planned += 1
        self.counts.dropped += is_dropped
        if is_forged:
            self._add(at, Delivery(notice.lie(), is_forged=True))
        if not is_dropped:
            self._add(due, Delivery(notice))
        if is_double and not is_dropped:
            self._add(due + again, Delivery(notice, is_double=True))

    def has_due(self, moment: float) -> bool:
        """Whether there is a delivery whose time has come by `moment`."""
        return bool(self._pending) and self._pending[0][0] <= moment

    def take(self, moment: float) -> Delivery | None:
        """The next delivery whose time has come by `moment`."""
        return heappop(self._pending)[2] if self.has_due(moment) else None

    def put_back(self, delivery: Delivery) -> None:
        """Send it as soon as possible: the attempt was broken off."""
        self._add(delivery.notice.event.at, delivery)

    def settle(self, delivery: Delivery, reply: Reply | None, sent_at: float, now: float) -> None:
        """Note what came of an attempt, and plan the next one if it failed."""
        self._count(delivery, reply)
        if delivery.is_forged:
            return
        delivery.notice.attempts.append(self._attempt(delivery.notice, reply, sent_at))
        delivery.tries += 1
        if reply is not None and reply.is_success:
            return
        if delivery.tries == MOST_ATTEMPTS:
            self.counts.given_up += 1
            return
        self._add(now + RETRY_GAPS[delivery.tries - 1], delivery)

    def _count(self, delivery: Delivery, reply: Reply | None) -> None:
        counts = self.counts
        if delivery.is_forged:
            counts.forged += 1
            counts.forged_answers.update([] if reply is None else [reply.status])
            return
        counts.sent += 1
        counts.retried += delivery.tries > 0
        counts.doubled += delivery.is_double and not delivery.tries
        counts.unanswered += reply is None
        counts.answers.update([] if reply is None else [reply.status])

    def _attempt(self, notice: Notice, reply: Reply | None, at: float) -> dict[str, Any]:
        attempt: dict[str, Any] = {
            "webhook_id": self.webhook_id,
            "response_headers": {} if reply is None else dict(reply.headers),
            "response_body": None if reply is None else reply.body[:_LONGEST_BODY],
            "max_attempts": MOST_ATTEMPTS,
            "id": derive_uuid(notice.id, self.webhook_id, len(notice.attempts)),
            "created_at": timestamp(at),
            "address": self.endpoint.url,
        }
        return attempt if reply is None else attempt | {"response_status_code": reply.status}

    def _add(self, due: float, delivery: Delivery) -> None:
        self._made += 1
        heappush(self._pending, (due, self._made, delivery))


@dataclass(slots=True, eq=False)
class Webhook:
    """An endpoint that is told of events from the moment it was added."""

    id: int
    endpoint: Endpoint
    outbox: Outbox = field(repr=False)
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False)

    @property
    def deliveries(self) -> Deliveries:
        """What became of events here."""
        return self.outbox.counts

    @property
    def pending(self) -> int:
        """How many deliveries are planned and not yet done, retries too; events to come do not count."""
        return len(self.outbox)


class Webhooks:
    """All endpoints of one environment."""

    def __init__(self) -> None:
        self._all: list[Webhook] = []
        self._made = 0

    def __iter__(self) -> Iterator[Webhook]:
        return iter(tuple(self._all))

    def add(
        self, endpoint: Endpoint, world: World, seed: int, now: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> Webhook:
        """Tell an endpoint of events from `now` on."""
        self._made += 1
        outbox = Outbox(self._made, endpoint, world, seed, now)
        webhook = Webhook(self._made, endpoint, outbox, transport)
        self._all.append(webhook)
        return webhook

    def clear(self) -> None:
        """Tell nobody."""
        for webhook in self:
            webhook.outbox.close()
        self._all.clear()

    def begin(self, world: World, seed: int, now: float) -> None:
        """Keep the endpoints, forget what they were to be sent, and follow another world."""
        for webhook in self:
            webhook.outbox.close()
            webhook.outbox = Outbox(webhook.id, webhook.endpoint, world, seed, now)


def _check_url(url: str) -> None:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        refuse("url", "must be an address such as http://127.0.0.1:8000/webhooks/mux")
