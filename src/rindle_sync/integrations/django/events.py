"""What the app listens to: changed settings, new test databases, the end of tests that commit."""

from typing import Any, Final

from django.apps import AppConfig
from django.core.signals import setting_changed
from django.db import connections, router, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models.signals import post_migrate

from rindle_sync.integrations.django import conf
from rindle_sync.integrations.django.in_tests import is_testing, note_names
from rindle_sync.integrations.django.process import rindle
from rindle_sync.store.django_tables import empty_in, missing_in
from rindle_sync.store.revisions import NEWEST

_OURS: Final = frozenset({conf.SETTING, "DATABASES"})


def connect(app: AppConfig) -> None:
    """Begin to listen."""
    note_names()
    setting_changed.connect(_settings_changed, dispatch_uid="rindle_sync")
    post_migrate.connect(_migrated, sender=app, dispatch_uid="rindle_sync")


def _settings_changed(*, setting: str, **_: object) -> None:
    if setting in _OURS:
        conf.forget()
        rindle.close()


def _migrated(*, sender: AppConfig, using: str, **arguments: Any) -> None:
    """Keep our tables in a test database as Django keeps managed ones.

    Both `migrate` and `flush` send the signal, and only the first has a plan. Outside of tests
    nothing is made or deleted, whoever sends it.
    """
    if not is_testing() or using != conf.database_alias():
        return
    if "plan" in arguments:
        _make_unmigrated(sender.label, using)
    else:
        # a TransactionTestCase flushes after each test, and leaves unmanaged tables as they are
        empty_in(connections[using])


def _make_unmigrated(label: str, alias: str) -> None:
    """Make the tables where tests run without migrations, and Django makes managed ones only.

    So do pytest-django with `--nomigrations`, and `"TEST": {"MIGRATE": False}` in DATABASES.
    """
    if MigrationLoader.migrations_module(label)[0] is not None:
        return
    if not router.allow_migrate(alias, label):
        return
    connection = connections[alias]
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        for statement in missing_in(connection, NEWEST):
            cursor.execute(statement)
