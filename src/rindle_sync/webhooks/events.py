"""The stored webhook events, for the app and its operators."""

from collections.abc import Awaitable, Callable

from rindle_sync.domain import (
    Action,
    EventStatus,
    ProviderAsset,
    RowAction,
    WebhookEventSummary,
    as_row_id,
    check_is_text,
    many,
)
from rindle_sync.reconcile import Context
from rindle_sync.store import Store
from rindle_sync.webhooks.process import rows_about


async def replay(context: Context, webhook_event_id: str | None) -> int:
    """Have one webhook event applied again, or all dead ones; how many.

    It is recorded of the row that the one event is about, or once for all dead ones.
    """
    now, actor = context.now(), context.actor
    if actor is None:
        return await context.store.inbox.replay(now, webhook_event_id=webhook_event_id)

    async def recorded(store: Store) -> int:
        # a write first: SQLite may refuse to let a transaction write that has read before
        number = await store.inbox.replay(now, webhook_event_id=webhook_event_id)
        if number:
            row = await _row_about(store, webhook_event_id)
            action = RowAction(
                row_id=row.id if row else None,
                reference=row.shown_reference if row else None,
                action=Action.REPLAY,
                actor=actor,
                outcome=many(number, "event"),
                at=now,
            )
            await store.row_actions.add([action])
        return number

    return await context.store.together(recorded)


async def _row_about(store: Store, webhook_event_id: str | None) -> ProviderAsset | None:
    webhook_event = await store.inbox.get(webhook_event_id) if webhook_event_id else None
    if webhook_event is None:
        return None
    [(_, row)] = await rows_about(store.assets, [webhook_event])
    return row


class WebhookEvents:
    """The stored webhook events of one environment."""

    def __init__(self, context: Context, prune: Callable[[], Awaitable[int]]) -> None:
        self._context = context
        self._store = context.store
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
        return await replay(self._context, known)

    async def prune(self) -> int:
        """Empty the bodies of events past their retention, and forget changes never dispatched.

        Returns the number of bodies. Raises `DatabaseUnavailable`.
        """
        return await self._prune()
