"""The rows as a person looks through them: filters that combine, orders, and pages."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count, product
from typing import Any, Final

import pytest

from rindle_sync.domain import ErrorKind, ProviderAsset, State
from rindle_sync.errors import ConfigurationError
from rindle_sync.store import RowCondition, RowOrder, RowQuery, bounded_scan
from tests.support.rows import NOW, a_row
from tests.support.world import World

_numbers: Final = count()
HOUR: Final = timedelta(hours=1)


async def add(world: World, number: int, state: State = State.READY, **values: object) -> None:
    """Rows that were made one after another."""
    for _ in range(number):
        place = next(_numbers)
        values.setdefault("check_at", None)
        row = a_row(
            state,
            provider_asset_id=f"asset-{place}" if values.get("has_asset", True) else None,
            reference=f"video-{place}",
            provider_created_at=NOW - timedelta(days=9) + timedelta(minutes=place % 1000),
            **{name: value for name, value in values.items() if name != "has_asset"},
        )
        await world.context.store.assets.add(row)


async def a_library(world: World) -> list[ProviderAsset]:
    """Some rows of each state and kind, in two profiles; all of them."""
    await add(world, 4)
    await add(world, 3, profile="trailer")
    await add(world, 2, State.PROCESSING, check_at=NOW - HOUR, checked_at=NOW - 2 * HOUR)
    await add(world, 2, State.PROCESSING, check_at=NOW + HOUR, checked_at=NOW, profile="trailer")
    await add(world, 2, State.UPLOADING, has_asset=False, check_at=NOW - timedelta(minutes=1))
    for kind in ErrorKind:
        await add(world, 2, State.ERRORED, error_kind=kind)
    await add(world, 1, State.DELETED)
    await add(world, 2, State.PROCESSING, check_failures=3, check_at=NOW, checked_at=NOW - HOUR)
    await add(world, 3, environment="another", check_failures=1, check_at=NOW)
    async with world.context.store.database.reading():
        page = await world.context.store.row_listing.page(RowQuery(), limit=1000)
    return list(page.rows)


async def all_pages(world: World, wanted: RowQuery, limit: int) -> list[ProviderAsset]:
    listed, after = list[ProviderAsset](), None
    while True:
        page = await world.context.store.row_listing.page(wanted, limit=limit, after=after)
        listed += page.rows
        after = page.next
        if after is None:
            return listed


WANTED: Final[dict[str, tuple[RowQuery, Callable[[ProviderAsset], bool]]]] = {
    "all": (RowQuery(), lambda _: True),
    "ready": (RowQuery(state=State.READY), lambda row: row.state is State.READY),
    "errored": (RowQuery(state=State.ERRORED), lambda row: row.state is State.ERRORED),
    "stuck": (RowQuery(error_kind=ErrorKind.STUCK), lambda row: row.error_kind is ErrorKind.STUCK),
    "processing and stuck": (
        RowQuery(state=State.PROCESSING, error_kind=ErrorKind.STUCK),
        lambda _: False,
    ),
    "processing of a profile": (
        RowQuery(state=State.PROCESSING, profile="trailer"),
        lambda row: row.state is State.PROCESSING and row.profile == "trailer",
    ),
    "ready of a profile": (
        RowQuery(state=State.READY, profile="trailer"),
        lambda row: row.state is State.READY and row.profile == "trailer",
    ),
    "unlinked": (
        RowQuery(condition=RowCondition.UNLINKED),
        lambda row: row.state is State.UPLOADING,
    ),
    "failing": (RowQuery(condition=RowCondition.FAILING), lambda row: row.check_failures > 0),
    "failing and ready": (
        RowQuery(condition=RowCondition.FAILING, state=State.READY),
        lambda _: False,
    ),
    "due": (
        RowQuery(condition=RowCondition.DUE, due_by=NOW),
        lambda row: row.check_at is not None and row.check_at <= NOW,
    ),
}


TIMES: Final[dict[RowOrder, Callable[[ProviderAsset], Any]]] = {
    RowOrder.CREATED: lambda row: row.provider_created_at,
    RowOrder.CHECKED: lambda row: row.checked_at,
    RowOrder.NEXT_CHECK: lambda row: row.check_at,
}


@pytest.mark.parametrize("what", WANTED)
async def test_filters_and_orders_combine_and_no_page_repeats_or_skips_a_row(
    world: World, what: str
) -> None:
    rows = await a_library(world)
    asked, fits = WANTED[what]
    for order, is_descending, limit in product(RowOrder, (False, True), (2, 1000)):
        wanted, time_of = replace(asked, order=order, is_descending=is_descending), TIMES[order]
        expected = [row for row in rows if fits(row) and time_of(row) is not None]
        expected.sort(key=lambda row: (time_of(row), row.id), reverse=is_descending)

        listed = await all_pages(world, wanted, limit)

        assert [row.id for row in listed] == [row.id for row in expected], wanted


async def test_a_search_that_finds_little_ends_and_goes_on_where_it_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_scan, "SEARCHED", 5)
    await add(world, 1, profile="rare")
    await add(world, 12)
    wanted = RowQuery(profile="rare")

    pages = [await world.context.store.row_listing.page(wanted, limit=3)]
    while pages[-1].next:
        after = pages[-1].next
        pages.append(await world.context.store.row_listing.page(wanted, limit=3, after=after))

    assert [len(page.rows) for page in pages] == [0, 0, 1]
    assert [page.searched is not None for page in pages] == [True, True, False]


@pytest.mark.parametrize("cursor", ["", "nonsense", "AAAA"])
async def test_a_cursor_of_another_list_is_refused(world: World, cursor: str) -> None:
    await add(world, 3)
    listing = world.context.store.row_listing
    other = (await listing.page(RowQuery(), limit=1)).next

    for after in (cursor, other):
        with pytest.raises(ConfigurationError, match="after"):
            await listing.page(RowQuery(state=State.READY), limit=1, after=after)
