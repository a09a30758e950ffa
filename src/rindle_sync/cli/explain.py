"""The command that says why a row has its state."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.table import Column, Table

from rindle_sync.cli.output import (
    WIDE,
    Json,
    Reveal,
    advice,
    literal,
    log_reveal,
    out,
    print_json,
    say,
    visible,
    with_rindle,
)
from rindle_sync.cli.rows import NO_ROW, AnyId, find_rows
from rindle_sync.domain import ProviderAsset, many, moment_of

if TYPE_CHECKING:
    from rindle_sync.app import RindleSync
    from rindle_sync.diagnostics import Explanation

commands: Final = typer.Typer()


@commands.command()
def explain(any_id: AnyId, reveal: Reveal = False, json_: Json = False) -> None:
    """Say why a video has its state: its history, its next check, and what to do if it is stuck.

    It reads only the database. Exit code 1 if there is no such row.
    """

    async def work(rindle: RindleSync) -> list[tuple[ProviderAsset, Explanation]]:
        rows = await find_rows(rindle, any_id)
        return [(row, await rindle.explain(row)) for row in rows]

    found = with_rindle(work)
    if not found:
        say(NO_ROW)
        raise typer.Exit(1)
    reports = []
    for row, explanation in found:
        ids: dict[str, Any] = {}
        if reveal:
            for name in ("provider_asset_id", "provider_upload_id", "passthrough"):
                ids[name] = getattr(row, name)
            ids["provider_playback_ids"] = [playback.id for playback in row.playback_ids]
            log_reveal(f"row {row.id} ({row.shown_reference})")
        reports.append(asdict(explanation) | ids)
        if not json_:
            _print(explanation, ids)
    if json_:
        print_json(reports)


def _print(explanation: Explanation, ids: dict[str, Any]) -> None:
    state: str = explanation.state
    if explanation.error_kind:
        state += f" ({explanation.error_kind})"
    asset = explanation.tag or "without an asset yet"
    playback_ids = many(explanation.playback_ids, "playback id")
    out.print(f"[bold]{state}[/] since {moment_of(explanation.updated_at)}")
    facts = {
        "row": explanation.row_id,
        "reference": f"{explanation.reference} ({explanation.profile})",
        "provider": f"{explanation.provider} {asset}, {playback_ids}",
        "error": explanation.last_sync_error,
        "last answered check": moment_of(explanation.checked_at),
        "next check": explanation.next,
    }
    for name, value in (facts | ids).items():
        if value:
            out.print(f"{name}: {visible(value)}", markup=False, soft_wrap=True)
    for text in explanation.advice:
        out.print(f"[bold]what to do[/]: {advice(text)}", soft_wrap=True)
    table = Table(Column("when", no_wrap=True), "by", "what", box=None, pad_edge=False)
    for moment in explanation.history:
        text = moment.text
        if moment.times > 1:
            text += f", {moment.times} times until {moment.until:%m-%d %H:%M:%S}"
        table.add_row(f"{moment.at:%Y-%m-%d %H:%M:%S}", moment.trigger, literal(text))
    out.print(table, width=None if out.is_terminal else WIDE, crop=False)
