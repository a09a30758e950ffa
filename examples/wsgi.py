"""A WSGI app that receives webhooks of Mux and shows rows, with the service in its background.

Run it in this folder, with RINDLE_MUX_TOKEN_ID, RINDLE_MUX_TOKEN_SECRET and
RINDLE_MUX_WEBHOOK_SECRETS set, as `gunicorn --config python:wsgi wsgi:app`. Mux sends its webhooks
to /webhooks/mux.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from rindle_sync.integrations.blocking import BlockingRindle, connect, webhook_wsgi_app

# nothing is read or opened before the first call: a server may import this, and fork afterwards
rindle = connect()


def post_worker_init(_worker: object) -> None:
    """A hook of gunicorn, in each worker: create the tables, and run the jobs."""
    rindle.migrate()
    rindle.start()


def create_app(rindle: BlockingRindle) -> Callable[..., Iterable[bytes]]:
    """The app: POST /webhooks/mux, and GET /rows/{row_id}."""
    webhooks = webhook_wsgi_app(rindle)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/webhooks/mux":
            return webhooks(environ, start_response)
        row = rindle.get(path.removeprefix("/rows/"))
        status, answer = ("200 OK", {"state": row.state}) if row else ("404 Not Found", {})
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    return app


app = create_app(rindle)
