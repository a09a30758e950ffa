"""Settings in, a running service out. Joins provider, engine and store, and reads the clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from inspect import iscoroutinefunction
from typing import Any, Final

from rindle_sync.config import Settings, load_settings
from rindle_sync.diagnostics import Explanation, Status, WaitingEvents, environment_status, explain
from rindle_sync.domain import JobKind, ProviderAsset, State, Trigger, as_row_id, is_text
from rindle_sync.errors import ConfigurationError
from rindle_sync.gateway import ProviderGateway, rate_limiters
from rindle_sync.providers import (
    Modifiers,
    PlaybackKind,
    SignedUrl,
    Transport,
    UploadRequest,
    provider_entry,
)
from rindle_sync.reconcile import (
    Applied,
    Context,
    Filled,
    Report,
    SweepResult,
    audit,
    backfill,
    sweep,
    sync,
)
from rindle_sync.runtime import Callback, JobRunner, Runnable, Runtime
from rindle_sync.store import Database, Store
from rindle_sync.store.schema import BUSY_SECONDS, STATEMENT_SECONDS, open_engine
from rindle_sync.telemetry import EventLog, Listener, Telemetry
from rindle_sync.tracking import DirectUpload, begin_upload, cancel_upload, track, upload_row
from rindle_sync.webhooks import WebhookApp, WebhookEvents, WebhookResponse, receiver_of

SPARE_CONNECTIONS: Final = 10
"""Connections to the provider beyond those of a sweep, for single syncs."""


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def lease_of(settings: Settings) -> timedelta:
    """Longer than a check, and everything that is written after it, can take."""
    # a lease that ends too early has two processes check the same row
    seconds = 60 + settings.provider_timeout_seconds + 2 * (BUSY_SECONDS + STATEMENT_SECONDS)
    return timedelta(seconds=seconds)


class RindleSync(Runnable):
    """The service for one provider environment, for an app that embeds it; made by `connect`."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        listeners: Sequence[Listener] = (),
        transport: Transport | None = None,
        clock: Callable[[], datetime] = now,
    ):
        name = settings.provider
        self.settings = settings
        self.store = Store(database, name, settings.environment)
        self.telemetry = Telemetry(
            *listeners, now=clock, provider=name, environment=settings.environment
        )
        self._now = clock
        self._callbacks: list[Callback] = []
        self._transport = transport

    @cached_property
    def context(self) -> Context:
        """What reconciling needs. Without credentials every call raises `MissingCredentials`."""
        settings = self.settings
        limiters = rate_limiters(
            self.store.rate_limits,
            (settings.buckets.reads, settings.buckets.creates),
            share=settings.provider_rate_limit_share,
            telemetry=self.telemetry,
            now=self._now,
            sleep=asyncio.sleep,
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
            sleep=asyncio.sleep,
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

    @cached_property
    def job_runner(self) -> JobRunner:
        """The jobs of this environment, for an engine to run."""
        settings = self.settings
        job_runner = JobRunner(
            context=self.context,
            callbacks=self._callbacks,
            keep_ended=timedelta(days=settings.webhook_event_retention_days),
            keep_dead=timedelta(days=settings.dead_webhook_event_retention_days),
        )
        self.telemetry.listen(job_runner.handle)
        return job_runner

    @property
    def runtime(self) -> Runtime:
        """The jobs of this environment, and how they are run."""
        return Runtime([self.job_runner], self.settings, self.store.database, self._now)

    async def track(
        self,
        *,
        reference: str,
        profile: str = "default",
        provider_asset_id: str | None = None,
        provider_upload_id: str | None = None,
        passthrough: str | None = None,
        state: State | None = None,
        playback_policy: str | None = None,
        ingest_mode: str | None = None,
    ) -> ProviderAsset:
        """Register a row, to be kept in sync from now on.

        `reference` is the app's own id of it. `state` is `processing` where there is a provider id,
        else `uploading`. A row that was adopted from the provider's list keeps its state, and gets
        the app's reference. Raises `AlreadyTracked`, `ConfigurationError`.
        """
        return await track(
            self.context,
            reference=reference,
            profile=profile,
            provider_asset_id=provider_asset_id,
            provider_upload_id=provider_upload_id,
            passthrough=passthrough,
            playback_policy=playback_policy,
            ingest_mode=ingest_mode,
            state=state,
        )

    async def get(self, row_id: str) -> ProviderAsset | None:
        """The row with this id of ours."""
        known = as_row_id(row_id)
        return await self.store.assets.get(known) if known else None

    async def find_by_reference(self, reference: str) -> list[ProviderAsset]:
        """The rows of this environment with the app's own reference, of every profile.

        A row is found by its id of ours, too.
        """
        return await self.store.assets.find_by_id_or_reference(reference)

    async def find_by_provider_id(self, provider_id: str) -> list[ProviderAsset]:
        """The rows of this environment whose asset or upload has this id at the provider."""
        return await self.store.assets.find_by_provider_id(provider_id)

    async def sync(
        self, provider_asset_id: str, *, ask_first: bool = False, trigger: Trigger = Trigger.SYNC
    ) -> Applied | None:
        """Bring one row in sync now, asked about first or not; None where none has this id."""
        self.settings.account.check_credentials()
        # no provider has such ids, and PostgreSQL refuses a NUL in a text
        if not is_text(provider_asset_id):
            return None
        return await sync(self.context, provider_asset_id, trigger=trigger, ask_first=ask_first)

    async def sweep(
        self, *, dry_run: bool = False, on_applied: Callable[[Applied], None] | None = None
    ) -> SweepResult:
        """Check every row that is due now; a dry run calls `on_applied`, and writes nothing."""
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
        """How the rows stand."""
        return await environment_status(self.context)

    async def explain(self, row: ProviderAsset) -> Explanation:
        """Why a row stands as it does, and what comes next; reads the database only."""
        return await explain(self.context, row)

    def on_change(self, callback: Callback) -> Callback:
        """Have the async `callback` called with each real change of a row (as a decorator, too).

        Called after the commit, in the order of each row, at least once; a callback that raises is
        called again later.
        """
        if not (iscoroutinefunction(callback) or iscoroutinefunction(type(callback).__call__)):
            raise ConfigurationError("on_change", "wants an async function")
        self._callbacks.append(callback)
        return callback

    @property
    def webhooks(self) -> WebhookApp:
        """The webhook endpoint of this service, an ASGI app; `webhook_app` is one to mount."""
        return WebhookApp(receiver_of(self.context), self._note_stored)

    def _note_stored(self) -> None:
        self.job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)
        self.waiting_events.note_stored(has_engine=bool(self.job_runner.wakeups))

    @cached_property
    def waiting_events(self) -> WaitingEvents:
        """Warns where webhook events wait and nothing applies them."""
        return WaitingEvents(self.context)

    async def receive(self, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
        """Store one webhook request that was posted to a host of any kind; what to answer it.

        `body` is what came, unread and unchanged. Raises `WrongEventLoop`.
        """
        return await self.webhooks.receive(headers, body)

    @property
    def webhook_events(self) -> WebhookEvents:
        """The stored webhook events."""
        return WebhookEvents(self.store, self._now, self.job_runner.prune)

    async def begin_upload(
        self,
        *,
        reference: str,
        cors_origin: str,
        profile: str = "default",
        playback_policy: str | Sequence[str] | None = None,
        expires_in: timedelta = timedelta(hours=1),
        test: bool = False,
        new_asset_settings: Mapping[str, Any] | None = None,
    ) -> DirectUpload:
        """Create a direct upload: a row first, then the provider's upload.

        Its URL is for the browser, once. Playback policies are one or several, by default those in
        the settings. A row for this reference and profile that has failed begins anew. Raises
        `AlreadyTracked`, `ConfigurationError`, `ProviderError` and its kinds (the row is errored
        then, and may begin anew), `Conflict`, `DatabaseUnavailable`.
        """
        request = UploadRequest(
            cors_origin=cors_origin,
            playback_policy=playback_policy,
            timeout=expires_in,
            test=test,
            settings=new_asset_settings or {},
        )
        self.settings.account.check_credentials()
        row = upload_row(self.context, reference, profile, request)
        return await begin_upload(self.context, row, request)

    async def cancel_upload(self, row_id: str) -> ProviderAsset | None:
        """Cancel the upload of a row that still waits for its file; the row as it then stands."""
        self.settings.account.check_credentials()
        row = await self.get(row_id)
        return await cancel_upload(self.context, row) if row else None

    async def playback_url(
        self,
        row_id: str,
        kind: PlaybackKind,
        *,
        expires_at: datetime,
        modifiers: Modifiers | None = None,
        custom: Mapping[str, Any] | None = None,
    ) -> SignedUrl | None:
        """A signed URL to play a row, or a picture of it, until `expires_at`.

        None where there is no such row. Raises `NotPlayable` for a row that is not ready or has no
        signed playback id, `ConfigurationError`.
        """
        row = await self.get(row_id)
        if row is None:
            return None
        playback = self.context.gateway.provider.playback
        if playback is None:
            raise ConfigurationError("provider", f"{row.provider_name} has no signed playback")
        return playback.signed_url(
            row, kind, expires_at=expires_at, now=self._now(), modifiers=modifiers, custom=custom
        )

    async def process_webhook_events(self) -> int:
        """Apply every stored webhook event whose time has come; how many."""
        return await self.job_runner.process_webhook_events()

    async def dispatch(self) -> int:
        """Call the callbacks with every change that is due to be dispatched; how many."""
        return await self.job_runner.dispatch()

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
        `AlreadyClosed`.
        """
        await self.finish()
        await self.store.database.close()

    async def finish(self) -> None:
        """Let go of all but the database, which services of other environments may share."""
        # a service that was never used has made no connections, and must make none to close
        if "context" in self.__dict__:
            await self.waiting_events.close()
            await self.store.inbox.finish(self.context.webhooks.store_within)
            await self.context.gateway.provider.close()


@asynccontextmanager
async def connect(
    settings: Settings | None = None,
    *,
    listeners: Sequence[Listener] = (),
    transport: Transport | None = None,
) -> AsyncIterator[RindleSync]:
    """The service for `settings` (default: those of this process).

    `transport` replaces the network in tests.
    """
    settings = settings or load_settings()
    of_each = settings.each()
    if len(of_each) > 1:
        names = ", ".join(of_each)
        text = f"must name one of {names}: --environment, RINDLE_ENVIRONMENT"
        raise ConfigurationError("environment", text)
    (settings,) = of_each.values()
    database = Database(open_engine(settings.database_url))
    rindle = RindleSync(settings, database, (EventLog(), *listeners), transport)
    try:
        yield rindle
    finally:
        await rindle.close()
