"""An app of Celery's as a team has it, with our tasks in it: for the workers that tests start."""

import os

from celery import Celery

from rindle_sync.installation import add_celery_tasks

app = Celery("tests", broker=os.environ["RINDLE_TEST_BROKER_URL"])
app.conf.broker_connection_retry_on_startup = True
add_celery_tasks(app)
