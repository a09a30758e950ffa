"""The project for Celery."""

import os

from celery import Celery

from rindle_sync.integrations.django.celery import add_celery_tasks

app = Celery("project", broker=os.environ["TEST_BROKER_URL"])
app.config_from_object("django.conf:settings", namespace="CELERY")
add_celery_tasks(app)
