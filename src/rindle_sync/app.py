"""Settings in, a running service out. The only file that joins the plugs, and the only clock."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from inspect import iscoroutinefunction
from typing import Any, Final
from uuid import UUID, uuid4

from rindle_sync import health
from rindle_sync.announce import Callback, announce
from rindle_sync.asset import By, ProviderAsset, State
from rindle_sync.budget import Budget
from rindle_sync.config import Settings, load_settings
from rindle_sync.engines.embedded import Embedded
from rindle_sync.errors import Misconfigured
from rindle_sync.frameworks.asgi import WebhookApp
from rindle_sync.ingest import ingest
from rindle_sync.notice import Notice, Status
from rindle_sync.plan import first_check
from rindle_sync.providers.base import Wish
from rindle_sync.providers.mux import Credentials, Kind, Modifiers, Mux, SignedUrl, Signer, Transport, signed_url
from rindle_sync.schema import open_engine
from rindle_sync.settle import Settled
from rindle_sync.store import Inbox, Outbox, Store
from rindle_sync.sweep import Tally, sweep
from rindle_sync.sync import sync
from rindle_sync.telemetry import Listener, StateChange, Telemetry, log_event
from rindle_sync.tools import Tools
from rindle_sync.upload import INGEST_MODE, DirectUpload, begin_upload, cancel_upload

DELIVERIES_EVERY: Final = 1.0
"""Seconds between two looks into the inbox or the outbox, when nothing wakes us earlier."""

PRUNE_EVERY: Final = 3600.0

SPARE_CONNECTIONS: Final = 10
"""Connections to the provider beyond those of a sweep, for single syncs."""

TRACKABLE: Final = (State.PENDING, State.UPLOADING, State.PROCESSING, State.READY)
"""The states that a row may be tracked in; the others are for the provider to say."""

POLICIES: Final = ("public", "signed", "drm")
"""Who may play a video."""

TEXTS: Final = (
    "asset_id",
    "profile",
    "provider_asset_id",
    "provider_upload_id",
    "passthrough",
    "playback_policy",
    "ingest_mode",
)
"""What a new row may be told in words."""

LONGEST_ID: Final = 255
"""The longest id or reference of a row, in characters; Mux's own are no longer."""


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class RindleSync:
    """The service, for an app that embeds it; made by `connect`."""

    def __init__(self, settings: Settings, store: Store, telemetry: Telemetry, transport: Transport | None):
        self.settings = settings
        self.store = store
        self.inbox = Inbox(store.engine)
        self.outbox = Outbox(store.engine)
        self._callbacks: list[Callback] = []
        self._kept = asyncio.Event()
        self._changed = asyncio.Event()
        telemetry.listen(lambda event: self._changed.set() if isinstance(event, StateChange) else None)
        self.telemetry = telemetry
        self._transport = transport

    @cached_property
    def tools(self) -> Tools:
        """What the steps need. Without credentials it is there all the same, and every call raises `Refused`."""
        settings = self.settings
        credentials = Credentials(*settings.token()) if settings.has_token else None
        burst, per_second = settings.reads
        return Tools(
            store=self.store,
            inbox=self.inbox,
            outbox=self.outbox,
            creates=Budget(*settings.creates, now=now, sleep=asyncio.sleep),
            webhooks=settings.webhooks,
            provider=Mux(
                credentials,
                base_url=settings.mux_base_url,
                timeout=settings.provider_timeout_seconds,
                connections=settings.sweep_batch + SPARE_CONNECTIONS,
                transport=self._transport,
            ),
            environment=settings.environment,
            budget=Budget(burst, per_second, now=now, sleep=asyncio.sleep),
            telemetry=self.telemetry,
            policy=settings.policy,
            schedule=settings.schedule,
            now=now,
            sleep=asyncio.sleep,
            lease=settings.lease,
            batch=settings.sweep_batch,
        )

    async def migrate(self) -> tuple[str | None, str]:
        """Create or migrate our tables; the revision before and after."""
        from rindle_sync.migrations import upgrade

        return await upgrade(self.store.engine)

    async def track(
        self,
        *,
        asset_id: str,
        profile: str = "default",
        provider_asset_id: str | None = None,
        provider_upload_id: str | None = None,
        passthrough: str | None = None,
        state: State | None = None,
        playback_policy: str | None = None,
        ingest_mode: str | None = None,
    ) -> ProviderAsset:
        """Register a row, to be kept in step from now on; raises `AlreadyTracked`, `Misconfigured`.

        `asset_id` is the app's own reference. `state` is `processing` where there is a provider id, else `uploading`.
        """
        if not (provider_asset_id or provider_upload_id):
            raise Misconfigured(
                "provider_asset_id", "or provider_upload_id is needed: by which could we ask the provider?"
            )
        if state and state not in TRACKABLE:
            raise Misconfigured("state", f"must be one of {', '.join(TRACKABLE)}")
        row = self._new_row(
            asset_id=asset_id,
            profile=profile,
            provider_asset_id=provider_asset_id,
            provider_upload_id=provider_upload_id,
            passthrough=passthrough,
            playback_policy=playback_policy,
            ingest_mode=ingest_mode,
            state=state or (State.PROCESSING if provider_asset_id else State.UPLOADING),
        )
        await self.store.add(row)
        return row

    def _new_row(self, **values: Any) -> ProviderAsset:
        for name in TEXTS:
            _check_text(name, values.get(name))
        if values.get("playback_policy") not in {None, *POLICIES}:
            raise Misconfigured("playback_policy", f"must be one of {', '.join(POLICIES)}")
        moment = now()
        row = ProviderAsset(
            id=str(uuid4()),
            provider_name=Mux.name,
            environment=self.settings.environment,
            provider_created_at=moment,
            inserted_at=moment,
            updated_at=moment,
            **values,
        )
        return replace(row, check_at=first_check(row, moment, self.settings.policy, self.settings.schedule))

    async def get(self, row_id: str) -> ProviderAsset | None:
        """The row with this id of ours."""
        return await self.store.get(row_id) if _is_id(row_id) else None

    async def find(self, provider_asset_id: str) -> ProviderAsset | None:
        """The row with this provider id."""
        if not provider_asset_id.isprintable():
            return None
        return await self.store.find(Mux.name, self.settings.environment, provider_asset_id)

    async def sync(self, provider_asset_id: str, *, by: By = By.SYNC) -> Settled | None:
        """Bring one row into step now; None where no row has this provider id."""
        self.settings.token()
        return await sync(self.tools, provider_asset_id, by=by) if provider_asset_id.isprintable() else None

    async def sweep(self) -> Tally:
        """Look at every row that is due now."""
        self.settings.token()
        return await sweep(self.tools)

    async def status(self) -> health.Status:
        """How the rows stand."""
        return await health.status(self.store, self.inbox, Mux.name, self.settings.environment, now())

    def on_change(self, callback: Callback) -> Callback:
        """Have the async `callback` called with each real change of a row (as a decorator, too).

        Called after the commit, in the order of each row, at least once; one that raises is called again later.
        """
        if not (iscoroutinefunction(callback) or iscoroutinefunction(type(callback).__call__)):
            raise Misconfigured("on_change", "wants an async function")
        self._callbacks.append(callback)
        return callback

    @property
    def webhooks(self) -> WebhookApp:
        """The webhook endpoint, an ASGI app to mount in yours."""
        return WebhookApp(self.tools, self._kept.set)

    async def begin_upload(
        self,
        *,
        asset_id: str,
        cors_origin: str,
        profile: str = "default",
        playback_policy: str = "public",
        expires_in: timedelta = timedelta(hours=1),
        test: bool = False,
        new_asset_settings: Mapping[str, Any] | None = None,
    ) -> DirectUpload:
        """Make a direct upload: a row first, then the provider's upload; its URL is for the browser, once.

        A row for this asset and profile that has failed begins anew. Raises `AlreadyTracked`, `Misconfigured`,
        `NoAnswer` and its kinds (the row is errored then, and may begin anew), `Conflict`, `StoreUnavailable`.
        """
        if not timedelta(minutes=1) <= expires_in <= min(timedelta(days=7), self.settings.policy.stuck_threshold):
            raise Misconfigured(
                "expires_in", "must be from one minute to seven days, and within provider_stuck_threshold_seconds"
            )
        _check_text("cors_origin", cors_origin)
        _check_json("new_asset_settings", new_asset_settings)
        wish = Wish(
            cors_origin=cors_origin,
            playback_policy=playback_policy,
            timeout=expires_in,
            test=test,
            settings=new_asset_settings or {},
        )
        self.settings.token()
        row = self._new_row(
            asset_id=asset_id,
            profile=profile,
            passthrough=str(uuid4()),
            playback_policy=playback_policy,
            ingest_mode=INGEST_MODE,
            state=State.PENDING,
        )
        return await begin_upload(self.tools, row, wish)

    async def cancel_upload(self, row_id: str) -> ProviderAsset | None:
        """Cancel the upload of a row, if it still waits for its file; the row as it then stands, None if it is gone."""
        self.settings.token()
        row = await self.get(row_id)
        return await cancel_upload(self.tools, row) if row else None

    @cached_property
    def _signer(self) -> Signer:
        return Signer(*self.settings.signing_key())

    async def signed_url(
        self,
        row_id: str,
        kind: Kind,
        *,
        expires_at: datetime,
        modifiers: Modifiers | None = None,
        custom: Mapping[str, Any] | None = None,
    ) -> SignedUrl | None:
        """A signed URL to play a row, or a picture of it, until `expires_at`; None where there is no such row.

        Raises `NotPlayable` for a row that is not ready or has no signed playback id, `Misconfigured`.
        """
        row = await self.get(row_id)
        if row is None:
            return None
        return signed_url(
            row, self._signer, kind=kind, expires_at=expires_at, now=now(), modifiers=modifiers, custom=custom
        )

    async def ingest(self) -> int:
        """Apply every kept delivery whose time has come; how many."""
        applied = 0
        while taken := await ingest(self.tools):
            applied += taken
        return applied

    async def announce(self) -> int:
        """Call the callbacks with every change that is due to be announced; how many."""
        announced = 0
        while taken := await announce(self.tools, self._callbacks):
            announced += taken
        return announced

    async def notices(self, *, status: Status | None = None, limit: int = 50) -> list[Notice]:
        """The newest kept deliveries, of one status or of all."""
        return await self.inbox.list(Mux.name, self.settings.environment, status=status, limit=limit)

    async def notice(self, notice_id: str) -> Notice | None:
        """The kept delivery with this id of ours."""
        return await self.inbox.get(notice_id) if _is_id(notice_id) else None

    async def replay(self, notice_id: str | None = None) -> int:
        """Have one kept delivery applied again, or all dead ones; how many."""
        if notice_id is not None and not _is_id(notice_id):
            return 0
        return await self.inbox.replay(Mux.name, self.settings.environment, now(), notice_id=notice_id)

    async def prune(self) -> int:
        """Empty the bodies of deliveries past their retention, and forget changes that were never announced."""
        moment, settings = now(), self.settings
        ended = moment - timedelta(days=settings.notice_retention_days)
        dead = moment - timedelta(days=settings.dead_notice_retention_days)
        await self.outbox.forget(Mux.name, settings.environment, ended)
        return await self.inbox.prune(Mux.name, settings.environment, ended_before=ended, dead_before=dead)

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep every few seconds, and apply deliveries as they come, until `stop` is set.

        Raises `Misconfigured` without credentials, `StoreUnavailable` without our tables; later troubles are logged
        by `rindle_sync` and tried again.
        """
        self.settings.token()
        await self.store.ping()
        tools, settings = self.tools, self.settings
        drain = settings.provider_timeout_seconds + 5
        sweeps = Embedded(settings.sweep_interval_seconds, drain)
        deliveries = Embedded(DELIVERIES_EVERY, drain, self._kept)
        announces = Embedded(DELIVERIES_EVERY, drain, self._changed)
        prunes = Embedded(PRUNE_EVERY, drain)
        async with asyncio.TaskGroup() as group:
            group.create_task(sweeps.run(lambda: sweep(tools, keep_going=lambda: not stop.is_set()), stop))
            group.create_task(deliveries.run(self.ingest, stop))
            group.create_task(announces.run(self.announce, stop))
            group.create_task(prunes.run(self.prune, stop))

    async def close(self) -> None:
        """Give back all connections."""
        if "tools" in self.__dict__:
            await self.tools.provider.close()
        await self.store.close()


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _check_json(name: str, value: object) -> None:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        raise Misconfigured(name, "must hold nothing but what JSON can carry") from None


def _check_text(name: str, value: str | None) -> None:
    if not isinstance(value, str | None):
        raise Misconfigured(name, "must be a text")
    if value is not None and (not value.strip() or len(value) > LONGEST_ID or not value.isprintable()):
        raise Misconfigured(name, f"must be 1 to {LONGEST_ID} printable characters")


@asynccontextmanager
async def connect(
    settings: Settings | None = None,
    *,
    listeners: Sequence[Listener] = (),
    transport: Transport | None = None,
) -> AsyncIterator[RindleSync]:
    """The service for `settings` (default: those of this process); `transport` replaces the network in tests."""
    settings = settings or load_settings()
    telemetry = Telemetry(log_event, *listeners)
    rindle = RindleSync(settings, Store(open_engine(settings.database_url)), telemetry, transport)
    try:
        yield rindle
    finally:
        await rindle.close()
