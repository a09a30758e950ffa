"""One provider environment for tests: the emulator, a database, the real tools, and a clock that only tests move."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import select

from rindle_sync.domain import PlaybackId, Policy, ProviderAsset, Schedule, State, Trigger
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.providers.mux import Credentials, Mux
from rindle_sync.reconcile import (
    Applied,
    CircuitBreaker,
    Context,
    Identity,
    ListIndex,
    RateLimiter,
    SweepResult,
    sweep,
    sync,
)
from rindle_sync.runtime import JobRunner
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
from rindle_sync.store.migrations import upgrade
from rindle_sync.store.schema import metadata
from rindle_sync.store.schema.engine import open_engine
from rindle_sync.telemetry import Called, Event, StateChange, Swept, Telemetry
from tests.support.rows import NOW, a_row

READY = Life(ends="ready", after=0)
NEVER = Life(ends="never")
ERRORED = Life(ends="errored", after=0)


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
        """A row that is due, and the asset that it is about; `provider_asset_id` names another one."""
        if "provider_asset_id" not in values:
            policies = () if life is NEVER else ("public",)
            values["provider_asset_id"] = self.emulator.create_asset(life=life, policies=policies)
        values.setdefault("updated_at", self.clock.now() - timedelta(hours=1))
        row = a_row(state, check_at=values.pop("check_at", self.clock.now()), **values)
        await self.context.store.add(row)
        return row

    async def shelve(
        self, count: int, *, every: float = 60, older_than: float = 3600, **values: Any
    ) -> list[ProviderAsset]:
        """Rows at rest, oldest first, that are just as their assets are; made `every` so many seconds."""
        began = int(self.clock.seconds() - older_than - every * (count - 1))
        ids = self.emulator.create_assets(count, created_at=began, every=every, life=READY)
        rows = [
            a_row(
                State.READY,
                provider_asset_id=one,
                playback_ids=tuple(
                    PlaybackId(p.id, p.policy) for p in self.emulator.truth(one).playback_ids
                ),
                **{
                    "provider_created_at": datetime.fromtimestamp(int(began + every * place), UTC),
                    **values,
                },
            )
            for place, one in enumerate(ids)
        ]
        await self.context.store.add_all(rows)
        return rows

    async def tables(self, *but: str) -> dict[str, list[str]]:
        """All that stands in the tables, `but` for some."""
        async with self.context.store.engine.connect() as connection:
            return {
                table.name: sorted(
                    str(tuple(line)) for line in await connection.execute(select(table))
                )
                for table in metadata.sorted_tables
                if table.name not in but
            }

    def with_token_of(self, emulator: MuxEmulator) -> None:
        """A new process on the same database, with the token of this environment of the provider."""
        context = self.context
        circuit_breaker = CircuitBreaker(
            context.environments, context.telemetry, "mux", "default", self.clock.now
        )
        self.context = replace(
            context,
            provider=an_adapter(emulator),
            circuit_breaker=circuit_breaker,
            identity=Identity(),
            list_index=ListIndex(),
        )

    def with_reads(self, capacity: float, per_second: float, **options: Any) -> None:
        """Another budget, whose bucket is full."""
        self.context = replace(
            self.context, rate_limiter=a_budget(self.context, capacity, per_second, **options)
        )

    async def know_identity(self) -> None:
        """Some row was found by this token before: its environment is that of the rows."""
        self.context.identity.expected = await self.context.provider.whoami()

    def without_pages(self) -> None:
        """Every row is asked about by id."""
        self.context = replace(self.context, list_index=ListIndex(trust=0))

    async def sync(self, row: ProviderAsset) -> Applied | None:
        return await sync(self.context, row.provider_asset_id or "", trigger=Trigger.SYNC)

    async def sweep(self) -> SweepResult:
        return await sweep(self.context)

    async def now_is(self, row: ProviderAsset) -> ProviderAsset:
        found = await self.context.store.get(row.id)
        assert found
        return found

    async def states(self) -> dict[State, int]:
        """How many rows of the default environment stand so."""
        return Counter([row.state async for row in self.context.store.rows("mux", "default")])

    def events(self, *kinds: type[Event]) -> list[Event]:
        return [
            e
            for e in self.told
            if (isinstance(e, kinds) if kinds else not isinstance(e, Swept | StateChange))
        ]

    def names(self) -> list[str]:
        return [e.name for e in self.events()]

    @property
    def calls(self) -> int:
        """Calls about assets and uploads: not those that ask who we are."""
        return sum(number for kind, number in self.emulator.calls.items() if kind != "whoami")

    def with_policy(self, **values: Any) -> None:
        self.context = replace(self.context, policy=replace(self.context.policy, **values))

    def with_timeout(self, seconds: float) -> None:
        self.context = replace(self.context, provider=an_adapter(self.emulator, seconds))


def an_adapter(emulator: MuxEmulator, timeout: float = 10) -> Mux:
    credentials = Credentials(emulator.token_id, emulator.token_secret)
    return Mux(credentials, timeout=timeout, transport=httpx.ASGITransport(app=emulator.app))


def a_budget(context: Context, capacity: float, per_second: float, **options: Any) -> RateLimiter:
    """A budget with a bucket of its own."""
    bucket = Bucket(
        provider="mux",
        environment=context.environment,
        name=uuid4().hex,
        capacity=capacity,
        per_second=per_second,
    )
    return RateLimiter(
        RateLimits(context.store.engine), bucket, now=context.now, sleep=context.sleep, **options
    )


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

    engine = open_engine(url)
    environments, telemetry = Environments(engine), Telemetry(hear)
    plenty = Bucket(
        provider="mux", environment="default", name="plenty", capacity=1000, per_second=1000
    )
    context = Context(
        store=AssetStore(engine),
        inbox=Inbox(engine),
        outbox=Outbox(engine),
        environments=environments,
        job_runs=JobRuns(engine),
        asset_queries=AssetQueries(engine),
        history=History(engine),
        statistics=Statistics(engine),
        create_limiter=RateLimiter(RateLimits(engine), plenty, now=clock.now, sleep=clock.sleep),
        provider=an_adapter(emulator),
        environment="default",
        rate_limiter=RateLimiter(RateLimits(engine), plenty, now=clock.now, sleep=clock.sleep),
        circuit_breaker=CircuitBreaker(environments, telemetry, "mux", "default", clock.now),
        identity=Identity(),
        list_index=ListIndex(),
        telemetry=telemetry,
        policy=Policy(),
        schedule=Schedule(),
        now=clock.now,
        sleep=clock.sleep,
    )
    if not migrated:
        await upgrade(context.store.engine)
    try:
        yield World(context, emulator, clock, told, called)
    finally:
        await context.inbox.finish(context.webhooks.keep_within)
        await context.provider.close()
        await context.store.close()


def a_work(world: World, environment: str = "default") -> JobRunner:
    """What is to be done in one environment of this world."""
    context = replace(world.context, environment=environment)
    week = timedelta(days=7)
    return JobRunner(context=context, callbacks=(), keep_ended=week, keep_dead=week)


def unknown_id() -> str:
    """An id that the provider never gave."""
    return f"unknown{uuid4().hex}"
