"""The commands. Prints; everything else is done elsewhere."""

import asyncio
from importlib.metadata import version
from typing import Annotated, Final

import typer

from rindle_sync.cli import demo, doctor, events, rows, run
from rindle_sync.cli import scans as library
from rindle_sync.cli import status as figures
from rindle_sync.cli.output import chosen, complain, out
from rindle_sync.errors import ConfigurationError, RindleSyncError

app: Final = typer.Typer(
    name="rindle-sync",
    help="Keeps your own database in step with your video provider when webhooks are late, doubled or never come.\n\n"
    "Settings come from RINDLE_… variables or from rindle-sync.toml. Exit codes: 0 fine, 1 a finding or a failure, "
    "2 wrong usage or a wrong setting.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        out.print(f"rindle-sync {version('rindle-sync')}")
        raise typer.Exit


@app.callback()
def options(
    version_: Annotated[  # noqa: ARG001  its callback does it all
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Tell the version and end."
        ),
    ] = False,
    environment: Annotated[
        str | None,
        typer.Option(
            help="One of the environments in the settings; run, worker and endpoint take all."
        ),
    ] = None,
) -> None:
    """Options of every command; the help of all stands above."""
    if environment is not None:
        chosen["environment"] = environment


for group in (demo, rows, figures, run, library, doctor):
    app.add_typer(group.commands)
app.add_typer(events.events, name="events")


def main() -> None:
    """Run the command line; every failure of ours is one sentence and an exit code, never a traceback."""
    try:
        app()
    except ConfigurationError as error:
        _fail(error, 2)
    except RindleSyncError as error:
        _fail(error, 1)
    except OSError as error:
        raise SystemExit(f"error: the report could not be written ({error.strerror})") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except asyncio.CancelledError:
        raise SystemExit(143) from None


def _fail(error: RindleSyncError, code: int) -> None:
    complain(str(error))
    raise SystemExit(code)
