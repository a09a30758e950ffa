"""What a call from a thread costs above the same call in an event loop.

Both ways take short turns, which are compared in pairs: a slow moment of the machine meets both.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any, Final

from benchmarks.bench import Bench, Progress, Sizes, World, opened, urls
from rindle_sync.config import plain_settings
from rindle_sync.integrations.blocking import BlockingRindle, connect

CALLERS: Final = (1, 8)
"""How many call at once: threads, or tasks of one event loop."""

CALLS: Final = 40
"""By all callers together, in each turn."""

TURNS: Final = 8
"""Of each way, in each repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockingCall:
    """The time of a turn over its calls, both ways, by so many callers at once; medians."""

    database: str
    call: str
    callers: int
    async_ms: float
    blocking_ms: float
    more_ms: float
    """How much longer the blocking call takes; the median of all pairs of turns."""
    ratio: float


async def blocking_calls(database: str, sizes: Sizes, progress: Progress) -> list[BlockingCall]:
    """`get` of a row, and `track` of a new one."""
    world = await World.of(1)
    found: list[BlockingCall] = []
    with urls(database, 1) as (url,):
        async with opened(url, world) as bench:
            with connect(plain_settings(database_url=url)) as blocking:
                for call in ("get", "track"):
                    for callers in CALLERS:
                        progress(f"{database}: {call} by {callers}")
                        found.append(await _compared(bench, blocking, call, callers, sizes.repeats))
    return found


async def _compared(
    bench: Bench, blocking: BlockingRindle, call: str, callers: int, repeats: int
) -> BlockingCall:
    name = f"{call}-{callers}"
    row = await bench.rindle.track(reference=name, provider_asset_id=name)
    numbers = count()
    in_loop: list[float] = []
    in_threads: list[float] = []

    def arguments() -> dict[str, Any]:
        if call == "get":
            return {"row_id": row.id}
        new = f"{name}-{next(numbers)}"
        return {"reference": new, "provider_asset_id": new}

    for _ in range(repeats * TURNS):
        in_loop.append(await _by_tasks(getattr(bench.rindle, call), arguments, callers))
        ways = getattr(blocking, call), arguments, callers
        in_threads.append(await asyncio.to_thread(_by_threads, *ways))
    pairs = list(zip(in_loop, in_threads, strict=True))
    return BlockingCall(
        database=bench.database,
        call=call,
        callers=callers,
        async_ms=median(in_loop),
        blocking_ms=median(in_threads),
        more_ms=median(threads - loop for loop, threads in pairs),
        ratio=median(threads / loop for loop, threads in pairs),
    )


async def _by_tasks(
    call: Callable[..., Awaitable[Any]], arguments: Callable[[], dict[str, Any]], callers: int
) -> float:
    """Milliseconds a call."""

    async def caller() -> None:
        for _ in range(CALLS // callers):
            await call(**arguments())

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return 1000 * (time.perf_counter() - began) / CALLS


def _by_threads(
    call: Callable[..., Any], arguments: Callable[[], dict[str, Any]], callers: int
) -> float:
    """Milliseconds a call."""

    def caller() -> None:
        for _ in range(CALLS // callers):
            call(**arguments())

    with ThreadPoolExecutor(callers) as threads:
        began = time.perf_counter()
        for ended in [threads.submit(caller) for _ in range(callers)]:
            ended.result()
        return 1000 * (time.perf_counter() - began) / CALLS
