"""Commands; they print and decide nothing."""

import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from rindle_sync.cli.commands import MARKUP, LazyGroup
from rindle_sync.cli.logs import silent_until_started
from rindle_sync.cli.output import Host, LoadSettings, host, out, override, run_in, say_error
from rindle_sync.cli.streams import OutputFailed, prepare
from rindle_sync.errors import ConfigurationError, RindleSyncError

_HELP: Final = (
    "Keeps your own database in sync with your video provider, also when webhooks are late, come "
    "twice or never come.\n\n"
    "Settings come from {}. Exit codes: 0 success, 1 a finding or a failure, 2 wrong usage or a "
    "wrong setting."
)

app: Final = typer.Typer(
    name="rindle-sync",
    cls=LazyGroup,
    help=_HELP.format(Host.settings_from),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
    add_completion=False,
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        out.print(f"rindle-sync {version('rindle-sync')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version_: Annotated[  # noqa: ARG001  its callback does it all
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    environment: Annotated[
        str | None,
        typer.Option(
            help="One environment of the settings; run, worker and receive serve all of them."
        ),
    ] = None,
) -> None:
    """Options of every command."""
    override(environment=environment)
    command = context.invoked_subcommand or ""
    if command in host().replaced:
        text = f"is not run here: run `{host().replaced[command]}`"
        raise ConfigurationError(command, text)


def main(
    arguments: Sequence[str] | None = None,
    *,
    name: str | None = None,
    load: LoadSettings | None = None,
    framework: Host | None = None,
) -> None:
    """Run the command line; a failure is one sentence and an exit code, never a traceback.

    A framework passes the arguments of its own command, the name of it, and what makes the
    settings, which is called with those that options have set; or all that differs there.
    """
    run_in(framework or Host(name=name or Host.name, load=load))
    app.info.help = _HELP.format(host().settings_from)
    prepare()
    try:
        try:
            with silent_until_started():
                app(arguments, prog_name=name)
        finally:
            sys.stdout.flush()
    except RindleSyncError as error:
        say_error(str(error))
        code = 2 if isinstance(error, ConfigurationError) else 1
        raise SystemExit(code) from None
    except OutputFailed as error:
        if error.has_reader:
            say_error(f"the report could not be written ({error})")
        raise SystemExit(1) from None
    except OSError as error:
        file = f": {error.filename}" if error.filename else ""
        say_error(f"the system refused a call ({error.strerror or type(error).__name__}{file})")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # the code that shells expect
