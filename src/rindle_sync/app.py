"""Settings in, a running service out. The only file that joins the plugs, and the only clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from inspect import iscoroutinefunction
from typing import Any, Final

from rindle_sync.config import EngineName, Settings, load_settings
from rindle_sync.diagnostics import Explanation, explain
from rindle_sync.diagnostics import status as health
from rindle_sync.domain import (
    EventStatus,
    JobKind,
    ProviderAsset,
    State,
    Trigger,
    WebhookEventSummary,
    as_row_id,
)
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import UploadRequest
from rindle_sync.providers.mux import (
    Credentials,
    Modifiers,
    Mux,
    PlaybackKind,
    SignedUrl,
    Signer,
    Transport,
    signed_url,
)
from rindle_sync.reconcile import (
    Applied,
    CircuitBreaker,
    Context,
    Filled,
    Identity,
    ListIndex,
    RateLimiter,
    Report,
    SweepResult,
    audit,
    backfill,
    sweep,
    sync,
)
from rindle_sync.runtime import Callback, Distributed, JobRunner, extra, procrastinate, run
from rindle_sync.store import (
    AssetQueries,
    AssetStore,
    Bucket,
    Environments,
    History,
    Inbox,
    JobRuns,
    Outbox,
    RateLimits,
    Statistics,
)
from rindle_sync.store.schema.engine import open_engine
from rindle_sync.telemetry import Listener, Telemetry, log_event
from rindle_sync.tracking import DirectUpload, begin_upload, cancel_upload, track, upload_row
from rindle_sync.webhooks import WebhookApp, rows_about

SPARE_CONNECTIONS: Final = 10
"""Connections to the provider beyond those of a sweep, for single syncs."""


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class RindleSync:
    """The service, for an app that embeds it; made by `connect`."""

    def __init__(
        self,
        settings: Settings,
        store: AssetStore,
        telemetry: Telemetry,
        transport: Transport | None,
        clock: Callable[[], datetime] = now,
    ):
        self.settings = settings
        self._now = clock
        self.store = store
        self.inbox = Inbox(store.engine)
        self.outbox = Outbox(store.engine)
        self._callbacks: list[Callback] = []
        self.telemetry = telemetry
        self._transport = transport

    @cached_property
    def context(self) -> Context:
        """What the steps need. Without credentials it is there all the same, and every call raises `AuthenticationFailed`."""
        settings, provider, environment = self.settings, self._provider, self.settings.environment
        engine = self.store.engine
        environments = Environments(engine)
        return Context(
            store=self.store,
            inbox=self.inbox,
            outbox=self.outbox,
            environments=environments,
            job_runs=JobRuns(engine),
            asset_queries=AssetQueries(engine),
            history=History(engine),
            statistics=Statistics(engine),
            create_limiter=self._create_limiter,
            has_token=settings.has_token,
            audit_every=timedelta(days=settings.audit_days),
            webhooks=settings.webhooks,
            provider=provider,
            environment=environment,
            rate_limiter=self._read_limiter,
            circuit_breaker=CircuitBreaker(
                environments, self.telemetry, provider.name, environment, self._now
            ),
            identity=Identity(expected=settings.mux_environment_id),
            list_index=ListIndex(),
            telemetry=self.telemetry,
            policy=settings.policy,
            schedule=settings.schedule,
            now=self._now,
            sleep=asyncio.sleep,
            lease=settings.lease,
            batch=settings.sweep_batch,
        )

    @cached_property
    def job_runner(self) -> JobRunner:
        """What is to be done without anybody asking, for an engine to wake."""
        settings = self.settings
        work = JobRunner(
            context=self.context,
            callbacks=self._callbacks,
            keep_ended=timedelta(days=settings.webhook_event_retention_days),
            keep_dead=timedelta(days=settings.dead_webhook_event_retention_days),
        )
        self.telemetry.listen(work.handle)
        return work

    @cached_property
    def _provider(self) -> Mux:
        settings = self.settings
        return Mux(
            Credentials(*settings.token()) if settings.has_token else None,
            base_url=settings.mux_base_url,
            timeout=settings.provider_timeout_seconds,
            connections=settings.sweep_batch + SPARE_CONNECTIONS,
            transport=self._transport,
            on_calls_left=lambda kind, left: (
                self._read_limiter if kind == "reads" else self._create_limiter
            ).note_calls_left(left),
        )

    @cached_property
    def _read_limiter(self) -> RateLimiter:
        return self._rate_limiter("reads", *self.settings.reads)

    @cached_property
    def _create_limiter(self) -> RateLimiter:
        return self._rate_limiter("creates", *self.settings.creates)

    def _rate_limiter(self, kind: str, burst: float, per_second: float) -> RateLimiter:
        """Our share of one of the provider's buckets; each priority of token has buckets of its own."""
        settings = self.settings
        share = settings.provider_rate_limit_share
        bucket = Bucket(
            provider=Mux.name,
            environment=settings.environment,
            name=f"{kind}:{settings.provider_token_priority}",
            capacity=max(1.0, burst * share),
            per_second=per_second * share,
        )
        buckets, kept = RateLimits(self.store.engine), burst * (1 - share)
        return RateLimiter(buckets, bucket, now=self._now, sleep=asyncio.sleep, kept_for_app=kept)

    async def migrate(self) -> tuple[str | None, str]:
        """Create or migrate our tables; the revision before and after."""
        from rindle_sync.store.migrations import upgrade

        if self.settings.engine is EngineName.PROCRASTINATE:
            with extra():
                from rindle_sync.store.migrations.procrastinate import install_procrastinate
            await install_procrastinate(self.store.engine)
        return await upgrade(self.store.engine)

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
        """Register a row, to be kept in step from now on; raises `AlreadyTracked`, `ConfigurationError`.

        `asset_id` is the app's own reference. `state` is `processing` where there is a provider id, else `uploading`.
        A row that was adopted from the provider's list keeps its state, and gets the app's reference.
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
        return await self.store.get(known) if (known := as_row_id(row_id)) else None

    async def find_by_provider_asset_id(self, provider_asset_id: str) -> ProviderAsset | None:
        """The row with this provider id."""
        if not provider_asset_id.isprintable():
            return None
        return await self.store.find_by_provider_asset_id(
            Mux.name, self.settings.environment, provider_asset_id
        )

    async def sync(
        self, provider_asset_id: str, *, trigger: Trigger = Trigger.SYNC
    ) -> Applied | None:
        """Bring one row into step now; None where no row has this provider id."""
        self.settings.token()
        return (
            await sync(self.context, provider_asset_id, trigger=trigger)
            if provider_asset_id.isprintable()
            else None
        )

    async def sweep(self, *, dry_run: Callable[[Applied], None] | None = None) -> SweepResult:
        """Look at every row that is due now; with `dry_run`, which gets all that would be settled, write nothing."""
        self.settings.token()
        return await sweep(self.context, dry_run=dry_run)

    async def audit(
        self,
        *,
        dry_run: bool = False,
        adopt: bool = False,
        accept_mass_change: bool = False,
        on_progress: Callable[[Report], None] = lambda _: None,
    ) -> Report:
        """Compare every row at rest with what the provider lists; `on_progress` hears of it after each page.

        Raises `ConfigurationError`, `AuthenticationFailed`, `DatabaseUnavailable`.
        """
        self.settings.token()
        return await audit(
            self.context,
            dry_run=dry_run,
            adopt=adopt,
            accept_mass_change=accept_mass_change,
            on_progress=on_progress,
        )

    async def backfill(
        self, *, dry_run: bool = False, on_progress: Callable[[Filled], None] = lambda _: None
    ) -> Filled:
        """Make a row of every asset that the provider has and no row knows; `on_progress` hears of it after each page.

        Raises `ConfigurationError`, `AuthenticationFailed`, `DatabaseUnavailable`.
        """
        self.settings.token()
        return await backfill(self.context, dry_run=dry_run, on_progress=on_progress)

    async def status(self) -> health.Status:
        """How the rows stand."""
        return await health.status(self.context)

    async def explain(self, row: ProviderAsset) -> Explanation:
        """Why a row stands as it does, and what comes next; asks the database only."""
        return await explain(self.context, row)

    async def find_by_reference(self, name: str) -> list[ProviderAsset]:
        """The rows of this environment with this id of ours, and of the app's own asset with this id."""
        return await self.store.find_by_id_or_reference(Mux.name, self.settings.environment, name)

    async def find_by_provider_id(self, provider_id: str) -> list[ProviderAsset]:
        """The rows of this environment whose asset or upload has this id at the provider; asks the database only."""
        return await self.store.find_by_provider_id(
            Mux.name, self.settings.environment, provider_id
        )

    def on_change(self, callback: Callback) -> Callback:
        """Have the async `callback` called with each real change of a row (as a decorator, too).

        Called after the commit, in the order of each row, at least once; one that raises is called again later.
        """
        if not (iscoroutinefunction(callback) or iscoroutinefunction(type(callback).__call__)):
            raise ConfigurationError("on_change", "wants an async function")
        self._callbacks.append(callback)
        return callback

    @property
    def webhooks(self) -> WebhookApp:
        """The webhook endpoint, an ASGI app to mount in yours."""
        return WebhookApp(
            self.context, lambda: self.job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)
        )

    async def begin_upload(
        self,
        *,
        reference: str,
        cors_origin: str,
        profile: str = "default",
        playback_policy: str = "public",
        expires_in: timedelta = timedelta(hours=1),
        test: bool = False,
        new_asset_settings: Mapping[str, Any] | None = None,
    ) -> DirectUpload:
        """Make a direct upload: a row first, then the provider's upload; its URL is for the browser, once.

        A row for this asset and profile that has failed begins anew. Raises `AlreadyTracked`, `ConfigurationError`,
        `ProviderError` and its kinds (the row is errored then, and may begin anew), `Conflict`, `DatabaseUnavailable`.
        """
        upload_request = UploadRequest(
            cors_origin=cors_origin,
            playback_policy=playback_policy,
            timeout=expires_in,
            test=test,
            settings=new_asset_settings or {},
        )
        self.settings.token()
        return await begin_upload(
            self.context,
            upload_row(self.context, reference, profile, upload_request),
            upload_request,
        )

    async def cancel_upload(self, row_id: str) -> ProviderAsset | None:
        """Cancel the upload of a row, if it still waits for its file; the row as it then stands, None if it is gone."""
        self.settings.token()
        row = await self.get(row_id)
        return await cancel_upload(self.context, row) if row else None

    @cached_property
    def _signer(self) -> Signer:
        return Signer(*self.settings.signing_key())

    async def signed_url(
        self,
        row_id: str,
        kind: PlaybackKind,
        *,
        expires_at: datetime,
        modifiers: Modifiers | None = None,
        custom: Mapping[str, Any] | None = None,
    ) -> SignedUrl | None:
        """A signed URL to play a row, or a picture of it, until `expires_at`; None where there is no such row.

        Raises `NotPlayable` for a row that is not ready or has no signed playback id, `ConfigurationError`.
        """
        row = await self.get(row_id)
        if row is None:
            return None
        return signed_url(
            row,
            self._signer,
            kind=kind,
            expires_at=expires_at,
            now=self._now(),
            modifiers=modifiers,
            custom=custom,
        )

    async def process_webhook_events(self) -> int:
        """Apply every kept delivery whose time has come; how many."""
        return await self.job_runner.process_webhook_events()

    async def dispatch(self) -> int:
        """Call the callbacks with every change that is due to be announced; how many."""
        return await self.job_runner.dispatch()

    async def webhook_events(
        self, *, status: EventStatus | None = None, limit: int = 50
    ) -> list[WebhookEventSummary]:
        """The newest kept deliveries, of one status or of all."""
        return await self.inbox.list(
            Mux.name, self.settings.environment, status=status, limit=limit
        )

    async def webhook_event(self, webhook_event_id: str) -> WebhookEventSummary | None:
        """The kept delivery with this id of ours."""
        return await self.inbox.get(known) if (known := as_row_id(webhook_event_id)) else None

    async def rows_about(
        self, webhook_events: Sequence[WebhookEventSummary]
    ) -> list[tuple[WebhookEventSummary, ProviderAsset | None]]:
        """Each of these deliveries with the row that it is about, where there is one."""
        return await rows_about(self.context, webhook_events)

    async def replay(self, webhook_event_id: str | None = None) -> int:
        """Have one kept delivery applied again, or all dead ones; how many."""
        known = webhook_event_id and as_row_id(webhook_event_id)
        if webhook_event_id is not None and not known:
            return 0
        return await self.inbox.replay(
            Mux.name, self.settings.environment, self._now(), webhook_event_id=known
        )

    async def prune(self) -> int:
        """Empty the bodies of deliveries past their retention, and forget changes that were never announced."""
        return await self.job_runner.prune()

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep every few seconds, and apply deliveries as they come, until `stop` is set.

        Raises `ConfigurationError` without credentials, `DatabaseUnavailable` without our tables; later troubles are logged
        by `rindle_sync` and tried again.
        """
        self.settings.token()
        await run([self.job_runner], self.settings, self.store, stop, self._now)

    def procrastinate(self, app: Any) -> Distributed:
        """Our jobs on an app of Procrastinate's that you have; it stays yours to open and to close."""
        return procrastinate([self.job_runner], self.settings, self.store, app, self._now)

    async def close(self) -> None:
        """Give back all connections; a delivery that is being kept has as long to be so as its sender waits for it."""
        if "tools" in self.__dict__:
            await self.inbox.finish(self.context.webhooks.keep_within)
            await self.context.provider.close()
        await self.store.close()


@asynccontextmanager
async def connect(
    settings: Settings | None = None,
    *,
    listeners: Sequence[Listener] = (),
    transport: Transport | None = None,
) -> AsyncIterator[RindleSync]:
    """The service for `settings` (default: those of this process); `transport` replaces the network in tests."""
    settings = settings or load_settings()
    if len(of_each := settings.each()) > 1:
        raise ConfigurationError(
            "environment",
            f"must name one of {', '.join(of_each)}: --environment, RINDLE_ENVIRONMENT",
        )
    (settings,) = of_each.values()
    telemetry = Telemetry(log_event, *listeners, environment=settings.environment)
    rindle = RindleSync(
        settings, AssetStore(open_engine(settings.database_url)), telemetry, transport
    )
    try:
        yield rindle
    finally:
        await rindle.close()
