"""One word for each idea, in code, operations and pages: no renamed identifier comes back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PLACES: Final = ("src", "tests", "simulation", "benchmarks", "examples", "ops", "docs")
SUFFIXES: Final = {".py", ".md", ".yml", ".yaml", ".json", ".toml", ".html", ".js", ".css", ".svg"}

CLASSES: Final = frozenset(
    [
        "Announcement",
        "Atlas",
        "BadNotice",
        "Breaker",
        "Budget",
        "By",
        "Changed",
        "Errand",
        "Estimate",
        "Gone",
        "Kept",
        "Lack",
        "Library",
        "MadeUpload",
        "Mark",
        "Misconfigured",
        "NoAnswer",
        "NoCredentials",
        "Notice",
        "OtherEnvironment",
        "PassKey",
        "Passes",
        "Places",
        "Question",
        "Refused",
        "Round",
        "Seen",
        "Settled",
        "Silence",
        "Standing",
        "Step",
        "StoreRefused",
        "StoreUnavailable",
        "Tally",
        "Throttled",
        "Tools",
        "Unkept",
        "Unreachable",
        "Via",
        "Walk",
        "Wanted",
        "Watch",
        "Way",
        "Weather",
        "Webhooked",
        "Wish",
        "Work",
    ]
)

FUNCTIONS: Final = frozenset(
    [
        "acquit",
        "adopts",
        "announce",
        "believes",
        "bells",
        "browse",
        "foresee",
        "known_as",
        "rehearse",
        "settle",
        "takes_up",
    ]
)

MODULES: Final = frozenset(
    [
        "announce",
        "breaker",
        "browse",
        "budget",
        "concerns",
        "courier",
        "envelopes",
        "errand",
        "health",
        "ingest",
        "library",
        "lives",
        "look",
        "notice",
        "operator_server",
        "patience",
        "phrases",
        "quiet",
        "ready",
        "round",
        "settle",
        "spoil",
        "tools",
        "trail",
        "trouble",
        "walk",
        "work",
    ]
)

WORDS: Final = frozenset(
    [
        "DOUBTED",
        "LOOKS",
        "SUSPECTED",
        "announce_at",
        "announce_attempts",
        "breaker_opened_at",
        "breaker_reason",
        "dead_notice_retention_days",
        "last_tick_at",
        "notice_retention_days",
        "operator_host",
        "operator_port",
        "operator_token",
        "operator_token_file",
        "provider_budget_share",
        "provider_budgets",
        "provider_notices",
        "provider_passes",
        "provider_suspects",
        "seen_at",
        "rindle_sync_breaker_open",
        "rindle_sync_breaker_opened_total",
        "rindle_sync_budget_calls_left",
        "rindle_sync_budget_wait_seconds",
        "rindle_sync_looks",
        "rindle_sync_looks_total",
        "rindle_sync_looks_last_answered_timestamp_seconds",
        "rindle_sync_looks_unknown_status_total",
        "rindle_sync_notices_failed_total",
        "rindle_sync_notices_lag_seconds",
        "rindle_sync_notices_processed_total",
        "rindle_sync_operator_actions_total",
        "RindleSyncDeadNotices",
        "RindleSyncProviderLeftAlone",
    ]
)
"""Tables, columns, settings, metrics, alerts, queues, and constants that nothing else is called."""

PHRASES: Final = (
    "into step",
    "out of step",
    "takes up all",
    "asked what is due",
    "provider is left alone",
    "the budget allows",
    "so since",
    "broken off",
    "sweep --once",
    "audit --once",
)


def files() -> Iterator[Path]:
    yield ROOT / "README.md"
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*")):
            if path.suffix in SUFFIXES and path != Path(__file__):
                yield path


TEXTS: Final = {path: path.read_text() for path in files()}


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for path, text in TEXTS.items():
        if path.suffix == ".py" and ROOT / "src" in path.parents:
            yield path, ast.parse(text)


def where(pattern: str) -> list[str]:
    """The lines, in any file, in which a pattern stands."""
    found = []
    for path, text in TEXTS.items():
        for number, line in enumerate(text.splitlines(), start=1):
            if re.search(pattern, line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    return found


def test_no_class_and_no_function_has_an_old_name() -> None:
    found = []
    for path, tree in sources():
        for node in ast.walk(tree):
            match node:
                case ast.ClassDef(name=name) if name in CLASSES:
                    found.append(f"{path.relative_to(ROOT)}: {name}")
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    if name in FUNCTIONS:
                        found.append(f"{path.relative_to(ROOT)}: {name}")

    assert found == []


def test_no_module_has_an_old_name() -> None:
    assert [path for path, _ in sources() if path.stem in MODULES] == []


@pytest.mark.parametrize("word", sorted(WORDS))
def test_no_old_identifier_stands_anywhere(word: str) -> None:
    assert where(rf"\b{word}\b") == []


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_old_phrase_stands_anywhere(phrase: str) -> None:
    assert where(rf"(?i)\b{re.escape(phrase)}\b") == []
