"""The operator's page in a real browser: its script runs under its own rules, and nothing of it needs the network."""

import asyncio
import shutil
from pathlib import Path

import pytest

from rindle_sync.providers.mux_emulator import MuxEmulator
from tests.processes import Shell, eventually, free_port, serving, settings_for

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)


async def shown(chromium: str, folder: Path, url: str, *, seconds: int) -> tuple[str, str]:
    """What the page has become after so many seconds of its own time, and what the browser complains about."""
    arguments = (*ARGUMENTS, f"--user-data-dir={folder}", f"--virtual-time-budget={1000 * seconds}", "--dump-dom", url)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(chromium, *arguments, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(90):
        out, err = await process.communicate()
    return out.decode(), "\n".join(line for line in err.decode().splitlines() if "CONSOLE" in line)


async def test_the_page_runs_its_script_and_keeps_itself_fresh(sqlite_tables_url: str, tmp_path: Path) -> None:
    if not (chromium := shutil.which("chromium")):
        pytest.skip("chromium is not installed")
    with serving(MuxEmulator()) as far_end:
        shell = Shell(tmp_path, settings_for(sqlite_tables_url, far_end, operator_port=free_port()))
        address = f"http://127.0.0.1:{shell.settings['operator_port']}/"
        async with shell.started("run") as running:
            await running.says("page, metrics and probes at")

            async def works() -> None:
                dom, complaints = await shown(chromium, tmp_path / "browser", address, seconds=7)
                assert "· live" in dom
                assert "All is well" in dom
                assert complaints == ""

            await eventually(works)
