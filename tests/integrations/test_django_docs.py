"""The ten steps of docs/django.md, tried: from an empty folder to a page that plays a video."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.processes import eventually, free_port

pytest.importorskip("django")
from tests.support.django_example import APP, ROOT, environment

PAGE = ROOT / "docs" / "django.md"
SERVES = ("rindle emulator", "rindle run", "runserver")
NOT_TRIED = ("pip install", "curl")
"""What would need a network, or names ports of its own: the test does it by HTTP."""


def steps() -> str:
    found = re.search(r"^## From nothing.*?(?=^## )", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


def files() -> Iterator[tuple[str, str]]:
    """The files of the steps: each block begins with a comment that names it."""
    for _, text in re.findall(r"^```(python|html)\n(.*?)^```$", steps(), re.MULTILINE | re.DOTALL):
        named = re.match(r"(?:# |<!-- )(\S+\.(?:py|html))", text)
        assert named, text
        yield named[1], text


def commands() -> list[str]:
    return re.findall(r"^\$ (.+)$", steps(), re.MULTILINE)


def write(folder: Path) -> None:
    for name, text in files():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        # what adds to a list stands at the end of the file that the project began with
        before = file.read_text() + "\n" if "+=" in text else ""
        file.write_text(before + text)


@asynccontextmanager
async def running(command: str, folder: Path, env: dict[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_shell(f"exec {command}", cwd=folder, env=env)
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def done(command: str, folder: Path, env: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_shell(
        command, cwd=folder, env=env, stdout=-1, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, f"{command}\n{out.decode()}"


async def test_the_ten_steps_lead_to_a_page_that_plays_a_video(
    sqlite_url: str, tmp_path: Path
) -> None:
    emulator, server = free_port(), free_port()
    env = environment(sqlite_url, RINDLE_CONSOLE_PORT="0")
    env["PYTHONPATH"] = env["PYTHONPATH"].replace(f"{APP}{os.pathsep}", "")
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    tried = [
        command.replace("8010", str(emulator))
        for command in commands()
        if not command.startswith(NOT_TRIED)
    ]
    async with AsyncExitStack() as stack, httpx.AsyncClient(timeout=60) as browser:
        for command in tried:
            if command.startswith("export "):
                words = command.removeprefix("export ").split()
                env |= dict(word.split("=", 1) for word in words)
            elif command.endswith(SERVES):
                port = {
                    "rindle emulator": f" --port {emulator}",
                    "runserver": f" {server} --noreload",
                }
                ending = next((port[end] for end in port if command.endswith(end)), "")
                await stack.enter_async_context(running(command + ending, tmp_path, env))
            else:
                await done(command, tmp_path, env)
            if command.startswith("python manage.py startapp"):
                write(tmp_path)
        site = f"http://127.0.0.1:{server}"
        await eventually(lambda: answers(browser, site))
        await eventually(lambda: answers(browser, f"http://127.0.0.1:{emulator}/_emulator/calls"))
        webhook = {"url": f"{site}/webhooks/mux", "secret": "a-webhook-secret"}
        await browser.post(f"http://127.0.0.1:{emulator}/_emulator/webhooks", json=webhook)
        page = await upload(browser, site)
        before = (await browser.get(page)).text

        async def plays() -> None:
            assert "<video controls" in (await browser.get(page)).text

        await eventually(plays)
        front = (await browser.get(site)).text

    assert "This video is being" in before
    assert '<img src="https://image.mux.com/' in front


async def answers(browser: httpx.AsyncClient, url: str) -> None:
    try:
        await browser.get(url)
    except httpx.TransportError:
        raise AssertionError("it does not listen yet") from None


async def upload(browser: httpx.AsyncClient, site: str) -> str:
    """What the page's script does; the address of the film's page."""
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', (await browser.get(site)).text)
    assert token
    form = {"title": "Holidays", "csrfmiddlewaretoken": token[1]}
    made = (await browser.post(site + "/", data=form)).json()
    assert (await browser.put(made["url"], content=b"a video")).status_code == 200
    return f"{site}{made['page']}"
