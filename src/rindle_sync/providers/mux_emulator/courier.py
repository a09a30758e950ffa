"""Carries deliveries to their endpoints over HTTP; whatever an endpoint does is an outcome, never an error here."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Final

import httpx

from rindle_sync.providers.mux_emulator.envelopes import SIGNATURE_HEADER, sign, write_notice
from rindle_sync.providers.mux_emulator.far_end import FarEnd
from rindle_sync.providers.mux_emulator.webhooks import Delivery, Endpoint, Outbox, Reply, Webhook

AT_ONCE: Final = 10
"""How many deliveries are on their way to one endpoint at the same time."""


class Courier:
    """Sends what is due of one environment."""

    def __init__(self, far: FarEnd) -> None:
        self._far = far

    async def deliver_due(self) -> int:
        """Send everything whose time has come; how many POSTs that were."""
        async with asyncio.TaskGroup() as group:
            steps = [group.create_task(self._deliver(webhook)) for webhook in self._far.webhooks]
        return sum(step.result() for step in steps)

    async def run(self, stop: asyncio.Event, every: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Send what is due until told to stop; an endpoint that keeps silent does not hold up the others."""
        steps: dict[Webhook, asyncio.Task[int]] = {}
        try:
            while not stop.is_set():
                for webhook in self._far.webhooks:
                    if webhook not in steps:
                        steps[webhook] = asyncio.create_task(self._deliver(webhook))
                if steps:
                    await asyncio.wait(steps.values(), timeout=every)
                steps = {webhook: step for webhook, step in steps.items() if not _is_over(step)}
                await sleep(every)
                await asyncio.sleep(0)  # a test's own sleep may return at once
        finally:
            for step in steps.values():
                step.cancel()
            await asyncio.gather(*steps.values(), return_exceptions=True)

    async def _deliver(self, webhook: Webhook) -> int:
        moment, outbox = self._far.now(), webhook.outbox
        outbox.plan(moment)
        if not outbox.has_due(moment):
            return 0
        async with _client(webhook) as client, asyncio.TaskGroup() as group:
            works = [group.create_task(self._work(client, outbox, moment)) for _ in range(AT_ONCE)]
        return sum(work.result() for work in works)

    async def _work(self, client: httpx.AsyncClient, outbox: Outbox, moment: float) -> int:
        sent = 0
        while delivery := outbox.take(moment):
            await self._send(client, outbox, delivery)
            sent += 1
        return sent

    async def _send(self, client: httpx.AsyncClient, outbox: Outbox, delivery: Delivery) -> None:
        sent_at = self._far.now()
        body = write_notice(delivery.notice, self._far.account)
        secret = f"not {outbox.endpoint.secret}" if delivery.is_forged else outbox.endpoint.secret
        try:
            reply = await _post(client, outbox.endpoint, body, sign(body, secret, sent_at))
        except asyncio.CancelledError:
            outbox.put_back(delivery)
            raise
        outbox.settle(delivery, reply, sent_at, self._far.now())


async def _post(client: httpx.AsyncClient, endpoint: Endpoint, body: bytes, signature: str) -> Reply | None:
    headers = {"Content-Type": "application/json", SIGNATURE_HEADER: signature}
    try:
        async with asyncio.timeout(endpoint.timeout):
            answer = await client.post(endpoint.url, content=body, headers=headers)
            return Reply(answer.status_code, answer.headers, answer.text)
    except Exception:  # noqa: BLE001 - an endpoint within this process may raise anything, one outside breaks off
        return None


def _client(webhook: Webhook) -> httpx.AsyncClient:
    # Made for each step: a client belongs to one event loop, an emulator may be used from several.
    return httpx.AsyncClient(transport=webhook.transport, verify=_tls(), trust_env=False, timeout=None)  # noqa: S113 - _post has one


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _is_over(step: asyncio.Task[int]) -> bool:
    return step.done() and step.result() >= 0
