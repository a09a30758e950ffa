"""What a step needs to do its work."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rindle_sync.domain import Policy, Schedule
from rindle_sync.providers import Provider
from rindle_sync.reconcile.circuit_breaker import CircuitBreaker
from rindle_sync.reconcile.page_planner import ListIndex
from rindle_sync.reconcile.rate_limiter import RateLimiter
from rindle_sync.store import (
    AssetQueries,
    AssetStore,
    Environments,
    History,
    Inbox,
    JobRuns,
    Outbox,
    Statistics,
    UnsavedEnvironments,
)
from rindle_sync.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Which deliveries are accepted."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    tolerance: timedelta = timedelta(seconds=300)
    read_within: timedelta = timedelta(seconds=4)
    """How long a delivery may take to come in whole."""
    keep_within: timedelta = timedelta(seconds=3)
    """How long the keeping may take; the provider gives up on an answer after five seconds."""
    environment: str | None = field(default=None, repr=False)
    """The provider's id of the environment that the rows belong to; None accepts any that is signed."""


@dataclass(slots=True, kw_only=True)
class Identity:
    """The provider's own ids of the environment that the rows were made in, and of the one that our token opens."""

    expected: str | None = field(default=None, repr=False)
    found: str | None = field(default=None, repr=False)
    tries: int = 0
    """How often we have tried to find out which environment the rows were made in."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """One asks, the others wait for what it learns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One provider environment and the means to keep its rows in step."""

    store: AssetStore
    inbox: Inbox
    outbox: Outbox
    environments: Environments
    job_runs: JobRuns
    asset_queries: AssetQueries
    history: History
    statistics: Statistics
    create_limiter: RateLimiter
    provider: Provider
    environment: str
    rate_limiter: RateLimiter
    circuit_breaker: CircuitBreaker
    identity: Identity
    list_index: ListIndex
    telemetry: Telemetry
    policy: Policy
    schedule: Schedule
    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    has_token: bool = True
    """Whether the provider can be asked at all."""
    audit_every: timedelta = timedelta(days=7)
    """How often rows at rest are compared with what the provider lists; never, where it is 0."""
    webhooks: WebhookSettings = WebhookSettings()
    lease: timedelta = timedelta(seconds=120)
    """How long a sweep holds the rows that it looks at; outlives every time limit on a call."""
    callback_limit: timedelta = timedelta(seconds=30)
    """How long a callback of the app may take."""
    callback_grace: timedelta = timedelta(seconds=5)
    """How long we wait for one that does not let itself be ended; then it is left behind."""
    batch: int = 50
    """How many rows a sweep looks at side by side."""
    sweep_lease: timedelta = timedelta(seconds=30)
    """How long a sweep keeps others from asking for the same pages; it is renewed as it goes."""

    def for_dry_run(self) -> "Context":
        """The same, but what is learned of the environment and of its breaker is neither kept nor told."""
        unkept, telemetry = UnsavedEnvironments(self.environments.engine), Telemetry()
        circuit_breaker = CircuitBreaker(
            unkept, telemetry, self.provider.name, self.environment, self.now
        )
        identity = Identity(expected=self.identity.expected, found=self.identity.found)
        return replace(
            self,
            environments=unkept,
            telemetry=telemetry,
            circuit_breaker=circuit_breaker,
            identity=identity,
        )
