"""System checks: what `manage.py check` says of the settings, the urls and the tables."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004  Django's
from django.db import DatabaseError, connections, router
from django.urls import URLPattern, get_resolver

from rindle_sync.config import EngineName, Settings
from rindle_sync.errors import ConfigurationError, RindleSyncError
from rindle_sync.integrations.django import conf
from rindle_sync.store.django_tables import revision_in
from rindle_sync.store.revisions import NEWEST

TAG: Final = "rindle_sync"

PROCRASTINATE: Final = "procrastinate.contrib.django"

_INCLUDE: Final = 'add path("", include("rindle_sync.integrations.django.urls")) to your urls'


def register_all() -> None:
    """Register them."""
    register(check_settings, TAG)
    register(check_credentials, TAG)
    register(check_engine, TAG)
    register(check_urls, Tags.urls)
    register(check_tables, Tags.database)


def _loaded() -> list[Settings]:
    """The settings of each environment; none where they are wrong, which has its own check."""
    try:
        return list(conf.load().each().values())
    except RindleSyncError:
        return []


def check_settings(**_: Any) -> list[CheckMessage]:
    """RINDLE, and the database that it names."""
    try:
        conf.database_url()
    except ConfigurationError as error:
        hint = "RINDLE['DATABASE'] is an alias in DATABASES, of PostgreSQL or SQLite"
        return [Error(str(error), hint=hint, id="rindle_sync.E002")]
    try:
        conf.load().each()
    except ConfigurationError as error:
        hint = "correct it in the dict RINDLE of your settings; see docs/settings.md"
        return [Error(str(error), hint=hint, id="rindle_sync.E001")]
    return []


def check_credentials(**_: Any) -> list[CheckMessage]:
    """The token, without which no row is checked, and the secret, without which no webhook is."""
    found: list[CheckMessage] = []
    for settings in _loaded():
        account, of = settings.account, _of(settings)
        missing = [name for name in account.credential_names if getattr(account, name) is None]
        if missing:
            verb, them = ("is", "it") if len(missing) == 1 else ("are", "them")
            text = f"{' and '.join(missing)} {verb} not set{of}: no row is checked at the provider."
            hint = f"set {them} in the dict RINDLE, or as variables."
            found.append(Warning(text, hint=hint, id="rindle_sync.W001"))
        if _has_endpoint() and not settings.account.webhook_secrets:
            text = f"{account.webhook_secrets_name} is not set{of}: no webhook is accepted."
            hint = "the provider shows it where you have added the endpoint."
            found.append(Warning(text, hint=hint, id="rindle_sync.W002"))
    return found


def _of(settings: Settings) -> str:
    return "" if settings.environment == "default" else f" for {settings.environment}"


def check_engine(**_: Any) -> list[CheckMessage]:
    """Whether Procrastinate, where the settings name it, has its database and its tables."""
    if not any(settings.engine is EngineName.PROCRASTINATE for settings in _loaded()):
        return []
    alias = conf.database_alias()
    if connections[alias].vendor != "postgresql":
        text = (
            "RINDLE['ENGINE']: is 'procrastinate', which needs PostgreSQL, and "
            f"DATABASES[{alias!r}] is of another kind."
        )
        hint = "name a database of PostgreSQL with RINDLE['DATABASE'], or leave ENGINE out."
        return [Error(text, hint=hint, id="rindle_sync.E003")]
    if not apps.is_installed(PROCRASTINATE):
        text = f"{PROCRASTINATE} is not in INSTALLED_APPS: no migration makes its tables."
        hint = "add it, and run `manage.py migrate`."
        return [Warning(text, hint=hint, id="rindle_sync.W005")]
    return []


def check_urls(**_: Any) -> list[CheckMessage]:
    """The webhook endpoint."""
    if not getattr(django_settings, "ROOT_URLCONF", None) or _has_endpoint():
        return []
    text = "The webhook endpoint is not in the urls: changes are found late, by checks alone."
    return [Warning(text, hint=_INCLUDE, id="rindle_sync.W003")]


def _has_endpoint() -> bool:
    from rindle_sync.integrations.django.views import webhook

    if not getattr(django_settings, "ROOT_URLCONF", None):
        return False
    return any(pattern.callback is webhook for pattern in _patterns(get_resolver().url_patterns))


def _patterns(patterns: Sequence[Any]) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield pattern
        else:
            yield from _patterns(pattern.url_patterns)


def check_tables(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether the tables are there, and of this version."""
    # `migrate` checks the database, too, before it makes them
    if sys.argv[1:2] == ["migrate"]:
        return []
    try:
        alias = conf.database_alias()
        if alias not in (databases or ()):
            return []
        there = revision_in(connections[alias])
    except (DatabaseError, ConfigurationError):  # the first is told by Django, the second above
        return []
    if there == NEWEST:
        return []
    stand = f"are at {there}" if there else "are not there"
    text = f"The tables of rindle-sync {stand}, and this version needs {NEWEST}."
    hint = f"run `{conf.migrate_command()}`; tables of a newer version need that version."
    if not router.allow_migrate(alias, TAG):
        hint = (
            f"a router of DATABASE_ROUTERS keeps the app rindle_sync out of {alias!r}: let it "
            "migrate there, or name its database with RINDLE['DATABASE']."
        )
    return [Warning(text, hint=hint, id="rindle_sync.W004")]
