"""`rindle-sync endpoint`, in real processes and over real HTTP to the emulator."""

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from tests.support.processes import FarEnd, Shell, eventually, free_port, serving, settings_for

ADDRESS = "https://app.example.com/webhooks/mux"
DEBUG = "import logging; logging.basicConfig(level=logging.DEBUG)"


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator()) as far_end:
        yield far_end


@pytest.fixture
def shell(tmp_path: Path, sqlite_tables_url: str, far_end: FarEnd) -> Shell:
    return Shell(tmp_path, settings_for(sqlite_tables_url, far_end))


def secrets_of(far_end: FarEnd) -> list[str]:
    return [webhook.endpoint.secret for webhook in far_end.emulator.webhooks]


async def test_standard_output_has_the_secret_and_nothing_else(
    shell: Shell, far_end: FarEnd
) -> None:
    ended = await shell.run("endpoint", "create", ADDRESS)

    [secret] = secrets_of(far_end)
    assert (ended.code, ended.out) == (0, f"{secret}\n")
    assert secret not in ended.err
    assert "put the secret into mux_webhook_secrets (RINDLE_MUX_WEBHOOK_SECRETS)" in ended.complaint


async def test_a_file_for_the_secret_is_new_private_and_fit_for_the_setting(
    shell: Shell, far_end: FarEnd, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    ended = await shell.run("endpoint", "create", ADDRESS, "--secret-file", str(file))

    [secret] = secrets_of(far_end)
    assert (ended.code, ended.out) == (0, "")
    assert file.read_text() == f"{secret}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret not in ended.err
    assert "mux_webhook_secrets_file (RINDLE_MUX_WEBHOOK_SECRETS_FILE)" in ended.complaint
    known = await shell.but(mux_webhook_secrets_file=file).run("doctor", "--json")
    assert "webhook_secrets" not in {finding["check"] for finding in known.json["findings"]}


@pytest.mark.parametrize("kind", ["there already", "no folder", "a folder", "a link"])
async def test_where_the_file_cannot_be_written_nothing_is_made(
    shell: Shell, far_end: FarEnd, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "secret"
    if kind == "there already":
        file.write_text("the old one")
    elif kind == "no folder":
        file = tmp_path / "nowhere" / "secret"
    elif kind == "a folder":
        file.mkdir()
    else:
        file.symlink_to(tmp_path / "elsewhere")

    ended = await shell.run("endpoint", "create", ADDRESS, "--secret-file", str(file))

    assert (ended.code, ended.out) == (2, "")
    assert "--secret-file" in ended.complaint
    assert not far_end.emulator.calls
    if kind == "there already":
        assert file.read_text() == "the old one"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("fault", ["server_error", "unauthorized"])
async def test_an_endpoint_that_was_not_made_leaves_no_file(
    shell: Shell, far_end: FarEnd, tmp_path: Path, fault: str
) -> None:
    far_end.emulator.add_fault(fault, operation="create_webhook")
    file = tmp_path / "secret"

    ended = await shell.run("endpoint", "create", ADDRESS, "--secret-file", str(file))

    assert (ended.code, ended.out) == (1, "")
    assert not file.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
async def test_a_secret_that_the_disk_does_not_take_is_shown_all_the_same(
    shell: Shell, far_end: FarEnd, tmp_path: Path
) -> None:
    prelude = (
        "import os; real = os.open\n"
        "def full(path, *rest, **named):\n"
        "    if str(path) == 'secret':\n"
        "        return real('/dev/full', os.O_WRONLY)\n"
        "    return real(path, *rest, **named)\n"
        "os.open = full"
    )
    there = Shell(shell.folder, shell.settings, prelude=prelude)

    ended = await there.run("endpoint", "create", ADDRESS, "--secret-file", "secret")

    [secret] = secrets_of(far_end)
    assert (ended.code, ended.out) == (1, f"{secret}\n")
    assert "could not be written" in ended.complaint


async def test_a_report_in_json(shell: Shell, far_end: FarEnd, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    plain = await shell.run("endpoint", "create", ADDRESS, "--json")
    filed = await shell.run(
        "endpoint", "create", f"{ADDRESS}/2", "--secret-file", str(file), "--json"
    )
    listed = await shell.run("endpoint", "list", "--json")

    first, second = secrets_of(far_end)
    assert plain.json["secret"] == first
    assert filed.json["secret_file"] == str(file)
    assert file.read_text() == f"{second}\n"
    assert second not in filed.out
    assert [entry["address"] for entry in listed.json] == [f"{ADDRESS}/2", ADDRESS]
    assert {entry["enabled"] for entry in listed.json} == {True}
    assert datetime.fromisoformat(listed.json[0]["created_at"]).tzinfo is UTC
    assert listed.json[1] == {n: v for n, v in plain.json.items() if n != "secret"}


async def test_two_at_once_make_one_endpoint_and_one_file(
    shell: Shell, far_end: FarEnd, tmp_path: Path
) -> None:
    command = ["endpoint", "create", ADDRESS, "--secret-file", str(tmp_path / "secret")]

    ended = await shell.run_all(command, command)

    [secret] = secrets_of(far_end)
    assert sorted(each.code for each in ended) == [0, 2]
    assert (tmp_path / "secret").read_text() == f"{secret}\n"


async def test_the_list_for_people_shows_what_is_disabled(shell: Shell, far_end: FarEnd) -> None:
    empty = await shell.run("endpoint", "list")
    far_end.emulator.add_webhook(ADDRESS, "a-secret").change(0, enabled=False)
    far_end.emulator.add_webhook("https://app.example.com/[bold]\u202e", "a-secret")

    listed = await shell.run("endpoint", "list")

    assert empty.out.splitlines()[-1] == "0 endpoints"
    lines = listed.out.splitlines()
    assert "[bold]" in lines[1]
    assert "\u202e" not in listed.out
    assert lines[2].split()[1] == "no"
    assert lines[2].rstrip().endswith(ADDRESS)
    assert lines[-1] == "2 endpoints"
    assert "a-secret" not in listed.out + listed.err


async def test_one_is_deleted_by_address_or_id_and_only_when_sure(
    shell: Shell, far_end: FarEnd
) -> None:
    for number in range(3):
        far_end.emulator.add_webhook(f"{ADDRESS}/{number}", "a-secret")
    key = [*far_end.emulator.webhooks][1].key

    unsure = await shell.run("endpoint", "delete", f"{ADDRESS}/0")
    by_address = await shell.run("endpoint", "delete", f"{ADDRESS}/0", "--yes")
    by_id = await shell.run("endpoint", "delete", key, "--yes", "--json")
    again = await shell.run("endpoint", "delete", key, "--yes")

    assert (unsure.code, "--yes" in unsure.complaint) == (2, True)
    assert (by_address.code, by_id.code) == (0, 0)
    assert by_id.json["address"] == f"{ADDRESS}/1"
    assert (again.code, again.out) == (1, "")
    assert "no endpoint of this environment has this id or address" in again.complaint
    left = [webhook.endpoint.url for webhook in far_end.emulator.webhooks]
    assert left == [f"{ADDRESS}/2"]


async def test_wrong_usage_and_a_token_without_the_permission(
    shell: Shell, far_end: FarEnd
) -> None:
    bad = await shell.run("endpoint", "create", "nonsense")
    await shell.run("endpoint", "create", ADDRESS)
    taken = await shell.run("endpoint", "create", ADDRESS)
    far_end.emulator.whoami = replace(far_end.emulator.whoami, permissions=("video:read",))
    write = await shell.run("endpoint", "create", f"{ADDRESS}/2")
    read = await shell.run("endpoint", "list")
    no_token = await shell.but(mux_token_id=None).run("endpoint", "list")

    assert (bad.code, taken.code, no_token.code) == (2, 2, 2)
    assert "must be a public address" in bad.complaint
    assert "is taken" in taken.complaint
    assert "mux_token_id" in no_token.complaint
    assert (write.code, "system:write" in write.complaint) == (1, True)
    assert (read.code, "system:read" in read.complaint) == (1, True)


async def test_the_secret_is_in_no_log(shell: Shell, far_end: FarEnd, tmp_path: Path) -> None:
    loud = Shell(shell.folder, shell.settings, prelude=DEBUG)

    made = await loud.run("endpoint", "create", ADDRESS, "--secret-file", "secret")
    taken = await loud.run("endpoint", "create", ADDRESS)
    listed = await loud.run("endpoint", "list")

    [secret] = secrets_of(far_end)
    assert (tmp_path / "secret").read_text() == f"{secret}\n"
    for ended in (made, taken, listed):
        assert secret not in ended.out + ended.err


async def test_the_environment_of_a_table_is_named_with_its_setting(
    tmp_path: Path, sqlite_tables_url: str, far_end: FarEnd
) -> None:
    (tmp_path / "rindle-sync.toml").write_text(
        f"""
        database_url = "{sqlite_tables_url}"
        mux_base_url = "{far_end.url}"
        [environments.acme]
        mux_token_id = "{far_end.emulator.token_id}"
        mux_token_secret = "{far_end.emulator.token_secret}"
        mux_webhook_secrets = "one-that-is-there-already"
        [environments.beta]
        """
    )
    shell = Shell(tmp_path)

    ended = await shell.run("--environment", "acme", "endpoint", "create", ADDRESS)
    unnamed = await shell.run("endpoint", "list")

    assert ended.out.split() == secrets_of(far_end)
    assert "environments.acme.mux_webhook_secrets" in ended.complaint
    assert "RINDLE_ENVIRONMENTS__ACME__MUX_WEBHOOK_SECRETS" in ended.complaint
    assert "with a comma after those that are there" in ended.complaint
    assert unnamed.code == 2


async def test_webhooks_come_to_an_endpoint_that_a_command_has_made(
    shell: Shell, far_end: FarEnd, tmp_path: Path
) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}/webhooks/mux"
    await shell.run("endpoint", "create", address, "--secret-file", str(tmp_path / "secret"))
    told = {"mux_webhook_secrets_file": tmp_path / "secret", "listen_port": port}
    here = shell.but(**told, webhook_public_url=address)

    async with here.started("run") as running:
        await running.says("webhooks at http://")
        async with httpx.AsyncClient() as client:
            assert (await client.get(address)).status_code == 405
        far_end.emulator.create_asset(life=Life(after=0))
        # the emulator is served without its lifespan, in which it would deliver by itself
        sent = await far_end.emulator.deliver_due()
        [webhook] = far_end.emulator.webhooks

        async def is_sound() -> None:
            checked = (await here.run("doctor", "--ping", "--json")).json
            assert checked["findings"] == []
            assert "provider_endpoint" in checked["checked"]

        await eventually(is_sound)

    assert sent == 2
    assert webhook.last_error is None
    assert webhook.last_refusal is None
