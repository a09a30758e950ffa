"""What the app listens to: changed settings, and the end of tests that commit."""

from typing import Any, Final

from django.apps import AppConfig
from django.core.signals import setting_changed
from django.db import connections
from django.db.models.signals import post_migrate

from rindle_sync.integrations.django import conf
from rindle_sync.integrations.django.in_tests import is_testing, note_names
from rindle_sync.integrations.django.process import rindle
from rindle_sync.store.django_tables import empty_in

_OURS: Final = frozenset({conf.SETTING, "DATABASES"})


def connect(app: AppConfig) -> None:
    """Begin to listen."""
    note_names()
    setting_changed.connect(_settings_changed, dispatch_uid="rindle_sync")
    post_migrate.connect(_flushed, sender=app, dispatch_uid="rindle_sync")


def _settings_changed(*, setting: str, **_: object) -> None:
    if setting in _OURS:
        conf.forget()
        rindle.close()


def _flushed(*, using: str, **arguments: Any) -> None:
    """Empty our tables after a test that commits: Django leaves unmanaged ones as they are.

    A `TransactionTestCase` flushes after each test. Both `migrate` and `flush` send the signal, and
    only the first has a plan. Outside of tests nothing is deleted, whoever sends it.
    """
    if "plan" in arguments or not is_testing() or using != conf.database_alias():
        return
    empty_in(connections[using])
