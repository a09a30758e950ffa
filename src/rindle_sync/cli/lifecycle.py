"""Commands that have the provider make something, give rows other assets, and forget rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from rindle_sync.cli.output import (
    Json,
    err,
    literal,
    out,
    print_json,
    read_line,
    say,
    say_wait,
    with_rindle,
)
from rindle_sync.cli.rows import NO_ROW, AnyId, named_row
from rindle_sync.domain import ProviderAsset, redact_id
from rindle_sync.errors import ConfigurationError

if TYPE_CHECKING:
    from rindle_sync.app import RindleSync

commands: Final = typer.Typer()

_YEAR: Final = 365 * 24 * 3600
"""Seconds; no provider waits so long, and each says itself how long it does."""

Reference = Annotated[str, typer.Option(help="Your app's own id of the video.")]
Profile = Annotated[str, typer.Option(help="Which of its renditions or uses this is.")]
Policies = Annotated[
    str | None,
    typer.Option(
        "--playback-policy", help="public or signed; several with commas. By default public."
    ),
]
Test = Annotated[bool, typer.Option("--test", help="Make a test asset.")]
AssetSettings = Annotated[
    str | None,
    typer.Option("--new-asset-settings", help="More of the provider's settings, as a JSON object."),
]
InPlace = Annotated[
    bool, typer.Option("--replace", help="Begin a ready row again, too: it plays no more.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]


def _asset_settings(text: str | None) -> Mapping[str, Any]:
    try:
        settings = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        text = 'must be a JSON object, as in \'{"video_quality": "plus"}\''
        raise ConfigurationError("--new-asset-settings", text)
    return settings


def _policies(text: str | None) -> list[str] | None:
    return text.split(",") if text else None


@commands.command()
def upload(
    reference: Reference,
    cors_origin: Annotated[
        str, typer.Option(help="The origin of the page that sends the file; * for any.")
    ],
    profile: Profile = "default",
    playback_policy: Policies = None,
    expires_in: Annotated[
        int,
        typer.Option(
            min=1, max=_YEAR, help="For how many seconds the provider waits for the file."
        ),
    ] = 3600,
    test: Test = False,
    new_asset_settings: AssetSettings = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Print the URL again while the upload waits for its file."),
    ] = False,
    replace: InPlace = False,
    json_: Json = False,
) -> None:
    """Create a direct upload, and print its URL, to which the file is sent by PUT.

    The URL is a key: whoever has it can send the file. A row of this reference that has failed, or
    was deleted, begins again. Send the file with `curl -T film.mp4 "$URL"`.
    """
    link = with_rindle(
        lambda rindle: rindle.begin_upload(
            reference=reference,
            cors_origin=cors_origin,
            profile=profile,
            playback_policy=_policies(playback_policy),
            expires_in=timedelta(seconds=expires_in),
            test=test,
            new_asset_settings=_asset_settings(new_asset_settings),
            resume=resume,
            replace=replace,
        ),
        say_wait,
    )
    if json_:
        print_json({"row_id": link.row_id, "url": link.url, "expires_at": link.expires_at})
    else:
        out.print(link.url, markup=False, soft_wrap=True)
        say(f"row {link.row_id} waits for the file until {link.expires_at:%Y-%m-%d %H:%M:%S} UTC")


@commands.command()
def create_asset(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="Where the provider gets the file; - to read it from standard input.",
            show_default=False,
        ),
    ],
    reference: Reference,
    profile: Profile = "default",
    playback_policy: Policies = None,
    test: Test = False,
    new_asset_settings: AssetSettings = None,
    replace: InPlace = False,
    json_: Json = False,
) -> None:
    """Have the provider make an asset of the file at a URL, and keep its row in sync.

    The URL is stored nowhere. Other users of this machine can read it among the arguments: give -,
    and a signed one on standard input. A row of this reference that has failed, or was deleted,
    begins again. An asset is never made twice: where the provider did not answer, the row stays
    pending until a webhook or a check says whether the asset is there.
    """
    given = read_line("URL") if url == "-" else url
    row = with_rindle(
        lambda rindle: rindle.create_asset(
            reference=reference,
            input=given,
            profile=profile,
            playback_policy=_policies(playback_policy),
            test=test,
            new_asset_settings=_asset_settings(new_asset_settings),
            replace=replace,
        ),
        say_wait,
    )
    _report(row, f"row {row.id} is {row.state}", is_json=json_)


@commands.command()
def replace(
    any_id: AnyId,
    provider_asset_id: Annotated[
        str | None, typer.Option(help="The provider's id of the new asset.")
    ] = None,
    upload_id: Annotated[
        str | None, typer.Option(help="The provider's id of the new direct upload.")
    ] = None,
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Give a row another asset that the provider has.

    The row is checked within seconds, and becomes what the provider says of the new asset. The old
    asset stays at the provider; what is still said of it matches no row. Exit code 1 if there is no
    such row.
    """
    if not (provider_asset_id or upload_id):
        text = "is needed, or --upload-id: what shall the row be about?"
        raise ConfigurationError("--provider-asset-id", text)

    async def work(rindle: RindleSync) -> ProviderAsset | None:
        row = await named_row(rindle, any_id)
        if row is None:
            return None
        new = redact_id(provider_asset_id) or f"upload {redact_id(upload_id)}"
        confirm(f"{_named(row)}: replace {row.tag or 'no asset'} by {new}?", is_sure=yes)
        return await rindle.replace(
            row.id, provider_asset_id=provider_asset_id, provider_upload_id=upload_id
        )

    row = _found(with_rindle(work))
    _report(row, f"row {row.id} is {row.state}, and will be checked", is_json=json_)


@commands.command()
def untrack(
    any_id: AnyId,
    history: Annotated[
        bool,
        typer.Option("--history", help="Delete its changes, too, those not dispatched among them."),
    ] = False,
    webhook_bodies: Annotated[
        bool, typer.Option("--webhook-bodies", help="Empty the stored bodies of webhooks about it.")
    ] = False,
    delete_asset: Annotated[
        bool, typer.Option("--delete-asset", help="Delete its asset at the provider first.")
    ] = False,
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Forget a row: nothing is kept in sync, and no scan makes a row of its asset again.

    Only `track` of its asset does. The asset stays at the provider, unless it is to be deleted: if
    the provider does not do that, nothing is forgotten. Exit code 1 then, and if there is no such
    row.
    """

    async def work(rindle: RindleSync) -> ProviderAsset | None:
        row = await named_row(rindle, any_id)
        if row is None:
            return None
        asset = ", and DELETE its asset at the provider" if delete_asset else ""
        confirm(f"{_named(row)}: forget it{asset}?", is_sure=yes)
        return await rindle.untrack(
            row.id, history=history, webhook_bodies=webhook_bodies, delete_asset=delete_asset
        )

    row = _found(with_rindle(work, say_wait))
    _report(row, f"row {row.id} is forgotten; it was {row.state}", is_json=json_)


def _found(row: ProviderAsset | None) -> ProviderAsset:
    if row is None:
        say(NO_ROW)
        raise typer.Exit(1)
    return row


def _named(row: ProviderAsset) -> str:
    return f"row {row.id} ({literal(row.shown_reference)}, {literal(row.profile)}, {row.state})"


def confirm(question: str, *, is_sure: bool) -> None:
    """Ask before something is done that cannot be undone."""
    if is_sure:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError("--yes", "is needed where nobody can be asked")
    if not typer.confirm(question, err=True):
        err.print("nothing was done")
        raise typer.Exit(1)


def _report(row: ProviderAsset, sentence: str, *, is_json: bool) -> None:
    if is_json:
        print_json({"row_id": row.id, "reference": row.shown_reference, "state": row.state})
    else:
        out.print(sentence, markup=False)
