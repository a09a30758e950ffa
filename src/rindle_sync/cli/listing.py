"""The command that lists rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Column, Table

from rindle_sync.cli.output import WIDE, Json, literal, out, print_json, say, with_rindle
from rindle_sync.domain import (
    MOST_LISTED,
    ErrorKind,
    ProviderAsset,
    RowFilters,
    RowPage,
    State,
    hide,
)
from rindle_sync.errors import ConfigurationError

if TYPE_CHECKING:
    from rindle_sync.app import RindleSync

commands: Final = typer.Typer()

_SHOWN: Final = (
    *("reference", "profile", "state", "error_kind", "last_sync_error", "title", "duration"),
    *("provider_created_at", "updated_at", "checked_at", "check_at"),
)
"""The fields of a row in JSON, beside its id."""


States = Annotated[
    list[State] | None, typer.Option("--state", help="Only rows in this state; may be repeated.")
]
ErrorKinds = Annotated[
    list[ErrorKind] | None,
    typer.Option("--error-kind", help="Only rows with this kind of error; may be repeated."),
]
References = Annotated[
    list[str] | None,
    typer.Option("--reference", help="Only the rows of this video; may be repeated."),
]
Since = Annotated[
    str | None,
    typer.Option(
        help="Only rows whose asset was made then or later: 2026-11-23, or with a time, in UTC "
        "unless it says another zone."
    ),
]
Limit = Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="This many rows at most.")]
After = Annotated[
    str | None,
    typer.Option(help="Go on behind a page: what it named as the next, with the same options."),
]
OldestFirst = Annotated[
    bool, typer.Option("--oldest-first", help="The oldest assets first, not the newest.")
]
Count = Annotated[bool, typer.Option("--count", help="Only tell how many rows there are in all.")]


@commands.command("list")
def list_rows(
    state: States = None,
    error_kind: ErrorKinds = None,
    reference: References = None,
    profile: Annotated[str | None, typer.Option(help="Only rows with this profile.")] = None,
    since: Since = None,
    limit: Limit = 50,
    after: After = None,
    oldest_first: OldestFirst = False,
    count: Count = False,
    json_: Json = False,
) -> None:
    """List rows, those with the newest assets first, page by page.

    Reads only the database.
    """
    filters = RowFilters(
        state=state or None,
        error_kind=error_kind or None,
        references=reference or None,
        profile=profile,
        since=moment_of_option(since),
    )
    if count:
        number = with_rindle(lambda rindle: rindle.count(**filters))
        if json_:
            print_json({"count": number})
        else:
            out.print(str(number))
        return

    async def work(rindle: RindleSync) -> RowPage:
        return await rindle.list(limit=limit, after=after, newest_first=not oldest_first, **filters)

    page = with_rindle(work)
    if json_:
        print_json({"rows": [_row(row) for row in page.rows], "next": page.next})
    else:
        _print(page)


def moment_of_option(text: str | None) -> datetime | None:
    """The moment that `--since` names; raises `ConfigurationError`."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        told = "must be a date, as in 2026-11-23, or a date and time, as in 2026-11-23T12:00:00Z"
        raise ConfigurationError("--since", told) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _row(row: ProviderAsset) -> dict[str, Any]:
    shown: dict[str, Any] = {name: getattr(row, name) for name in _SHOWN}
    shown |= {
        "reference": row.shown_reference,
        "title": hide(row.title or "", *row.secrets) or None,
    }
    return {"row_id": row.id} | shown


def _print(page: RowPage) -> None:
    names = "reference", "profile", "state", "asset made", "changed", "error"
    table = Table(Column("row", no_wrap=True, min_width=36), *names, box=None, pad_edge=False)
    for row in page.rows:
        error = f"{row.error_kind}: {row.last_sync_error or ''}" if row.error_kind else ""
        cells = (
            row.shown_reference,
            row.profile,
            row.state,
            f"{row.provider_created_at:%Y-%m-%d %H:%M:%S}",
            f"{row.updated_at:%Y-%m-%d %H:%M:%S}",
            error,
        )
        table.add_row(row.id, *map(literal, cells))
    out.print(table, width=WIDE, crop=False)
    if page.next:
        say(f"there are more: add --after {page.next}")
