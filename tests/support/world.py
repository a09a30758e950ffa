"""One provider environment for tests.

The emulator, a database, the real tools, and a clock that only tests move.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from msgspec import structs
from sqlalchemy import select

from rindle_sync.domain import (
    Bucket,
    PlaybackId,
    Policy,
    ProviderAsset,
    Schedule,
    State,
    Trigger,
    media_fields,
)
from rindle_sync.emulator import Life, MuxEmulator
from rindle_sync.emulator.resources import asset_body
from rindle_sync.gateway import ProviderGateway, RateLimiter
from rindle_sync.providers import Provider
from rindle_sync.providers.mux import Credentials, Mux, asset_media
from rindle_sync.reconcile import Applied, Context, ListIndex, SweepResult, sweep, sync
from rindle_sync.runtime import JobRunner
from rindle_sync.store import Database, Store
from rindle_sync.store.migrations import upgrade
from rindle_sync.store.schema import metadata, open_engine
from rindle_sync.telemetry import Called, Event, MediaChange, StateChange, Swept, Telemetry
from tests.support.rows import NOW, a_row

READY = Life(ends="ready", after=0)
NEVER = Life(ends="never")
ERRORED = Life(ends="errored", after=0)
_OF_A_WRITE = (Swept, StateChange, MediaChange)


class Clock:
    """Time stands still until a test moves it; a sleep moves it, too."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def seconds(self) -> float:
        return self.time.timestamp()

    def move(self, by: timedelta | float) -> None:
        self.time += by if isinstance(by, timedelta) else timedelta(seconds=by)

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)
        await asyncio.sleep(0)


@dataclass
class World:
    """What a test needs to make rows, to disturb the provider, and to see what came of it."""

    context: Context
    emulator: MuxEmulator
    clock: Clock
    told: list[Event] = field(default_factory=list)
    called: list[Called] = field(default_factory=list)
    """What was told of each call: not among the rest."""

    async def track(
        self, state: State = State.PROCESSING, *, life: Life = READY, **values: Any
    ) -> ProviderAsset:
        """A row that is due, and the asset that it is about.

        `provider_asset_id` names another one.
        """
        if "provider_asset_id" not in values:
            policies = () if life is NEVER else ("public",)
            values["provider_asset_id"] = self.emulator.create_asset(life=life, policies=policies)
        values.setdefault("updated_at", self.clock.now() - timedelta(hours=1))
        row = a_row(state, check_at=values.pop("check_at", self.clock.now()), **values)
        await self.context.store.assets.add(row)
        return row

    async def shelve(
        self, count: int, *, every: float = 60, older_than: float = 3600, **values: Any
    ) -> list[ProviderAsset]:
        """Rows at rest, oldest first, that are just as their assets are.

        Made `every` so many seconds.
        """
        began = int(self.clock.seconds() - older_than - every * (count - 1))
        ids = self.emulator.create_assets(count, created_at=began, every=every, life=READY)
        rows = [
            a_row(
                State.READY,
                provider_asset_id=asset_id,
                playback_ids=tuple(
                    PlaybackId(p.id, p.policy) for p in self.emulator.truth(asset_id).playback_ids
                ),
                **{
                    "provider_created_at": datetime.fromtimestamp(int(began + every * place), UTC),
                    "raw_provider_metadata": self.body_of(asset_id),
                    **media_fields(asset_media(self.body_of(asset_id))),
                    **values,
                },
            )
            for place, asset_id in enumerate(ids)
        ]
        await self.context.store.assets.add_all(rows)
        return rows

    def body_of(self, asset_id: str) -> dict[str, Any]:
        """An asset as the provider shows it."""
        return body_of(self.emulator, asset_id)

    async def tables(self, *but: str) -> dict[str, list[str]]:
        """All that stands in the tables, `but` for some."""
        async with self.context.store.database.engine.connect() as connection:
            return {
                table.name: sorted(
                    str(tuple(line)) for line in await connection.execute(select(table))
                )
                for table in metadata.sorted_tables
                if table.name not in but
            }

    def with_gateway(self, **changes: Any) -> None:
        """Another gateway on the same store: that of a new process, but for what `changes` say."""
        gateway = self.context.gateway
        parts: dict[str, Any] = {
            "provider": gateway.provider,
            "reads": gateway.reads,
            "creates": gateway.creates,
        }
        parts |= {"telemetry": self.context.telemetry} | changes
        gateway = a_gateway(self.context.store, self.clock, **parts)
        self.context = replace(self.context, gateway=gateway)

    def with_provider(self, provider: Provider) -> None:
        """Another provider behind the same gateway.

        Nothing that this process knows is forgotten.
        """
        self.context.gateway.provider = provider

    def with_token_of(self, emulator: MuxEmulator) -> None:
        """A new process on the same database, with the token of this emulator's environment."""
        self.with_gateway(provider=an_adapter(emulator))
        self.context = replace(self.context, list_index=ListIndex())

    def with_reads(self, capacity: float, per_second: float, **options: Any) -> None:
        """Another rate limit, whose bucket is full."""
        self.context.gateway.reads = a_rate_limiter(
            self.context.store, self.clock, capacity, per_second, **options
        )

    async def know_identity(self) -> None:
        """Some row was found by this token before: its environment is that of the rows."""
        self.context.gateway.identity.expected = await self.context.gateway.provider.whoami()

    def without_pages(self) -> None:
        """Every row is asked about by id."""
        self.context = replace(self.context, list_index=ListIndex(trust=False))

    async def sync(self, row: ProviderAsset) -> Applied | None:
        return await sync(self.context, row.provider_asset_id or "", trigger=Trigger.SYNC)

    async def sweep(self) -> SweepResult:
        return await sweep(self.context)

    async def now_is(self, row: ProviderAsset) -> ProviderAsset:
        found = await self.context.store.assets.get(row.id)
        assert found
        return found

    async def states(self) -> dict[State, int]:
        """How many rows of the default environment stand so."""
        return Counter([row.state async for row in self.context.store.assets.rows()])

    def events(self, *kinds: type[Event]) -> list[Event]:
        return [
            e
            for e in self.told
            if (isinstance(e, kinds) if kinds else not isinstance(e, _OF_A_WRITE))
        ]

    def names(self) -> list[str]:
        return [e.name for e in self.events()]

    @property
    def calls(self) -> int:
        """Calls about assets and uploads: not those that ask who we are."""
        return sum(number for kind, number in self.emulator.calls.items() if kind != "whoami")

    def with_policy(self, **values: Any) -> None:
        self.context = replace(self.context, policy=structs.replace(self.context.policy, **values))

    def with_timeout(self, seconds: float) -> None:
        self.with_provider(an_adapter(self.emulator, seconds))


def an_adapter(emulator: MuxEmulator, timeout: float = 10) -> Mux:
    credentials = Credentials(emulator.token_id, emulator.token_secret)
    return Mux(credentials, timeout=timeout, transport=httpx.ASGITransport(app=emulator.app))


def a_rate_limiter(
    store: Store, clock: Clock, capacity: float = 1000, per_second: float = 1000, **options: Any
) -> RateLimiter:
    """A rate limiter with a bucket of its own."""
    bucket = Bucket(name=uuid4().hex, capacity=capacity, per_second=per_second)
    return RateLimiter(store.rate_limits, bucket, now=clock.now, sleep=clock.sleep, **options)


def a_gateway(store: Store, clock: Clock, **parts: Any) -> ProviderGateway:
    """The gateway of a process that has just begun."""
    plenty: dict[str, Any] = {name: a_rate_limiter(store, clock) for name in ("reads", "creates")}
    known: dict[str, Any] = {"schedule": Schedule(), "now": clock.now, "sleep": clock.sleep}
    parts = plenty | known | parts
    return ProviderGateway(parts.pop("provider"), store.environments, **parts)


@asynccontextmanager
async def a_world(
    url: str, clock: Clock | None = None, *, migrated: bool = False
) -> AsyncIterator[World]:
    clock = clock or Clock()
    emulator = MuxEmulator(now=clock.seconds, sleep=clock.sleep)
    told: list[Event] = []
    called: list[Called] = []

    def hear(event: Event) -> None:
        if isinstance(event, Called):
            called.append(event)
        else:
            told.append(event)

    store = Store(Database(open_engine(url)), "mux", "default")
    telemetry = Telemetry(hear, now=clock.now, provider="mux")
    context = Context(
        store=store,
        gateway=a_gateway(store, clock, provider=an_adapter(emulator), telemetry=telemetry),
        telemetry=telemetry,
        policy=Policy(),
        schedule=Schedule(),
        now=clock.now,
    )
    if not migrated:
        await upgrade(context.store.database.engine)
    try:
        yield World(context, emulator, clock, told, called)
    finally:
        await context.store.inbox.database.intake.finish(context.webhooks.store_within)
        await context.gateway.provider.close()
        await context.store.database.close()


def a_context(world: World, environment: str) -> Context:
    """The context of another environment on the same database, with the same provider."""
    context = world.context
    store = Store(context.store.database, "mux", environment)
    gateway = a_gateway(
        store, world.clock, provider=context.gateway.provider, telemetry=context.telemetry
    )
    return replace(context, store=store, gateway=gateway)


def a_job_runner(world: World, environment: str = "default") -> JobRunner:
    """The jobs of one environment of this world."""
    context = world.context if environment == "default" else a_context(world, environment)
    week = timedelta(days=7)
    return JobRunner(context=context, callbacks=(), keep_ended=week, keep_dead=week)


def unknown_id() -> str:
    """An id that the provider never gave."""
    return f"unknown{uuid4().hex}"


def body_of(emulator: MuxEmulator, asset_id: str) -> dict[str, Any]:
    """An asset as the provider shows it."""
    asset, now = emulator.environment.assets[asset_id], emulator.now()
    return asset_body(asset, asset.state(now), now)
