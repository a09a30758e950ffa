"""Commands about rows."""

from typing import Annotated, Any, Final

import typer

from rindle_sync.cli.output import (
    Engine,
    Json,
    choose,
    connected,
    connected_all,
    out,
    print_json,
    say,
)
from rindle_sync.domain import State, Trigger, Verdict
from rindle_sync.errors import ConfigurationError
from rindle_sync.reconcile import Applied

commands: Final = typer.Typer()


@commands.command()
def migrate(engine: Engine = None, json_: Json = False) -> None:
    """Create our tables, or bring them to the newest form. Safe to run again, and by two at once."""
    choose(engine=engine)
    before, after = connected_all(lambda installation: installation.migrate())
    if json_:
        print_json({"from": before, "to": after})
    elif before == after:
        out.print(f"the tables are at {after} already")
    else:
        out.print(f"the tables are at {after} now" + (f" (from {before})" if before else ""))


@commands.command()
def track(
    reference: Annotated[str, typer.Option(help="Your app's own reference to the video.")],
    profile: Annotated[
        str, typer.Option(help="Which of its renditions or uses this is.")
    ] = "default",
    provider_asset_id: Annotated[
        str | None, typer.Option(help="The provider's id of the asset.")
    ] = None,
    upload_id: Annotated[
        str | None, typer.Option(help="The provider's id of the direct upload.")
    ] = None,
    state: Annotated[
        State | None, typer.Option(help="processing by default, or uploading without an asset.")
    ] = None,
    playback_policy: Annotated[
        str | None, typer.Option(help="public, signed or drm, as you asked for it.")
    ] = None,
    json_: Json = False,
) -> None:
    """Register one row, to be kept in step from now on."""
    if not (provider_asset_id or upload_id):
        raise ConfigurationError(
            "--provider-asset-id", "or --upload-id is needed: by which could we ask the provider?"
        )
    row = connected(
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
        print_json(
            {
                "row_id": row.id,
                "reference": row.reference,
                "state": row.state,
                "check_at": row.check_at,
            }
        )
    else:
        out.print(f"row {row.id} is tracked as {row.state}")


@commands.command()
def sync(
    provider_asset_id: Annotated[
        str, typer.Argument(help="The provider's id of the asset.", show_default=False)
    ],
    json_: Json = False,
) -> None:
    """Bring one row into step with the provider, now."""
    applied = connected(lambda rindle: rindle.sync(provider_asset_id, trigger=Trigger.CLI))
    if applied is None:
        say(
            "no row here has this provider id (not your own reference): it was deleted, or never tracked"
        )
        raise typer.Exit(1)
    if json_:
        print_json(_synced(applied))
    else:
        row, decision = applied.row, applied.decision
        out.print(
            f"row {row.id}: {applied.before.state} -> {row.state} ({decision.reason})", markup=False
        )
        if row.last_sync_error:
            out.print(f"  {row.last_sync_error}", markup=False)
    if applied.decision.verdict is Verdict.UNANSWERED:
        raise typer.Exit(1)


def _synced(applied: Applied) -> dict[str, Any]:
    row, decision = applied.row, applied.decision
    return {
        "row_id": row.id,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "from": applied.before.state,
        "to": row.state,
        "error_kind": row.error_kind,
        "last_sync_error": row.last_sync_error,
        "check_at": row.check_at,
    }
