"""The commands that make, replace and forget, against an emulator over HTTP."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from rindle_sync.domain import State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.store import Store
from tests.support.processes import FarEnd, Shell, a_store, serving, settings_for
from tests.support.rows import a_row
from tests.support.world import READY

URL = "https://files.example/film.mp4?signature=s3cr3t-0123456789"


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


async def test_upload_prints_a_url_that_takes_the_file_and_the_same_again(
    shell: Shell, store: Store
) -> None:
    command = ("upload", "--reference", "video-1", "--cors-origin", "*")

    made = await shell.run(*command, "--playback-policy", "signed", "--expires-in", "120")
    blocked = await shell.run(*command)
    again = await shell.run(*command, "--resume", "--json")

    assert (made.code, blocked.code, again.code) == (0, 1, 0)
    assert again.json["url"] == made.out.strip()
    assert "have not failed" in blocked.complaint
    async with httpx.AsyncClient(verify=False) as browser:
        assert (await browser.put(made.out.strip(), content=b"a film")).is_success
    row = await store.assets.get(again.json["row_id"])
    assert row
    assert (row.state, row.playback_policy) == (State.UPLOADING, "signed")


async def test_create_asset_makes_one_of_a_url_that_it_does_not_show(
    shell: Shell, store: Store, far_end: FarEnd
) -> None:
    settings = '{"video_quality": "plus"}'
    ended = await shell.run(
        "create-asset", URL, "--reference", "video-1", "--new-asset-settings", settings, "--json"
    )
    again = await shell.run("create-asset", URL, "--reference", "video-1")

    assert (ended.code, again.code) == (0, 1)
    assert ended.json | {"row_id": ""} == {
        "row_id": "",
        "reference": "video-1",
        "state": "processing",
    }
    assert len(far_end.emulator.environment.assets) == 1
    assert "s3cr3t" not in ended.out + again.out + again.err
    assert (await store.assets.get(ended.json["row_id"])) is not None


@pytest.mark.parametrize(
    "arguments",
    [
        ("create-asset", "film.mp4", "--reference", "a"),
        ("create-asset", URL, "--reference", "a", "--new-asset-settings", "[]"),
        ("create-asset", URL, "--reference", "a", "--new-asset-settings", "{"),
        ("upload", "--reference", "a", "--cors-origin", "*", "--expires-in", "9" * 20),
        ("create-asset", URL, "--reference", "a", "--playback-policy", "secret"),
        ("upload", "--reference", "a", "--cors-origin", "*", "--expires-in", "1"),
        ("replace", "a", "--yes"),
    ],
)
async def test_wrong_usage_makes_nothing(
    shell: Shell, store: Store, arguments: tuple[str, ...]
) -> None:
    ended = await shell.run(*arguments)

    assert (ended.code, ended.out) == (2, "")
    assert [row async for row in store.assets.rows()] == []


async def test_replace_gives_a_row_another_asset_once_somebody_is_sure(
    shell: Shell, store: Store, far_end: FarEnd
) -> None:
    row = a_row(State.READY, reference="video-1")
    await store.assets.add(row)
    other = far_end.emulator.create_asset(life=READY)
    command = ("replace", "video-1", "--provider-asset-id", other)

    unsure = await shell.run(*command)
    ended = await shell.run(*command, "--yes")
    none = await shell.run("replace", "video-2", "--provider-asset-id", other, "--yes")

    assert (unsure.code, ended.code, none.code) == (2, 0, 1)
    assert "--yes" in unsure.complaint
    assert ended.out == f"row {row.id} is processing, and will be checked\n"
    found = await store.assets.get(row.id)
    assert found
    assert found.provider_asset_id == other


async def test_untrack_forgets_a_row_and_deletes_its_asset_on_request(
    shell: Shell, store: Store, far_end: FarEnd
) -> None:
    kept, deleted = far_end.emulator.create_assets(2, life=READY)
    for asset_id, reference in ((kept, "video-1"), (deleted, "video-2")):
        await store.assets.add(a_row(State.READY, provider_asset_id=asset_id, reference=reference))

    unsure = await shell.run("untrack", "video-1")
    ended = await shell.run("untrack", "video-1", "--history", "--webhook-bodies", "--yes")
    both = await shell.run("untrack", "video-2", "--delete-asset", "--yes", "--json")
    none = await shell.run("untrack", "video-2", "--yes")

    assert (unsure.code, ended.code, both.code, none.code) == (2, 0, 0, 1)
    assert both.json["reference"] == "video-2"
    assert [row async for row in store.assets.rows()] == []
    assert far_end.emulator.calls["delete_asset"] == 1


async def test_untrack_forgets_nothing_where_the_provider_does_not_delete(
    shell: Shell, store: Store, far_end: FarEnd
) -> None:
    await store.assets.add(a_row(State.READY, reference="video-1"))
    far_end.emulator.add_fault("server_error", operation="delete_asset")

    ended = await shell.run("untrack", "video-1", "--delete-asset", "--yes")

    assert (ended.code, ended.out) == (1, "")
    assert len([row async for row in store.assets.rows()]) == 1
