"""How an endpoint of outgoing webhooks, and its webhooks, are shown."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import asdict
from rich.table import Table

from rindle_sync.cli.output import WIDE, literal, out
from rindle_sync.domain import OutgoingEndpoint, OutgoingWebhook, moment_of


def state_of(endpoint: OutgoingEndpoint) -> str:
    """Whether it gets webhooks, and why not."""
    health = endpoint.health
    if not endpoint.is_enabled:
        return f"disabled: {health.disabled_reason}"
    if health.failing_since:
        return f"failing since {moment_of(health.failing_since)}"
    return "enabled"


def endpoint_values(endpoint: OutgoingEndpoint) -> dict[str, Any]:
    """An endpoint without its secrets, for `--json`."""
    health = endpoint.health
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "url": endpoint.shown_url,
        "events": list(endpoint.types),
        "allow_private": endpoint.allow_private,
        "created_at": endpoint.created_at,
        "secrets": len(endpoint.secrets),
        "disabled_at": health.disabled_at,
        "disabled_reason": health.disabled_reason,
        "paused_until": health.paused_until,
        "failing_since": health.failing_since,
        "failures": health.failures,
    }


def print_webhooks(webhooks: Sequence[OutgoingWebhook]) -> None:
    """Print a table of them."""
    if not webhooks:
        return
    names = "id", "type", "row", "version", "status", "attempts", "next attempt", "answer", "reason"
    table = Table(*names, box=None, pad_edge=False)
    for webhook in webhooks:
        at = webhook.next_attempt_at
        cells = (
            webhook.id,
            webhook.type,
            webhook.row_id,
            webhook.version,
            webhook.status,
            webhook.attempts,
            moment_of(at) if at else "-",
            webhook.response_status or "-",
            webhook.reason or "",
        )
        table.add_row(*map(literal, cells))
    out.print(table, width=WIDE, crop=False)


def webhook_values(webhook: OutgoingWebhook) -> dict[str, Any]:
    """A webhook, for `--json`."""
    return {name: value for name, value in asdict(webhook).items() if name != "endpoint_id"}
