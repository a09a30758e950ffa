"""Lists of rows: filters, order, pages while rows come and go, and cursors."""

import random
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_type_hints
from uuid import uuid4

import pytest

from rindle_sync import RindleSync, connect
from rindle_sync.config import plain_settings
from rindle_sync.domain import ErrorKind, ProviderAsset, RowFilters, State, row_filter
from rindle_sync.errors import ConfigurationError
from tests.support.processes import Shell
from tests.support.rows import NOW, a_row

SECOND = timedelta(seconds=1)


@pytest.fixture
async def rindle(tables_url: str) -> AsyncIterator[RindleSync]:
    async with connect(plain_settings(database_url=tables_url)) as rindle:
        yield rindle


async def add(rindle: RindleSync, *rows: ProviderAsset) -> list[ProviderAsset]:
    for row in rows:
        await rindle.store.assets.add(row)
    return list(rows)


async def some(rindle: RindleSync, number: int, **values: Any) -> list[ProviderAsset]:
    """Rows whose assets were made a second apart, the oldest first."""
    made = [a_row(provider_created_at=NOW + n * SECOND, **values) for n in range(number)]
    return await add(rindle, *made)


def ids(rows: Any) -> list[str]:
    return [row.id for row in rows]


# order and pages


async def test_the_newest_assets_come_first_or_last(rindle: RindleSync) -> None:
    rows = await some(rindle, 3)

    assert ids((await rindle.list()).rows) == ids(reversed(rows))
    assert ids((await rindle.list(newest_first=False)).rows) == ids(rows)


@pytest.mark.parametrize("newest_first", [True, False])
async def test_pages_join_without_a_gap_or_a_repetition(
    rindle: RindleSync, *, newest_first: bool
) -> None:
    rows = await some(rindle, 5)
    # of one moment, too
    rows += await add(rindle, *(a_row(provider_created_at=NOW + SECOND) for _ in range(5)))

    found: list[str] = []
    after: str | None = None
    pages = 0
    while pages == 0 or after:
        page = await rindle.list(limit=3, after=after, newest_first=newest_first)
        found += ids(page.rows)
        after, pages = page.next, pages + 1

    assert pages == 4
    expected = sorted(rows, key=lambda row: (row.provider_created_at, row.id), reverse=newest_first)
    assert found == ids(expected)


async def test_the_last_page_names_no_next_even_when_it_is_full(rindle: RindleSync) -> None:
    await some(rindle, 4)

    first = await rindle.list(limit=2)
    last = await rindle.list(limit=2, after=first.next)

    assert first.next
    assert len(last.rows) == 2
    assert last.next is None
    assert (await rindle.list(limit=4)).next is None


@pytest.mark.parametrize("newest_first", [True, False])
async def test_no_page_repeats_or_skips_a_row_while_others_come_and_go(
    rindle: RindleSync, *, newest_first: bool
) -> None:
    chance = random.Random(7)
    rows = await some(rindle, 12)
    passing = await some(rindle, 6)

    found: list[str] = []
    after: str | None = None
    while True:
        page = await rindle.list(limit=2, after=after, newest_first=newest_first)
        found += ids(page.rows)
        after = page.next
        if after is None:
            break
        moment = NOW + chance.randrange(12) * SECOND
        await add(rindle, a_row(provider_created_at=moment))
        if passing:
            async with rindle.store.database.writing() as connection:
                table = rindle.store.queries.table
                await connection.execute(table.delete().where(table.c.id == passing.pop().id))

    assert len(found) == len(set(found))
    assert set(ids(rows)) <= set(found)


async def test_every_row_is_iterated_over_once(rindle: RindleSync) -> None:
    rows = await some(rindle, 3, state=State.READY)
    await some(rindle, 2)

    assert [row.id async for row in rindle.list_all(state="ready")] == ids(reversed(rows))
    assert [row.id async for row in rindle.list_all(state="deleted")] == []


# filters

FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"a", "b", "c", "d"}),
    ({"state": "ready"}, {"a"}),
    ({"state": State.READY}, {"a"}),
    ({"state": ["ready", "errored"]}, {"a", "b", "c"}),
    ({"state": []}, set()),
    ({"error_kind": "stuck"}, {"b"}),
    ({"error_kind": {ErrorKind.STUCK, ErrorKind.UPLOAD}}, {"b", "c"}),
    ({"references": "a"}, {"a"}),
    ({"references": ["a", "d", "nobody", "a\x00", "\ud800"]}, {"a", "d"}),
    ({"references": []}, set()),
    ({"references": [f"n{n}" for n in range(40_000)] + ["c"]}, {"c"}),
    ({"profile": "hls"}, {"c", "d"}),
    ({"since": NOW + 2 * SECOND}, {"c", "d"}),
    ({"since": NOW + 2 * SECOND, "state": "errored", "profile": "hls"}, {"c"}),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS)
async def test_each_filter_takes_its_rows_and_is_counted_alike(
    rindle: RindleSync, filters: dict[str, Any], expected: set[str]
) -> None:
    await add(
        rindle,
        a_row(State.READY, reference="a", provider_created_at=NOW),
        a_row(
            State.ERRORED,
            reference="b",
            error_kind=ErrorKind.STUCK,
            provider_created_at=NOW + SECOND,
        ),
        a_row(
            State.ERRORED,
            reference="c",
            error_kind=ErrorKind.UPLOAD,
            profile="hls",
            provider_created_at=NOW + 2 * SECOND,
        ),
        a_row(reference="d", profile="hls", provider_created_at=NOW + 3 * SECOND),
        a_row(reference="e", environment="staging", provider_created_at=NOW + 3 * SECOND),
    )

    page = await rindle.list(**filters)

    assert {row.reference for row in page.rows} == expected
    assert await rindle.count(**filters) == len(expected)
    assert {row.reference async for row in rindle.list_all(**filters)} == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "redy"),
        ("state", ["ready", 5]),
        ("state", 5),
        ("error_kind", "ready"),
        ("references", 5),
        ("references", [None]),
        ("profile", 5),
        ("since", datetime(2026, 11, 23)),  # noqa: DTZ001  that it has no zone is the fault
        ("since", "2026-11-23"),
        ("since", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))),
        ("since", datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))),
        ("profile", "a\0b"),
        ("profile", "\ud800"),
        ("limit", 0),
        ("limit", 1001),
        ("limit", True),
        ("limit", "5"),
    ],
)
async def test_what_is_no_filter_is_refused_by_its_name(
    rindle: RindleSync, name: str, value: Any
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await rindle.list(**{name: value})

    assert refused.value.setting == name


# cursors


async def a_cursor(rindle: RindleSync, **filters: Any) -> str:
    following = (await rindle.list(limit=1, **filters)).next
    assert following
    return following


async def test_a_cursor_says_nothing_of_the_provider_and_shows_in_no_repr(
    rindle: RindleSync,
) -> None:
    rows = await some(rindle, 2)

    page = await rindle.list(limit=1)

    assert page.next
    assert re.fullmatch(r"[A-Za-z0-9_-]{44}", page.next)
    for row in rows:
        assert row.provider_asset_id
        assert row.provider_asset_id not in page.next
        assert row.provider_asset_id not in repr(page)
    assert page.next not in repr(page)


@pytest.mark.parametrize("place", range(44))
async def test_a_cursor_that_was_changed_is_refused(rindle: RindleSync, place: int) -> None:
    await some(rindle, 2)
    cursor = await a_cursor(rindle)
    changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]

    with pytest.raises(ConfigurationError, match=r"^after: ") as refused:
        await rindle.list(after=changed)

    assert cursor not in str(refused.value)


@pytest.mark.parametrize("odd", ["", "x", "ä" * 44, "A" * 44, "A" * 400, "\ud800", 5])
async def test_what_is_no_cursor_is_refused(rindle: RindleSync, odd: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^after: "):
        await rindle.list(after=odd)


@pytest.mark.parametrize(
    "other",
    [{"newest_first": False}, {"state": "processing"}, {"references": ["a"]}, {"since": NOW}],
)
async def test_a_cursor_of_another_list_is_refused(
    rindle: RindleSync, other: dict[str, Any]
) -> None:
    await some(rindle, 2)
    cursor = await a_cursor(rindle)

    with pytest.raises(ConfigurationError, match=r"^after: "):
        await rindle.list(after=cursor, **other)


async def test_a_cursor_holds_with_filters_in_any_order_and_another_limit(
    rindle: RindleSync,
) -> None:
    rows = await some(rindle, 3)
    references = [row.reference for row in rows]
    cursor = await a_cursor(rindle, references=references, state=["ready", "processing"])

    page = await rindle.list(
        after=cursor, limit=7, references=references[::-1], state={"processing", "ready"}
    )

    assert ids(page.rows) == ids([rows[1], rows[0]])


# the command


async def test_the_command_lists_pages_and_counts(
    tables_url: str, tmp_path: Path, rindle: RindleSync
) -> None:
    rows = await some(rindle, 3, state=State.READY, title="A film", duration=12.5)
    await add(rindle, a_row(provider_created_at=NOW))
    shell = Shell(tmp_path, {"database_url": tables_url})
    options = ["--state", "ready", "--since", NOW.isoformat(), "--oldest-first"]

    first = await shell.run("list", *options, "--limit", "2", "--json")
    second = await shell.run("list", *options, "--after", first.json["next"], "--json")
    counted = await shell.run("list", "--count")
    shown = await shell.run("list", "--reference", rows[0].reference, "--limit", "1")

    assert [row["row_id"] for row in first.json["rows"]] == ids(rows[:2])
    assert (first.json["rows"][0]["title"], first.json["rows"][0]["duration"]) == ("A film", 12.5)
    assert ([row["row_id"] for row in second.json["rows"]], second.json["next"]) == (
        [rows[2].id],
        None,
    )
    assert counted.out == "4\n"
    assert rows[0].id in shown.out
    assert shown.code == 0


async def test_the_command_shows_a_reference_as_it_is(
    tables_url: str, tmp_path: Path, rindle: RindleSync
) -> None:
    await add(rindle, a_row(reference="video:key:[b]1"))

    shown = await Shell(tmp_path, {"database_url": tables_url}).run("list")

    assert "video:key:[b]1" in shown.out


async def test_the_command_says_how_to_go_on_and_shows_no_provider_id(
    tables_url: str, tmp_path: Path, rindle: RindleSync
) -> None:
    hidden = str(uuid4())
    row = a_row(reference=f"film-{hidden}", provider_asset_id=hidden, title=f"of {hidden}")
    await add(rindle, row, a_row(provider_created_at=NOW - timedelta(days=9)))
    shell = Shell(tmp_path, {"database_url": tables_url})

    shown = await shell.run("list", "--limit", "1")
    told = await shell.run("list", "--json")

    assert "--after " in shown.err
    assert row.id in shown.out
    assert hidden not in shown.out + told.out


@pytest.mark.parametrize(
    ("options", "name"),
    [(["--since", "yesterday"], "--since"), (["--after", "x"], "after"), (["--limit", "0"], "")],
)
async def test_the_command_names_what_is_wrong(
    sqlite_url: str, tmp_path: Path, options: list[str], name: str
) -> None:
    shell = Shell(tmp_path, {"database_url": sqlite_url})
    await shell.run("migrate")

    ended = await shell.run("list", *options)

    assert ended.code == 2
    assert name in ended.err


def test_the_filters_of_a_method_are_those_that_are_checked() -> None:
    told = get_type_hints(row_filter)
    told.pop("return")

    assert get_type_hints(RowFilters) == told
