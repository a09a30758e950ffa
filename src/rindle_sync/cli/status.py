"""The command that says how the rows of each environment stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from rindle_sync.cli.output import (
    Json,
    advice,
    literal,
    out,
    print_json,
    until_stopped,
    with_installation,
)
from rindle_sync.domain import EventStatus, ago, moment_of, seconds_of
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable

if TYPE_CHECKING:
    import asyncio

    from rindle_sync.diagnostics import Overview, Status
    from rindle_sync.diagnostics.status import OutgoingEndpointStatus
    from rindle_sync.installation import Installation

commands: Final = typer.Typer()


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
    overviews, elsewhere = with_installation(_query)
    if not json_:
        out.print(_board(overviews, elsewhere))
        return
    print_json(overviews if len(overviews) > 1 else overviews[0])


async def _query(installation: Installation) -> tuple[Sequence[Overview], Mapping[str, int]]:
    """A `Status` of one environment or `Overview`s of several, and the rows of unknown ones."""
    overviews: Sequence[Overview]
    if len(installation) > 1:
        overviews = await installation.overview()
    else:
        overviews = [await installation.any_service.status()]
    return overviews, await installation.elsewhere(overviews)


async def _watch(installation: Installation, every: float, stop: asyncio.Event) -> None:
    import asyncio

    with Live(console=out, auto_refresh=False) as live:
        while not stop.is_set():
            try:
                board = _board(*await _query(installation))
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


def _board(overviews: Sequence[Overview], elsewhere: Mapping[str, int]) -> RenderableType:
    from rindle_sync.diagnostics import Status, of_names, of_times

    first, *others = overviews
    where = f"{len(overviews)} environments" if others else first.environment
    lines = [f"{literal(where)} on {literal(first.database)}, {moment_of(first.at)}"]
    for overview in overviews:
        prefix = f"{literal(overview.environment)}: " if others else ""
        # what makes the other figures meaningless is to be read first
        if overview.circuit != "closed":
            since = seconds_of(overview.circuit_open_seconds)
            lines.append(f"{prefix}[bold red]circuit open[/]: {overview.circuit}, for {since}")
        waiting = _waiting(overview)
        if waiting:
            lines.append(f"{prefix}[bold red]{literal(waiting)}[/]")
        lines += [
            f"[bold yellow]{advice(finding.text)}[/]: {advice(finding.remedy)}"
            for finding in (*of_names(overview, elsewhere), *of_times(overview))
        ]
    figures = _full(first) if isinstance(first, Status) else _table(overviews)
    return Group(*map(Text.from_markup, lines), figures)


def _waiting(overview: Overview) -> str | None:
    from rindle_sync.diagnostics import Status, waiting_text

    has_begun = True
    if isinstance(overview, Status):
        applied = overview.webhook_events[EventStatus.APPLIED]
        has_begun = bool(overview.last_heartbeat_at or applied)
    return waiting_text(overview.pending, overview.oldest_pending_seconds, has_begun=has_begun)


def _table(overviews: Sequence[Overview]) -> Table:
    names = "rows", "ready", "in flight", "stuck", "due", "oldest", "pending", "dead", "missed"
    first = Column("environment", no_wrap=True)
    table = Table(first, *names, "circuit", box=None, pad_edge=False)
    for overview in overviews:
        rows = overview.by_state
        in_flight = overview.rows - rows["ready"] - rows["errored"] - rows["deleted"]

        oldest = seconds_of(overview.oldest_due_seconds) if overview.due else "-"
        circuit = overview.circuit
        if circuit != "closed":
            circuit = f"[bold red]{circuit}[/]"
        table.add_row(
            literal(overview.environment),
            f"{overview.rows}",
            f"{rows['ready']}",
            f"{in_flight}",
            f"{overview.stuck}",
            f"{overview.due}",
            oldest,
            f"{overview.pending}",
            f"{overview.dead}",
            _share(overview.webhooks.loss),
            circuit,
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
    due = f"{figures.due} due"
    if figures.due:
        due += f", the oldest for {seconds_of(figures.oldest_due_seconds)}"
    due += f"; {figures.stuck} stuck; {figures.unanswered} without an answer"
    if figures.unlinked:
        due += f"; {figures.unlinked} wait for an upload"
    yield due
    by_status = ", ".join(f"{number} {name}" for name, number in figures.webhook_events.items())
    if figures.oldest_pending_seconds:
        by_status += f", the oldest due for {seconds_of(figures.oldest_pending_seconds)}"
    yield f"webhook events: {by_status}"
    yield _missed(figures)
    for endpoint in figures.outgoing:
        yield f"outgoing webhooks to {endpoint.name}: {_outgoing(endpoint)}"
    yield _lateness(figures)
    limit = figures.rate_limit
    calls = f"rate limit: {limit.calls:.0f} of {limit.capacity:.0f} calls left"
    if limit.wait_seconds:
        calls += f", the next in {limit.wait_seconds:.1f} s"
    yield calls
    yield f"last engine heartbeat: {ago(figures.last_heartbeat_at, figures.at)}"
    yield f"last answered check: {ago(figures.last_checked_at, figures.at)}"
    audit = f"last audit: {ago(figures.last_audit_at, figures.at)}"
    if figures.last_audit:
        audit += f", {figures.last_audit['outcome']}"
    if figures.audit_began_at:
        audit += f"; one that began {ago(figures.audit_began_at, figures.at)} has not ended"
    yield audit


def _outgoing(endpoint: OutgoingEndpointStatus) -> str:
    told = f"{endpoint.pending} pending, {endpoint.dead} dead"
    if endpoint.pending:
        told += f", the oldest for {seconds_of(endpoint.oldest_pending_seconds)}"
    if endpoint.disabled:
        return f"{told}; disabled: {endpoint.disabled}"
    if endpoint.failing_seconds:
        told += f"; failing for {seconds_of(endpoint.failing_seconds)}"
    return told


def _missed(figures: Status) -> str:
    webhooks = figures.webhooks
    if not figures.takes_webhooks:
        return "missed webhooks: none are received, since no webhook secret is set"
    if not webhooks.expected:
        return "missed webhooks: not known yet, none were expected in the last 24 hours"
    share = f"{_share(webhooks.loss)} of {webhooks.expected} in the last 24 hours"
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


def _share(loss: float | None) -> str:
    return "-" if loss is None else f"{100 * loss:.1f} %"
