"""Settings that an app gives in the configuration of its framework."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final

from rindle_sync.config.frames import hides_values
from rindle_sync.config.in_tests import is_in_tests
from rindle_sync.config.settings import Settings, fields_of, from_variables, settings_of_process
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import PROVIDERS
from rindle_sync.store.schema import engine_url

_WHERE: Final = re.compile(r" \(set RINDLE_\w+ or \w+ in the TOML file\)$")
"""How an error says where else a setting can stand."""

_OF_FILE: Final = re.compile(
    r"stand in the TOML file.*|write \[environments\.<name>\] into the TOML file[^)]*"
)
_TABLES: Final = (
    "set a dictionary: for the name of each environment, a dictionary with its settings"
)

_OTHER_DATABASE: Final = (
    "of the app is another database than that of the test whose settings are in force: "
    "give the app `rindle_settings`, or no settings in tests"
)


@hides_values
def settings_of_app(
    given: Mapping[str, Any], written: str, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings of this process, with those of an app over them, and `overrides` over these.

    `given` and `written` are as in `values_of_app`. Raises `ConfigurationError`, which names a
    setting as the app writes it, for a database URL that is wrong as well.
    """
    values, overrides = values_of_app(given, written), overrides or {}
    try:
        settings = settings_of_process({**values, **overrides})
        engine_url(settings.database_url)
    except ConfigurationError as error:
        if error.setting == "environments":
            text = _OF_FILE.sub(_TABLES, str(error).removeprefix("environments: "))
            raise ConfigurationError(written.format("ENVIRONMENTS"), text) from None
        if error.setting not in values.keys() - overrides.keys():
            raise
        text = _WHERE.sub("", str(error).removeprefix(f"{error.setting}: "))
        raise ConfigurationError(written.format(error.setting.upper()), text) from None
    return settings


def values_of_test() -> dict[str, Any]:
    """The settings of the test that are in force in this process; none where none are."""
    return dict(from_variables({})) if is_in_tests() else {}


def check_is_of_test(settings: Settings) -> None:
    """Refuse settings of an app with another database than that of the test, if one is in force.

    Raises `ConfigurationError`.
    """
    if not is_in_tests():
        return
    of_test = settings_of_process({})
    if (settings.database_url, settings.database_schema) != (
        of_test.database_url,
        of_test.database_schema,
    ):
        raise ConfigurationError("database_url", _OTHER_DATABASE)


@hides_values
def values_of_app(
    given: Mapping[str, Any], written: str, *, others: Collection[str] = ()
) -> dict[str, Any]:
    """What an app gives, by the names of the settings.

    `given` has it by names in capitals or small letters. `written` is how a setting is written
    there, with `{}` for its name in capitals: `RINDLE_{}`. `others` are names that the framework
    takes beside the settings. Raises `ConfigurationError`.
    """
    known = {name for provider in PROVIDERS for name in fields_of(provider)} | set(others)
    values: dict[str, Any] = {}
    for key, value in given.items():
        name, shown = str(key).lower(), written.format(str(key).upper())
        if name in values:
            raise ConfigurationError(shown, "stands there twice, in capitals and in small letters")
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1)
            hint = "see docs/settings.md for all of them"
            if near:
                hint = f"did you mean {written.format(near[0].upper())}?"
            raise ConfigurationError(shown, f"is no setting; {hint}")
        values[name] = _small_keys(value) if name == "environments" else value
    return values


def _small_keys(tables: Any) -> Any:
    """The tables of environments with the names of settings; a wrong table stays as it is."""
    if not isinstance(tables, Mapping):
        return tables
    found: dict[str, Any] = {}
    for environment, table in tables.items():
        found[environment] = table
        if isinstance(table, Mapping):
            found[environment] = {str(key).lower(): value for key, value in table.items()}
    return found
