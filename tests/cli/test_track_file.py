"""`rindle-sync track --from`: a library that the app knows already."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rindle_sync.domain import State
from rindle_sync.store import Store
from tests.support.processes import Shell, a_store, all_rows

CSV = """reference,provider_asset_id,playback_policy,state
video-1,asset-1,signed,ready
video-2,asset-2,,
"""


@pytest.fixture
async def store(tables_url: str) -> AsyncIterator[Store]:
    async with a_store(tables_url) as store:
        yield store


@pytest.fixture
def shell(tables_url: str, tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"database_url": tables_url})


def written(tmp_path: Path, text: str | bytes, name: str = "videos.csv") -> str:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


async def test_every_line_is_tracked_and_again_without_effect(
    store: Store, shell: Shell, tmp_path: Path
) -> None:
    file = written(tmp_path, "\ufeff" + CSV)

    first = await shell.run("track", "--from", file)
    rows = await all_rows(store)
    again = await shell.run("track", "--from", file)

    assert (first.code, first.out) == (0, "2 rows tracked, 0 known already\n")
    assert (again.code, again.out) == (0, "0 rows tracked, 2 known already\n")
    assert {(row.reference, row.state, row.playback_policy) for row in rows} == {
        ("video-1", State.READY, "signed"),
        ("video-2", State.PROCESSING, None),
    }
    assert await all_rows(store) == rows


async def test_a_dry_run_writes_nothing(store: Store, shell: Shell, tmp_path: Path) -> None:
    ended = await shell.run("track", "--dry-run", "--from", written(tmp_path, CSV))

    assert (ended.code, ended.out) == (0, "2 rows would be tracked, 0 known already\n")
    assert await all_rows(store) == []


async def test_what_is_wrong_is_told_by_its_line_and_stops_no_other(
    store: Store, shell: Shell, tmp_path: Path
) -> None:
    lines = b"".join(
        [
            CSV.encode(),
            b"video-3,,,\n",
            b"\n",
            b"video-4,asset-1,,\n",
            b"video-\xff,asset-5,,\n",
            b"video-6,asset-6,,,,\n",
            b"video-7,asset-7,,lost\n",
            b"video-8,asset-8,,\n",
        ]
    )
    file = written(tmp_path, lines)

    ended = await shell.run("track", "--json", "--from", file)
    told = await shell.run("track", "--from", file)

    assert (ended.code, told.code) == (1, 1)
    assert {row.reference for row in await all_rows(store)} == {"video-1", "video-2", "video-8"}
    refused = {line["line"]: line["reason"] for line in ended.json["refused"]}
    assert (ended.json["added"], ended.json["present"], sorted(refused)) == (3, 0, [4, 6, 7, 8, 9])
    assert refused[6].endswith("has this provider_asset_id, and another reference")
    assert refused[8] == "has 6 cells, and there are 4 columns"
    assert refused[9].startswith("state: must be one of pending")
    assert "line 4: provider_asset_id: is needed, or provider_upload_id" in told.complaint
    assert "asset-1" not in ended.out + told.out + told.complaint


async def test_where_the_csv_ends_the_lines_before_it_are_tracked(
    store: Store, shell: Shell, tmp_path: Path
) -> None:
    text = "reference,provider_asset_id\nvideo-1,asset-1\n\n" + "x" * 200_000 + ",asset-2\n"

    ended = await shell.run("track", "--json", "--from", written(tmp_path, text))

    assert (ended.code, ended.json["added"]) == (1, 1)
    [refused] = ended.json["refused"]
    assert refused["line"] == 4
    assert refused["reason"].startswith("is no CSV")
    assert [row.reference for row in await all_rows(store)] == ["video-1"]


async def test_a_quote_that_nobody_closes_is_told_by_its_own_line(
    shell: Shell, store: Store, tmp_path: Path
) -> None:
    text = 'reference,provider_asset_id\nvideo-1,asset-1\n"video-2,asset-2\nvideo-3,asset-3\n'

    ended = await shell.run("track", "--json", "--from", written(tmp_path, text))

    assert [line["line"] for line in ended.json["refused"]] == [3]
    assert len(await all_rows(store)) == 1


async def test_a_name_that_is_unknown_cannot_write_on_the_terminal(
    shell: Shell, store: Store, tmp_path: Path
) -> None:
    text = json.dumps({"reference": "video-1", "provider_asset_id": "asset-1", "\x1b[2J": 1})

    ended = await shell.run("track", "--from", written(tmp_path, text, "videos.jsonl"))

    assert ended.code == 1
    assert "\x1b" not in ended.err
    assert "\\x1b[2J: is unknown" in ended.err
    assert await all_rows(store) == []


async def test_json_lines_are_read(store: Store, shell: Shell, tmp_path: Path) -> None:
    objects = [{"reference": "video-1", "provider_asset_id": "asset-1", "profile": "hls"}, [1]]
    text = "\n".join([*map(json.dumps, objects), "{", ""])

    ended = await shell.run("track", "--json", "--from", written(tmp_path, text, "videos.jsonl"))

    assert [(line["line"], line["reason"]) for line in ended.json["refused"]] == [
        (2, "is no JSON object"),
        (3, "is no JSON"),
    ]
    [row] = await all_rows(store)
    assert (row.reference, row.profile) == ("video-1", "hls")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must name its columns"),
        ("provider_asset_id\nasset-1\n", "reference among them"),
        ("reference,asset_id\n", "has the column asset_id, which is unknown; did you mean"),
        ("reference,reference\n", "names a column twice"),
        ('reference,"' + "x" * 200_000, "is no CSV: line 1"),
    ],
)
async def test_a_file_that_cannot_be_read_is_wrong_usage(
    store: Store, shell: Shell, tmp_path: Path, text: str, complaint: str
) -> None:
    ended = await shell.run("track", "--from", written(tmp_path, text))

    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.complaint
    assert await all_rows(store) == []


async def test_wrong_options_are_named(shell: Shell, tmp_path: Path) -> None:
    file = written(tmp_path, CSV)
    missing, both, dry, nothing = await shell.run_all(
        ["track", "--from", str(tmp_path / "missing.csv")],
        ["track", "--from", file, "--reference", "video-1"],
        ["track", "--dry-run", "--reference", "video-1", "--upload-id", "u"],
        ["track"],
    )
    assert [ended.code for ended in (missing, both, dry, nothing)] == [2, 2, 2, 2]
    assert "cannot be read (No such file" in missing.complaint
    assert "leave out the options" in both.complaint
    assert "--dry-run" in dry.complaint
    assert "--reference" in nothing.complaint


async def test_a_large_file_is_tracked_in_a_few_transactions(
    store: Store, shell: Shell, tmp_path: Path
) -> None:
    lines = "".join(f"video-{n},asset-{n}\n" for n in range(1200))

    ended = await shell.run(
        "track", "--from", written(tmp_path, f"reference,provider_asset_id\n{lines}")
    )

    assert (ended.code, ended.out) == (0, "1200 rows tracked, 0 known already\n")
    assert len(await all_rows(store)) == 1200
