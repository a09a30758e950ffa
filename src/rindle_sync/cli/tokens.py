"""Commands about the tokens of the HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from rindle_sync.cli.output import (
    WIDE,
    Json,
    literal,
    out,
    print_json,
    say,
    visible,
    with_installation,
)
from rindle_sync.domain import moment_of

if TYPE_CHECKING:
    from rindle_sync.installation import Installation
    from rindle_sync.store.api_tokens import ApiToken

commands: Final = typer.Typer(
    name="token", help="The tokens of the HTTP API: make, list and revoke them."
)

_LONGEST: Final = 3650
"""Days."""

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Your name for it, as that of the program.", show_default=False
    ),
]


@commands.command("create")
def create_token(
    name: Name,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="It may read, and change nothing.")
    ] = False,
    sees_provider_ids: Annotated[
        bool, typer.Option("--sees-provider-ids", help="It is shown the provider's ids, too.")
    ] = False,
    environment: Annotated[
        str | None, typer.Option(help="The only environment that it may use; by default all.")
    ] = None,
    expires_in_days: Annotated[
        int | None,
        typer.Option(min=1, max=_LONGEST, help="For how many days it is valid; by default always."),
    ] = None,
    json_: Json = False,
) -> None:
    """Make a token, and print it: it is shown this once, and stored nowhere.

    The token alone goes to standard output, for a file or a store of secrets. Exit code 1 if there
    is a token of this name.
    """

    async def work(installation: Installation) -> tuple[ApiToken, str]:
        from rindle_sync.app import now
        from rindle_sync.store.api_tokens import ApiTokens

        if environment is not None:
            installation.of(environment)
        made_at = now()
        lasts = None if expires_in_days is None else timedelta(days=expires_in_days)
        return await ApiTokens(installation.database).create(
            name,
            may_write=not read_only,
            sees_provider_ids=sees_provider_ids,
            environment=environment,
            expires_at=made_at + lasts if lasts else None,
            now=made_at,
        )

    token, text = with_installation(work)
    if json_:
        print_json({"token": text} | asdict(token))
        return
    out.print(text, markup=False, soft_wrap=True)
    until = f"until {moment_of(token.expires_at)}" if token.expires_at else "until it is revoked"
    where = f"the environment {token.environment}" if token.environment else "all environments"
    sentence = f"token {token.name} ({_rights(token)}) is valid for {where}, {until}"
    say(visible(f"{sentence}; it is not shown again"))


@commands.command("list")
def list_tokens(json_: Json = False) -> None:
    """List the tokens, by name, and when each was last used. Their texts are stored nowhere."""

    async def work(installation: Installation) -> Sequence[ApiToken]:
        from rindle_sync.store.api_tokens import ApiTokens

        return await ApiTokens(installation.database).list()

    tokens = with_installation(work)
    if json_:
        print_json(tokens)
        return
    names = "name", "rights", "environment", "created", "last used", "expires"
    table = Table(*names, box=None, pad_edge=False)
    for token in tokens:
        cells = (
            token.name,
            _rights(token),
            token.environment or "all",
            _shown(token.created_at),
            _shown(token.last_used_at),
            _shown(token.expires_at),
        )
        table.add_row(*map(literal, cells))
    out.print(table, width=WIDE, crop=False)


@commands.command("revoke")
def revoke_token(name: Name, json_: Json = False) -> None:
    """Delete a token: from the next request on it is refused. Exit code 1 if there is none."""

    async def work(installation: Installation) -> bool:
        from rindle_sync.store.api_tokens import ApiTokens

        return await ApiTokens(installation.database).revoke(name)

    was_there = with_installation(work)
    if json_:
        print_json({"revoked": was_there})
    elif was_there:
        out.print(f"token {visible(name)} is revoked", markup=False)
    if not was_there:
        say("no token has this name; `token list` shows the names")
        raise typer.Exit(1)


def _rights(token: ApiToken) -> str:
    rights = "reads and writes" if token.may_write else "reads"
    return f"{rights}, sees provider ids" if token.sees_provider_ids else rights


def _shown(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "never"
