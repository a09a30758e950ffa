"""The page of the commands."""

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

from typer.main import get_command

from reference.markdown import attribute_docs, page, paragraphs, sentence, table
from rindle_sync.cli import app
from rindle_sync.diagnostics import Check, Status
from rindle_sync.reconcile import Drift, Filled, Report, SweepResult

_ABOUT: Final = """
`rindle-sync [--environment NAME] <command>`, or `python -m rindle_sync <command>`.
[Using the command line](../commands.md) has exit codes, and what `--json` prints.
"""
_KEYS: Final = ("key of `--json`", "meaning")
_WORDS: Final[dict[str, tuple[type, tuple[str, str]]]] = {
    "status": (Status, _KEYS),
    "sweep": (SweepResult, _KEYS),
    "audit": (Report, _KEYS),
    "backfill": (Filled, _KEYS),
    "doctor": (Check, ("check", "a finding where")),
}
"""The commands whose words are explained, by the classes that hold them."""
_DRIFTS: Final = ("finding of `drift`", "meaning")


def commands() -> str:
    """Every command with its arguments and options."""
    parts = [
        part for name, command in _commands(get_command(app)) for part in _command(name, command)
    ]
    return page("Commands of rindle-sync", paragraphs(_ABOUT), *parts)


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _command(name: str, command: Any) -> tuple[str, ...]:
    shown = [param for param in command.params if param.name != "help"]
    lines = [
        (_param(param), _default(param), sentence(getattr(param, "help", ""))) for param in shown
    ]
    titles = "argument or option", "default", "meaning"
    return f"## `{name}`", paragraphs(command.help), table(titles, lines), *_words(name)


def _words(name: str) -> Iterator[str]:
    if name in _WORDS:
        owner, titles = _WORDS[name]
        yield table(titles, _explained(owner))
    if name == "audit":
        yield table(_DRIFTS, _explained(Drift))


def _explained(owner: type) -> Iterator[tuple[str, str]]:
    for word, doc in attribute_docs(owner).items():
        member = getattr(owner, word, None)
        yield f"`{member.value if isinstance(member, Enum) else word}`", doc


def _param(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{param.metavar or param.name.upper()}`"
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    kind = getattr(param, "bare_type", None)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"{names}: {', '.join(f'`{choice.value}`' for choice in kind)}"
    return names


def _default(param: Any) -> str:
    value = getattr(param.default, "value", param.default)
    is_shown = value not in {None, ""} and not isinstance(value, (bool, list, tuple))
    return f"`{value}`" if is_shown and not callable(value) else ""
