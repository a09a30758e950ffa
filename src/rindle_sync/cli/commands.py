"""The commands by their names, each imported when it is asked for."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

MARKUP: Final = "markdown"

_MODULES: Final = {
    "demo": "demo",
    "emulator": "demo",
    "migrate": "rows",
    "sync": "rows",
    "track": "track",
    "list": "listing",
    "upload": "lifecycle",
    "create-asset": "lifecycle",
    "replace": "lifecycle",
    "untrack": "lifecycle",
    "status": "status",
    "explain": "explain",
    "run": "run",
    "worker": "run",
    "receive": "run",
    "sweep": "scans",
    "audit": "scans",
    "backfill": "scans",
    "doctor": "doctor",
    "events": "events",
    "endpoint": "endpoint",
    "outgoing": "outgoing",
    "token": "tokens",
}
"""The modules of the commands, in the order of the help."""


class Commands(Mapping[str, Any]):
    """The commands, as Typer makes them of their functions."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module = import_module(f"rindle_sync.cli.{_MODULES[name]}")
            group = typer.Typer(rich_markup_mode=MARKUP)
            group.add_typer(module.commands)
            self._made |= get_group(group).commands
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


class LazyGroup(TyperGroup):
    """The whole command line: a command does not wait for the making of all the others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands: Any = Commands()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  as Typer calls it
        """The names, in the order of the help."""
        return list(self.commands)
