"""Commands about outgoing webhooks: their endpoints, and what is sent to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table

from rindle_sync.cli.listing import moment_of_option
from rindle_sync.cli.outgoing_shown import endpoint_values, print_webhooks, state_of, webhook_values
from rindle_sync.cli.output import (
    WIDE,
    Json,
    literal,
    out,
    print_json,
    read_line,
    say,
    visible,
    with_rindle,
)
from rindle_sync.domain import (
    AttemptOutcome,
    OutgoingEndpoint,
    OutgoingStatus,
    OutgoingWebhook,
    moment_of,
)
from rindle_sync.errors import ConfigurationError

if TYPE_CHECKING:
    from rindle_sync.app import RindleSync
    from rindle_sync.runtime.outgoing.client import Answer

commands: Final = typer.Typer(
    name="outgoing",
    help="Webhooks that tell your app of changes: their endpoints, and what is sent to them.",
)

Counts = Mapping[OutgoingStatus, int]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The name of the endpoint.", show_default=False)
]
Events = Annotated[
    str | None,
    typer.Option(
        "--events", help="The types that it wants, separated by commas: asset.ready,asset.e*."
    ),
]
Secret = Annotated[
    str | None,
    typer.Option(
        "--secret",
        help="- to read it from standard input: whsec_ and the base64 of 24 to 64 bytes; "
        "else one is made.",
    ),
]
_CATCH_UP: Final = (
    "to catch up, the app lists its rows, or follows the feed of changes (GET /api/v1/changes)"
)
NO_ENDPOINT: Final = "no endpoint has this name; `outgoing list` shows the names"


@commands.command("create")
def create(
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to send.", show_default=False)],
    events: Events = None,
    secret: Secret = None,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private", help="Its address may be of a private network, and without TLS."
        ),
    ] = False,
    json_: Json = False,
) -> None:
    """Add an endpoint, which is told of the changes from now on. Shows its secret, this once.

    A secret of your own is best read from standard input: every user of the machine sees the
    arguments of a command.
    """
    given = _given(secret)

    async def work(rindle: RindleSync) -> OutgoingEndpoint:
        return await rindle.outgoing.create(
            name, url, secret=given, types=_types(events), allow_private=allow_private
        )

    with _errors_name_options():
        endpoint = with_rindle(work)
    _print_with_secret(endpoint, json_=json_)


@contextmanager
def _errors_name_options() -> Iterator[None]:
    """Let an error name the option that the user gives, not the argument of Python."""
    try:
        yield
    except ConfigurationError as error:
        if error.setting not in {"url", "types"}:
            raise
        text = str(error).removeprefix(f"{error.setting}: ")
        name = "--events" if error.setting == "types" else error.setting
        raise ConfigurationError(name, text.replace("allow_private", "--allow-private")) from None


def _given(text: str | None) -> str | None:
    return read_line("--secret") if text == "-" else text


def _types(events: str | None) -> list[str]:
    return [part.strip() for part in events.split(",")] if events else []


def _print_with_secret(endpoint: OutgoingEndpoint, *, json_: bool) -> None:
    secret = endpoint.secrets[0].secret
    if json_:
        print_json(endpoint_values(endpoint) | {"secret": secret})
        return
    out.print(f"{endpoint.name}: {visible(endpoint.shown_url)}", markup=False, soft_wrap=True)
    out.print(f"secret: {secret}", markup=False, soft_wrap=True)
    say("the secret is not shown again: put it into the settings of your app")


@commands.command("list")
def list_endpoints(json_: Json = False) -> None:
    """List the endpoints, and how many webhooks each has."""

    async def work(rindle: RindleSync) -> Sequence[tuple[OutgoingEndpoint, Counts]]:
        counts = await rindle.outgoing.counts()
        return [(endpoint, counts[endpoint.name]) for endpoint in await rindle.outgoing.list()]

    found = with_rindle(work)
    if json_:
        print_json([endpoint_values(endpoint) | {"webhooks": counts} for endpoint, counts in found])
        return
    names = "name", "url", "events", "state", *OutgoingStatus
    table = Table(*names, box=None, pad_edge=False)
    for endpoint, counts in found:
        numbers = [str(counts[status]) for status in OutgoingStatus]
        cells = endpoint.shown_url, ", ".join(endpoint.types) or "all", state_of(endpoint)
        table.add_row(endpoint.name, *map(literal, cells), *numbers)
    out.print(table, width=WIDE, crop=False)


@commands.command("show")
def show(
    name: Name,
    status_: Annotated[
        OutgoingStatus | None, typer.Option("--status", help="Only webhooks with this status.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1000, help="The newest webhooks, this many at most.")
    ] = 20,
    json_: Json = False,
) -> None:
    """Show an endpoint, and its newest webhooks."""

    async def work(
        rindle: RindleSync,
    ) -> tuple[OutgoingEndpoint, Counts, Sequence[OutgoingWebhook]] | None:
        endpoint = await rindle.outgoing.get(name)
        webhooks = await rindle.outgoing.webhooks(name, status=status_, limit=limit)
        counts = await rindle.outgoing.counts()
        return (endpoint, counts[name], webhooks) if endpoint and webhooks is not None else None

    endpoint, counts, webhooks = _found(with_rindle(work))
    if json_:
        listed = [webhook_values(webhook) for webhook in webhooks]
        print_json(endpoint_values(endpoint) | {"webhooks": counts, "newest": listed})
        return
    for key, value in (endpoint_values(endpoint) | dict(counts)).items():
        if value not in (None, []):
            shown = moment_of(value) if isinstance(value, datetime) else visible(value)
            out.print(f"{key}: {shown}", markup=False, soft_wrap=True)
    print_webhooks(webhooks)


@commands.command("update")
def update(
    name: Name,
    url: Annotated[str | None, typer.Option("--url", help="Where to send from now on.")] = None,
    events: Events = None,
    all_events: Annotated[bool, typer.Option("--all-events", help="It wants every type.")] = False,
    allow_private: Annotated[
        bool | None,
        typer.Option("--allow-private/--refuse-private", help="As in `outgoing create`."),
    ] = None,
    json_: Json = False,
) -> None:
    """Change an endpoint; what no option names stays as it is."""
    if all_events and events:
        raise ConfigurationError("outgoing update", "takes --events or --all-events, not both")
    types: list[str] | None = [] if all_events else None
    if events:
        types = _types(events)

    async def work(rindle: RindleSync) -> OutgoingEndpoint | None:
        return await rindle.outgoing.change(name, url=url, types=types, allow_private=allow_private)

    with _errors_name_options():
        endpoint = _found(with_rindle(work))
    if json_:
        print_json(endpoint_values(endpoint))
    else:
        out.print(f"{endpoint.name}: {visible(endpoint.shown_url)}", markup=False, soft_wrap=True)


@commands.command("rotate-secret")
def rotate_secret(
    name: Name,
    secret: Secret = None,
    keep_hours: Annotated[
        float,
        typer.Option("--keep-hours", min=0, max=8760, help="How long the old one signs, too."),
    ] = 24,
    json_: Json = False,
) -> None:
    """Sign by a new secret; for a while, by the old one as well. Shows the new one, this once."""
    given = _given(secret)

    async def work(rindle: RindleSync) -> OutgoingEndpoint | None:
        kept = timedelta(hours=keep_hours)
        return await rindle.outgoing.rotate_secret(name, secret=given, keep_old=kept)

    _print_with_secret(_found(with_rindle(work)), json_=json_)


@commands.command("new-secret")
def make_secret() -> None:
    """Print a new secret, for the setting outgoing_webhook_secret."""
    from rindle_sync.runtime.outgoing.signature import new_secret

    out.print(new_secret(), markup=False, soft_wrap=True)


@commands.command("enable")
def enable(name: Name, json_: Json = False) -> None:
    """Send to an endpoint again, at once, also what waits for a later attempt.

    For changes while it was disabled no webhooks were made: to catch up, list the rows, or follow
    the feed of changes (GET /api/v1/changes).
    """

    async def work(rindle: RindleSync) -> tuple[OutgoingEndpoint | None, bool]:
        return await rindle.outgoing.get(name), await rindle.outgoing.enable(name)

    before, done = with_rindle(work)
    _print_done(name, "enabled", json_=json_, done=done)
    if before and before.health.disabled_at:
        since = moment_of(before.health.disabled_at)
        say(f"changes since {since}, when it was disabled, are not sent to it: {_CATCH_UP}")


@commands.command("disable")
def disable(name: Name, json_: Json = False) -> None:
    """Send nothing to an endpoint, and make no webhooks for it; those that wait are kept.

    Changes while it is disabled are not sent later, either: to catch up, list the rows, or follow
    the feed of changes (GET /api/v1/changes).
    """

    async def work(rindle: RindleSync) -> bool:
        if await rindle.outgoing.get(name) is None:
            return False
        await rindle.outgoing.disable(name)
        return True

    _print_done(name, "disabled", json_=json_, done=with_rindle(work))
    say(f"changes from now on are not sent to it, not even once it is enabled: {_CATCH_UP}")


@commands.command("delete")
def delete(name: Name, json_: Json = False) -> None:
    """Delete an endpoint, and its webhooks, also those that wait."""
    done = with_rindle(lambda rindle: rindle.outgoing.delete(name))
    _print_done(name, "deleted", json_=json_, done=done)


def _print_done(name: str, what: str, *, json_: bool, done: bool) -> None:
    if not done:
        say(NO_ENDPOINT)
        raise typer.Exit(1)
    if json_:
        print_json({"name": name, what: True})
    else:
        out.print(f"{visible(name)} is {what}", markup=False)


@commands.command("replay")
def replay(
    name: Name,
    webhook_id: Annotated[
        int | None,
        typer.Argument(
            metavar="WEBHOOK_ID",
            help="Its id, as `outgoing show` shows it; this, --dead or --since.",
            show_default=False,
        ),
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that are dead.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", help="All that died since then: 2026-11-23, 2026-11-23T12:00Z."),
    ] = None,
    json_: Json = False,
) -> None:
    """Send one webhook that has ended again, or those that are dead; the next `run` sends them."""
    if [webhook_id is not None, dead, since is not None].count(True) != 1:
        text = "needs the id of one webhook, --dead, or --since"
        raise ConfigurationError("outgoing replay", text)
    moment = moment_of_option(since)

    async def work(rindle: RindleSync) -> int | None:
        return await rindle.outgoing.replay(name, webhook_id=webhook_id, since=moment)

    replayed = _found(with_rindle(work))
    if json_:
        print_json({"replayed": replayed})
    elif replayed or webhook_id is None:
        out.print(f"{replayed} pending again")
    if not replayed and webhook_id is not None:
        say("no webhook of this endpoint that has ended has this id; `outgoing show` shows the ids")
        raise typer.Exit(1)


@commands.command("test")
def send_test(name: Name, json_: Json = False) -> None:
    """Send a webhook of type test.ping now, and show the answer; exits with 1 unless it is 2xx."""

    async def work(rindle: RindleSync) -> Answer | None:
        return await rindle.outgoing.test(name)

    answer = _found(with_rindle(work))
    attempt, took = answer.attempt, round(answer.took.total_seconds() * 1000)
    is_delivered = attempt.outcome is AttemptOutcome.DELIVERED
    if json_:
        print_json(
            {
                "delivered": is_delivered,
                "status": attempt.status,
                "reason": attempt.text,
                "duration_ms": took,
            }
        )
    else:
        told = f"delivered: answered {attempt.status}" if is_delivered else attempt.text
        out.print(f"{told}, after {took} ms", markup=False, soft_wrap=True)
    if not is_delivered:
        raise typer.Exit(1)


def _found(found: Any) -> Any:
    """What there is; else say that there is no such endpoint, and exit."""
    if found is None:
        say(NO_ENDPOINT)
        raise typer.Exit(1)
    return found
