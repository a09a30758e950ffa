"""Sends deliveries to their endpoints over HTTP; a failing endpoint is an outcome, not an error."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Final

import httpx

from rindle_sync.emulator.account import MuxAccount
from rindle_sync.emulator.webhook_payloads import SIGNATURE_HEADER, sign, write_payload
from rindle_sync.emulator.webhooks import Delivery, DeliveryQueue, Webhook

CONCURRENCY: Final = 10
"""How many deliveries are in progress to one endpoint at the same time."""

# Loading the trusted certificates takes long, so it is done once, and only if webhooks are sent.
_tls_context = cache(httpx.create_ssl_context)


class WebhookSender:
    """Sends the due deliveries of one account."""

    def __init__(self, account: MuxAccount) -> None:
        self._account = account

    async def deliver_due(self) -> int:
        """Send every due delivery; returns the number of POST requests."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._deliver(hook)) for hook in self._account.webhooks]
        return sum(task.result() for task in tasks)

    async def run(
        self, stop: asyncio.Event, every: float, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        """Send due deliveries until `stop` is set; a silent endpoint does not delay the others."""
        tasks: dict[Webhook, asyncio.Task[int]] = {}
        try:
            while not stop.is_set():
                for webhook in self._account.webhooks:
                    if webhook not in tasks:
                        tasks[webhook] = asyncio.create_task(self._deliver(webhook))
                if tasks:
                    await asyncio.wait(tasks.values(), timeout=every)
                done = [webhook for webhook, task in tasks.items() if task.done()]
                for webhook in done:
                    tasks.pop(webhook).result()  # raises the error that ended it
                await sleep(every)
                await asyncio.sleep(0)  # the sleep of a test may return at once
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _deliver(self, webhook: Webhook) -> int:
        now, queue = self._account.now(), webhook.queue
        queue.plan(now)
        if not queue.has_due(now):
            return 0
        # A client belongs to one event loop, but an emulator may be used from several.
        client = httpx.AsyncClient(
            transport=webhook.transport,
            verify=_tls_context(),
            trust_env=False,
            timeout=None,  # noqa: S113 - _send has one
        )
        async with client, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._send_due(client, queue, now)) for _ in range(CONCURRENCY)
            ]
        return sum(task.result() for task in tasks)

    async def _send_due(self, client: httpx.AsyncClient, queue: DeliveryQueue, now: float) -> int:
        sent = 0
        while queue.has_due(now):
            await self._send(client, queue, queue.take())
            sent += 1
        return sent

    async def _send(
        self, client: httpx.AsyncClient, queue: DeliveryQueue, delivery: Delivery
    ) -> None:
        endpoint, sent_at = queue.endpoint, self._account.now()
        body = write_payload(delivery.event, self._account.whoami)
        secret = f"not {endpoint.secret}" if delivery.is_forged else endpoint.secret
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign(body, secret, sent_at),
        }
        response: httpx.Response | None
        try:
            async with asyncio.timeout(endpoint.timeout):
                response = await client.post(endpoint.url, content=body, headers=headers)
        except asyncio.CancelledError:
            queue.put_back(delivery)
            raise
        except Exception:  # noqa: BLE001 - an endpoint in this process may raise anything
            response = None
        queue.record(delivery, response, sent_at, self._account.now())
