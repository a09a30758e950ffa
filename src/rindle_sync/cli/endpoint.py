"""Commands about the provider's webhook endpoints: make one, list them, delete one."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Column, Table

from rindle_sync.cli.lifecycle import Yes, confirm
from rindle_sync.cli.output import (
    Json,
    host,
    literal,
    out,
    print_json,
    say,
    say_wait,
    visible,
    with_rindle,
)
from rindle_sync.domain import many, moment_of
from rindle_sync.errors import ConfigurationError

if TYPE_CHECKING:
    from rindle_sync.app import RindleSync
    from rindle_sync.config import Settings
    from rindle_sync.providers import CreatedWebhookEndpoint, WebhookEndpoint

commands: Final = typer.Typer(
    name="endpoint",
    help="The webhook endpoints of the environment at the provider: make, list and delete them.",
)

NO_ENDPOINT: Final = "no endpoint of this environment has this id or address"

_PRIVATE: Final = 0o600


@commands.command("create")
def create(
    address: Annotated[
        str,
        typer.Argument(
            help="Where the provider shall send webhooks: https://app.example.com/webhooks/mux.",
            show_default=False,
        ),
    ],
    secret_file: Annotated[
        Path | None,
        typer.Option(
            help="A new file for the secret, readable by you alone; else it goes to the terminal."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Make a webhook endpoint, enabled, and take its secret, which the provider shows only once.

    Standard output has nothing but the secret, so that a pipe gets just that; with a file it has
    nothing. Where the file cannot be written, no endpoint is made. The token needs the permission
    to write system data: system:write at Mux.
    """
    file = _SecretFile(secret_file) if secret_file else None

    async def work(rindle: RindleSync) -> tuple[Settings, CreatedWebhookEndpoint]:
        from rindle_sync.webhooks import create_endpoint

        rindle.settings.account.check_credentials()
        return rindle.settings, await create_endpoint(rindle.context, address)

    try:
        settings, created = with_rindle(work, say_wait)
    except BaseException:
        if file:
            file.remove()
        raise
    is_kept = file is not None and file.keep(created.secret)
    shown = _endpoint(created.endpoint)
    if json_:
        secret = {"secret_file": str(secret_file)} if is_kept else {"secret": created.secret}
        print_json(shown | secret)
    elif not is_kept:
        sys.stdout.write(f"{created.secret}\n")
        sys.stdout.flush()
    say(f"the endpoint {visible(created.endpoint.id)} is made, and enabled")
    _say_where(settings, secret_file if is_kept else None)
    if file and not is_kept:
        raise typer.Exit(1)


@commands.command("list")
def list_(json_: Json = False) -> None:
    """List the webhook endpoints of the environment; never a secret.

    The token needs the permission to read system data: system:read at Mux.
    """

    async def work(rindle: RindleSync) -> list[WebhookEndpoint]:
        from rindle_sync.webhooks import list_endpoints

        rindle.settings.account.check_credentials()
        return await list_endpoints(rindle.context)

    endpoints = with_rindle(work, say_wait)
    if json_:
        print_json([_endpoint(endpoint) for endpoint in endpoints])
        return
    table = Table(
        Column("id", no_wrap=True), "enabled", "created", "address", box=None, pad_edge=False
    )
    for endpoint in endpoints:
        created = moment_of(endpoint.created_at) if endpoint.created_at else "-"
        enabled = {True: "yes", False: "no", None: "-"}[endpoint.enabled]
        table.add_row(literal(endpoint.id), enabled, created, literal(endpoint.address))
    out.print(table)
    out.print(many(len(endpoints), "endpoint"))


@commands.command("delete")
def delete(
    id_or_address: Annotated[
        str, typer.Argument(help="Its id or its address, as `endpoint list` shows them.")
    ],
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Delete a webhook endpoint: the provider sends nothing there any more.

    Exit code 1 if there is no such endpoint.
    """

    async def work(rindle: RindleSync) -> WebhookEndpoint | None:
        from rindle_sync.webhooks import delete_endpoint, find_endpoint

        rindle.settings.account.check_credentials()
        endpoint = await find_endpoint(rindle.context, id_or_address)
        if endpoint is None:
            return None
        named = f"{visible(endpoint.id)} ({visible(endpoint.address)})"
        confirm(f"{named}: delete it? No webhook will be sent there.", is_sure=yes)
        return endpoint if await delete_endpoint(rindle.context, endpoint) else None

    endpoint = with_rindle(work, say_wait)
    if endpoint is None:
        say(NO_ENDPOINT)
        raise typer.Exit(1)
    if json_:
        print_json(_endpoint(endpoint))
    else:
        out.print(f"the endpoint {visible(endpoint.id)} is deleted", markup=False)


class _SecretFile:
    """A file that is made before there is a secret to write: then writing it can hardly fail."""

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            self._file = os.open(path, flags, _PRIVATE)
        except FileExistsError:
            text = "names a file that is there already: it is never overwritten; name a new one"
            raise ConfigurationError("--secret-file", text) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no such path"
            text = f"cannot be written ({reason}); no endpoint was made"
            raise ConfigurationError("--secret-file", text) from None

    def keep(self, secret: str) -> bool:
        """Write the secret; whether it is safe on the disk."""
        try:
            with os.fdopen(self._file, "w", encoding="utf-8") as file:
                file.write(f"{secret}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            reason = error.strerror or type(error).__name__
            say(f"the secret file could not be written ({reason}): here is the secret")
            return False
        return True

    def remove(self) -> None:
        """Leave nothing, as there is no secret."""
        with suppress(OSError):
            os.close(self._file)
            self._path.unlink()


def _endpoint(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "address": endpoint.address,
        "enabled": endpoint.enabled,
        "created_at": endpoint.created_at,
    }


def _say_where(settings: Settings, file: Path | None) -> None:
    """Say what becomes of the secret."""
    from rindle_sync.providers import variable_of

    account = settings.account
    name = account.name_of(account.webhook_secrets_name)
    variable = variable_of(name)
    if account.webhook_secrets:
        text = f"add the secret to {name} ({variable}), with a comma after those that are there"
    elif file:
        text = f"name the file in {name}_file ({variable}_FILE): {file}"
    else:
        text = f"put the secret into {name} ({variable})"
    say(host().words(f"{text}. It is not shown again"))
