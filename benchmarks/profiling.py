"""Where the processor's time goes in one sweep, by function.

The profiler itself makes it two to three times slower.
"""

import cProfile
import pstats
from collections.abc import Sequence

from benchmarks.bench import Road, opened, urls
from benchmarks.measures import prepared
from benchmarks.providers import World
from rindle_sync.reconcile import sweep


async def profiled(databases: Sequence[str], rows: int) -> None:
    """Print the functions that cost most in a sweep against the `instant` provider."""
    world = await World.of(rows)
    for database in databases:
        with urls(database, 1) as (url,):
            async with opened(url, world) as bench:
                await prepared(bench, world.assets)
                context = bench.context(world.provider("instant"), Road.PAGE)
                with cProfile.Profile() as profile:
                    await sweep(context)
        print(f"{database}, {rows:,} rows")
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
