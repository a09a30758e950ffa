"""The public object: its parts, its jobs, and how it is opened and closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from rindle_sync.app.callbacks import Callbacks
from rindle_sync.app.core import now, sleep_of
from rindle_sync.app.lifecycle import Lifecycle
from rindle_sync.app.listing import Listing
from rindle_sync.app.playing import Playing
from rindle_sync.app.uploads import Uploads
from rindle_sync.config import Settings, Switch, load_settings
from rindle_sync.domain import JobKind
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import Transport
from rindle_sync.reconcile import (
    Applied,
    Context,
    Filled,
    Report,
    SweepResult,
    audit,
    backfill,
    sweep,
)
from rindle_sync.runtime import Runnable
from rindle_sync.store import Database
from rindle_sync.store.schema import open_engine
from rindle_sync.telemetry import EventLog, Listener

if TYPE_CHECKING:
    from rindle_sync.diagnostics import Status, WaitingEvents
    from rindle_sync.runtime import Runtime
    from rindle_sync.web.api.app import Api
    from rindle_sync.webhooks import WebhookApp, WebhookEvents, WebhookResponse


class RindleSync(Uploads, Lifecycle, Playing, Listing, Callbacks, Runnable):
    """The service for one provider environment, for an app that embeds it; made by `connect`.

    Every method raises `AlreadyClosed` after `close`, and `WrongEventLoop` in another event loop
    than that of its first use.
    """

    @property
    def runtime(self) -> Runtime:
        """The jobs of this environment, and how they are run."""
        from rindle_sync.runtime import Runtime

        return Runtime([self.job_runner], self.settings, self.store.database, self._now)

    async def sweep(
        self, *, dry_run: bool = False, on_applied: Callable[[Applied], None] | None = None
    ) -> SweepResult:
        """Check every row that is due now; a dry run calls `on_applied`, and writes nothing.

        Raises `ConfigurationError` without credentials, `AuthenticationFailed`,
        `DatabaseUnavailable`.
        """
        return await sweep(self._working_context(dry_run=dry_run), on_applied=on_applied)

    async def audit(
        self,
        *,
        dry_run: bool = False,
        adopt: bool = False,
        accept_mass_change: bool = False,
        on_progress: Callable[[Report], None] = lambda _: None,
    ) -> Report:
        """Compare every settled row with the provider's list.

        `on_progress` is called after each page. Raises `ConfigurationError`,
        `AuthenticationFailed`, `DatabaseUnavailable`.
        """
        return await audit(
            self._working_context(dry_run=dry_run),
            adopt=adopt,
            accept_mass_change=accept_mass_change,
            on_progress=on_progress,
        )

    async def backfill(
        self, *, dry_run: bool = False, on_progress: Callable[[Filled], None] = lambda _: None
    ) -> Filled:
        """Make a row of every asset that no row knows; `on_progress` is called after each page.

        Raises `ConfigurationError`, `AuthenticationFailed`, `DatabaseUnavailable`.
        """
        context = self._working_context(dry_run=dry_run)
        return await backfill(context, on_progress=on_progress)

    def _working_context(self, *, dry_run: bool) -> Context:
        self.settings.account.check_credentials()
        return self.context.for_dry_run() if dry_run else self.context

    async def status(self) -> Status:
        """How the rows stand. Raises `DatabaseUnavailable`."""
        from rindle_sync.diagnostics import environment_status

        return await environment_status(self.context)

    @property
    def webhooks(self) -> WebhookApp:
        """The webhook endpoint of this service, an ASGI app; `webhook_app` is one to mount."""
        from rindle_sync.webhooks import WebhookApp, receiver_of

        return WebhookApp(receiver_of(self.context, self.wants_webhook), self._note_stored)

    def _note_stored(self) -> None:
        self.job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)
        if self._webhook_callbacks:
            self.job_runner.wake(JobKind.DISPATCH)
        if sleep_of(self._now) is asyncio.sleep:  # in a test, jobs run when the test says so
            self.waiting_events.note_stored(has_engine=bool(self.job_runner.wakeups))

    @cached_property
    def waiting_events(self) -> WaitingEvents:
        """Warns where webhook events wait and nothing applies them."""
        if self._whole is not None:
            return self._whole.waiting_events
        from rindle_sync.diagnostics import WaitingEvents

        return WaitingEvents(self.context)

    async def receive(
        self, headers: Mapping[str, str], body: bytes, *, method: str = "POST"
    ) -> WebhookResponse:
        """Store one webhook request that was sent to a host of any kind; what to answer it.

        `body` is what came, unread and unchanged. Raises `WrongEventLoop`.
        """
        return await self.webhooks.receive(headers, body, method=method)

    @property
    def webhook_events(self) -> WebhookEvents:
        """The stored webhook events."""
        from rindle_sync.webhooks import WebhookEvents

        return WebhookEvents(self.context, self.job_runner.prune)

    @cached_property
    def api(self) -> Api:
        """The HTTP API of this service, an ASGI app to mount at any path; needs the extra `api`.

        Its tokens are that of the setting `api_token`, and those that `rindle-sync token create`
        makes. It ends with the service. Raises `ConfigurationError` without the extra.
        """
        return http_api({self.settings.environment: self}, self.settings)

    async def process_webhook_events(self) -> int:
        """Apply every stored webhook event whose time has come; how many.

        Raises `DatabaseUnavailable`.
        """
        return await self.job_runner.process_webhook_events()

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep every few seconds, and process webhook events as they come, until `stop` is set.

        Raises `ConfigurationError` without credentials, `DatabaseUnavailable` without our tables;
        later failures are logged by `rindle_sync` and tried again.
        """
        self.settings.account.check_credentials()
        await self.runtime.run(stop)

    async def close(self) -> None:
        """Give back all connections; a webhook event that is being stored has its time to be so.

        The service is of no use after that: it answers deliveries with 503, and all else raises
        `AlreadyClosed`. Raises nothing where the database does not answer.
        """
        await self.finish()
        await self.store.database.close()

    async def finish(self) -> None:
        """Let go of all but the database, which services of other environments may share.

        Raises nothing.
        """
        if "api" in self.__dict__:
            await self.api.close()
        # a service that was never used has made no connections, and must make none to close
        if "context" in self.__dict__:
            if "waiting_events" in self.__dict__:
                await self.waiting_events.close()
            await self.store.database.finish_storing(self.context.webhooks.store_within)
            await self.context.gateway.provider.close()


def http_api(services: Mapping[str, RindleSync], settings: Settings) -> Api:
    """The HTTP API of services on one database. Raises `ConfigurationError` without the extra."""
    try:
        from rindle_sync.web.api.app import Api
    except ModuleNotFoundError:
        text = "the HTTP API needs an extra; pip install 'rindle-sync[api]'"
        raise ConfigurationError("api", text) from None
    token = settings.api_token.get_secret_value() if settings.api_token else None
    sees_provider_ids = settings.api_token_sees_provider_ids is Switch.ON
    return Api(services, token, sees_provider_ids=sees_provider_ids)


def only_environment(environments: Collection[str]) -> str:
    """The environment, if there is one; raises `ConfigurationError` where there are several."""
    if len(environments) > 1:
        names = ", ".join(environments)
        text = f"must name one of {names}: --environment, RINDLE_ENVIRONMENT"
        raise ConfigurationError("environment", text)
    (name,) = environments
    return name


def no_environment(name: str, environments: Collection[str]) -> ConfigurationError:
    """The error of a call for an environment that the settings do not have."""
    names = ", ".join(environments)
    return ConfigurationError("environment", f"{name!r} is not in the settings; there are {names}")


def open_rindle(
    settings: Settings,
    *,
    listeners: Sequence[Listener],
    transport: Transport | None,
    clock: Callable[[], datetime],
) -> RindleSync:
    """The service for the one environment of `settings`; nothing is connected before it is used.

    Raises `ConfigurationError`.
    """
    of_each = settings.each()
    settings = of_each[only_environment(of_each)]
    engine = open_engine(settings.database_url, schema=settings.database_schema)
    return RindleSync(settings, Database(engine), (EventLog(), *listeners), transport, clock)


@asynccontextmanager
async def connect(
    settings: Settings | None = None,
    *,
    listeners: Sequence[Listener] = (),
    transport: Transport | None = None,
    clock: Callable[[], datetime] = now,
) -> AsyncIterator[RindleSync]:
    """The service for `settings` (default: those of this process).

    `transport` replaces the network in tests, and `clock` the time, in UTC. Raises
    `ConfigurationError`.
    """
    rindle = open_rindle(
        settings or load_settings(), listeners=listeners, transport=transport, clock=clock
    )
    try:
        yield rindle
    finally:
        await rindle.close()
