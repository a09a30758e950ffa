"""The demo: an emulator that drops, doubles and shuffles webhooks, and the service beside it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
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
from rindle_sync.web.server import listen, serve
from rindle_sync.webhooks import App

STUCK_AFTER: Final = 8.0
"""The stuck threshold of the demo, in seconds; the default is two hours."""

WEBHOOK_SECRET: Final = "demo-webhook-secret"  # noqa: S105  both sides are this process
EMULATOR_TOKEN: Final = ("emulator-token-id", "emulator-token-secret")
"""The default token of an emulator."""

GIVE_UP_AFTER: Final = 50.0
"""A demo that is not in sync after this many seconds has failed."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The assets by state at the provider, beside the rows by state here."""

    seconds: float
    pairs: list[tuple[str, int, str, int]]
    in_sync: int
    calls: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many assets ended in one state, and how many of their rows are right."""

    truth: str
    row: str
    assets: int
    in_sync: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result; lags are seconds from an asset's end at the provider to its row's change."""

    assets: int
    seed: int
    in_sync: int
    out_of_sync: int
    seconds: float
    calls: dict[str, int]
    calls_per_row: float
    lag_seconds: dict[str, float]
    found_by: dict[str, int]
    """Rows by the trigger of their last change."""
    webhooks: dict[str, int]
    """Webhook events that happened, were dropped, were sent twice, were stored."""
    events: dict[str, int]
    agreement: list[Agreement] = field(default_factory=list)


_PAIRS: Final = (
    (AssetState.PREPARING, State.PROCESSING),
    (AssetState.READY, State.READY),
    (AssetState.ERRORED, State.ERRORED),
    (AssetState.DELETED, State.DELETED),
)
_EXPECTED: Final = {
    AssetState.READY: "ready, with its playback ids",
    AssetState.ERRORED: "errored, with the provider's reason",
    AssetState.DELETED: "errored: not found",
    AssetState.PREPARING: "errored: stuck",
}


def lives(count: int, seed: int) -> list[Life]:
    """The lives of `count` assets: most become ready, some errored, deleted, slow, or hang."""
    chance = Random(seed)  # noqa: S311  repeatable, not secret
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
    """What happens to webhooks on their way, as shares; `delay` is in seconds."""

    drop: float = 0.4
    double: float = 0.2
    shuffle: float = 0.2
    delay: tuple[float, float] = (0.0, 1.0)


async def play(
    assets: int, seed: int, webhook_faults: WebhookFaults, show: Callable[[Snapshot], None]
) -> Report:
    """Run the demo; `show` is called a few times a second. Raises `RindleSyncError`."""
    emulator = MuxEmulator(seed=seed)
    emulator.add_fault("latency", seconds=0.02)
    emulator.add_fault("server_error", operation="get_asset", probability=0.02)
    emulator.add_fault("rate_limited", operation="get_asset", probability=0.002, retry_after=1)
    events: Counter[str] = Counter()
    with TemporaryDirectory(prefix="rindle-sync-demo-") as folder:
        async with (
            _served(emulator.app, lifespan=True) as url,
            connect(
                _settings(url, Path(folder)), listeners=[lambda event: events.update([event.name])]
            ) as rindle,
            _served(rindle.webhooks) as endpoint,
        ):
            await rindle.migrate()
            # before the assets: what happens earlier would be sent to nobody
            emulator.add_webhook(endpoint, WEBHOOK_SECRET, **asdict(webhook_faults))
            stage = _Stage(rindle, emulator, emulator.now(), events)
            for number, life in enumerate(lives(assets, seed)):
                asset_id = emulator.create_asset(life=life)
                await rindle.track(reference=f"video-{number}", provider_asset_id=asset_id)
            return await _watch(stage, show)


@dataclass(frozen=True, slots=True)
class _Stage:
    rindle: RindleSync
    emulator: MuxEmulator
    began: float
    events: Counter[str]


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


async def _watch(stage: _Stage, show: Callable[[Snapshot], None]) -> Report:
    stop = asyncio.Event()
    service = asyncio.create_task(stage.rindle.run(stop))
    try:
        while True:
            rows = [row async for row in stage.rindle.store.assets.rows()]
            snapshot = _snapshot(rows, stage.emulator, stage.emulator.now() - stage.began)
            show(snapshot)
            # rows may agree for a moment while their assets are still to change
            is_more_to_come = any(stage.emulator.events(stage.emulator.now(), float("inf")))
            is_over = snapshot.in_sync == len(rows) and not is_more_to_come
            if is_over or snapshot.seconds > GIVE_UP_AFTER:
                break
            await asyncio.wait({service}, timeout=0.3)
    finally:
        stop.set()
        await service
    return await _report(stage, rows, snapshot)


def _snapshot(rows: list[ProviderAsset], emulator: MuxEmulator, seconds: float) -> Snapshot:
    truths = emulator.truths()
    assets = Counter(truth.state for truth in truths.values())
    ours = Counter(row.state for row in rows)
    return Snapshot(
        seconds=seconds,
        pairs=[(there, assets[there], here, ours[here]) for there, here in _PAIRS],
        in_sync=sum(agrees(row, truths[row.provider_asset_id or ""]) for row in rows),
        calls=sum(emulator.calls.values()),
    )


def agrees(row: ProviderAsset, truth: Truth) -> bool:
    """Whether the row says what is true at the provider."""
    match truth.state:
        case AssetState.READY:
            here = {(playback.id, playback.policy) for playback in row.playback_ids}
            there = {(playback.id, playback.policy) for playback in truth.playback_ids}
            return row.state is State.READY and here == there
        case AssetState.ERRORED:
            return row.error_kind is ErrorKind.PROVIDER
        case AssetState.DELETED:
            return row.error_kind is ErrorKind.NOT_FOUND or row.state is State.DELETED
        case AssetState.PREPARING:
            return row.error_kind is ErrorKind.STUCK


async def _report(stage: _Stage, rows: list[ProviderAsset], snapshot: Snapshot) -> Report:
    histories = [await stage.rindle.store.assets.changes_of(row.id) for row in rows]
    sent, truths = stage.emulator.deliveries, stage.emulator.truths()
    assets = Counter(truth.state for truth in truths.values())
    in_sync: Counter[AssetState] = Counter()
    for row in rows:
        truth = truths[row.provider_asset_id or ""]
        in_sync[truth.state] += agrees(row, truth)
    agreement = []
    for state, expected in _EXPECTED.items():
        agreement.append(Agreement(state, expected, assets[state], in_sync[state]))
    return Report(
        assets=len(rows),
        seed=stage.emulator.seed,
        in_sync=snapshot.in_sync,
        out_of_sync=len(rows) - snapshot.in_sync,
        seconds=round(snapshot.seconds, 1),
        calls={str(operation): number for operation, number in stage.emulator.calls.items()},
        calls_per_row=round(snapshot.calls / max(len(rows), 1), 2),
        lag_seconds=_lags(rows, stage.emulator, histories),
        found_by=dict(Counter(history[-1].trigger.value for history in histories if history)),
        webhooks={
            "events": sent.planned,
            "dropped": sent.dropped,
            "doubled": sent.doubled,
            "stored": len(await stage.rindle.webhook_events.list(limit=100_000)),
        },
        events=dict(stage.events),
        agreement=agreement,
    )


def _lags(
    rows: list[ProviderAsset], emulator: MuxEmulator, histories: list[list[Change]]
) -> dict[str, float]:
    """How long after its end at the provider each row changed for the last time."""
    ends: dict[str | None, float] = {}
    for event in emulator.events(0, emulator.now()):
        if event.type is not EventType.ASSET_CREATED:
            ends[event.asset_id] = event.at
    lags = []
    for row, history in zip(rows, histories, strict=True):
        if history and row.provider_asset_id in ends:
            lags.append(history[-1].at.timestamp() - ends[row.provider_asset_id])
    if len(lags) < 2:
        return {}
    cuts = quantiles(lags, n=100, method="inclusive")
    return {"median": round(cuts[49], 2), "p95": round(cuts[94], 2), "max": round(max(lags), 2)}
