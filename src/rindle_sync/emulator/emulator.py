"""The emulated account as an ASGI app, with its webhooks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Final

from starlette.applications import Starlette

from rindle_sync.emulator import webhook_sender
from rindle_sync.emulator.account import MuxAccount
from rindle_sync.emulator.control_api import control_routes
from rindle_sync.emulator.page import page_routes
from rindle_sync.emulator.router import all_routes
from rindle_sync.emulator.webhook_payloads import WebhookEvent

_TICK: Final = 0.1


def _about(type_pattern: str, asset_id: str | None) -> Callable[[WebhookEvent], bool]:
    def is_wanted(event: WebhookEvent) -> bool:
        return fnmatchcase(event.cause.type, type_pattern) and (
            asset_id in {None, event.cause.asset_id}
        )

    return is_wanted


class MuxEmulator(MuxAccount):
    """A fake Mux environment; pass its `app` to `httpx.ASGITransport` or to uvicorn."""

    @cached_property
    def app(self) -> Starlette:
        """Mux's REST API and the control API; under a server it also delivers webhooks."""
        routes = all_routes(self, [*page_routes(self), *control_routes(self)])
        return Starlette(routes=routes, lifespan=self._deliver_while_serving)

    async def deliver_due(self, *, at_once: int = webhook_sender.CONCURRENCY) -> int:
        """Send every due webhook delivery, forged ones too; returns the number of POST requests.

        At most `at_once` are in progress to one endpoint; 1 keeps them in order.
        """
        async with asyncio.TaskGroup() as group:
            tasks = []
            for webhook in self.webhooks:
                delivery = webhook_sender.deliver(self, webhook, at_once)
                tasks.append(group.create_task(delivery))
        return sum(task.result() for task in tasks)

    def lose_webhooks(self, type_pattern: str = "*", *, asset_id: str | None = None) -> int:
        """Never send the webhook events that have happened and are pending; how many.

        Only those of a type that `type_pattern` matches, as in `video.asset.*`, and about the asset
        with this id.
        """
        wanted = _about(type_pattern, asset_id)
        return sum(webhook.queue.lose(self.now(), wanted) for webhook in self.webhooks)

    def repeat_webhooks(self, type_pattern: str = "*", *, asset_id: str | None = None) -> int:
        """Send the pending webhook events twice with the next delivery; how many there are."""
        wanted = _about(type_pattern, asset_id)
        return sum(webhook.queue.repeat(self.now(), wanted) for webhook in self.webhooks)

    def reverse_webhooks(self) -> int:
        """Send the pending webhook events newest first with the next delivery; how many."""
        return sum(webhook.queue.reverse(self.now()) for webhook in self.webhooks)

    def forge_webhook(self, asset_id: str) -> None:
        """Send, with the next delivery, one with a wrong signature: the asset is deleted."""
        asset = self._asset(asset_id)
        for webhook in self.webhooks:
            webhook.queue.forge(self.now(), asset)

    async def run_webhooks(self, stop: asyncio.Event, every: float = _TICK) -> None:
        """Send due webhook deliveries `every` so many seconds, until `stop` is set."""
        await webhook_sender.run(self, stop, every, self.sleep)

    @asynccontextmanager
    async def _deliver_while_serving(self, _app: Starlette) -> AsyncIterator[None]:
        stop = asyncio.Event()
        # In real time: a sleep that moves a test's clock would advance it while nothing happens.
        running = asyncio.create_task(webhook_sender.run(self, stop, _TICK, asyncio.sleep))
        try:
            yield
        finally:
            stop.set()
            await running
