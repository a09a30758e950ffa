"""First use on an account with a library: a row for every asset that the provider has, page by page."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from rindle_sync.browse import match, strangers
from rindle_sync.errors import Refused
from rindle_sync.look import ask_identity, note_identity, stop_if_refused
from rindle_sync.providers.base import Page
from rindle_sync.round import Outcome
from rindle_sync.tools import Tools
from rindle_sync.track import adopt
from rindle_sync.walk import Walk

BACKFILL: Final = "backfill"


@dataclass(slots=True)
class Filled:
    """What a backfill has done so far, that of one it goes on with included."""

    outcome: Outcome = Outcome.FAILED
    assets: int = 0
    adopted: int = 0
    known: int = 0
    """Assets that had a row before."""
    calls: int = 0
    pages: int = 0


async def backfill(
    tools: Tools,
    *,
    keep_going: Callable[[], bool] = lambda: True,
    is_rehearsal: bool = False,
    told: Callable[[Filled], None] = lambda _: None,
) -> Filled:
    """Make a row of every asset that has none; one that was broken off is gone on with.

    Rows that are there are left alone. A rehearsal writes nothing. `told` hears of it after each page.
    Raises `Refused`, `StoreUnavailable`.
    """
    tools = tools.rehearsing() if is_rehearsal else tools
    walk, filled = Walk(tools, BACKFILL, keep_going, is_rehearsal), Filled()
    try:
        if (progress := await walk.begin()) is None:
            walk.outcome = Outcome.ELSEWHERE
            return filled
        if silence := await ask_identity(tools):
            stop_if_refused(silence)
            walk.break_off()
            return filled
        if progress.get("cursor") and (kept := progress.get("filled")):
            filled = Filled(**kept)
        await _fill_all(walk, filled, told)
    except Refused:
        walk.outcome = Outcome.REFUSED
        raise
    except asyncio.CancelledError:
        walk.outcome = Outcome.STOPPED
        raise
    finally:
        filled.outcome = walk.outcome
        await walk.give_back()
    return filled


async def _fill_all(walk: Walk, filled: Filled, told: Callable[[Filled], None]) -> None:
    tools = walk.tools
    is_first = not await tools.library.newest_created(tools.provider.name, tools.environment, 1)
    async for page in walk.each():
        await _fill(walk, page, filled)
        if filled.known or (is_first and filled.adopted):  # else nothing tells that these are the assets of our rows
            await note_identity(tools)
        await walk.keep({"filled": asdict(filled)})
        told(filled)
    if walk.outcome is Outcome.DONE:
        await walk.end(asdict(filled) | {"outcome": walk.outcome.value})


async def _fill(walk: Walk, page: Page, filled: Filled) -> None:
    tools = walk.tools
    fresh = await strangers(tools, page, await match(tools, page))
    filled.assets += len(page.entries)
    filled.adopted += len(fresh) if walk.is_rehearsal else await adopt(tools, fresh)
    filled.known += len(page.entries) - len(fresh)
    filled.calls += 1
    filled.pages += 1
