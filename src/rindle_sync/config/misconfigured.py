"""A complaint of pydantic about settings as an error of rindle-sync, with its remedy."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import variable_of


def misconfigured(
    error: ValidationError,
    known: Mapping[str, FieldInfo],
    path: Path | None = None,
    table: str = "",
) -> ConfigurationError:
    """The first complaint of `error`, with the setting's name and the way to fix it."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return ConfigurationError(table.rstrip(".") or "settings", message)
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; see docs/settings.md for all of them"
        return ConfigurationError(name, f"is no setting (in {path or 'the arguments'}){hint}")
    variable = variable_of(table + name)
    where = f"set {variable} or {name} in the TOML file"
    if table:
        where = f"set it in its table, or {variable}"
    if name == "environments":
        where = "write [environments.<name>] into the TOML file, one table for each"
    return ConfigurationError(table + name, f"{message[0].lower()}{message[1:]} ({where})")
