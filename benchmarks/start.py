"""What a command costs before and while it does its work: CPU time, and the memory of imports."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Final

from benchmarks.bench import Progress, Sizes, urls
from benchmarks.providers import TOKEN
from tests.support.processes import UNWANTED

ROUNDS: Final = 3
TRACK: Final = ("track", "--reference", "video-1", "--provider-asset-id", "asset-1")
COMMANDS: Final[Sequence[Sequence[str]]] = (("--help",), TRACK, ("status",))
IMPORTS: Final = """
import rindle_sync.installation
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One command in a process of its own, from its start to its end."""

    database: str
    command: str
    cpu_ms: float
    """User and system time, the median."""
    ratio: float
    """Of it, to an interpreter that imports SQLAlchemy's asyncio and Typer alone."""
    imports_mebibytes: float
    """What a process holds that has imported the service, and opened nothing."""


async def starts(database: str, _: Sizes, progress: Progress) -> list[Start]:
    """The help, a row that is tracked, and the status, each a few times in turn."""
    with urls(database, 1) as (url,):
        kept = {n: value for n, value in os.environ.items() if not n.startswith(UNWANTED)}
        environment = kept | {
            "RINDLE_DATABASE_URL": url,
            "RINDLE_MUX_TOKEN_ID": TOKEN.token_id,
            "RINDLE_MUX_TOKEN_SECRET": TOKEN.token_secret,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        _cpu(environment, "-m", "rindle_sync", "migrate")
        bare = ("-c", "import sqlalchemy.ext.asyncio, typer.rich_utils")
        costs: dict[Sequence[str], list[float]] = {bare: [], **{c: [] for c in COMMANDS}}
        for number in range(ROUNDS):
            progress(f"{database}: commands, {number + 1} of {ROUNDS}")
            for command, found in costs.items():
                program = command if command is bare else ("-m", "rindle_sync", *command)
                found.append(_cpu(environment, *program))
        mebibytes = _imports(environment)
    return [
        Start(
            database=database,
            command=command[0],
            cpu_ms=1000 * median(costs[command]),
            ratio=median(costs[command]) / median(costs[bare]),
            imports_mebibytes=mebibytes,
        )
        for command in COMMANDS
    ]


def _imports(environment: Mapping[str, str]) -> float:
    command = [sys.executable, "-c", IMPORTS]
    told = subprocess.run(command, env=environment, capture_output=True, check=True)
    return int(told.stdout) / 1024


def _cpu(environment: Mapping[str, str], *arguments: str) -> float:
    """The CPU time of a Python process, in seconds."""
    before = getrusage(RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    root = Path(__file__).parents[1]
    subprocess.run(command, env=environment, cwd=root, stdout=subprocess.DEVNULL, check=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
