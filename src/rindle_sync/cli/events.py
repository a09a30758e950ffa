"""Commands about kept webhook deliveries."""

from typing import Annotated, Any, Final

import typer
from rich.table import Column, Table

from rindle_sync.app import RindleSync
from rindle_sync.cli.output import (
    WIDE,
    Json,
    Reveal,
    connected,
    literal,
    note_reveal,
    out,
    print_json,
    say,
    visible,
)
from rindle_sync.domain import EventStatus, ProviderAsset, WebhookEventSummary, redact_id
from rindle_sync.errors import ConfigurationError

events: Final = typer.Typer(
    help="The webhook deliveries that were kept: look at them, apply them again, prune."
)


@events.command("list")
def list_events(
    status_: Annotated[
        EventStatus | None, typer.Option("--status", help="Only those that stand so.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1000, help="The newest, this many at most.")
    ] = 50,
    json_: Json = False,
) -> None:
    """The newest deliveries."""
    told = connected(lambda rindle: _listed(rindle, status_, limit))
    if json_:
        print_json([_event(webhook_event, row) for webhook_event, row in told])
        return
    names = "type", "status", "attempts", "received", "asset", "row", "reason"
    table = Table(Column("id", no_wrap=True, min_width=36), *names, box=None, pad_edge=False)
    for n, row in told:
        received = f"{n.received_at:%Y-%m-%d %H:%M:%S}"
        asset = redact_id(n.provider_asset_id or n.provider_upload_id) or "-"
        cells = (
            n.type,
            n.status,
            n.attempts,
            received,
            asset,
            row.id if row else "-",
            n.reason or "",
        )
        table.add_row(n.id, *(literal(cell) for cell in cells))
    out.print(table, width=WIDE, crop=False)


Told = tuple[WebhookEventSummary, ProviderAsset | None]


async def _listed(rindle: RindleSync, status: EventStatus | None, limit: int) -> list[Told]:
    return await rindle.rows_about(await rindle.webhook_events(status=status, limit=limit))


async def _shown(rindle: RindleSync, event_id: str) -> Told | None:
    webhook_event = await rindle.webhook_event(event_id)
    return (await rindle.rows_about([webhook_event]))[0] if webhook_event else None


def _event(webhook_event: WebhookEventSummary, row: ProviderAsset | None) -> dict[str, Any]:
    return {
        "id": webhook_event.id,
        "type": webhook_event.type,
        "status": webhook_event.status,
        "attempts": webhook_event.attempts,
        "asset": redact_id(webhook_event.provider_asset_id),
        "upload": redact_id(webhook_event.provider_upload_id),
        "row_id": row and row.id,
        "occurred_at": webhook_event.occurred_at,
        "received_at": webhook_event.received_at,
        "next_attempt_at": webhook_event.next_attempt_at,
        "reason": webhook_event.reason,
        "bytes": webhook_event.size,
    }


def _ids(webhook_event: WebhookEventSummary) -> dict[str, Any]:
    return {
        "event_id": webhook_event.event_id,
        "provider_asset_id": webhook_event.provider_asset_id,
        "provider_upload_id": webhook_event.provider_upload_id,
        "passthrough": webhook_event.passthrough,
    }


EventId = Annotated[
    str, typer.Argument(help="Its id, as `events list` tells it.", show_default=False)
]


@events.command("show")
def show_event(event_id: EventId, reveal: Reveal = False, json_: Json = False) -> None:
    """One delivery; its body stays in the database, since it is full of the provider's ids."""
    found = connected(lambda rindle: _shown(rindle, event_id))
    if found is None:
        _no_event("no delivery has this id")
        return
    told = _event(*found) | (_ids(found[0]) if reveal else {})
    if reveal:
        note_reveal(f"delivery {told['id']}")
    if json_:
        print_json(told)
        return
    for name, value in told.items():
        if value is not None:
            out.print(f"{name}: {visible(value)}", markup=False, soft_wrap=True)


@events.command("replay")
def replay_events(
    event_id: Annotated[
        str | None, typer.Argument(help="Its id; or --dead.", show_default=False)
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that are dead.")] = False,
    json_: Json = False,
) -> None:
    """Apply a delivery again, or all dead ones: they are pending then, and the next `run` takes them up."""
    if dead == (event_id is not None):
        raise ConfigurationError("events replay", "wants the id of one delivery, or --dead")
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
