"""What `gunicorn "videosite:create_app()"` reads: two workers, each with jobs beside its app."""

from typing import Any

workers = 2
threads = 4
preload_app = True


def post_worker_init(worker: Any) -> None:
    """In each worker, after the fork."""
    worker.wsgi.extensions["rindle_sync"].start()
