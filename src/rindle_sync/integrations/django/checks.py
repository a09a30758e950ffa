"""System checks: what `manage.py check` says of the settings, the urls and the tables."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004  Django's
from django.db import DatabaseError, connections
from django.urls import URLPattern, get_resolver

from rindle_sync.config import Settings
from rindle_sync.errors import ConfigurationError, RindleSyncError
from rindle_sync.integrations.django import conf
from rindle_sync.store.django_tables import revision_in
from rindle_sync.store.revisions import NEWEST

TAG: Final = "rindle_sync"

_INCLUDE: Final = 'add path("", include("rindle_sync.integrations.django.urls")) to your urls'


def register_all() -> None:
    """Register them."""
    register(check_settings, TAG)
    register(check_credentials, TAG)
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
        hint = "rindle-sync needs PostgreSQL or SQLite; see docs/django.md"
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
        if account.credentials is None:
            names = " and ".join(account.credential_names)
            text = f"{names} are not set{of}: no row is checked at the provider."
            hint = "set them in the dict RINDLE, or as variables."
            found.append(Warning(text, hint=hint, id="rindle_sync.W001"))
        if _has_endpoint() and not settings.account.webhook_secrets:
            text = f"{account.webhook_secrets_name} is not set{of}: no webhook is accepted."
            hint = "the provider shows it where you have added the endpoint."
            found.append(Warning(text, hint=hint, id="rindle_sync.W002"))
    return found


def _of(settings: Settings) -> str:
    return "" if settings.environment == "default" else f" for {settings.environment}"


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
    return [Warning(text, hint=hint, id="rindle_sync.W004")]
