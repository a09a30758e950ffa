"""The command that says how the rows of each environment stand."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from rindle_sync.cli.output import Json, literal, out, print_json, until_stopped, with_installation
from rindle_sync.diagnostics import Overview, Status, ago, moment_of, of_names, seconds_of
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.installation import Installation

commands: Final = typer.Typer()

_COLUMNS: Final = (
    "rows",
    "ready",
    "in flight",
    "stuck",
    "due",
    "oldest",
    "pending",
    "dead",
    "missed",
    "circuit",
)


@commands.command()
def status(
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.5, help="Seconds between two queries of --watch.")
    ] = 2.0,
    json_: Json = False,
) -> None:
    """Show how the rows stand: by state, due, stuck, late, and how many webhooks are missed.

    It reads only the database, and needs no credentials. Of several environments each has a line;
    `rindle-sync --environment NAME status` shows one of them in full.
    """
    if watch and json_:
        raise ConfigurationError("--watch", "is for terminals; run --json as often as you like")
    if watch:
        with_installation(
            lambda installation: until_stopped(lambda stop: _watch(installation, every, stop))
        )
        return
    standing = with_installation(_standing)
    if not json_:
        out.print(_board(standing))
        return
    reports = [asdict(overview) for overview in standing.overviews]
    print_json(reports if len(reports) > 1 else reports[0])


@dataclass(frozen=True, slots=True)
class _Standing:
    overviews: Sequence[Overview]
    """A `Status` of a single environment; of several the figures that fit in a line."""
    elsewhere: Mapping[str, int]
    """Rows by environments that the settings do not name, where a named one has none."""


async def _standing(installation: Installation) -> _Standing:
    overviews: Sequence[Overview]
    if len(installation) > 1:
        overviews = await installation.overview()
    else:
        overviews = [await installation.any_service.status()]
    return _Standing(overviews, await installation.elsewhere(overviews))


async def _watch(installation: Installation, every: float, stop: asyncio.Event) -> None:
    with Live(console=out, auto_refresh=False) as live:
        while not stop.is_set():
            try:
                board = _board(await _standing(installation))
            except DatabaseUnavailable as error:
                now = moment_of(installation.any_service.context.now())
                board = Text.from_markup(f"{now}: [bold red]{literal(error)}[/]")
            if out.is_terminal:
                live.update(board, refresh=True)
            else:  # a file or a pipe, where nothing can be overwritten
                out.print(board)
                out.file.flush()
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await stop.wait()


def _board(standing: _Standing) -> RenderableType:
    first, *others = standing.overviews
    where = f"{len(standing.overviews)} environments" if others else first.environment
    lines = [f"{literal(where)} on {literal(first.database)}, {moment_of(first.at)}"]
    for overview in standing.overviews:
        prefix = f"{literal(overview.environment)}: " if others else ""
        lines += _alarms(overview, standing.elsewhere, prefix)
    figures = _full(first) if isinstance(first, Status) else _table(standing.overviews)
    return Group(*map(Text.from_markup, lines), figures)


def _alarms(overview: Overview, elsewhere: Mapping[str, int], prefix: str) -> Iterator[str]:
    """What makes the other figures meaningless, to be read first."""
    if overview.circuit != "closed":
        since = seconds_of(overview.circuit_open_seconds)
        yield f"{prefix}[bold red]circuit open[/]: {overview.circuit}, for {since}"
    for finding in of_names(overview, elsewhere):
        yield f"[bold yellow]{literal(finding.text)}[/]: {literal(finding.remedy)}"


def _table(overviews: Sequence[Overview]) -> Table:
    table = Table(Column("environment", no_wrap=True), *_COLUMNS, box=None, pad_edge=False)
    for overview in overviews:
        rows = overview.by_state
        in_flight = overview.rows - rows["ready"] - rows["errored"] - rows["deleted"]
        missed = f"{100 * overview.webhooks.loss:.1f} %" if overview.webhooks.expected else "-"
        is_closed = overview.circuit == "closed"
        table.add_row(
            literal(overview.environment),
            f"{overview.rows}",
            f"{rows['ready']}",
            f"{in_flight}",
            f"{overview.stuck}",
            f"{overview.due}",
            seconds_of(overview.oldest_due_seconds) if overview.due else "-",
            f"{overview.pending}",
            f"{overview.dead}",
            missed,
            "closed" if is_closed else f"[bold red]{overview.circuit}[/]",
        )
    return table


def _full(figures: Status) -> RenderableType:
    table = Table("state", "rows", box=None, pad_edge=False)
    for state, rows in figures.by_state.items():
        table.add_row(state, f"{rows}")
    for kind, rows in figures.errored_by_kind.items():
        if rows:
            table.add_row(f"  errored: {kind}", f"{rows}")
    return Group(table, *map(Text.from_markup, _lines(figures)))


def _lines(figures: Status) -> Iterator[str]:
    oldest = f", the oldest for {seconds_of(figures.oldest_due_seconds)}" if figures.due else ""
    unlinked = f"; {figures.unlinked} wait for an upload" if figures.unlinked else ""
    yield (
        f"{figures.due} due{oldest}; {figures.stuck} stuck; "
        f"{figures.unanswered} without an answer{unlinked}"
    )
    by_status = ", ".join(f"{number} {name}" for name, number in figures.webhook_events.items())
    waiting = ""
    if figures.oldest_pending_seconds:
        waiting = f", the oldest due for {seconds_of(figures.oldest_pending_seconds)}"
    yield f"webhook events: {by_status}{waiting}"
    yield _missed(figures)
    yield _lateness(figures)
    limit = figures.rate_limit
    wait = f", the next in {limit.wait_seconds:.1f} s" if limit.wait_seconds else ""
    yield f"rate limit: {limit.calls:.0f} of {limit.capacity:.0f} calls left{wait}"
    yield f"last engine heartbeat: {ago(figures.last_heartbeat_at, figures.at)}"
    yield f"last answered check: {ago(figures.last_checked_at, figures.at)}"
    yield f"last audit: {_audits(figures)}"


def _missed(figures: Status) -> str:
    webhooks = figures.webhooks
    if not figures.takes_webhooks:
        return "missed webhooks: none are received, since no webhook secret is set"
    if not webhooks.expected:
        return "missed webhooks: none were expected in the last 24 hours"
    share = f"{100 * webhooks.loss:.1f} % of {webhooks.expected} in the last 24 hours"
    details = f"({webhooks.missed} never came, {webhooks.late} came after a check)"
    line = f"missed webhooks: {share} {details}"
    return f"[bold red]{line}[/]" if webhooks.missed else line


def _lateness(figures: Status) -> str:
    triggers = []
    for trigger, lateness in figures.lateness.items():
        if lateness.changes:
            median, p95 = lateness.median_ms / 1000, lateness.p95_ms / 1000
            late = f"median {median:.1f} s late, 95 % within {p95:.1f} s"
            triggers.append(f"{lateness.changes} by {trigger} ({late})")
    return f"changes found in the last 24 hours: {', '.join(triggers) or 'none'}"


def _audits(figures: Status) -> str:
    line = ago(figures.last_audit_at, figures.at)
    if figures.last_audit:
        line += f", {figures.last_audit['outcome']}"
    if figures.audit_began_at:
        line += f"; one that began {ago(figures.audit_began_at, figures.at)} has not ended"
    return line
