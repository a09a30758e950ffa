"""The commands about tokens of the HTTP API, and who is recorded where a command acts on a row."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from rindle_sync.domain import State, Trigger
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.store import Store
from rindle_sync.store.api_tokens import ApiTokens
from rindle_sync.store.schema import webhook_events
from tests.support.processes import FarEnd, Shell, a_store, serving, settings_for
from tests.support.rows import a_row
from tests.support.webhooks import a_kept_notice
from tests.support.world import READY

DAY = timedelta(days=1)


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator()) as far_end:
        yield far_end


@pytest.fixture
def shell(tmp_path: Path, sqlite_url: str, far_end: FarEnd) -> Shell:
    return Shell(tmp_path, settings_for(sqlite_url, far_end))


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    """The tables that `shell` works on."""
    async with a_store(sqlite_url) as store:
        yield store


async def test_a_token_is_printed_once_and_alone(shell: Shell, store: Store) -> None:
    made = await shell.run("token", "create", "backend")

    tokens, now = ApiTokens(store.database), datetime.now(UTC)
    found = await tokens.find(made.out.removesuffix("\n"), now)
    await tokens.finish()
    assert made.code == 0
    assert found
    assert (found.name, found.may_write, found.sees_provider_ids) == ("backend", True, False)
    assert (found.environment, found.expires_at) == (None, None)
    assert made.complaint == (
        "token backend (reads and writes) is valid for all environments, until it is revoked; "
        "it is not shown again"
    )
    listed = await shell.run("token", "list")
    assert made.out.strip() not in listed.out + listed.err
    cells = listed.out.splitlines()[1].split("  ")
    assert [cell.strip() for cell in cells if cell] == [
        "backend",
        "reads and writes",
        "all",
        f"{found.created_at:%Y-%m-%d %H:%M:%S}",
        f"{now:%Y-%m-%d %H:%M:%S}",
        "never",
    ]


async def test_a_token_has_the_rights_that_it_is_given(shell: Shell, store: Store) -> None:
    options = ["--read-only", "--sees-provider-ids", "--environment", "default"]
    made = await shell.run(
        "token", "create", "dashboard", *options, "--expires-in-days", "7", "--json"
    )

    [token] = await ApiTokens(store.database).list()
    listed = await shell.run("token", "list", "--json")
    report = {name: value for name, value in made.json.items() if name != "token"}
    assert listed.json == [report]
    assert made.json["token"].startswith("rsk_")
    assert (token.may_write, token.sees_provider_ids) == (False, True)
    assert token.environment == "default"
    assert token.expires_at == token.created_at + 7 * DAY


async def test_a_token_is_revoked_by_its_name(shell: Shell, store: Store) -> None:
    made = await shell.run("token", "create", "backend")

    revoked = await shell.run("token", "revoke", "backend")
    again = await shell.run("token", "revoke", "backend", "--json")

    assert (revoked.code, revoked.out) == (0, "token backend is revoked\n")
    assert (again.code, again.json) == (1, {"revoked": False})
    assert again.complaint == "no token has this name; `token list` shows the names"
    text = made.out.removesuffix("\n")
    assert await ApiTokens(store.database).find(text, datetime.now(UTC)) is None


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["known"], 1, "there is a token known already: choose another name, or revoke it first"),
        (["settings"], 2, "name: must not be settings: that is the token of the setting"),
        ([""], 2, "name: must have 1 to 100 characters, not 0"),
        (["a\tb"], 2, "name: must have printable characters only"),
        (["new", "--environment", "other"], 2, "'other' is not in the settings"),
        (["new", "--expires-in-days", "0"], 2, "Invalid value for"),
    ],
)
async def test_a_token_that_cannot_be_made_is_refused(
    shell: Shell, store: Store, arguments: list[str], code: int, complaint: str
) -> None:
    await shell.run("token", "create", "known")

    refused = await shell.run("token", "create", *arguments)

    assert (refused.code, refused.out) == (code, "")
    assert complaint in refused.complaint
    assert [token.name for token in await ApiTokens(store.database).list()] == ["known"]


async def test_without_tables_it_is_said_how_to_make_them(shell: Shell) -> None:
    for arguments in (["create", "backend"], ["list"], ["revoke", "backend"]):
        ended = await shell.run("token", *arguments)
        assert (ended.code, ended.out) == (1, "")
        assert "rindle-sync migrate" in ended.complaint


# who did what


async def test_what_a_command_does_to_a_row_is_recorded(
    shell: Shell, store: Store, far_end: FarEnd
) -> None:
    asset, other = (far_end.emulator.create_asset(life=READY) for _ in range(2))
    lines = f"reference,provider_asset_id\nfilm-3,{far_end.emulator.create_asset()}\n"
    (shell.folder / "rows.csv").write_text(lines)
    for arguments in (
        ["track", "--reference", "film-1", "--provider-asset-id", asset],
        ["sync", "film-1"],
        ["replace", "film-1", "--provider-asset-id", other, "--yes"],
        ["upload", "--reference", "film-2", "--cors-origin", "*"],
        ["create-asset", "https://files.example/film.mp4", "--reference", "film-4"],
        ["track", "--from", "rows.csv"],
        ["untrack", "film-1", "--yes"],
    ):
        ended = await shell.run(*arguments)
        assert ended.code == 0, ended.err

    newest = await store.row_actions.newest(10)
    assert [(a.action, a.reference, a.outcome) for a in reversed(newest)] == [
        ("track", "film-1", "done"),
        ("sync", "film-1", "changed"),
        ("replace", "film-1", "done"),
        ("begin_upload", "film-2", "begun"),
        ("create_asset", "film-4", "begun"),
        ("track", "film-3", "done"),
        ("untrack", "film-1", "done"),
    ]
    assert {action.actor.text for action in newest} == {"command"}
    changes = await store.assets.changes_of(newest[-1].row_id or "")
    assert {change.trigger for change in changes} == {Trigger.CLI}
    explained = await shell.run("explain", "film-2", "--json")
    [moments] = [report["history"] for report in explained.json]
    acted = [moment for moment in moments if moment["kind"] == "action"]
    assert [(moment["trigger"], moment["text"]) for moment in acted] == [
        ("command", "begin upload: begun")
    ]


async def test_a_replay_by_command_is_recorded_with_the_row(shell: Shell, store: Store) -> None:
    row = a_row(State.PROCESSING, reference="film-1")
    await store.assets.add(row)
    event = a_kept_notice(row, datetime.now(UTC))
    await store.inbox.storing(event)
    async with store.database.writing() as connection:
        await connection.execute(sa.update(webhook_events).values(status="dead"))

    assert (await shell.run("events", "replay", event.id)).code == 0

    [action] = await store.row_actions.of_row(row.id, 10)
    assert (action.action, action.actor.text, action.outcome) == ("replay", "command", "1 event")
