"""Reads the settings of this process: the only reader of the environment."""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from rindle_sync.config.settings import PREFIX, Settings, misconfigured
from rindle_sync.errors import ConfigurationError

CONFIG_VARIABLE: Final = "RINDLE_CONFIG"
"""Names the TOML file; without it `rindle-sync.toml` in the current folder is read if it is there."""

DEFAULT_FILE: Final = Path("rindle-sync.toml")

_TABLES: Final = PREFIX + "ENVIRONMENTS__"


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process; raises `ConfigurationError` that names the first one that is wrong."""
    _refuse_typos(os.environ)
    path = _file()
    try:
        kind = type("Settings", (Settings,), {"toml": path, "__module__": __name__})
        settings: Settings = kind(**overrides)
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "is no UTF-8 text, as TOML must be") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(path), f"is no valid TOML: {error}") from None
    except ValidationError as error:
        raise misconfigured(error, path) from None
    except (
        ValueError,
        RecursionError,
    ):  # a number of too many digits, tables or lists too deep in each other
        raise ConfigurationError(str(path), "is no TOML that can be read") from None
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from None
    environments = _with_variables(settings.environments, os.environ)
    settings = (
        settings.model_copy(update={"environments": environments}) if environments else settings
    )
    settings.each()
    return settings


def _with_variables(
    tables: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The tables of the environments, with what stands in `RINDLE_ENVIRONMENTS__<NAME>__<SETTING>`."""
    names: dict[str, list[str]] = {}
    for name in tables:
        names.setdefault(name.upper().replace("-", "_"), []).append(name)
    found = {name: dict(table) for name, table in tables.items()}
    for variable in sorted(environment):
        if not variable.upper().startswith(_TABLES):
            continue
        name, _, setting = variable.upper().removeprefix(_TABLES).partition("__")
        if name not in names or not setting:
            raise ConfigurationError(
                variable,
                "is about an environment that has no table; "
                + (
                    f"there are {', '.join(tables)}"
                    if tables
                    else "write [environments.<name>] into the TOML file"
                ),
            )
        if len(names[name]) > 1:
            both = " and ".join(names[name])
            raise ConfigurationError(
                variable, f"is about {both} alike; write it into the table of the one that is meant"
            )
        found[names[name][0]][setting.lower()] = environment[variable]
    return found


def _file() -> Path | None:
    named = os.environ.get(CONFIG_VARIABLE)
    if named and not _is_file(Path(named)):
        raise ConfigurationError(
            CONFIG_VARIABLE, f"names a file that is not there: {ascii(named)[1:-1]}"
        )
    path = Path(named) if named else DEFAULT_FILE
    return path if path.is_file() else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, or a folder that we may not look into
        return False


def _refuse_typos(environment: Mapping[str, str]) -> None:
    known = [PREFIX + name.upper() for name in Settings.model_fields] + [CONFIG_VARIABLE]
    for variable in sorted(environment):
        if variable.upper().startswith(_TABLES):
            continue
        if variable.upper() == PREFIX + "ENVIRONMENTS":
            told = f"stand in the TOML file, not in {PREFIX}ENVIRONMENTS: [environments.<name>], one table for each"
            raise ConfigurationError("environments", told)
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            near = get_close_matches(variable.upper(), known, n=1, cutoff=0.85)
            if near:
                raise ConfigurationError(variable, f"is no setting; did you mean {near[0]}?")
