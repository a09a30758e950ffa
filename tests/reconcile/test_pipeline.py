"""What a sweep by page does at once: it fetches ahead, and applies behind."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import pytest

from rindle_sync.domain import Observation
from rindle_sync.providers import Page, Provider
from rindle_sync.reconcile import Observed
from rindle_sync.reconcile.pipeline import GATHERED, ApplyBehind, FetchAhead
from rindle_sync.reconcile.sweep_run import PAGES_AT_ONCE
from tests.support.processes import PATIENCE
from tests.support.rows import a_row
from tests.support.world import World


def a_page(*names: str) -> list[Observed]:
    return [Observed(a_row(id=name), None) for name in names]


class Applied:
    """What was applied together; `gate` holds it up."""

    def __init__(self) -> None:
        self.together: list[list[str]] = []
        self.due: list[set[str]] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()

    async def __call__(self, observed: Sequence[Observed], due: Collection[str]) -> None:
        self.together.append([seen.row.id for seen in observed])
        self.due.append(set(due))
        self.begun.set()
        await self.gate.wait()


async def test_pages_that_come_while_one_is_applied_are_applied_together() -> None:
    applied = Applied()
    async with ApplyBehind(applied) as behind:
        await behind.add(a_page("a"), {"a"}, is_more_coming=False)
        await asyncio.sleep(0)
        await behind.add(a_page("b"), {"b"}, is_more_coming=False)
        await behind.add(a_page("c"), set(), is_more_coming=False)
        applied.gate.set()

    assert applied.together == [["a"], ["b", "c"]]
    assert applied.due == [{"a"}, {"b"}]


async def test_a_page_waits_for_the_next_one_that_is_under_way() -> None:
    applied = Applied()
    applied.gate.set()
    async with ApplyBehind(applied) as behind:
        await behind.add(a_page("a"), {"a"}, is_more_coming=True)
        await asyncio.sleep(0)
        await behind.add(a_page("b"), {"b"}, is_more_coming=False)

    assert applied.together == [["a", "b"]]


async def test_a_page_does_not_wait_long_for_one_that_does_not_come() -> None:
    applied = Applied()
    applied.gate.set()
    async with ApplyBehind(applied) as behind, asyncio.timeout(PATIENCE):
        await behind.add(a_page("a"), {"a"}, is_more_coming=True)
        await applied.begun.wait()

    assert applied.together == [["a"]]


async def test_a_row_that_stands_on_two_pages_is_applied_once_for_each() -> None:
    applied = Applied()
    async with ApplyBehind(applied) as behind:
        await behind.add(a_page("first"), set(), is_more_coming=False)
        await asyncio.sleep(0)
        await behind.add(a_page("a", "b"), {"a"}, is_more_coming=False)
        await behind.add(a_page("b", "c"), {"c"}, is_more_coming=False)
        applied.gate.set()

    assert applied.together == [["first"], ["a", "b"], ["b", "c"]]


async def test_no_more_pages_are_held_than_are_applied_together() -> None:
    applied = Applied()
    async with ApplyBehind(applied) as behind:
        await behind.add(a_page("first"), set(), is_more_coming=False)
        await asyncio.sleep(0)
        for name in range(GATHERED):
            await behind.add(a_page(str(name)), set(), is_more_coming=False)
        adding = asyncio.create_task(behind.add(a_page("late"), set(), is_more_coming=False))
        await asyncio.sleep(0)
        is_held_up = not adding.done()
        applied.gate.set()
        await adding

    assert is_held_up
    assert applied.together[-1] == ["late"]


async def test_what_applying_raises_is_raised_where_the_next_page_is_added() -> None:
    async def fail(_observed: Sequence[Observed], _due: Collection[str]) -> None:
        raise LookupError("the row")

    async def apply_two() -> None:
        async with ApplyBehind(fail) as behind:
            await behind.add(a_page("a"), set(), is_more_coming=False)
            await asyncio.sleep(0)
            await behind.add(a_page("b"), set(), is_more_coming=False)

    with pytest.raises(LookupError, match="the row"):
        await apply_two()


async def test_after_an_error_elsewhere_nothing_is_applied_any_more() -> None:
    applied = Applied()

    async def apply_one_of_two() -> None:
        async with ApplyBehind(applied) as behind:
            await behind.add(a_page("a"), set(), is_more_coming=False)
            await asyncio.sleep(0)
            await behind.add(a_page("b"), set(), is_more_coming=False)
            raise LookupError

    with pytest.raises(LookupError):
        await apply_one_of_two()

    assert applied.together == [["a"]]


async def test_what_is_fetched_ahead_and_not_asked_for_is_ended() -> None:
    ended = []

    async def fetch(place: str) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(place)
        return place

    async def fail_meanwhile() -> None:
        async with FetchAhead(fetch) as ahead:
            await ahead.begin("next")
            raise LookupError

    with pytest.raises(LookupError):
        await fail_meanwhile()

    assert ended == ["next"]


async def test_what_fetching_ahead_raises_is_raised_where_it_is_asked_for() -> None:
    async def fetch(place: str) -> str:
        raise LookupError(place)

    async with FetchAhead(fetch) as ahead:
        await ahead.begin("next")
        with pytest.raises(LookupError, match="next"):
            await ahead.get("next")


async def test_calls_that_were_taken_for_pages_and_not_made_are_given_back(world: World) -> None:
    rows = await world.shelve(1000, check_at=world.clock.now(), older_than=600, every=0.2)
    gateway = world.context.gateway
    [before] = await gateway.reads.levels([gateway.reads])

    result = await world.sweep()

    [after] = await gateway.reads.levels([gateway.reads])
    assert result.checked == len(rows)
    assert result.pages == result.calls < 15 <= PAGES_AT_ONCE * 3
    assert after.calls == before.calls - sum(world.emulator.calls.values())


class Told:
    """Tells in which `order` pages are asked for, and their entries read."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.order: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        self.order.append("asked")
        page = await self._provider.list_assets(at, cursor)

        def read() -> Sequence[Observation]:
            self.order.append("read")
            return page.entries

        return Page.unread(read, page.cursor, page.created)


async def test_a_page_is_asked_for_before_the_entries_of_the_last_one_are_read(
    world: World,
) -> None:
    await world.shelve(500, check_at=world.clock.now(), older_than=600, every=0.2)
    provider = Told(world.context.gateway.provider)
    world.with_provider(provider)

    result = await world.sweep()

    assert result.checked == 500
    assert provider.order[:6] == ["asked", "asked", "read", "asked", "read", "asked"]


async def test_a_page_is_asked_for_before_the_rows_of_the_last_one_are_written(
    world: World,
) -> None:
    await world.shelve(500, check_at=world.clock.now(), older_than=600, every=0.2)
    order: list[str] = []
    unlisten = world.context.telemetry.listen(lambda event: order.append(event.name))
    await world.sweep()
    unlisten()

    calls = [place for place, name in enumerate(order) if name == "rindle.provider.call.completed"]
    written = order.index("rindle.provider.sync.resolved")
    assert len(calls) >= 5
    assert calls[1] < written
