"""Commands about the stored webhook events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Column, Table

from rindle_sync.cli.output import (
    WIDE,
    Json,
    Reveal,
    literal,
    log_reveal,
    out,
    print_json,
    say,
    visible,
    with_rindle,
)
from rindle_sync.domain import EventStatus, ProviderAsset, WebhookEventSummary, moment_of, redact_id
from rindle_sync.errors import ConfigurationError

if TYPE_CHECKING:
    from rindle_sync.app import RindleSync

commands: Final = typer.Typer(
    name="events",
    help="The stored webhook events: list them, apply them again, empty their bodies.",
)

EventAndRow = tuple[WebhookEventSummary, ProviderAsset | None]

EventId = Annotated[
    str,
    typer.Argument(
        metavar="EVENT_ID", help="Its id, as `events list` shows it.", show_default=False
    ),
]


@commands.command("list")
def list_events(
    status_: Annotated[
        EventStatus | None, typer.Option("--status", help="Only those with this status.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1000, help="The newest, this many at most.")
    ] = 50,
    json_: Json = False,
) -> None:
    """List the newest stored webhook events."""

    async def work(rindle: RindleSync) -> Sequence[EventAndRow]:
        from rindle_sync.webhooks import rows_about

        webhook_events = await rindle.webhook_events.list(status=status_, limit=limit)
        return await rows_about(rindle.store.assets, webhook_events)

    listed = with_rindle(work)
    if json_:
        print_json([_event(webhook_event, row) for webhook_event, row in listed])
        return
    names = "type", "status", "attempts", "received", "asset", "row", "reason"
    table = Table(Column("id", no_wrap=True, min_width=36), *names, box=None, pad_edge=False)
    for webhook_event, row in listed:
        provider_id = webhook_event.provider_asset_id or webhook_event.provider_upload_id
        cells = (
            webhook_event.type,
            webhook_event.status,
            webhook_event.attempts,
            f"{webhook_event.received_at:%Y-%m-%d %H:%M:%S}",
            redact_id(provider_id) or "-",
            row.id if row else "-",
            webhook_event.reason or "",
        )
        table.add_row(webhook_event.id, *map(literal, cells))
    out.print(table, width=WIDE, crop=False)


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


@commands.command("show")
def show_event(event_id: EventId, reveal: Reveal = False, json_: Json = False) -> None:
    """Show one webhook event, without its body, which is full of the provider's ids."""

    async def work(rindle: RindleSync) -> Sequence[EventAndRow]:
        from rindle_sync.webhooks import rows_about

        webhook_event = await rindle.webhook_events.get(event_id)
        if webhook_event is None:
            return []
        return await rows_about(rindle.store.assets, [webhook_event])

    found = with_rindle(work)
    if not found:
        raise _failed("no webhook event has this id")
    webhook_event, row = found[0]
    shown = _event(webhook_event, row)
    if reveal:
        # whoever reads the log can see who looked at the provider's ids
        for name in ("event_id", "provider_asset_id", "provider_upload_id", "passthrough"):
            shown[name] = getattr(webhook_event, name)
        log_reveal(f"webhook event {webhook_event.id}")
    if json_:
        print_json(shown)
        return
    for name, value in shown.items():
        if value is not None:
            shown_value = moment_of(value) if isinstance(value, datetime) else visible(value)
            out.print(f"{name}: {shown_value}", markup=False, soft_wrap=True)


@commands.command("replay")
def replay_events(
    event_id: Annotated[
        str | None,
        typer.Argument(metavar="EVENT_ID", help="Its id; this or --dead.", show_default=False),
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that are dead.")] = False,
    json_: Json = False,
) -> None:
    """Make one webhook event pending again, or all dead ones; the next `run` applies them."""
    if dead == (event_id is not None):
        raise ConfigurationError("events replay", "needs the id of one webhook event, or --dead")
    replayed = with_rindle(lambda rindle: rindle.webhook_events.replay(event_id))
    if json_:
        print_json({"replayed": replayed})
    elif replayed or dead:
        out.print(f"{replayed} pending again")
    if not replayed and not dead:
        raise _failed("no webhook event that can be replayed has this id")


def _failed(finding: str) -> typer.Exit:
    say(f"{finding}; `events list` shows the ids")
    return typer.Exit(1)


@commands.command("prune")
def prune_events(json_: Json = False) -> None:
    """Empty the bodies of webhook events past their retention, now; `run` does so every hour."""
    pruned = with_rindle(lambda rindle: rindle.webhook_events.prune())
    if json_:
        print_json({"pruned": pruned})
    else:
        out.print(f"{pruned} bodies emptied")
