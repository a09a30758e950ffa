"""Commands name what they wait for while they do, and end with a time to come back at."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.store import Store
from tests.support.processes import FarEnd, Shell, a_store, add_due, serving, settings_for

WITHIN = 60.0


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator()) as far_end:
        yield far_end


@pytest.fixture
def shell(tmp_path: Path, sqlite_tables_url: str, far_end: FarEnd) -> Shell:
    return Shell(tmp_path, settings_for(sqlite_tables_url, far_end))


@pytest.fixture
async def store(sqlite_tables_url: str) -> AsyncIterator[Store]:
    async with a_store(sqlite_tables_url) as store:
        yield store


@pytest.mark.parametrize("command", ["sweep", "audit", "backfill"])
async def test_a_pass_that_the_rate_limit_ends_says_when_to_run_it_again(
    far_end: FarEnd, store: Store, shell: Shell, command: str
) -> None:
    await add_due(store, *far_end.emulator.create_assets(3))
    far_end.emulator.add_fault("rate_limited", retry_after=3600)

    ended = await shell.run(command, within=WITHIN)

    assert ended.code == 1
    assert "rate_limited" in ended.out
    assert re.search(
        r"no call for 60 min: run it again at [\d-]+ [\d:]+ UTC\. Nothing is lost", ended.complaint
    )


async def test_the_report_as_json_has_the_seconds(
    far_end: FarEnd, store: Store, shell: Shell
) -> None:
    await add_due(store, *far_end.emulator.create_assets(3))
    far_end.emulator.add_fault("rate_limited", retry_after=3600)

    report = (await shell.run("sweep", "--json", within=WITHIN)).json

    assert report["outcome"] == "rate_limited"
    assert report["retry_after"] == pytest.approx(3600, abs=60)


async def test_a_sync_says_when_its_row_may_be_checked(
    far_end: FarEnd, store: Store, shell: Shell
) -> None:
    [row] = await add_due(store, *far_end.emulator.create_assets(1))
    far_end.emulator.add_fault("rate_limited", retry_after=3600)

    ended = await shell.run("sync", row.id, within=WITHIN)

    assert ended.code == 1
    assert re.search(r"mux answered 429.*retry later; no call before [\d:]+ UTC", ended.out)


async def test_a_ping_says_so_too(far_end: FarEnd, shell: Shell) -> None:
    far_end.emulator.add_fault("rate_limited", retry_after=3600)
    first = await shell.run("doctor", "--ping", within=WITHIN)
    second = await shell.run("doctor", "--ping", within=WITHIN)

    assert first.code == second.code == 1
    assert "429" in first.out
    assert re.search(r"no call before [\d:]+ UTC; try again in 3\d{3} s", second.out)
    assert "try again then" in second.out


async def test_a_wait_is_named_while_it_takes_place(
    far_end: FarEnd, store: Store, shell: Shell
) -> None:
    [row] = await add_due(store, *far_end.emulator.create_assets(1))
    far_end.emulator.add_fault("rate_limited", times=1, retry_after=6)

    ended = await shell.run("sync", row.id, within=WITHIN)

    assert ended.code == 0
    assert re.search(
        r"waiting for the rate limit of mux: [67] s, until [\d-]+ [\d:]+ UTC", ended.complaint
    )
