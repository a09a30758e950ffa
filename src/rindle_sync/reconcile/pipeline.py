"""Three things at once: the next page is fetched, this one observed, those before it written."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from rindle_sync.reconcile.apply import Observed

GATHERED: Final = 2
"""How many pages are written together at most, where they come faster than they are written."""

GATHER_SECONDS: Final = 0.05
"""How long a page waits to be written with the next one, where that is under way."""

Place = TypeVar("Place")
Result = TypeVar("Result")

ApplyPages = Callable[[Sequence[Observed], Collection[str]], Awaitable[object]]
"""Applies what was observed; with it the ids of the rows among it that were due."""


class FetchAhead(Generic[Place, Result]):
    """Fetches places one after the other; one that is needed for certain, before it is asked for.

    Left by an error, it ends what is under way.
    """

    def __init__(self, fetch: Callable[[Place], Coroutine[Any, Any, Result]]) -> None:
        self._fetch = fetch
        self._begun: tuple[Place, asyncio.Task[Result]] | None = None

    async def begin(self, place: Place) -> None:
        """Fetch this place meanwhile; it is the next that will be asked for."""
        self._begun = place, asyncio.create_task(self._fetch(place))
        # its request goes out now, and not only once the caller has to wait
        await asyncio.sleep(0)

    async def get(self, place: Place) -> Result:
        """What is at this place."""
        begun, self._begun = self._begun, None
        if begun is None:
            return await self._fetch(place)
        expected, task = begun
        assert expected is place, "another place was begun"
        try:
            return await task
        except BaseException:
            await end_task(task)
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._begun:
            await end_task(self._begun[1])


class ApplyBehind:
    """Applies pages in their order, while the next are fetched; it waits once two are left behind.

    At the end of the block all are applied; after an error, what is under way is ended.
    """

    def __init__(self, apply: ApplyPages) -> None:
        self._apply = apply
        self._pages: list[tuple[Sequence[Observed], Collection[str]]] = []
        self._arrived = asyncio.Event()
        self._is_more_coming = False
        self._under_way: asyncio.Task[None] | None = None

    async def add(
        self, observed: Sequence[Observed], due: Collection[str], *, is_more_coming: bool
    ) -> None:
        """Have a page applied soon; `is_more_coming` says that the next is being fetched."""
        while self._under_way and (self._under_way.done() or len(self._pages) >= GATHERED):
            # until it has taken what is left, or to raise what it has raised
            await self._under_way
            self._under_way = None
        self._is_more_coming = is_more_coming
        if observed:
            self._pages.append((observed, due))
        self._arrived.set()
        if self._pages and not self._under_way:
            self._under_way = asyncio.create_task(self._apply_all())

    async def _apply_all(self) -> None:
        while self._pages:
            if self._is_more_coming and len(self._pages) < GATHERED:
                await self._next_arrived()
            await self._apply(*self._taken())

    async def _next_arrived(self) -> None:
        self._arrived.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_SECONDS):
                await self._arrived.wait()

    def _taken(self) -> tuple[list[Observed], set[str]]:
        """The pages so far, up to one with a row that stands on one before it, too."""
        observed: list[Observed] = []
        due, ids = set[str](), set[str]()
        while self._pages:
            more, more_due = self._pages[0]
            more_ids = {seen.row.id for seen in more}
            if ids & more_ids:
                break
            del self._pages[0]
            observed += more
            due.update(more_due)
            ids |= more_ids
        return observed, due

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: Any, __: TracebackType | None
    ) -> None:
        task = self._under_way
        self._is_more_coming = False
        self._arrived.set()
        if task and kind:
            await end_task(task)
        elif task:
            try:
                await task
            except BaseException:
                await end_task(task)
                raise


async def end_task(task: "asyncio.Task[Any]") -> None:
    """End a task that nobody waits for any more; what it raises is not missed."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
