"""An app of Flask's as a team writes it: a factory, and extensions beside it.

`gunicorn --config python:tests.support.flask_app "tests.support.flask_app:create_app()"`
"""

import os
from pathlib import Path
from typing import Any

from flask import Flask, current_app

from rindle_sync import ChangeEvent
from rindle_sync.integrations.flask import FlaskRindle

rindle = FlaskRindle()


@rindle.on_change(state="ready")
def hear(event: ChangeEvent) -> None:
    """Write down what the app has heard, in a file that its config names."""
    with Path(current_app.config["HEARD"]).open("a") as file:
        file.write(f"{event.reference} {rindle.count()}\n")


def create_app() -> Flask:
    """The app; its settings are in variables `FLASK_...`."""
    app = Flask(__name__)
    app.config.from_prefixed_env()
    rindle.init_app(app)

    @app.get("/rows/<reference>")
    def row(reference: str) -> Any:
        rows = rindle.find_by_reference(reference)
        return {"state": rows[0].state, "process": os.getpid()} if rows else ({}, 404)

    @app.post("/rows/<reference>/sync")
    def sync(reference: str) -> Any:
        [row] = rindle.find_by_reference(reference)
        applied = rindle.sync(row.provider_asset_id or "", ask_first=True)
        return {"state": applied.row.state if applied else None}

    if app.config.get("USED_BEFORE_FORK"):
        with app.app_context():
            app.config["COUNT"] = rindle.count()
    return app


def post_worker_init(worker: Any) -> None:
    """A hook of gunicorn, in each worker."""
    worker.wsgi.extensions["rindle_sync"].start()
