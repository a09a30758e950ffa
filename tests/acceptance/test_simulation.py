"""The simulation: no seed breaks a law, seeds decide histories, and planted faults are found."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simulation.planted import PLANTED

PROJECT = Path(__file__).parents[2]

FOUND_BY = {
    "overwrite": 1,
    "emit-first": 0,
    "changes-apart": 0,
    "trust-absence": 223,
    "forget-floor": 19,
    "skip-environment": 127,
    "stale-events": 0,
    "stale-checks": 187,
    "revive": 0,
    "unsigned": 0,
    "answer-first": 18,
    "answer-before-the-commit": 0,
    "one-bad-for-all": 22,
    "lost-in-the-group": 0,
    "one-404": 311,
    "wipe-playback-ids": 73,
    "one-answer-without-playback-ids": 73,
    "playback-ids-for-ever": 35,
    "only-news-is-stored": 73,
    "dispatch-at-most-once": 15,
    "dispatch-in-any-order": 15,
    "forget-failed-calls": 15,
    "lease-for-ever": 18,
    "by-any-name": 2,
    "awaited-by-any-name": 2,
    "time-before-meaning": 32,
    "believe-any-time": 52,
    "move-by-nothing": 2,
    "foreign-dead": 2,
    "once-and-for-all": 2,
    "untagged": 0,
    "unscrubbed": 39,
    "free-calls": 224,
    "hidden-call": 32,
    "stuck-for-ever": 56,
    "age-after": 0,
    "page-puts-off": 265,
    "pages-at-any-price": 385,
    "told-by-page-and-by-call": 25,
    "page-dated-late": 85,
    "read-strictly": 53,
    "hide-before-meaning": 53,
    "give-up": 21,
    "unlinked": 15,
    "believe-every-time": 52,
    "unwatched-outputs": 25,
    "moved-by-media": 0,
    "silent-media": 0,
    "media-by-order-of-arrival": 0,
    "forget-reasons": 0,
    "one-kind-of-output": 3,
    "adopt-the-forgotten": 63,
    "make-twice": 21,
    "lost-is-not-made": 221,
    "one-name-for-all-attempts": 0,
    "webhooks-apart": 22,
    "webhooks-at-most-once": 2,
    "webhooks-in-any-order": 2,
    "webhooks-given-up": 2,
    "webhooks-by-the-first-secret": 9,
    "webhooks-with-ids": 2,
    "feed-behind-the-newest": 2,
}
"""A seed that finds each planted fault: `python -m simulation 0-2999 --fault all` names more."""


def simulated(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulation", *arguments]
    return subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=900
    )


def reports(ended: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("seeds", ["0-49", "50-99", "100-149", "150-199"])
def test_no_law_is_broken(seeds: str) -> None:
    ended = simulated(seeds, "--history", "30", "--jobs", "1")

    assert ended.returncode == 0, ended.stderr
    assert "50 histories" in ended.stderr


def test_no_law_is_broken_on_postgresql(
    postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINDLE_TEST_POSTGRES_URL", postgres_server)
    monkeypatch.delenv("RINDLE_TEST_POSTGRES", raising=False)

    ended = simulated("0-11", "--database", "postgresql", "--history", "30", "--jobs", "1")

    assert ended.returncode == 0, ended.stderr
    assert "12 histories" in ended.stderr


def test_a_history_ends_though_its_only_host_was_killed_at_its_start() -> None:
    ended = simulated("1454", "--history", "30")

    assert ended.returncode == 0, ended.stderr


def test_a_history_is_a_function_of_its_seed() -> None:
    told = [
        reports(simulated("40-45", "--json", *options))
        for options in (("--jobs", "1"), ("--jobs", "2"))
    ]

    digests = [{report["seed"]: report["digest"] for report in some} for some in told]
    assert digests[0] == digests[1]
    assert len(set(digests[0].values())) == 6


@pytest.fixture(scope="module")
def hunted() -> dict[str, list[str]]:
    """Which laws each planted fault broke in the history that is to find it."""
    script = (
        "import json, sys\n"
        "from simulation.__main__ import checked\n"
        "from simulation.once import Database\n"
        "for fault, seed in json.loads(sys.argv[1]).items():\n"
        "    [report] = checked([seed], Database.SQLITE, fault)\n"
        "    print(json.dumps([fault, report.broken]), flush=True)\n"
    )
    command = [sys.executable, "-c", script, json.dumps(FOUND_BY)]
    ended = subprocess.run(
        command,
        cwd=PROJECT,
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(line) for line in ended.stdout.splitlines())


def test_the_documentation_names_every_planted_fault_and_a_seed_that_finds_it() -> None:
    lines = (PROJECT / "docs/reliability.md").read_text().splitlines()
    cells = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines]
    told = {line[0]: line[2] for line in cells if len(line) == 3 and line[0] in FOUND_BY}

    assert told == {fault: str(seed) for fault, seed in FOUND_BY.items()}
    assert FOUND_BY.keys() == PLANTED.keys()


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(hunted: dict[str, list[str]], fault: str) -> None:
    assert hunted[fault]


def test_a_broken_law_is_told_with_its_history_and_the_way_to_repeat_it() -> None:
    seed = str(FOUND_BY["age-after"])

    ended = simulated(seed, "--fault", "age-after", "--history", "5")

    assert ended.returncode == 1
    assert f"seed {seed}" in ended.stderr
    assert "ages: " in ended.stderr
    assert f"-m simulation {seed} --history 500 --fault age-after" in " ".join(ended.stderr.split())


@pytest.mark.parametrize(
    "arguments", [["many"], ["0-9", "--fault", "none-such"], ["0-9", "--jobs", "0"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    ended = simulated(*arguments)

    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
