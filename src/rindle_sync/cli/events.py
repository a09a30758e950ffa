"""Commands about kept webhook deliveries."""

from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.table import Column, Table

from rindle_sync.asset import redact_id
from rindle_sync.cli.screen import WIDE, Json, connected, out, print_json, say
from rindle_sync.errors import Misconfigured
from rindle_sync.notice import Entry, Status

events: Final = typer.Typer(help="The webhook deliveries that were kept: look at them, apply them again, prune.")


@events.command("list")
def list_events(
    status_: Annotated[Status | None, typer.Option("--status", help="Only those that stand so.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest, this many at most.")] = 50,
    json_: Json = False,
) -> None:
    """The newest deliveries."""
    notices = connected(lambda rindle: rindle.notices(status=status_, limit=limit))
    if json_:
        print_json([_event(notice) for notice in notices])
        return
    table = Table(
        Column("id", no_wrap=True, min_width=36),
        "type",
        "status",
        "attempts",
        "received",
        "reason",
        box=None,
        pad_edge=False,
    )
    for n in notices:
        table.add_row(
            n.id,
            escape(n.type),
            n.status,
            f"{n.attempts}",
            f"{n.received_at:%Y-%m-%d %H:%M:%S}",
            escape(n.reason or ""),
        )
    out.print(table, width=WIDE, crop=False)


def _event(notice: Entry) -> dict[str, Any]:
    return {
        "id": notice.id,
        "type": notice.type,
        "status": notice.status,
        "attempts": notice.attempts,
        "asset": redact_id(notice.provider_asset_id),
        "upload": redact_id(notice.provider_upload_id),
        "occurred_at": notice.occurred_at,
        "received_at": notice.received_at,
        "next_attempt_at": notice.next_attempt_at,
        "reason": notice.reason,
        "bytes": notice.size,
    }


EventId = Annotated[str, typer.Argument(help="Its id, as `events list` tells it.", show_default=False)]


@events.command("show")
def show_event(event_id: EventId, json_: Json = False) -> None:
    """One delivery; its body stays in the database, since it is full of the provider's ids."""
    notice = connected(lambda rindle: rindle.notice(event_id))
    if notice is None:
        _no_event("no delivery has this id")
    elif json_:
        print_json(_event(notice))
    else:
        for name, value in _event(notice).items():
            if value is not None:
                out.print(f"{name}: {value}", markup=False)


@events.command("replay")
def replay_events(
    event_id: Annotated[str | None, typer.Argument(help="Its id; or --dead.", show_default=False)] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that are dead.")] = False,
    json_: Json = False,
) -> None:
    """Apply a delivery again, or all dead ones: they are pending then, and the next `run` takes them up."""
    if dead == (event_id is not None):
        raise Misconfigured("events replay", "wants the id of one delivery, or --dead")
    replayed = connected(lambda rindle: rindle.replay(event_id))
    if json_:
        print_json({"replayed": replayed})
    elif replayed or dead:
        out.print(f"{replayed} pending again")
    if not replayed and not dead:
        _no_event("no delivery that can be applied has this id")


def _no_event(finding: str) -> None:
    say(f"{finding}; `events list` tells the ids")
    raise typer.Exit(1)


@events.command("prune")
def prune_events(json_: Json = False) -> None:
    """Empty the bodies of deliveries past their retention, now; `run` does so every hour."""
    pruned = connected(lambda rindle: rindle.prune())
    if json_:
        print_json({"pruned": pruned})
    else:
        out.print(f"{pruned} bodies emptied")
