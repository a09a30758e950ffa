"""Tracks the rows of a file: `rindle-sync track --from`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rindle_sync.cli.output import err, out, print_json, say, visible, with_rindle
from rindle_sync.domain import hide, many
from rindle_sync.errors import ConfigurationError

if TYPE_CHECKING:
    from rindle_sync.app import RindleSync

OPTION: Final = "--from"
JSON_LINES: Final = (".jsonl", ".ndjson")

MOST_SHOWN: Final = 50
"""How many refused lines are shown; --json has all of them."""


@dataclass(frozen=True, slots=True)
class Line:
    """What stands in a line: the arguments of `track`, or what is wrong with it."""

    number: int
    values: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that was not tracked, and the row that has a key of it."""

    line: int
    reference: str | None
    reason: str
    row_id: str | None = None


@dataclass(slots=True)
class FileReport:
    """What became of the lines so far."""

    dry_run: bool
    added: int = 0
    present: int = 0
    refused: list[RefusedLine] = field(default_factory=list)


def track_file(path: Path, *, dry_run: bool, json_: bool) -> None:
    """Track every line of a file, and report; exit code 1 where one was refused."""
    from rindle_sync.tracking import AT_ONCE

    report = FileReport(dry_run)
    with _opened(path) as file, _progress() as show:
        lines = _json_lines(file) if path.suffix in JSON_LINES else _csv_lines(file)

        async def work(rindle: RindleSync) -> None:
            while batch := list(islice(lines, AT_ONCE)):
                await _track(rindle, batch, report)
                show(report)

        with_rindle(work)
    if json_:
        print_json(report)
    else:
        _print(report)
    if report.refused:
        raise typer.Exit(1)


async def _track(rindle: RindleSync, batch: Sequence[Line], report: FileReport) -> None:
    good = [line for line in batch if line.fault is None]
    result = await rindle.track_many([line.values for line in good], dry_run=report.dry_run)
    report.added += len(result.added)
    report.present += len(result.present)
    refused = [RefusedLine(line.number, None, line.fault) for line in batch if line.fault]
    for refusal in result.refused:
        line = good[refusal.index]
        shown = _shown_reference(line.values)
        refused.append(RefusedLine(line.number, shown, refusal.reason, refusal.row_id))
    report.refused += sorted(refused, key=lambda told: told.line)


def _shown_reference(values: Mapping[str, Any]) -> str | None:
    """The reference for the report: a provider id in it is redacted."""
    reference = values.get("reference")
    ids = [str(values.get(name) or "") for name in ("provider_asset_id", "provider_upload_id")]
    return None if reference is None else visible(hide(str(reference), *ids))


def _csv_lines(file: IO[str]) -> Iterator[Line]:
    """The lines of a CSV file whose first one names the columns; an empty cell is not given."""
    reader = csv.reader(file)
    try:
        columns = next(reader, [])
    except csv.Error as error:
        raise ConfigurationError(OPTION, f"is no CSV: line 1: {error}") from None
    _check_columns(columns)
    # a quote that nobody closes takes many lines: it stands in the first of them
    first = reader.line_num + 1
    try:
        for cells in reader:
            if len(cells) > len(columns):
                text = f"has {many(len(cells), 'cell')}, and there are {len(columns)} columns"
                yield Line(first, fault=text)
            elif any(cells):
                named = zip(columns, cells, strict=False)
                yield Line(first, {name: cell for name, cell in named if cell})
            first = reader.line_num + 1
    except csv.Error as error:
        yield Line(first, fault=f"is no CSV ({error}); no line behind it was read")


def _check_columns(columns: Sequence[str]) -> None:
    from rindle_sync.tracking import ARGUMENTS

    for name in columns:
        if name not in ARGUMENTS:
            near = get_close_matches(name, ARGUMENTS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ARGUMENTS)}"
            text = f"has the column {visible(name)}, which is unknown; {hint}"
            raise ConfigurationError(OPTION, text)
    if len(set(columns)) < len(columns):
        raise ConfigurationError(OPTION, "names a column twice in its first line")
    if "reference" not in columns:
        text = "must name its columns in the first line, reference among them"
        raise ConfigurationError(OPTION, text)


def _json_lines(file: IO[str]) -> Iterator[Line]:
    """The lines of a file with one JSON object in each."""
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            yield Line(number, fault="is no JSON")
            continue
        is_object = isinstance(values, dict)
        yield Line(number, values) if is_object else Line(number, fault="is no JSON object")


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        # what is no UTF-8 is refused by its line, and stops no other
        file = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        text = f"names a file that cannot be read ({error.strerror})"
        raise ConfigurationError(OPTION, text) from None
    with file:
        yield file


@contextmanager
def _progress() -> Iterator[Callable[[FileReport], None]]:
    """A callback that keeps a line of progress on a terminal."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("reading the file")
        yield lambda report: progress.update(task, description=_sentence(report))


def _sentence(report: FileReport) -> str:
    tracked = "would be tracked" if report.dry_run else "tracked"
    refused = f", {len(report.refused)} refused" if report.refused else ""
    return f"{many(report.added, 'row')} {tracked}, {report.present} known already{refused}"


def _print(report: FileReport) -> None:
    for told in report.refused[:MOST_SHOWN]:
        say(f"line {told.line}: {told.reason}")
    if len(report.refused) > MOST_SHOWN:
        say(f"and {len(report.refused) - MOST_SHOWN} more lines; --json shows them")
    out.print(_sentence(report))
