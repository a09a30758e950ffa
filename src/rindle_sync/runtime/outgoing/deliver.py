"""Sends the outgoing webhooks that are due: at least once, in the order of each row.

Each endpoint has a loop of its own, so that one that hangs holds back no other.
"""

import asyncio
import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import msgspec

from rindle_sync.domain import (
    Attempt,
    OutgoingEndpoint,
    OutgoingStatus,
    OutgoingWebhook,
    after_attempt,
    health_after,
    replace,
)
from rindle_sync.errors import DatabaseUnavailable
from rindle_sync.reconcile import Context
from rindle_sync.runtime.outgoing.client import SEND_LIMIT, Answer, OutgoingClient
from rindle_sync.runtime.outgoing.payload import change_payload, message_id
from rindle_sync.runtime.outgoing.signature import signed_headers
from rindle_sync.store import Change, ClaimedWebhook, PublishedChange, SentWebhook
from rindle_sync.store.schema import to_json
from rindle_sync.telemetry import (
    Event,
    OutgoingEndpointDisabled,
    OutgoingWebhookDelivered,
    OutgoingWebhookFailed,
    milliseconds,
)

AT_ONCE: Final = 10
"""Requests that are under way at one endpoint at once, by one process."""

LEASED_AT_ONCE: Final = 5 * AT_ONCE
"""How many webhooks are leased at once for one endpoint."""

LOOKS_EVERY: Final = 1.0
"""Seconds between two looks for endpoints with new work, while others are being sent to."""

NO_CHANGE: Final = "its change was deleted, or cannot be read"


@dataclass(frozen=True, slots=True)
class _Tried:
    """One webhook, and what came of it; no answer where it could not be made."""

    claimed: ClaimedWebhook
    answer: Answer | None


class Deliveries:
    """What sends the outgoing webhooks of one environment, in this process."""

    def __init__(self, context: Context, client: OutgoingClient | None = None) -> None:
        self._context = context
        self.client = client or OutgoingClient()
        self._wakeup = asyncio.Event()
        self._is_running = False

    def wake(self) -> None:
        """Have a run that goes on look for new webhooks at once."""
        self._wakeup.set()

    async def run_alone(self, keep_going: Callable[[], bool] = lambda: True) -> int:
        """`run`, unless it runs in this process already: that run is woken, and 0 returned."""
        if self._is_running:
            self.wake()
            return 0
        self._is_running = True
        try:
            return await self.run(keep_going)
        finally:
            self._is_running = False

    async def run(self, keep_going: Callable[[], bool] = lambda: True) -> int:
        """Send until nothing is due at any endpoint; how many attempts were made.

        Raises `DatabaseUnavailable`.
        """
        return await _Delivery(self._context, self.client, keep_going, self._wakeup).run()

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


@dataclass(slots=True)
class _Delivery:
    """One run, at every endpoint that has something due."""

    context: Context
    client: OutgoingClient
    keep_going: Callable[[], bool]
    wakeup: asyncio.Event
    _running: dict[str, "asyncio.Task[int]"] = field(default_factory=dict)
    _rests_until: dict[str, float] = field(default_factory=dict)
    """When to look again at an endpoint at which there was nothing to send, or that failed."""
    _error: BaseException | None = None
    """The first of an endpoint's own: the others are sent to all the same."""

    async def run(self) -> int:
        """Send until nothing is due at any endpoint; how many attempts were made.

        Raises `DatabaseUnavailable`, once the requests that are under way have ended; and what went
        wrong at one endpoint, once nothing is due at the others.
        """
        sent = 0
        try:
            await self._start_due()
            while self._running or (self.wakeup.is_set() and self.keep_going()):
                if self._running:
                    sent += await self._wait()
                if self.keep_going():
                    await self._start_due()
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)
            self._running.clear()
        if self._error:
            raise self._error
        return sent

    async def _start_due(self) -> None:
        self.wakeup.clear()  # before the query, which may not see what comes meanwhile
        webhooks, clock = self.context.store.outgoing_webhooks, asyncio.get_running_loop().time
        for endpoint_id in await webhooks.due_endpoints(self.context.now()):
            is_resting = self._rests_until.get(endpoint_id, 0.0) > clock()
            if endpoint_id not in self._running and not is_resting:
                loop = _EndpointLoop(self.context, self.client, endpoint_id, self.keep_going)
                self._running[endpoint_id] = asyncio.create_task(loop.run())

    async def _wait(self) -> int:
        """Wait until an endpoint is done, or there may be new work; how many attempts ended."""
        woken = asyncio.ensure_future(self.wakeup.wait())
        try:
            await asyncio.wait(
                {*self._running.values(), woken},
                timeout=LOOKS_EVERY,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            woken.cancel()
        sent = 0
        for endpoint_id, task in list(self._running.items()):
            if task.done():
                del self._running[endpoint_id]
                number = self._number(task)
                sent += number
                if not number:
                    # its webhooks wait for one that another process is sending
                    rests_until = asyncio.get_running_loop().time() + LOOKS_EVERY
                    self._rests_until[endpoint_id] = rests_until
        return sent

    def _number(self, task: "asyncio.Task[int]") -> int:
        """How many attempts ended at an endpoint. Raises `DatabaseUnavailable`."""
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, DatabaseUnavailable):
            raise error
        self._error = self._error or error
        return 0


@dataclass(slots=True)
class _EndpointLoop:
    """Sends what is due at one endpoint, a few requests side by side."""

    context: Context
    client: OutgoingClient
    endpoint_id: str
    keep_going: Callable[[], bool]
    _endpoint: OutgoingEndpoint | None = None
    """As it was when webhooks were last leased, with its health as far as it is known here."""
    _sending: set["asyncio.Task[_Tried]"] = field(default_factory=set)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _leases: Counter[str] = field(default_factory=Counter)
    """How many webhooks are left of each lease, by its token."""
    _sent: int = 0

    async def run(self) -> int:
        """Send until nothing is left to lease; how many attempts were made."""
        may_have_more = True
        try:
            while True:
                if may_have_more and len(self._sending) < AT_ONCE and self.keep_going():
                    may_have_more = await self._claim()
                if not self._sending:
                    break
                await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
                # a webhook that has ended lets the next one of its row go
                may_have_more |= await self._write_ended()
        finally:
            await self._give_up_the_rest()
        if not self._sent:
            webhooks = self.context.store.outgoing_webhooks
            await webhooks.put_off_waiting(self.endpoint_id, self.context.now())
        return self._sent

    async def _claim(self) -> bool:
        """Lease webhooks and begin to send them; whether there were any."""
        now, token = self.context.now(), str(uuid4())
        # those that wait for their turn are held meanwhile
        longest = SEND_LIMIT * (LEASED_AT_ONCE // AT_ONCE)
        self._leases[token] = 0
        endpoint, claimed = await self.context.store.outgoing_webhooks.claim(
            self.endpoint_id,
            now=now,
            token=token,
            until=now + self.context.lease + longest,
            limit=LEASED_AT_ONCE - len(self._sending),
        )
        if endpoint is None or not claimed:
            del self._leases[token]
            return False
        self._leases[token] = len(claimed)
        self._endpoint = endpoint
        for webhook in claimed:
            self._sending.add(asyncio.create_task(self._send(webhook)))
        return True

    async def _send(self, claimed: ClaimedWebhook) -> _Tried:
        async with self._turns:
            endpoint, now = self._open_endpoint(), self.context.now()
            if claimed.change is None or endpoint is None or not self.keep_going():
                return _Tried(claimed, None)
            what = "made"
            try:
                body, headers = _request(claimed, claimed.change, endpoint, now)
                what = "sent"
                answer = await self.client.send(endpoint, body, headers, now)
            except Exception as error:  # noqa: BLE001  it must hold back no other webhook
                reason = f"it could not be {what} ({type(error).__name__})"
                return _Tried(claimed, Answer(Attempt(reason=reason), timedelta(0)))
            self._note(answer.attempt)
            return _Tried(claimed, answer)

    def _open_endpoint(self) -> OutgoingEndpoint | None:
        """The endpoint, unless nothing is to be sent to it now."""
        endpoint = self._endpoint
        if endpoint is None or not endpoint.is_enabled:
            return None
        return None if endpoint.health.is_paused(self.context.now()) else endpoint

    def _note(self, attempt: Attempt) -> None:
        # at once, not when it is written: those that wait for their turn would all go meanwhile
        if self._endpoint:
            health = health_after(self._endpoint.health, [attempt], self.context.now())
            self._endpoint = dataclasses.replace(self._endpoint, health=health)

    async def _write_ended(self) -> bool:
        """Write what became of the requests that have ended; whether others may go now."""
        ended = [task for task in self._sending if task.done()]
        self._sending.difference_update(ended)
        tried = [task.result() for task in ended]
        # the others wait for another time, and are released at the end
        tried = [each for each in tried if each.answer or each.claimed.change is None]
        if not tried or self._endpoint is None:
            return False
        endpoint, now = self._endpoint, self.context.now()
        sent = [_after(each, now) for each in tried]
        written = await self.context.store.outgoing_webhooks.end(endpoint.id, sent, now)
        self._sent += len(sent)
        for each, after in zip(tried, sent, strict=True):
            self._leave(each.claimed.token)
            self._tell(endpoint, each, after)
        if written and written.is_disabled_now:
            reason = written.health.disabled_reason or ""
            event = OutgoingEndpointDisabled(endpoint=endpoint.name, reason=reason)
            self.context.telemetry.emit(event)
        return any(after.webhook.ended_at for after in sent)

    def _leave(self, token: str) -> None:
        """Forget a lease with its last webhook: each that is left costs a statement at the end."""
        self._leases[token] -= 1
        if not self._leases[token]:
            del self._leases[token]

    async def _give_up_the_rest(self) -> None:
        """Cancel what is under way, and release what was not sent."""
        if any(task.done() for task in self._sending):
            with suppress(DatabaseUnavailable):  # it would be sent once more
                await self._write_ended()
        sending, self._sending = self._sending, set()
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        for token in list(self._leases):
            await self.context.store.outgoing_webhooks.release(token)

    def _tell(self, endpoint: OutgoingEndpoint, tried: _Tried, after: SentWebhook) -> None:
        claimed, webhook = tried.claimed, after.webhook
        change = claimed.change
        event: Event = _failure(endpoint, tried, webhook)
        if webhook.status is OutgoingStatus.DELIVERED and tried.answer:
            event = OutgoingWebhookDelivered(
                endpoint=endpoint.name,
                type=webhook.type,
                status=webhook.response_status or 0,
                attempt=webhook.attempts,
                duration_ms=milliseconds(tried.answer.took),
                lag_ms=milliseconds(self.context.now() - webhook.created_at),
            )
        reference = change.reference if change and claimed.row is None else None
        event = msgspec.structs.replace(event, row_id=webhook.row_id, reference=reference)
        self.context.telemetry.emit(event, claimed.row)


def _request(
    claimed: ClaimedWebhook, change: Change, endpoint: OutgoingEndpoint, now: datetime
) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of one attempt."""
    webhook = claimed.webhook
    payload = change_payload(PublishedChange(claimed.position, change), claimed.row)
    body, sent_as = to_json(payload).encode(), message_id(webhook.row_id, webhook.version)
    return body, signed_headers(sent_as, body, endpoint.signing_secrets(now), now)


def _after(tried: _Tried, now: datetime) -> SentWebhook:
    """A webhook as it is to be stored after it was tried."""
    webhook, token = tried.claimed.webhook, tried.claimed.token
    if tried.answer is None:
        dead = replace(webhook, status=OutgoingStatus.DEAD, next_attempt_at=None)
        return SentWebhook(replace(dead, ended_at=now, reason=NO_CHANGE), token, None)
    attempt = tried.answer.attempt
    after = after_attempt(webhook, attempt, now, chance=random.random())  # noqa: S311  no secret
    return SentWebhook(after, token, attempt)


def _failure(
    endpoint: OutgoingEndpoint, tried: _Tried, webhook: OutgoingWebhook
) -> OutgoingWebhookFailed:
    return OutgoingWebhookFailed(
        endpoint=endpoint.name,
        type=webhook.type,
        status=webhook.response_status,
        reason=webhook.reason or "",
        attempt=tried.claimed.webhook.attempts + 1,
        duration_ms=milliseconds(tried.answer.took) if tried.answer else 0,
        dead=webhook.status is OutgoingStatus.DEAD,
    )
