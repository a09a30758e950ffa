"""The stored webhook events, for the app and its operators."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from rindle_sync.domain import EventStatus, WebhookEventSummary, as_row_id, check_is_text
from rindle_sync.store import Store


class WebhookEvents:
    """The stored webhook events of one environment."""

    def __init__(
        self, store: Store, now: Callable[[], datetime], prune: Callable[[], Awaitable[int]]
    ) -> None:
        self._store = store
        self._now = now
        self._prune = prune

    async def list(
        self, *, status: EventStatus | None = None, limit: int = 50
    ) -> list[WebhookEventSummary]:
        """The newest webhook events, up to `limit` rows, of one status or of all.

        Raises `DatabaseUnavailable`.
        """
        return await self._store.inbox.list(status=status, limit=limit)

    async def get(self, webhook_event_id: str) -> WebhookEventSummary | None:
        """The webhook event with this id of ours.

        Raises `ConfigurationError`, `DatabaseUnavailable`.
        """
        check_is_text("webhook_event_id", webhook_event_id)
        known = as_row_id(webhook_event_id)
        return await self._store.inbox.get(known) if known else None

    async def replay(self, webhook_event_id: str | None = None) -> int:
        """Have one webhook event applied again, or all dead ones; how many.

        Raises `ConfigurationError`, `DatabaseUnavailable`.
        """
        known = None
        if webhook_event_id is not None:
            check_is_text("webhook_event_id", webhook_event_id)
            known = as_row_id(webhook_event_id)
            if not known:
                return 0
        return await self._store.inbox.replay(self._now(), webhook_event_id=known)

    async def prune(self) -> int:
        """Empty the bodies of events past their retention, and forget changes never dispatched.

        Returns the number of bodies. Raises `DatabaseUnavailable`.
        """
        return await self._prune()
