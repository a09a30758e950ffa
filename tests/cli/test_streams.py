"""What commands print on consoles that lack a character, and where nobody reads it."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from rindle_sync.cli.output import until_stopped
from rindle_sync.emulator.emulator import MuxEmulator
from tests.support import commands
from tests.support.processes import a_store, serving, settings_for
from tests.support.rows import a_row
from tests.support.webhooks import a_kept_notice

ODD = "vidéo-█-☃"
"""No character of it is in ASCII, and two are not in code page 1252."""

COMMANDS = (
    ("migrate",),
    ("track", "--reference", f"{ODD}-2", "--provider-asset-id", "another"),
    ("status",),
    ("explain", ODD),
    ("sync", ODD),
    ("sweep",),
    ("audit",),
    ("backfill",),
    ("events", "list"),
    ("events", "show", "no-such-event"),
    ("events", "prune"),
    ("endpoint", "list"),
    ("doctor",),
)
SAID = (*COMMANDS, *((*command, "--json") for command in COMMANDS), ("--help",), ("--version",))
WRONG = (("no-such-command",), ("explain",), ("track", "--reference", ODD))


@pytest.fixture
async def environment(sqlite_tables_url: str) -> AsyncIterator[dict[str, str]]:
    """Settings with which every command works, and a row with an odd reference."""
    with serving(MuxEmulator()) as far_end:
        async with a_store(sqlite_tables_url) as store:
            row = a_row(reference=ODD)
            await store.assets.add(row)
            await store.inbox.storing(a_kept_notice(row, row.updated_at))
        settings = settings_for(sqlite_tables_url, far_end, mux_webhook_secrets="0123456789abcdef")
        yield {f"RINDLE_{name.upper()}": value for name, value in settings.items()}


def written(encoding: str) -> io.TextIOWrapper:
    """A stream as of a console with this encoding."""
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")


def read(stream: io.TextIOWrapper) -> str:
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(stream.encoding)


@contextmanager
def nobody_reads() -> Iterator[TextIO]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with io.TextIOWrapper(io.BufferedWriter(io.FileIO(writer, "w")), encoding="utf-8") as stream:
        yield stream


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
async def test_every_command_can_print_everything_on_every_console(
    environment: dict[str, str], tmp_path: Path, encoding: str
) -> None:
    for command in (*SAID, *WRONG):
        out, err = written(encoding), written(encoding)
        code = await asyncio.to_thread(commands.run_into, out, err, command, tmp_path, environment)
        assert code in {0, 1, 2}, command
        assert read(out) or read(err), command


async def test_what_a_console_lacks_is_written_as_its_number(
    environment: dict[str, str], tmp_path: Path
) -> None:
    out, err = written("cp1252"), written("cp1252")
    words = ("explain", ODD)
    await asyncio.to_thread(commands.run_into, out, err, words, tmp_path, environment)

    assert "vidéo-\\u2588-\\u2603" in read(out)


async def test_a_reader_that_has_gone_ends_a_command_without_a_word(
    environment: dict[str, str], tmp_path: Path
) -> None:
    for command in SAID:
        err = io.StringIO()
        with nobody_reads() as out:
            code = await asyncio.to_thread(
                commands.run_into, out, err, command, tmp_path, environment
            )
        assert code == 1, command
        assert "Broken" not in err.getvalue(), command


async def test_a_log_that_nobody_reads_ends_no_command(
    environment: dict[str, str], tmp_path: Path
) -> None:
    out = io.StringIO()
    with nobody_reads() as err:
        code = await asyncio.to_thread(
            commands.run_into, out, err, ("events", "show", "none"), tmp_path, environment
        )

    assert code == 1


async def test_a_process_whose_streams_are_closed_or_whose_disk_is_full_shows_no_traceback(
    tmp_path: Path, sqlite_tables_url: str
) -> None:
    shell = f"exec {sys.executable} -m rindle_sync status --json"
    settings = {"RINDLE_DATABASE_URL": sqlite_tables_url, "PYTHONIOENCODING": "ascii"}
    ends = []
    for redirected in (">&-", "2>&-", ">/dev/full", "| true"):
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", f"{shell} {redirected}", cwd=tmp_path,
            env=os.environ | settings,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, err = await process.communicate()
        ends.append((process.returncode, err.decode()))

    assert ends == [
        (0, ""),
        (0, ""),
        (1, "error the report could not be written (No space left on device)\n"),
        (0, ""),
    ]


async def test_certificates_that_are_not_there_are_a_wrong_setting_and_no_lost_report(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment |= {"SSL_CERT_FILE": "/no/such/file", "RINDLE_MUX_BASE_URL": "https://127.0.0.1:9"}

    code, _, err = await asyncio.to_thread(commands.run, ("sweep",), tmp_path, environment)

    assert code == 2
    assert "SSL_CERT_FILE: names a file that is not there" in err


# signals where the loop takes none


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_loop_without_signal_handlers_as_on_windows_is_stopped_all_the_same(
    number: signal.Signals,
) -> None:
    class Loop(asyncio.SelectorEventLoop):
        def add_signal_handler(self, *_: object) -> None:
            raise NotImplementedError

    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    async def stopped(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(10):
            await stop.wait()

    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(until_stopped(stopped))
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
