"""What the parts of the public object share: the settings, joined to provider, engine and store."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

from rindle_sync.config import Settings, clock_of_tests
from rindle_sync.domain import Actor, ProviderAsset, as_row_id, check_is_text
from rindle_sync.gateway import ProviderGateway, rate_limiters
from rindle_sync.providers import Transport, provider_entry
from rindle_sync.reconcile import Context
from rindle_sync.store import AnyConnection, Database, Store
from rindle_sync.store.schema import BUSY_SECONDS, STATEMENT_SECONDS
from rindle_sync.telemetry import Listener, Telemetry

if TYPE_CHECKING:
    from rindle_sync.runtime import ChangeCallback, JobRunner, WebhookCallback

SPARE_CONNECTIONS: Final = 10
"""Connections to the provider beyond those of a sweep, for single syncs."""


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def sleep_of(clock: Callable[[], datetime]) -> Callable[[float], Awaitable[None]]:
    """How a service by `clock` waits: real time, unless the clock's object has a `sleep`."""
    # a clock that a test moves sleeps by moving, so that no test waits where a call is tried again
    found: object = getattr(getattr(clock, "__self__", None), "sleep", None)
    return found if inspect.iscoroutinefunction(found) else asyncio.sleep


def lease_of(settings: Settings) -> timedelta:
    """Longer than a check, and everything that is written after it, can take."""
    # a lease that ends too early has two processes check the same row
    seconds = 60 + settings.provider_timeout_seconds + 2 * (BUSY_SECONDS + STATEMENT_SECONDS)
    return timedelta(seconds=seconds)


class Core:
    """One provider environment: its settings, and what they are joined to."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        listeners: Sequence[Listener] = (),
        transport: Transport | None = None,
        clock: Callable[[], datetime] = now,
    ):
        name = settings.provider
        if clock is now:
            clock = clock_of_tests() or now
        self.settings = settings
        self.store = Store(database, name, settings.environment)
        self.telemetry = Telemetry(
            *listeners, now=clock, provider=name, environment=settings.environment
        )
        self._now = clock
        self._callbacks: list[ChangeCallback] = []
        self._webhook_callbacks: list[WebhookCallback] = []
        self._transport = transport
        self._actor: Actor | None = None
        self._whole: Self | None = None
        """The service that this one is a view of; None if it is none."""

    @cached_property
    def context(self) -> Context:
        """What reconciling needs. Without credentials every call raises `MissingCredentials`."""
        if self._whole is not None:
            return replace(self._whole.context, actor=self._actor)
        return self._connected()

    def _connected(self) -> Context:
        settings, sleep = self.settings, sleep_of(self._now)
        limiters = rate_limiters(
            self.store.rate_limits,
            (settings.buckets.reads, settings.buckets.creates),
            share=settings.provider_rate_limit_share,
            telemetry=self.telemetry,
            now=self._now,
            sleep=sleep,
        )

        provider = provider_entry(settings.provider).connect(
            settings.account,
            timeout=settings.provider_timeout_seconds,
            connections=settings.sweep_batch + SPARE_CONNECTIONS,
            transport=self._transport,
            on_calls_left=limiters.note_calls_left,
        )
        gateway = ProviderGateway(
            provider,
            self.store.environments,
            reads=limiters.reads,
            creates=limiters.creates,
            telemetry=self.telemetry,
            schedule=settings.schedule,
            now=self._now,
            sleep=sleep,
            at_once=settings.sweep_batch,
            expected_environment=settings.account.environment_id,
            has_token=settings.account.credentials is not None,
        )
        return Context(
            store=self.store,
            gateway=gateway,
            telemetry=self.telemetry,
            policy=settings.policy,
            schedule=settings.schedule,
            now=self._now,
            lease=lease_of(settings),
            batch=settings.sweep_batch,
            webhooks=settings.webhooks,
            audit_every=timedelta(days=settings.audit_days),
        )

    def _context_in(self, connection: AnyConnection | None) -> Context:
        """The context within the app's own transaction, where it gives a `connection`.

        Nothing is emitted of what the app may still roll back.
        """
        if connection is None:
            return self.context
        within, silent = self.context.within(connection), Telemetry(now=self._now)
        return replace(within, telemetry=silent)

    def as_actor(self, actor: Actor | str) -> Self:
        """The same service, which records what is done to rows through it, and who does it.

        `actor` is `token:<name>`, `console` or `command`. The records are in the table
        `provider_row_actions`. Raises `ConfigurationError` for any other actor.
        """
        service = copy(self)
        parts = vars(service)
        # the view makes none of its own: rate limits, jobs and their listeners are those of all
        for name in ("context", "job_runner", "waiting_events"):
            parts.pop(name, None)
        parts |= {"_actor": Actor(actor) if isinstance(actor, str) else actor, "_whole": self}
        return service

    def within(self, connection: AnyConnection) -> Self:
        """The same service, to read in the transaction that is open on the app's own connection.

        It sees what that has written. Raises `ConfigurationError`.
        """
        service = copy(self)
        service.context = self._context_in(connection)
        service.store = service.context.store
        return service

    async def _row_of(self, context: Context, row_id: str) -> ProviderAsset | None:
        """The row with this id of ours, if it is of this environment."""
        check_is_text("row_id", row_id)
        known = as_row_id(row_id)
        row = await context.store.assets.get(known) if known else None
        if row is None or row.provider_name != self.store.provider:
            return None
        return row if row.environment == self.store.environment else None

    @cached_property
    def job_runner(self) -> JobRunner:
        """The jobs of this environment, for an engine to run."""
        if self._whole is not None:
            return self._whole.job_runner
        from rindle_sync.runtime import JobRunner

        settings = self.settings
        job_runner = JobRunner(
            context=self.context,
            callbacks=self._callbacks,
            webhook_callbacks=self._webhook_callbacks,
            keep_ended=timedelta(days=settings.webhook_event_retention_days),
            keep_dead=timedelta(days=settings.dead_webhook_event_retention_days),
            outgoing=settings.outgoing,
        )
        self.telemetry.listen(job_runner.handle)
        return job_runner
