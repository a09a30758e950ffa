"""All repositories of one provider environment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from rindle_sync.store.asset_queries import AssetQueries
from rindle_sync.store.assets import AssetStore
from rindle_sync.store.database import Database
from rindle_sync.store.driver_errors import COLLIDED, RolledBack, retried
from rindle_sync.store.environments import Environments
from rindle_sync.store.job_runs import JobRuns
from rindle_sync.store.rate_limits import RateLimits
from rindle_sync.store.savepoints import Lent, RolledBackInside
from rindle_sync.store.superseded import Superseded

if TYPE_CHECKING:
    from rindle_sync.store.activity import Activity
    from rindle_sync.store.api_requests import ApiRequests
    from rindle_sync.store.change_feed import ChangeFeed
    from rindle_sync.store.change_listing import ChangeListing
    from rindle_sync.store.event_listing import EventListing
    from rindle_sync.store.history import History
    from rindle_sync.store.inbox import Inbox
    from rindle_sync.store.new_rows import NewRows
    from rindle_sync.store.outbox import Outbox
    from rindle_sync.store.outgoing_endpoints import OutgoingEndpoints
    from rindle_sync.store.outgoing_webhooks import OutgoingWebhooks
    from rindle_sync.store.removal import Removal
    from rindle_sync.store.row_actions import RowActions
    from rindle_sync.store.row_listing import RowListing
    from rindle_sync.store.statistics import Statistics
    from rindle_sync.store.wrong_times import WrongTimesQuery

T = TypeVar("T")


class Store:
    """The repositories of one environment; environments may share the `database`."""

    def __init__(self, database: Database, provider: str, environment: str) -> None:
        self.database = database
        self.provider = provider
        self.environment = environment
        self._of = of = (database, provider, environment)
        self.assets = AssetStore(*of)
        self.queries = AssetQueries(*of)
        self.environments = Environments(*of)
        self.job_runs = JobRuns(*of)
        self.rate_limits = RateLimits(*of)
        self.superseded = Superseded(*of)

    # Most processes use few of these, and each makes its statements as it is imported.

    @cached_property
    def new_rows(self) -> NewRows:
        """The rows that the app tracks."""
        from rindle_sync.store.new_rows import NewRows

        return NewRows(*self._of)

    @cached_property
    def inbox(self) -> Inbox:
        """The stored webhook events."""
        from rindle_sync.store.inbox import Inbox

        return Inbox(*self._of)

    @cached_property
    def outbox(self) -> Outbox:
        """The changes to dispatch to the app."""
        from rindle_sync.store.outbox import Outbox

        return Outbox(*self._of)

    @cached_property
    def change_feed(self) -> ChangeFeed:
        """The changes in the order in which they are published."""
        from rindle_sync.store.change_feed import ChangeFeed

        return ChangeFeed(*self._of)

    @cached_property
    def outgoing_endpoints(self) -> OutgoingEndpoints:
        """The addresses that outgoing webhooks are sent to."""
        from rindle_sync.store.outgoing_endpoints import OutgoingEndpoints

        return OutgoingEndpoints(*self._of)

    @cached_property
    def outgoing_webhooks(self) -> OutgoingWebhooks:
        """The outgoing webhooks."""
        from rindle_sync.store.outgoing_webhooks import OutgoingWebhooks

        return OutgoingWebhooks(*self._of)

    @cached_property
    def api_requests(self) -> ApiRequests:
        """The requests of the HTTP API with an idempotency key, of every environment."""
        from rindle_sync.store.api_requests import ApiRequests

        return ApiRequests(self.database)

    @cached_property
    def history(self) -> History:
        """The changes of a row."""
        from rindle_sync.store.history import History

        return History(*self._of)

    @cached_property
    def row_actions(self) -> RowActions:
        """What people and programs did to rows."""
        from rindle_sync.store.row_actions import RowActions

        return RowActions(*self._of)

    @cached_property
    def statistics(self) -> Statistics:
        """The figures of a status."""
        from rindle_sync.store.statistics import Statistics

        return Statistics(*self._of)

    @cached_property
    def row_listing(self) -> RowListing:
        """The rows as a person looks through them."""
        from rindle_sync.store.row_listing import RowListing

        return RowListing(*self._of)

    @cached_property
    def change_listing(self) -> ChangeListing:
        """The changes as a person looks through them."""
        from rindle_sync.store.change_listing import ChangeListing

        return ChangeListing(*self._of)

    @cached_property
    def event_listing(self) -> EventListing:
        """The webhook events as a person looks through them."""
        from rindle_sync.store.event_listing import EventListing

        return EventListing(*self._of)

    @cached_property
    def activity(self) -> Activity:
        """The changes of hours."""
        from rindle_sync.store.activity import Activity

        return Activity(*self._of)

    @cached_property
    def removal(self) -> Removal:
        """The deletion of rows."""
        from rindle_sync.store.removal import Removal

        return Removal(*self._of)

    @cached_property
    def wrong_times(self) -> WrongTimesQuery:
        """The stored times that no right clock has written."""
        from rindle_sync.store.wrong_times import WrongTimesQuery

        return WrongTimesQuery(*self._of)

    def within(self, connection: Any) -> Store:
        """The same repositories in the transaction that is open on the app's own `connection`.

        Raises `ConfigurationError` for an object that is no such connection; the methods of the
        repositories raise it where the connection cannot be used, or leads elsewhere.
        """
        from rindle_sync.store.borrowed import Borrowed
        from rindle_sync.store.connection_kinds import app_connection

        borrowed = Borrowed(self.database, app_connection(connection))
        return Store(borrowed, self.provider, self.environment)

    @retried
    async def together(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """What `work` returns, all of whose writes are one transaction, or a part of the app's.

        It is run again where the database rolls the transaction back in favour of another one.
        Where it raises, none of its writes is kept.
        """
        if isinstance(self.database, Lent):
            async with self.database.writing():
                return await work(self)
        try:
            async with self.database.writing() as connection:
                lent = Lent(self.database, connection)
                return await work(Store(lent, self.provider, self.environment))
        except RolledBackInside:
            raise RolledBack(COLLIDED) from None
