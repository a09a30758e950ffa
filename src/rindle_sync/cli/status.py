"""Commands that tell how things stand: of all rows, and of one."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from rindle_sync.app import RindleSync
from rindle_sync.cli.output import (
    WIDE,
    Json,
    Reveal,
    connected,
    connected_all,
    literal,
    note_reveal,
    out,
    print_json,
    say,
    until_stopped,
    visible,
)
from rindle_sync.diagnostics import (
    Explanation,
    Moment,
    Overview,
    Status,
    ago,
    moment_of,
    of_names,
    seconds_of,
)
from rindle_sync.domain import ProviderAsset
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable
from rindle_sync.installation import Installation

commands: Final = typer.Typer()


@commands.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option(min=0.5, help="Seconds between two looks of --watch.")
    ] = 2.0,
    json_: Json = False,
) -> None:
    """How the rows stand: by state, due, stuck, late, and how many webhooks are lost. Needs no credentials.

    Of several environments each has a line; one of them is told in full with --environment before the command.
    """
    if watch and json_:
        raise ConfigurationError("--watch", "is for people; ask for --json as often as you like")
    if watch:
        connected_all(lambda all_: until_stopped(lambda stop: _watch(all_, every, stop)))
        return
    told = connected_all(_told)
    if json_:
        each = [asdict(one) for one in told.overviews]
        print_json(each[0] if isinstance(told.overviews[0], Status) else each)
    else:
        out.print(_board(told))


@dataclass(frozen=True, slots=True)
class _Told:
    overviews: Sequence[Overview]
    """Of one environment all that there is to tell, of several as much as a line holds."""
    elsewhere: Mapping[str, int]
    """Rows of environments that the settings do not name, where one of ours has none."""


async def _told(all_: Installation) -> _Told:
    overviews = (
        await all_.overview() if len(all_) > 1 else [await next(iter(all_.values())).status()]
    )
    return _Told(overviews, await all_.elsewhere(overviews))


async def _watch(all_: Installation, every: float, stop: asyncio.Event) -> None:
    with Live(console=out, auto_refresh=False) as live:
        while not stop.is_set():
            try:
                board = _board(await _told(all_))
            except DatabaseUnavailable as trouble:
                now = next(iter(all_.values())).context.now()
                board = Text.from_markup(f"{moment_of(now)}: [bold red]{literal(trouble)}[/]")
            if out.is_terminal:
                live.update(board, refresh=True)
            else:  # where nothing can be overwritten
                out.print(board)
                out.file.flush()
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await stop.wait()


def _board(told: _Told) -> RenderableType:
    first, *others = told.overviews
    where = f"{len(told.overviews)} environments" if others else first.environment
    head = [f"{literal(where)} on {literal(first.database)}, {moment_of(first.at)}"]
    for one in told.overviews:
        head += _worst(one, told.elsewhere, f"{literal(one.environment)}: " if others else "")
    lines = [Text.from_markup(line) for line in head]
    return Group(*lines, _of_one(first) if isinstance(first, Status) else _of_many(told.overviews))


def _worst(one: Overview, elsewhere: Mapping[str, int], where: str) -> Iterator[str]:
    """What makes all the rest of no account."""
    if one.circuit != "closed":
        since = seconds_of(one.circuit_open_seconds)
        yield f"{where}[bold red]the provider is left alone[/]: {one.circuit}, for {since}"
    for found in of_names(one, elsewhere):
        yield f"[bold yellow]{literal(found.text)}[/]: {literal(found.remedy)}"


def _of_many(overviews: Sequence[Overview]) -> Table:
    names = (
        "rows",
        "ready",
        "in flight",
        "stuck",
        "due",
        "oldest",
        "pending",
        "dead",
        "lost",
        "left alone",
    )
    table = Table(Column("environment", no_wrap=True), *names, box=None, pad_edge=False)
    for one in overviews:
        flying = one.rows - sum(one.by_state[state] for state in ("ready", "errored", "deleted"))
        lost = f"{100 * one.webhooks.loss:.1f} %" if one.webhooks.expected else "-"
        alone = "" if one.circuit == "closed" else f"[bold red]{one.circuit}[/]"
        figures = one.rows, one.by_state["ready"], flying, one.stuck, one.due
        table.add_row(
            literal(one.environment),
            *(f"{figure}" for figure in figures),
            seconds_of(one.oldest_due_seconds) if one.due else "-",
            f"{one.pending}",
            f"{one.dead}",
            lost,
            alone,
        )
    return table


def _of_one(figures: Status) -> RenderableType:
    table = Table("state", "rows", box=None, pad_edge=False)
    for state, rows in figures.by_state.items():
        table.add_row(state, f"{rows}")
    for kind, rows in figures.errored_by_kind.items():
        if rows:
            table.add_row(f"  errored: {kind}", f"{rows}")
    return Group(table, *(Text.from_markup(line) for line in _lines(figures)))


def _lines(figures: Status) -> Iterator[str]:
    oldest = f", the oldest for {seconds_of(figures.oldest_due_seconds)}" if figures.due else ""
    unlinked = f"; {figures.unlinked} wait for an upload" if figures.unlinked else ""
    yield f"{figures.due} due{oldest}; {figures.stuck} stuck; {figures.unanswered} without an answer{unlinked}"
    deliveries = ", ".join(
        f"{number} {status}" for status, number in figures.webhook_events.items()
    )
    waiting = (
        f", the oldest due for {seconds_of(figures.oldest_pending_seconds)}"
        if figures.oldest_pending_seconds
        else ""
    )
    yield f"webhooks: {deliveries}{waiting}"
    yield _lost(figures)
    yield _found(figures)
    rate_limiter = figures.rate_limit
    wait = f", the next in {rate_limiter.wait_seconds:.1f} s" if rate_limiter.wait_seconds else ""
    yield f"budget: {rate_limiter.calls:.0f} of {rate_limiter.capacity:.0f} calls left{wait}"
    yield f"an engine last asked what is due: {ago(figures.last_tick_at, figures.at)}"
    yield f"last answered look: {ago(figures.last_checked_at, figures.at)}"
    yield f"last audit: {ago(figures.last_audit_at, figures.at)}{_audited(figures)}"


def _lost(figures: Status) -> str:
    told = figures.webhooks
    if not figures.takes_webhooks:
        return "lost webhooks: none are taken, since mux_webhook_secrets is not set"
    if not told.expected:
        return "lost webhooks: none were to be expected in the last 24 hours"
    share = f"{100 * told.loss:.1f} % of {told.expected} in the last 24 hours"
    line = f"lost webhooks: {share} ({told.missed} never came, {told.late} came after a look)"
    return f"[bold red]{line}[/]" if told.missed else line


def _found(figures: Status) -> str:
    roads = [
        f"{one.changes} by {road} (median {one.median_ms / 1000:.1f} s late, 95 % within {one.p95_ms / 1000:.1f} s)"
        for road, one in figures.lateness.items()
        if one.changes
    ]
    return "changes found in the last 24 hours: " + (", ".join(roads) or "none")


def _audited(figures: Status) -> str:
    told = f", {figures.last_audit['outcome']}" if figures.last_audit else ""
    began = figures.audit_began_at
    return told + (f"; one that began {ago(began, figures.at)} has not ended" if began else "")


@commands.command()
def explain(
    name: Annotated[
        str,
        typer.Argument(
            help="Our row's id, your app's own asset id, or an id of the provider's.",
            show_default=False,
        ),
    ],
    reveal: Reveal = False,
    json_: Json = False,
) -> None:
    """Why a video stands as it does: its history in order, when it is looked at next, and what to do if it is stuck."""
    found = connected(lambda rindle: _explained(rindle, name))
    if not found:
        say("no row of this environment has this id, nor its asset, at your app or at the provider")
        raise typer.Exit(1)
    for row, _ in found if reveal else ():
        note_reveal(f"row {row.id}")
    if json_:
        print_json([asdict(one) | (_ids(row) if reveal else {}) for row, one in found])
        return
    for row, one in found:
        _print_explanation(one, _ids(row) if reveal else {})


async def _explained(rindle: RindleSync, name: str) -> list[tuple[ProviderAsset, Explanation]]:
    rows = await rindle.find_by_reference(name) or await rindle.find_by_provider_id(name)
    return [(row, await rindle.explain(row)) for row in rows]


def _ids(row: ProviderAsset) -> dict[str, Any]:
    return {
        "provider_asset_id": row.provider_asset_id,
        "provider_upload_id": row.provider_upload_id,
        "passthrough": row.passthrough,
        "provider_playback_ids": [playback.id for playback in row.playback_ids],
    }


def _print_explanation(one: Explanation, ids: dict[str, Any]) -> None:
    kind = f" ({one.error_kind})" if one.error_kind else ""
    out.print(f"[bold]{one.state}{kind}[/] since {moment_of(one.updated_at)}")
    facts = {
        "row": one.row_id,
        "asset": f"{one.reference} ({one.profile})",
        "provider": f"{one.provider} {one.tag or 'without an asset yet'}, {one.playback_ids} playback ids",
        "error": one.last_sync_error,
        "last answered look": moment_of(one.checked_at),
        "next look": one.next,
    }
    for name, value in (facts | ids).items():
        if value:
            out.print(f"{name}: {visible(value)}", markup=False, soft_wrap=True)
    for advice in one.advice:
        out.print(f"[bold]what to do[/]: {literal(advice)}", soft_wrap=True)
    table = Table(Column("when", no_wrap=True), "by", "what", box=None, pad_edge=False)
    for moment in one.history:
        table.add_row(
            f"{moment.at:%Y-%m-%d %H:%M:%S}", moment.trigger, literal(moment.text + _again(moment))
        )
    out.print(table, width=None if out.is_terminal else WIDE, crop=False)


def _again(moment: Moment) -> str:
    return f", {moment.times} times until {moment.until:%m-%d %H:%M:%S}" if moment.times > 1 else ""
