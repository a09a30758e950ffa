"""Reads database URLs: one form for every engine, and no error text shows a part of a password."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Final
from urllib.parse import parse_qsl, unquote

from sqlalchemy.engine import URL

from rindle_sync.errors import ConfigurationError

SETTING: Final = "database_url"

DRIVER_MISSING: Final = (
    "names PostgreSQL, whose driver is not installed; pip install 'rindle-sync[postgresql]'"
)

_FORMS: Final = (
    "is no database URL; write sqlite:///rindle-sync.sqlite3 "
    "or postgresql://user:password@host:5432/database"
)
_RAW: Final = (
    "has a character that must be encoded: in user, password, database and options write %40 "
    "for @, %23 for #, %2F for /, %3F for ? and %25 for %"
)
_SEVERAL: Final = (
    "names several hosts, or a host with its port, in a form that is not understood; write "
    "postgresql://user:password@/database?host=a,b&port=5432,5432"
)
_FILE: Final = (
    "has a ? behind the path of a SQLite file, which has no options; write %3F for a ? in the path"
)

_URI: Final = (
    "names a SQLite file by a URI; write sqlite:///file:/path?mode=ro&uri=true, "
    "or leave out file: and all behind the path"
)
_AMPERSAND: Final = (
    "has an option behind a password that PostgreSQL does not have; leave it out, "
    "or write %26 for a & in the password"
)
_ZERO: Final = "has a character with the code zero, which no database takes: leave it out"
_NO_NAME: Final = (
    "names a host that no network has: between two dots of a name are 1 to 63 characters"
)

_URL: Final = re.compile(r"([a-z][a-z0-9]{1,30})(?:\+\w+)?://(.*)", re.DOTALL)
_PARTS: Final = re.compile(r"([^/?]*)(?:/([^?]*))?(?:\?(.*))?", re.DOTALL)
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.%~-]*)(?::(\d{1,5})?)?")
_ENCODED_WRONG: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

_NO_CACHE: Final = "leave it out: rindle-sync prepares no statements"
_OWN_POOL: Final = "leave it out: rindle-sync sizes its own pool of connections"
_SSL: Final = "write sslmode=require, or sslmode=verify-full with sslrootcert"
_SCHEMA: Final = "leave it out, and set database_schema"
_ADVICE: Final = {
    **dict.fromkeys(("prepare_threshold", "pgbouncer", "statement_cache_size"), _NO_CACHE),
    **dict.fromkeys(("prepared_statement_cache_size", "preparethreshold"), _NO_CACHE),
    **dict.fromkeys(("connection_limit", "pool_size", "max_overflow", "pool_timeout"), _OWN_POOL),
    **dict.fromkeys(("ssl", "sslaccept", "tls", "use_ssl", "ssl_mode"), _SSL),
    **dict.fromkeys(("schema", "currentschema", "search_path"), _SCHEMA),
    **dict.fromkeys(("timeout", "connection_timeout"), "write connect_timeout=10"),
    **dict.fromkeys(("encoding", "charset"), "leave it out: rindle-sync always uses UTF-8"),
}

# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_NUMBERS: Final = ("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval")
_VALUES: Final[Mapping[str, str]] = {
    **dict.fromkeys((*_NUMBERS, "keepalives_count", "tcp_user_timeout"), r"-?\d+"),
    "port": r"\d{1,5}(,\d{1,5})*",
    "sslmode": "disable|allow|prefer|require|verify-ca|verify-full",
    "target_session_attrs": "any|read-write|read-only|primary|standby|prefer-standby",
    "channel_binding": "disable|prefer|require",
    "gssencmode": "disable|prefer|require",
}


def engine_url(url: str) -> URL:
    """`url` with an async driver; raises `ConfigurationError` for what is not understood."""
    # read here, not by SQLAlchemy: its versions differ, and it takes a part of a password for
    # the host where one has a raw @
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ConfigurationError(SETTING, _FORMS)
    if re.search("%00|\x00", url):
        raise ConfigurationError(SETTING, _ZERO)
    kind, rest = parts.groups()
    match kind:
        case "sqlite":
            return _sqlite(rest)
        case "postgresql" | "postgres":
            return _postgresql(rest)
    text = f"names a database that is not supported ({kind}); use sqlite:/// or postgresql://"
    raise ConfigurationError(SETTING, text)


def _sqlite(rest: str) -> URL:
    path, _, query = rest.partition("?")
    if path and not path.startswith("/"):
        raise ConfigurationError(
            SETTING,
            "names a host for SQLite; write sqlite:///path, with four slashes for an absolute path",
        )
    is_uri = path.startswith("/file:")
    if "?" in rest and not is_uri:
        raise ConfigurationError(SETTING, _FILE)
    file = path[1:] if is_uri else unquote(path[1:])
    options = dict(parse_qsl(query, keep_blank_values=True))
    if is_uri and options.get("uri") != "true":
        raise ConfigurationError(SETTING, _URI)
    return URL.create("sqlite+aiosqlite", database=file or None, query=options)


def _postgresql(rest: str) -> URL:
    parts = _PARTS.fullmatch(rest)
    if parts is None or "#" in rest or rest.count("@") > 1 or _ENCODED_WRONG.search(rest):
        raise ConfigurationError(SETTING, _RAW)
    authority, database, query = (part or "" for part in parts.groups())
    # an @ behind the host: a password with a raw / or ? ended the authority too early
    if "@" in rest and "@" not in authority:
        raise ConfigurationError(SETTING, _RAW)
    account, _, place = authority.rpartition("@")
    user, _, password = account.partition(":")
    if "," in place:
        raise ConfigurationError(SETTING, _SEVERAL)
    located = _HOST.fullmatch(place)
    if located is None or int(located[2] or 0) > 65_535:
        raise ConfigurationError(SETTING, _FORMS)
    host = unquote(located[1]).strip("[]")
    _check_names(host)
    return URL.create(
        "postgresql+psycopg_async",
        username=unquote(user) or None,
        password=unquote(password) or None,
        host=host or None,
        port=int(located[2]) if located[2] else None,
        database=unquote(database) or None,
        query=_options(query),
    )


def _check_names(hosts: str) -> None:
    """Refuse a name that cannot be looked up; a path is that of a socket."""
    for host in hosts.split(","):
        try:
            if not host.startswith(("/", "@")):
                host.encode("idna")
        except UnicodeError:
            raise ConfigurationError(SETTING, _NO_NAME) from None


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    known = libpq_options() if query else frozenset()
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            # after a password, it may be the rest of one that has a raw &
            is_shown = not any(before.endswith("password") for before in options)
            raise ConfigurationError(SETTING, _unknown(name, known) if is_shown else _AMPERSAND)
        if name == "host" and (name in options or re.fullmatch(r"[^/:]+:\d+", value)):
            raise ConfigurationError(SETTING, _SEVERAL)
        if name == "host":
            _check_names(value)
        if name in options:
            raise ConfigurationError(SETTING, f"has the option {name} twice; write it once")
        form = _VALUES.get(name)
        if form and not re.fullmatch(form, value):
            wanted = form.replace("|", " or ") if "|" in form else "a number"
            raise ConfigurationError(SETTING, f"has a wrong value for {name}; write {wanted}")
        options[name] = value
    return options


def _unknown(name: str, known: frozenset[str]) -> str:
    """An option that libpq has not; named only if it is a word, since it may be anything."""
    if not re.fullmatch(r"[A-Za-z]\w{0,40}", name, re.ASCII):
        return "has an option that PostgreSQL does not have; leave it out"
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.85)
    advice = f"did you mean {near[0]}?" if near else "leave it out"
    return f"has the option {name}, which is unknown; {_ADVICE.get(name.lower(), advice)}"


@cache
def libpq_options() -> frozenset[str]:
    """The names of all options that PostgreSQL's library has; raises `ConfigurationError`."""
    try:
        from psycopg import pq
    except ModuleNotFoundError:
        raise ConfigurationError(SETTING, DRIVER_MISSING) from None
    return frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())
