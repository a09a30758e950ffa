"""Celery in a Django project: the tasks of rindle-sync, with the settings of the project.

In the `celery.py` of the project, after `app.config_from_object(...)`: `add_celery_tasks(app)`.
"""

from typing import Any

from rindle_sync.installation import add_celery_tasks as add_tasks
from rindle_sync.integrations.django import conf
from rindle_sync.integrations.django.signals import connect_signals


def add_celery_tasks(app: Any) -> None:
    """Give an app of Celery's our tasks, and its beat our tick; the workers send the signals.

    Raises `ConfigurationError`.
    """
    add_tasks(app, conf.load(), prepare=connect_signals)
