"""The settings of rindle-sync in a Django project: the dict `RINDLE`, and a database of DATABASES.

`RINDLE` wins over RINDLE_… variables, and these over `rindle-sync.toml`.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS, connections

from rindle_sync.config import Settings, hides_values, settings_of_app, values_of_app
from rindle_sync.errors import ConfigurationError
from rindle_sync.integrations.django.in_tests import check_test_database
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


_WRITTEN: Final = f"{SETTING}['{{}}']"
"""How a setting is written in the project."""


@hides_values
def given() -> dict[str, Any]:
    """What stands in `RINDLE`, by the names that settings have; raises `ConfigurationError`."""
    values = getattr(django_settings, SETTING, {})
    if not isinstance(values, Mapping):
        text = "must be a dict of settings, with their names in capitals"
        raise ConfigurationError(SETTING, text)
    for key in values:
        if refused := _REFUSED.get(str(key).lower()):
            raise ConfigurationError(f"{SETTING}[{key!r}]", refused)
    return values_of_app(values, _WRITTEN, others=[DATABASE.lower()])


@hides_values
def database_alias() -> str:
    """The alias in DATABASES of the database that has our tables; raises `ConfigurationError`."""
    values = getattr(django_settings, SETTING, {})
    found: Any = None
    if isinstance(values, Mapping):
        named = {str(key).lower(): value for key, value in values.items()}
        found = named.get(DATABASE.lower())
    alias = DEFAULT_DB_ALIAS if found is None or found == "" else found
    if not isinstance(alias, str) or alias not in connections.settings:
        there = ", ".join(sorted(connections.settings))
        text = f"names {alias!r}, which is not in DATABASES; there are {there}"
        if not isinstance(alias, str):
            text = f"must be the name of a database in DATABASES; there are {there}"
        raise ConfigurationError(f"{SETTING}[{DATABASE!r}]", text)
    return alias


def migrate_command() -> str:
    """How the tables are made: Django migrates one database, by default `default`."""
    try:
        alias = database_alias()
    except ConfigurationError:  # which is told first
        alias = DEFAULT_DB_ALIAS
    chosen = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
    return f"manage.py migrate rindle_sync{chosen}"


def own_words(text: str) -> str:
    """`text` with the names that settings and commands have in a Django project."""
    if "database_url" not in text and "rindle-sync migrate" not in text:
        return text
    try:
        where = f"DATABASES[{database_alias()!r}]"
    except ConfigurationError:
        where = "DATABASES"
    other = f"name a database of PostgreSQL with {SETTING}[{DATABASE!r}]"
    text = text.replace("set database_url to postgresql://…", other)
    text = text.replace("`rindle-sync migrate`", f"`{migrate_command()}`")
    return text.replace("database_url", where)


@hides_values
def load(**overrides: Any) -> Settings:
    """The settings of rindle-sync in this project, as they are now; `overrides` win over them.

    Raises `ConfigurationError` that names the first one that is wrong.
    """
    values = given()
    values.pop(DATABASE.lower(), None)
    own = {"database_url": database_url(), "database_schema": None}
    try:
        return settings_of_app(values, _WRITTEN, {**own, **overrides})
    except ConfigurationError as error:
        if "database_url" in overrides:
            raise
        error.args = (own_words(str(error)),)
        raise


def load_to_connect(**overrides: Any) -> Settings:
    """The same, for a process that connects with them: in a test to a test database alone."""
    if not overrides.get("database_url"):
        check_test_database(database_alias())
    return load(**overrides)


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


@hides_values
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
