"""Sends deliveries to their endpoints over HTTP; a failing endpoint is an outcome, not an error."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Final

import httpx

from rindle_sync.emulator.account import MuxAccount
from rindle_sync.emulator.webhook_payloads import SIGNATURE_HEADER, sign, write_payload
from rindle_sync.emulator.webhooks import Delivery, Webhook

CONCURRENCY: Final = 10
"""How many deliveries are in progress to one endpoint at the same time."""

# Loading the trusted certificates takes long, so it is done once, and only where they are needed.
_tls_context = cache(httpx.create_ssl_context)


async def run(
    account: MuxAccount,
    stop: asyncio.Event,
    every: float,
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Send due deliveries until `stop` is set; a silent endpoint does not delay the others."""
    tasks: dict[Webhook, asyncio.Task[int]] = {}
    try:
        while not stop.is_set():
            for webhook in account.webhooks:
                if webhook not in tasks:
                    tasks[webhook] = asyncio.create_task(deliver(account, webhook))
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


async def deliver(account: MuxAccount, webhook: Webhook, at_once: int = CONCURRENCY) -> int:
    """Send every due delivery of one webhook; returns the number of POST requests."""
    now, queue = account.now(), webhook.queue
    if not queue.plan(now):
        return 0
    # A client belongs to one event loop, but an emulator may be used from several.
    client = httpx.AsyncClient(
        transport=webhook.transport,
        verify=webhook.transport is not None or _tls_context(),
        trust_env=False,
        timeout=None,  # noqa: S113 - _send_due has one
    )
    async with client, asyncio.TaskGroup() as group:
        senders = [_send_due(account, client, webhook, now) for _ in range(at_once)]
        tasks = [group.create_task(sender) for sender in senders]
    return sum(task.result() for task in tasks)


async def _send_due(
    account: MuxAccount, client: httpx.AsyncClient, webhook: Webhook, now: float
) -> int:
    queue, endpoint, sent = webhook.queue, webhook.endpoint, 0
    for delivery in queue.take_due(now):
        sent_at = account.now()
        response: httpx.Response | None = None
        try:
            async with asyncio.timeout(endpoint.timeout):
                request = _request(client, account, webhook, delivery, sent_at)
                response = await client.send(request)
        except asyncio.CancelledError:
            # the attempt is made again as soon as possible
            queue.add(delivery.event.cause.at, delivery)
            raise
        except Exception as error:  # noqa: BLE001 - an endpoint in this process may raise anything
            webhook.last_error = error
        webhook.record(delivery, response, sent_at, account.now())
        sent += 1
    return sent


def deliver_blocking(
    account: MuxAccount, webhook: Webhook, transport: httpx.BaseTransport | None
) -> int:
    """Send every due delivery of one webhook in order, on this thread; how many POST requests.

    Without `transport` they are sent over the network.
    """
    now, queue, sent = account.now(), webhook.queue, 0
    if not queue.plan(now):
        return 0
    with httpx.Client(
        transport=transport,
        verify=transport is not None or _tls_context(),
        trust_env=False,
        timeout=webhook.endpoint.timeout,
    ) as client:
        for delivery in queue.take_due(now):
            sent_at = account.now()
            response: httpx.Response | None = None
            try:
                response = client.send(_request(client, account, webhook, delivery, sent_at))
            except Exception as error:  # noqa: BLE001 - the app in this process may raise anything
                webhook.last_error = error
            webhook.record(delivery, response, sent_at, account.now())
            sent += 1
    return sent


def _request(
    client: httpx.Client | httpx.AsyncClient,
    account: MuxAccount,
    webhook: Webhook,
    delivery: Delivery,
    sent_at: float,
) -> httpx.Request:
    endpoint = webhook.endpoint
    body = write_payload(delivery.event, account.whoami)
    secret = f"not {endpoint.secret}" if delivery.is_forged else endpoint.secret
    signature = sign(body, secret, sent_at)
    headers = {"Content-Type": "application/json", SIGNATURE_HEADER: signature}
    return client.build_request("POST", endpoint.url, content=body, headers=headers)
