"""The command that registers rows: those of its options, or those of a file."""

from pathlib import Path
from typing import Annotated, Final

import typer

from rindle_sync.cli.output import Json, out, print_json, with_rindle
from rindle_sync.domain import State
from rindle_sync.errors import ConfigurationError

commands: Final = typer.Typer()

Reference = Annotated[
    str | None, typer.Option(help="Your app's own id of the video.", show_default=False)
]
Profile = Annotated[str, typer.Option(help="Which of its renditions or uses this is.")]
AssetId = Annotated[str | None, typer.Option(help="The provider's id of the asset.")]
UploadId = Annotated[str | None, typer.Option(help="The provider's id of the direct upload.")]
Beginning = Annotated[
    State | None,
    typer.Option(
        help="pending, uploading, processing or ready; by default processing, "
        "or uploading without an asset's id."
    ),
]
Policy = Annotated[
    str | None,
    typer.Option(help="public, signed or drm, as you asked for it; several with commas."),
]
File = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Register every line of a file: CSV with a header, or JSON lines (.jsonl).",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --from: report, and write nothing.")]


@commands.command()
def track(
    reference: Reference = None,
    profile: Profile = "default",
    provider_asset_id: AssetId = None,
    upload_id: UploadId = None,
    state: Beginning = None,
    playback_policy: Policy = None,
    file: File = None,
    dry_run: DryRun = False,
    json_: Json = False,
) -> None:
    """Register one row, or those of a file, to be kept in sync from now on.

    What is registered already, and differs in nothing, is left as it stands. The columns of a file
    are reference, profile, provider_asset_id, provider_upload_id, passthrough, playback_policy,
    ingest_mode and state; all but reference and one of the ids may be left out. Exit code 1 where a
    row is refused: the other lines of a file are registered all the same.
    """
    if file:
        given = reference, provider_asset_id, upload_id, state, playback_policy
        if profile != "default" or any(given):
            text = "reads the rows from a file: leave out the options of a single row"
            raise ConfigurationError("--from", text)
        from rindle_sync.cli.track_file import track_file

        track_file(file, dry_run=dry_run, json_=json_)
        return
    if dry_run:
        raise ConfigurationError("--dry-run", "is for --from, which reads the rows from a file")
    if reference is None:
        raise ConfigurationError("--reference", "is needed, or --from")
    if not (provider_asset_id or upload_id):
        text = "is needed, or --upload-id: without an id of the provider there is nothing to check"
        raise ConfigurationError("--provider-asset-id", text)
    row = with_rindle(
        lambda rindle: rindle.track(
            reference=reference,
            profile=profile,
            provider_asset_id=provider_asset_id,
            provider_upload_id=upload_id,
            state=state,
            playback_policy=playback_policy,
        )
    )
    if json_:
        fields = "reference", "state", "check_at"
        print_json({"row_id": row.id} | {name: getattr(row, name) for name in fields})
    else:
        out.print(f"row {row.id} is tracked as {row.state}")
