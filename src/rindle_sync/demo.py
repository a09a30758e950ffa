"""The demo's world: a Mux emulator that loses, doubles and shuffles webhooks, and the service that gets all right."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Final

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import Settings, plain_settings
from rindle_sync.domain import ErrorKind, ProviderAsset, State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.environment import Truth
from rindle_sync.emulator.lifecycle import AssetState, Life
from rindle_sync.emulator.timeline import EventType
from rindle_sync.store import Change
from rindle_sync.telemetry import Event
from rindle_sync.web.server import listen, serve
from rindle_sync.webhooks import App

STUCK_AFTER: Final = 8.0
"""The demo's stuck threshold in seconds, where two hours are the default."""

WEBHOOK_SECRET: Final = "demo-webhook-secret"  # noqa: S105  both ends of it are in this process
EMULATOR_TOKEN: Final = ("emulator-token-id", "emulator-token-secret")
"""The token that an emulator takes unless it is told otherwise."""

GIVE_UP_AFTER: Final = 50.0
"""A demo that is not in step after this many seconds has failed."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How things stand: each state at the provider with its assets, beside our state with its rows."""

    seconds: float
    pairs: list[tuple[str, int, str, int]]
    in_step: int
    calls: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many assets that ended in one way the rows tell of rightly."""

    truth: str
    row: str
    assets: int
    in_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the demo came to; lags are seconds from the end at the provider to the row."""

    assets: int
    seed: int
    in_step: int
    out_of_step: int
    seconds: float
    calls: dict[str, int]
    calls_per_row: float
    lag_seconds: dict[str, float]
    found_by: dict[str, int]
    """Rows by the road that brought their last change."""
    webhooks: dict[str, int]
    """Events that happened, were dropped on the way, came twice, and were kept."""
    events: dict[str, int]
    agreement: list[Agreement] = field(default_factory=list)


_PAIRS: Final = (
    (AssetState.PREPARING, State.PROCESSING),
    (AssetState.READY, State.READY),
    (AssetState.ERRORED, State.ERRORED),
    (AssetState.DELETED, State.DELETED),
)
_TELLS: Final = {
    AssetState.READY: "ready, with its playback ids",
    AssetState.ERRORED: "errored, with the provider's reason",
    AssetState.DELETED: "errored: not found",
    AssetState.PREPARING: "errored: stuck",
}


def lives(count: int, seed: int) -> list[Life]:
    """How each asset lives: most become ready, some errored, deleted, slow, or never done."""
    chance = Random(seed)  # noqa: S311  a seeded world, no secret
    plans: tuple[tuple[int, Callable[[], Life]], ...] = (
        (70, lambda: Life(ends="ready", after=chance.uniform(0, 6))),
        (10, lambda: Life(ends="errored", after=chance.uniform(0, 6))),
        (7, lambda: Life(ends="never", deleted_after=chance.uniform(1, 6))),
        (8, lambda: Life(ends="ready", after=chance.uniform(STUCK_AFTER + 1, STUCK_AFTER + 4))),
        (5, lambda: Life(ends="never")),
    )
    weights = [weight for weight, _ in plans]
    return [make() for _, make in chance.choices(plans, weights, k=count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookFaults:
    """What happens to webhooks on their way, as shares of all; and how many seconds each may be late."""

    drop: float = 0.4
    double: float = 0.2
    shuffle: float = 0.2
    delay: tuple[float, float] = (0.0, 1.0)


async def play(
    assets: int, seed: int, webhook_faults: WebhookFaults, show: Callable[[Snapshot], None]
) -> Report:
    """Run the demo; `show` is called a few times a second. Raises `RindleSyncError` if the parts do not start."""
    emulator = MuxEmulator(seed=seed)
    emulator.add_fault("latency", seconds=0.02)
    emulator.add_fault("server_error", operation="get_asset", probability=0.02)
    emulator.add_fault("rate_limited", operation="get_asset", probability=0.002, retry_after=1)
    told: Counter[str] = Counter()
    with TemporaryDirectory(prefix="rindle-sync-demo-") as folder:
        async with (
            _served(emulator.app, lifespan=True) as url,
            connect(
                _settings(url, Path(folder)), listeners=[lambda event: _count(told, event)]
            ) as rindle,
        ):
            await rindle.migrate()
            stage = _Stage(rindle, emulator, emulator.now(), told)
            async with _served(rindle.webhooks) as endpoint:
                _send_webhooks(emulator, endpoint, webhook_faults)
                await _fill(stage, lives(assets, seed))
                return await _watch(stage, show)


def _send_webhooks(emulator: MuxEmulator, endpoint: str, webhook_faults: WebhookFaults) -> None:
    emulator.add_webhook(
        endpoint,
        WEBHOOK_SECRET,
        drop=webhook_faults.drop,
        double=webhook_faults.double,
        shuffle=webhook_faults.shuffle,
        delay=webhook_faults.delay,
    )


@dataclass(frozen=True, slots=True)
class _Stage:
    rindle: RindleSync
    emulator: MuxEmulator
    began: float
    told: Counter[str]


def _count(told: Counter[str], event: Event) -> None:
    told[event.name] += 1


def _settings(url: str, folder: Path) -> Settings:
    return plain_settings(
        database_url=f"sqlite:///{folder / 'demo.sqlite3'}",
        mux_base_url=url,
        mux_token_id=EMULATOR_TOKEN[0],
        mux_token_secret=EMULATOR_TOKEN[1],
        mux_webhook_secrets=WEBHOOK_SECRET,
        environment="demo",
        provider_polling_floor_seconds=2,
        provider_stuck_threshold_seconds=STUCK_AFTER,
        stuck_policy="declare",
        provider_check_growth=0.5,
        provider_check_cap_seconds=4,
        provider_watch_floor_seconds=1,
        provider_watch_cap_seconds=3,
        provider_retry_seconds=0.5,
        provider_read_burst=100,
        provider_reads_per_second=200,
        sweep_interval_seconds=0.5,
    )


@asynccontextmanager
async def _served(app: App, *, lifespan: bool = False) -> AsyncIterator[str]:
    """An app on a free port of this machine."""
    listening, stop = listen("127.0.0.1", 0), asyncio.Event()
    serving = asyncio.create_task(serve(app, listening, stop, lifespan=lifespan))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        stop.set()
        await serving


async def _fill(stage: _Stage, plans: Iterable[Life]) -> None:
    for number, life in enumerate(plans):
        created = stage.emulator.create_asset(life=life)
        await stage.rindle.track(reference=f"video-{number}", provider_asset_id=created)


async def _watch(stage: _Stage, show: Callable[[Snapshot], None]) -> Report:
    stop = asyncio.Event()
    service = asyncio.create_task(stage.rindle.run(stop))
    try:
        while True:
            rows = [row async for row in stage.rindle.store.rows("mux", "demo")]
            snapshot = _snapshot(rows, stage.emulator, stage.emulator.now() - stage.began)
            show(snapshot)
            over = _nothing_left_to_come(stage.emulator) and snapshot.in_step == len(rows)
            if over or snapshot.seconds > GIVE_UP_AFTER:
                break
            await asyncio.wait({service}, timeout=0.3)
    finally:
        stop.set()
        await service
    return await _report(stage, rows, snapshot)


def _nothing_left_to_come(emulator: MuxEmulator) -> bool:
    return next(iter(emulator.events(emulator.now(), float("inf"))), None) is None


def _snapshot(rows: list[ProviderAsset], emulator: MuxEmulator, seconds: float) -> Snapshot:
    truths = emulator.truths()
    assets = Counter(truth.state for truth in truths.values())
    ours = Counter(row.state for row in rows)
    return Snapshot(
        seconds=seconds,
        pairs=[(there, assets[there], here, ours[here]) for there, here in _PAIRS],
        in_step=sum(agrees(row, truths[row.provider_asset_id or ""]) for row in rows),
        calls=sum(emulator.calls.values()),
    )


def agrees(row: ProviderAsset, truth: Truth) -> bool:
    """Whether the row says what is so at the provider."""
    match truth.state:
        case AssetState.READY:
            same = {(p.id, p.policy) for p in row.playback_ids} == {
                (p.id, p.policy) for p in truth.playback_ids
            }
            return row.state is State.READY and same
        case AssetState.ERRORED:
            return row.error_kind is ErrorKind.PROVIDER
        case AssetState.DELETED:
            return row.error_kind is ErrorKind.NOT_FOUND or row.state is State.DELETED
        case AssetState.PREPARING:
            return row.error_kind is ErrorKind.STUCK


async def _report(stage: _Stage, rows: list[ProviderAsset], snapshot: Snapshot) -> Report:
    histories = [await stage.rindle.store.changes_of(row.id) for row in rows]
    sent = stage.emulator.deliveries
    return Report(
        assets=len(rows),
        seed=stage.emulator.seed,
        in_step=snapshot.in_step,
        out_of_step=len(rows) - snapshot.in_step,
        seconds=round(snapshot.seconds, 1),
        calls={str(operation): number for operation, number in stage.emulator.calls.items()},
        calls_per_row=round(snapshot.calls / max(len(rows), 1), 2),
        lag_seconds=_lags(rows, stage.emulator, histories),
        found_by=dict(Counter(history[-1].trigger.value for history in histories if history)),
        webhooks={
            "events": sent.planned,
            "dropped": sent.dropped,
            "doubled": sent.doubled,
            "kept": len(await stage.rindle.webhook_events(limit=100_000)),
        },
        events=dict(stage.told),
        agreement=_agreement(rows, stage.emulator),
    )


def _agreement(rows: list[ProviderAsset], emulator: MuxEmulator) -> list[Agreement]:
    truths = emulator.truths()
    assets = Counter(truth.state for truth in truths.values())
    in_step = Counter(
        truth.state for row in rows if agrees(row, truth := truths[row.provider_asset_id or ""])
    )
    return [Agreement(state, told, assets[state], in_step[state]) for state, told in _TELLS.items()]


def _lags(
    rows: list[ProviderAsset], emulator: MuxEmulator, histories: list[list[Change]]
) -> dict[str, float]:
    """How long after its end at the provider each row changed for the last time."""
    ends = {
        e.asset_id: e.at
        for e in emulator.events(0, emulator.now())
        if e.type is not EventType.ASSET_CREATED
    }
    lags = sorted(
        history[-1].at.timestamp() - ends[row.provider_asset_id]
        for row, history in zip(rows, histories, strict=True)
        if history and row.provider_asset_id in ends
    )
    if len(lags) < 2:
        return {}
    cuts = quantiles(lags, n=100, method="inclusive")
    return {"median": round(cuts[49], 2), "p95": round(cuts[94], 2), "max": round(lags[-1], 2)}
