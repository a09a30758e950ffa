"""The clients of examples/other_languages against a real service: Node, Ruby and curl.

Node hears by outgoing webhooks, Ruby follows the feed of changes, curl calls the HTTP API.
"""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from tests.support.processes import (
    FarEnd,
    Running,
    Shell,
    eventually,
    free_port,
    serving,
    settings_for,
)

pytest.importorskip("fastapi")

EXAMPLES = Path(__file__).parents[2] / "examples" / "other_languages"
TOKEN = "the-token-of-this-test-has-enough-characters"
SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo3Njc2NzY3"


def needed(program: str) -> str:
    found = shutil.which(program)
    if not found:
        pytest.skip(f"{program} is not installed")
    return found


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    with serving(MuxEmulator(prepare_seconds=0.3)) as far_end:
        yield far_end


@dataclass
class Service:
    """`rindle-sync run` with its API, for an app at `app_port`."""

    url: str
    app_port: int
    shell: Shell
    far_end: FarEnd
    running: Running

    def environment(self, **others: object) -> dict[str, str]:
        """What a client is given."""
        own = {
            name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}
        }
        given = {"SYNC_URL": self.url, "SYNC_TOKEN": TOKEN} | others
        return own | {name: str(value) for name, value in given.items()}

    @asynccontextmanager
    async def client(self, *command: str, **others: object) -> AsyncIterator["Client"]:
        """A client that keeps running, killed at the end of the block."""
        out = self.shell.folder / f"{Path(command[1]).stem}.log"
        with out.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.shell.folder,
                env=self.environment(**others),
                stdout=log,
                stderr=log,
            )
        try:
            yield Client(process, out)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@dataclass
class Client:
    """A client, and what it has written."""

    process: asyncio.subprocess.Process
    out: Path

    async def says(self, pattern: str) -> None:
        async def said() -> None:
            text = self.out.read_text()
            assert re.search(pattern, text), f"exit code {self.process.returncode}: {text}"

        await eventually(said)


@asynccontextmanager
async def a_service(folder: Path, url: str, far_end: FarEnd) -> AsyncIterator[Service]:
    port, app_port = free_port(), free_port()
    settings = settings_for(
        url,
        far_end,
        api_token=TOKEN,
        listen_port=port,
        console_port=0,
        provider_polling_floor_seconds=0.3,
        outgoing_webhook_url=f"http://127.0.0.1:{app_port}/webhooks/rindle",
        outgoing_webhook_secret=SECRET,
        outgoing_webhook_allow_private="on",
    )
    shell = Shell(folder, settings)
    async with shell.started("run") as running:
        address = f"http://127.0.0.1:{port}"

        async def answers() -> None:
            try:
                async with httpx.AsyncClient(base_url=address) as client:
                    headers = {"authorization": f"Bearer {TOKEN}"}
                    answer = await client.get("/api/v1/status", headers=headers)
            except httpx.TransportError as error:
                raise AssertionError(running.err) from error
            assert answer.status_code == 200, answer.text

        await eventually(answers)
        yield Service(address, app_port, shell, far_end, running)


@pytest.fixture
async def service(
    tmp_path: Path, sqlite_tables_url: str, far_end: FarEnd
) -> AsyncIterator[Service]:
    async with a_service(tmp_path, sqlite_tables_url, far_end) as service:
        yield service


@asynccontextmanager
async def the_node_app(service: Service) -> AsyncIterator[tuple[Client, httpx.AsyncClient]]:
    command = needed("node"), str(EXAMPLES / "node" / "server.mjs")
    others = {"PORT": service.app_port, "WEBHOOK_SECRET": SECRET, "PLAYER_URL": "/player.js"}
    async with service.client(*command, **others) as client:
        await client.says("films at http://127.0.0.1")
        address = f"http://127.0.0.1:{service.app_port}"
        async with httpx.AsyncClient(base_url=address, timeout=30) as browser:
            yield client, browser


async def upload(browser: httpx.AsyncClient, title: str) -> str:
    """A film that somebody uploads; its id."""
    made = await browser.post("/films", data={"title": title})
    assert made.status_code == 201, made.text
    sent = await browser.put(made.json()["upload_url"], content=b"a video")
    assert sent.is_success, sent.text
    return str(made.json()["id"])


async def test_a_node_app_uploads_hears_of_it_and_shows_the_player(service: Service) -> None:
    async with the_node_app(service) as (client, browser):
        film = await upload(browser, "<Nosferatu>")
        await client.says(rf"asset\.ready {film} applied")
        page = await browser.get(f"/films/{film}")
        forged = await browser.post(
            "/webhooks/rindle",
            content=b"{}",
            headers={
                "webhook-id": "msg_1",
                "webhook-timestamp": "1",
                "webhook-signature": "v1,AAAA",
            },
        )

    [truth] = service.far_end.emulator.truths().values()
    assert f'playback-id="{truth.playback_ids[0].id}"' in page.text
    assert "<mux-player" in page.text
    assert "&#60;Nosferatu&#62;" in page.text
    assert forged.status_code == 400
    assert truth.asset_id not in client.out.read_text()


async def test_what_the_node_app_missed_while_it_was_down_comes_later(service: Service) -> None:
    async with the_node_app(service) as (client, browser):
        film = await upload(browser, "Metropolis")
        client.process.kill()
        await client.process.wait()

    async with the_node_app(service) as (client, browser):
        await client.says(rf"asset\.ready {film} applied")


async def test_a_ruby_program_follows_all_changes_and_goes_on_where_it_was(
    service: Service,
) -> None:
    command = needed("ruby"), str(EXAMPLES / "ruby" / "follow.rb")
    emulator = service.far_end.emulator

    async def a_video(reference: str) -> None:
        asset_id = emulator.create_asset(life=Life(after=0))
        tracked = ["--reference", reference, "--provider-asset-id", asset_id]
        ended = await service.shell.run("track", *tracked)
        assert ended.code == 0, ended.err

    async with service.client(*command) as client:
        await a_video("film-1")
        await client.says(r"asset\.ready film-1")
        client.process.kill()
        await client.process.wait()
        await a_video("film-2")
    async with service.client(*command) as client:
        await client.says(r"asset\.ready film-2")
        said = client.out.read_text()

    assert len(re.findall(r"asset\.ready film-1", said)) == 1


async def test_a_ruby_app_begins_one_upload_and_is_told_what_is_wrong(service: Service) -> None:
    program = f"""
        require {str(EXAMPLES / "ruby" / "rindle.rb")!r}
        rindle = Rindle.new(ENV["SYNC_URL"], ENV["SYNC_TOKEN"])
        first, again = Array.new(2) {{ rindle.begin_upload("film-1", "https://app.example.com") }}
        puts "once" if first == again
        Net::HTTP.start("127.0.0.1", URI(first["upload_url"]).port) do |http|
          http.send_request("PUT", URI(first["upload_url"]).request_uri, "a video")
        end
        row_id = rindle.find("film-1")[0]["id"]
        sleep 0.2 until rindle.sync(row_id)["asset"]["state"] == "ready"
        puts rindle.playback_bundle(row_id)["policy"]
        [[ENV["SYNC_URL"], "wrong"], ["http://127.0.0.1:{free_port()}", "any"]].each do |given|
          Rindle.new(*given).find("film-1")
        rescue RindleError => error
          puts "#{{error.status.inspect}} #{{error.message}}"
        end
    """
    async with service.client(needed("ruby"), "-e", program) as client:
        await client.says(r"(?s)once.*public.*401 there is no such token.*nil rindle-sync does not")


async def test_the_api_is_used_with_curl(service: Service) -> None:
    needed("curl")
    asset_id = service.far_end.emulator.create_asset(life=Life(after=0))
    command = [needed("bash"), str(EXAMPLES / "try.sh"), "film-1", asset_id]

    async def tried(*arguments: str, **others: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            env=service.environment(**others),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    code, out = await tried(*command)
    assert code == 0, out
    assert '"state":"ready"' in out.replace(" ", "")
    code, out = await tried(*command)
    assert code == 0, out  # the same request again
    code, out = await tried(*command, SYNC_TOKEN="wrong" * 10)
    assert (code, TOKEN in out) == (22, False)
    assert '"status":401' in out.replace(" ", "")
