"""`manage.py rindle`: the command line of rindle-sync, with the settings of the project."""

from argparse import REMAINDER
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from rindle_sync.integrations.django import conf

_OF_DJANGO: Final = ("--settings", "--pythonpath")
"""Options that Django has read before: each has a value."""


class Command(BaseCommand):
    """Runs `rindle-sync` within the project; options, reports and exit codes are the same."""

    help = "Runs, watches and repairs the sync of videos: run, worker, status, doctor, explain …"

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command line; raises `SystemExit` with its exit code."""
        try:
            _main(_ours(argv[2:]), name=f"{Path(argv[0]).name} {argv[1]}")
        except CommandError as error:
            self.stderr.write(str(error))
            raise SystemExit(error.returncode) from None
        finally:
            connections.close_all()

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """Print what `rindle-sync --help` does."""
        _main(["--help"], name=f"{Path(prog_name).name} {subcommand}")

    def add_arguments(self, parser: CommandParser) -> None:
        """Take all, for `call_command`."""
        parser.add_argument("arguments", nargs=REMAINDER)

    def handle(self, *_: Any, arguments: Sequence[str], **__: Any) -> None:
        """Run for `call_command`; raises `CommandError` where the exit code is not zero."""
        try:
            _main(arguments, name="manage.py rindle")
        except SystemExit as end:
            if end.code:
                code = end.code if isinstance(end.code, int) else 1
                text = f"rindle {' '.join(arguments)} ended with the exit code {code}"
                raise CommandError(text, returncode=code) from None


def _ours(arguments: Sequence[str]) -> list[str]:
    """The arguments without the options of Django."""
    found, is_value = [], False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if not is_value and name not in _OF_DJANGO:
            found.append(argument)
        is_value = not is_value and name in _OF_DJANGO and not equals
    return found


def _main(arguments: Sequence[str], *, name: str) -> None:
    try:
        from rindle_sync.cli import main
        from rindle_sync.cli.output import Host
    except ModuleNotFoundError:
        raise CommandError("needs an extra; pip install 'rindle-sync[cli]'") from None
    from rindle_sync.integrations.django.signals import connect_signals

    framework = Host(
        name=name,
        settings_from=f"the dict {conf.SETTING}, RINDLE_… variables or rindle-sync.toml",
        load=conf.load_to_connect,
        prepare=connect_signals,
        serves_webhooks=True,
        replaced={"migrate": conf.migrate_command()},
        words=conf.own_words,
    )
    main(arguments, name=name, framework=framework)
