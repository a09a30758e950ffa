"""Reads the environment and the file of this process; the only reader of the environment."""

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import PREFIX, trimmed

CONFIG_VARIABLE: Final = "RINDLE_CONFIG"
"""Names the TOML file; without it `DEFAULT_FILE` in the current folder is read, if it exists."""

DEFAULT_FILE: Final = Path("rindle-sync.toml")

_TABLES: Final = PREFIX + "ENVIRONMENTS__"

_OF_A_SERVICE: Final = re.compile(
    r".+_(SERVICE_HOST=.*|SERVICE_PORT(_\w+)?=\d+|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?=.*"
    r"|PORT=(tcp|udp|sctp)://.*)",
    re.DOTALL,
)
"""A variable that Kubernetes makes of each service, whatever the service is called.

https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""


def _ours() -> dict[str, str]:
    """The variables of this process with our prefix, as they are written, in a fixed order."""
    found = {}
    for variable, value in sorted(os.environ.items()):
        name = variable.upper()
        # the port of a service `rindle-console` has the name of a setting
        if name.startswith(PREFIX) and not _OF_A_SERVICE.fullmatch(f"{name}={value}"):
            found[variable] = value
    return found


def variables() -> dict[str, str]:
    """What stands in the variables of this process, by the names that settings would have."""
    return {name.upper().removeprefix(PREFIX).lower(): value for name, value in _ours().items()}


def config_file() -> Path | None:
    """The TOML file of this process; raises `ConfigurationError` where a named one is not there."""
    named = trimmed(os.environ.get(CONFIG_VARIABLE))
    if not named:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    path, is_there = Path(named), False
    with suppress(OSError):  # a name too long, or a folder that we may not look into
        is_there = path.is_file()
    if not is_there:
        text = f"names a file that is not there: {ascii(named)[1:-1]}"
        raise ConfigurationError(CONFIG_VARIABLE, text)
    return path


def read_file(path: Path) -> dict[str, Any]:
    """What stands in the TOML file; raises `ConfigurationError`."""
    try:
        return tomllib.loads(trimmed(path.read_bytes().decode()))
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "is no UTF-8 text, as TOML must be") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(path), f"is no valid TOML: {error}") from None
    except (ValueError, RecursionError):
        # a number of too many digits, tables or lists too deep in each other
        raise ConfigurationError(str(path), "is no TOML that can be read") from None
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from None


def with_variables(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The tables of the environments, with what variables of this process add to them."""
    names: dict[str, list[str]] = {}
    for name in tables:
        names.setdefault(name.upper().replace("-", "_"), []).append(name)
    found = {name: dict(table) for name, table in tables.items()}
    for variable, value in _ours().items():
        if not variable.upper().startswith(_TABLES):
            continue
        name, _, setting = variable.upper().removeprefix(_TABLES).partition("__")
        if name not in names or not setting:
            there = "write [environments.<name>] into the TOML file"
            if tables:
                there = f"there are {', '.join(tables)}"
            text = f"is about an environment that has no table; {there}"
            raise ConfigurationError(variable, text)
        if len(names[name]) > 1:
            both = " and ".join(names[name])
            text = f"is about {both} alike; write it into the table of the one that is meant"
            raise ConfigurationError(variable, text)
        found[names[name][0]][setting.lower()] = value
    return found


def refuse_typos(names: Collection[str]) -> None:
    """Raise `ConfigurationError` for a variable with almost the name of a setting."""
    known = [PREFIX + name.upper() for name in names] + [CONFIG_VARIABLE]
    for variable in _ours():
        if variable.upper().startswith(_TABLES):
            continue
        if variable.upper() == PREFIX + "ENVIRONMENTS":
            text = (
                f"stand in the TOML file, not in {PREFIX}ENVIRONMENTS: "
                "[environments.<name>], one table for each"
            )
            raise ConfigurationError("environments", text)
        if variable.upper() not in known:
            near = get_close_matches(variable.upper(), known, n=1, cutoff=0.85)
            if near:
                raise ConfigurationError(variable, f"is no setting; did you mean {near[0]}?")
