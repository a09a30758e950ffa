"""Commands about the tables and single rows: migrate, sync."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from rindle_sync.cli.output import (
    Engine,
    Json,
    out,
    override,
    print_json,
    say,
    say_wait,
    with_installation,
    with_rindle,
)
from rindle_sync.domain import ProviderAsset, Trigger, Verdict
from rindle_sync.errors import ConfigurationError

if TYPE_CHECKING:
    from rindle_sync.app import RindleSync
    from rindle_sync.reconcile import Applied

commands: Final = typer.Typer()

NO_ROW: Final = (
    "no row of this environment has this id: neither a row's own id, a reference, "
    "nor the provider's id of an asset or an upload"
)

AnyId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The row's id, your reference, or the provider's id of the asset or the upload.",
        show_default=False,
    ),
]


@commands.command()
def migrate(engine: Engine = None, json_: Json = False) -> None:
    """Create the tables, or migrate them to the newest revision.

    Safe to run again, and safe to run twice at once.
    """
    override(engine=engine)
    before, after = with_installation(lambda installation: installation.migrate())
    if json_:
        print_json({"from": before, "to": after})
    elif before == after:
        out.print(f"the tables are at {after} already")
    elif before:
        out.print(f"the tables are at {after} now (from {before})")
    else:
        out.print(f"the tables are at {after} now")


async def find_rows(rindle: RindleSync, any_id: str) -> list[ProviderAsset]:
    """The rows that an id names: a row's own, the app's reference, or else the provider's."""
    rows = await rindle.find_by_reference(any_id)
    return rows or await rindle.find_by_provider_id(any_id)


async def named_row(rindle: RindleSync, any_id: str) -> ProviderAsset | None:
    """The row that an id names; raises `ConfigurationError` where several have it."""
    rows = await find_rows(rindle, any_id)
    if len(rows) > 1:
        listed = ", ".join(f"{row.id} ({row.profile})" for row in rows)
        text = f"is ambiguous: {len(rows)} rows have it. Name one by its own id: {listed}"
        raise ConfigurationError("ID", text)
    return rows[0] if rows else None


@commands.command()
def sync(any_id: AnyId, json_: Json = False) -> None:
    """Check one row now, due or not, and bring it in sync.

    The provider is always asked: a row past the stuck threshold is declared stuck only if the
    answer leaves it in flight. An id that several rows have is refused: name the row by its own id
    then. Exit code 1 if there is no such row, or no answer.
    """

    async def work(rindle: RindleSync) -> Applied | None:
        from rindle_sync.reconcile import sync_row

        # before anything is read: an id that no row has would hide that no token is set
        rindle.settings.account.check_credentials()
        row = await named_row(rindle, any_id)
        if row is None:
            return None
        return await sync_row(rindle.context, row, trigger=Trigger.CLI, ask_first=True)

    applied = with_rindle(work, say_wait)
    if applied is None:
        say(NO_ROW)
        raise typer.Exit(1)
    row, decision, before = applied.row, applied.decision, applied.before
    if json_:
        changes = {"verdict": decision.verdict, "reason": decision.reason}
        changes |= {"from": before.state, "to": row.state}
        fields = "error_kind", "last_sync_error", "check_at"
        print_json({"row_id": row.id} | changes | {name: getattr(row, name) for name in fields})
    else:
        out.print(f"row {row.id}: {before.state} -> {row.state} ({decision.reason})", markup=False)
        if row.last_sync_error:
            out.print(f"  {row.last_sync_error}", markup=False)
    if decision.verdict is Verdict.UNANSWERED:
        raise typer.Exit(1)
