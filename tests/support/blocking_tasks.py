"""Tasks of an app that call the service, which the parent of their processes has used before."""

import os

from celery import Celery

from rindle_sync.integrations.blocking import connect

app = Celery("tests", broker=os.environ["RINDLE_TEST_BROKER_URL"])
app.conf.broker_connection_retry_on_startup = True
rindle = connect()
rindle.count()


@app.task(name="track_video")  # type: ignore[untyped-decorator]
def track_video(number: int) -> None:
    """Track a row in the process that runs this."""
    rindle.track(reference=f"video-{number}", provider_asset_id=f"asset-{number}")
