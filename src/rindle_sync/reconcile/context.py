"""One provider environment, and what it takes to keep its rows in sync."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from rindle_sync.domain import (
    Actor,
    LongestGaps,
    Policy,
    Schedule,
    Trigger,
    WebhookSettings,
    longest_gaps,
)
from rindle_sync.gateway import ProviderGateway
from rindle_sync.reconcile.page_planner import ListIndex
from rindle_sync.store import Store
from rindle_sync.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What reconciling reads and writes. With `dry_run` nothing is written or emitted."""

    store: Store
    gateway: ProviderGateway
    telemetry: Telemetry
    policy: Policy
    schedule: Schedule
    now: Callable[[], datetime]
    list_index: ListIndex = field(default_factory=ListIndex)
    lease: timedelta = timedelta(seconds=120)
    """How long a sweep holds the rows that it checks; outlives every time limit on a call."""
    batch: int = 20
    """How many rows are checked side by side."""
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    audit_every: timedelta = timedelta(days=1)
    """How often settled rows are compared with the provider's list; never, where it is 0."""
    dry_run: bool = False
    actor: Actor | None = None
    """Who acts: what is done to rows is recorded. None for the app's own code, and for jobs."""

    @property
    def trigger(self) -> Trigger:
        """What causes the changes that are asked for here."""
        return self.actor.trigger if self.actor else Trigger.APP

    @property
    def longest_gaps(self) -> LongestGaps:
        """The longest time to the next check of a row."""
        return longest_gaps(self.policy, self.schedule)

    def for_dry_run(self) -> "Context":
        """The same, but nothing of what is found is written or emitted; the provider is asked."""
        gateway, telemetry = self.gateway.for_dry_run(), Telemetry(now=self.now)
        return replace(self, gateway=gateway, telemetry=telemetry, dry_run=True)

    def within(self, connection: Any) -> "Context":
        """The same, but rows are read and written in the transaction on the app's `connection`.

        Raises `ConfigurationError` for an object that is no such connection.
        """
        return replace(self, store=self.store.within(connection))
