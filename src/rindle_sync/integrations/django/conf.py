"""The settings of rindle-sync in a Django project: the dict `RINDLE`, and a database of DATABASES.

`RINDLE` wins over RINDLE_… variables, and these over `rindle-sync.toml`.
"""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import quote, urlencode

from django.conf import settings as django_settings
from django.core import mail
from django.db import DEFAULT_DB_ALIAS, connections

from rindle_sync.config import Settings, fields_of, load_settings
from rindle_sync.errors import ConfigurationError
from rindle_sync.store.schema import libpq_options

SETTING: Final = "RINDLE"
DATABASE: Final = "DATABASE"
"""The key of the alias in DATABASES that has our tables."""

_OWN_DATABASE: Final = (
    f"is not for Django: rindle-sync uses DATABASES[{SETTING}[{DATABASE!r}]], by default the "
    "database 'default'"
)
_NO_SCHEMA: Final = (
    "is not for Django: name the schema in DATABASES, with OPTIONS = "
    "{'options': '-c search_path=…'}"
)
_REFUSED: Final = {"database_url": _OWN_DATABASE, "database_schema": _NO_SCHEMA}


_WHERE: Final = re.compile(r" \(set RINDLE_\w+ or \w+ in the TOML file\)$")
"""How an error says where a setting can stand."""


def given() -> dict[str, Any]:
    """What stands in `RINDLE`, by the names that settings have; raises `ConfigurationError`."""
    values = getattr(django_settings, SETTING, {})
    if not isinstance(values, Mapping):
        text = "must be a dict of settings, with their names in capitals"
        raise ConfigurationError(SETTING, text)
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).lower()
        shown = f"{SETTING}[{key!r}]"
        if name in _REFUSED:
            raise ConfigurationError(shown, _REFUSED[name])
        if name in found:
            raise ConfigurationError(shown, "stands there twice, in capitals and in small letters")
        found[name] = _small_keys(value) if name == "environments" else value
    known = {*_known(found), DATABASE.lower()} - set(_REFUSED)
    for name in found:
        if name not in known:
            raise ConfigurationError(f"{SETTING}[{name.upper()!r}]", _unknown(name, known))
    return found


def _known(values: Mapping[str, Any]) -> set[str]:
    """The names of all settings, with those of every provider that `values` pick."""
    tables = values.get("environments")
    tables = tables.values() if isinstance(tables, Mapping) else ()
    names = set[str]()
    for table in (values, *tables):
        provider = table.get("provider") if isinstance(table, Mapping) else None
        names |= set(fields_of(provider) if isinstance(provider, str) else fields_of())
    return names


def _unknown(name: str, known: set[str]) -> str:
    near = get_close_matches(name, sorted(known), n=1)
    hint = f"did you mean {near[0].upper()!r}?" if near else "see docs/settings.md for all of them"
    return f"is no setting; {hint}"


def _small_keys(tables: Any) -> Any:
    """The tables of the environments; their names stay as they are."""
    if not isinstance(tables, Mapping):
        return tables
    found = {}
    for environment, table in tables.items():
        is_table = isinstance(table, Mapping)
        found[environment] = (
            {str(key).lower(): value for key, value in table.items()} if is_table else table
        )
    return found


def database_alias() -> str:
    """The alias in DATABASES of the database that has our tables; raises `ConfigurationError`."""
    values = getattr(django_settings, SETTING, {})
    alias = DEFAULT_DB_ALIAS
    if isinstance(values, Mapping):
        alias = values.get(DATABASE) or values.get(DATABASE.lower()) or alias
    if alias not in connections.settings:
        there = ", ".join(sorted(connections.settings))
        text = f"names {alias!r}, which is not in DATABASES; there are {there}"
        raise ConfigurationError(f"{SETTING}[{DATABASE!r}]", text)
    return str(alias)


def load(**overrides: Any) -> Settings:
    """The settings of rindle-sync in this project, as they are now; `overrides` win over them.

    Raises `ConfigurationError` that names the first one that is wrong.
    """
    values = given()
    values.pop(DATABASE.lower(), None)
    values |= {"database_url": database_url(), "database_schema": None}
    try:
        return load_settings(**{**values, **overrides})
    except ConfigurationError as error:
        raise _in_the_dict(error, values.keys() - overrides.keys()) from None


def _in_the_dict(error: ConfigurationError, names: Collection[str]) -> ConfigurationError:
    """The error, named as it stands in `RINDLE`, if it does."""
    if error.setting not in names:
        return error
    text = str(error).removeprefix(f"{error.setting}: ")
    return ConfigurationError(f"{SETTING}[{error.setting.upper()!r}]", _WHERE.sub("", text))


def loaded() -> Settings:
    """The settings, read once, and again when Django's own settings change."""
    if not _loaded:
        _loaded.append(load())
    return _loaded[0]


def environments() -> tuple[Settings, ...]:
    """The settings of each environment."""
    return tuple(loaded().each().values())


_loaded: Final[list[Settings]] = []


def forget() -> None:
    """Read the settings anew with the next use."""
    _loaded.clear()


def is_testing() -> bool:
    """Whether Django's test environment is set up, as each test runner does."""
    return hasattr(mail, "outbox")


def database_url(alias: str | None = None) -> str:
    """The address of the database as it is now: in a test that of the test database.

    Raises `ConfigurationError` for a database that rindle-sync cannot use.
    """
    alias = alias or database_alias()
    connection = connections[alias]
    where = f"DATABASES[{alias!r}]"
    if connection.vendor == "sqlite":
        return _sqlite(where, connection.settings_dict)
    if connection.vendor == "postgresql":  # PostGIS, too, and engines that are built on Django's
        return _postgresql(where, connection.settings_dict)
    engine = connection.settings_dict["ENGINE"]
    text = (
        f"has the engine {engine}, and rindle-sync keeps its tables in PostgreSQL or SQLite: add "
        f"such a database to DATABASES, and name it with {SETTING}[{DATABASE!r}]"
    )
    raise ConfigurationError(where, text)


def _sqlite(where: str, values: Mapping[str, Any]) -> str:
    name = str(values["NAME"])
    if name == ":memory:" or not name:
        text = (
            "is a SQLite database in memory, which no other connection can reach: name a file, or "
            "file:rindle?mode=memory&cache=shared"
        )
        raise ConfigurationError(where, text)
    if name.startswith("file:"):
        path, _, query = name.partition("?")
        return f"sqlite:///{path}?{query}{'&' if query else ''}uri=true"
    return f"sqlite:///{quote(name)}"


def _postgresql(where: str, values: Mapping[str, Any]) -> str:
    try:
        known = libpq_options()
    except ConfigurationError:
        text = "needs the driver psycopg 3; pip install 'rindle-sync[postgresql]'"
        raise ConfigurationError(where, text) from None
    # what else stands there is for Django: `pool`, `isolation_level`, `assume_role` …
    options = {
        name: str(value)
        for name, value in (values.get("OPTIONS") or {}).items()
        if name in known and value is not None
    }
    if role := (values.get("OPTIONS") or {}).get("assume_role"):
        escaped = str(role).replace("\\", r"\\").replace(" ", r"\ ")
        options["options"] = f"{options.get('options', '')} -c role={escaped}".strip()
    for name in ("host", "port"):
        if values.get(name.upper()):
            options[name] = str(values[name.upper()])
    user = options.pop("user", None) or values.get("USER") or ""
    password = options.pop("password", None) or values.get("PASSWORD") or ""
    database = options.pop("dbname", None) or values.get("NAME") or ""
    account = quote(str(user), safe="")
    if password:
        account += ":" + quote(str(password), safe="")
    place, query = _place(options), urlencode(options, quote_via=quote)
    return (
        f"postgresql://{account}{'@' if account else ''}{place}/{quote(str(database), safe='')}"
        f"{'?' if query else ''}{query}"
    )


def _place(options: dict[str, str]) -> str:
    """The host and the port, taken out of `options`; nothing where there are several."""
    host, port = options.get("host", ""), options.get("port", "")
    if "," in host or "," in port:
        return ""
    options.pop("host", None)
    options.pop("port", None)
    return quote(host, safe="") + (f":{port}" if port else "")
