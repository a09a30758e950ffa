"""A small video site: Flask, SQLAlchemy, and rindle-sync on the same database."""

import os
from collections.abc import Mapping
from typing import Any

from flask import Flask

from videosite import changes, database, pages
from videosite.extensions import rindle


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The app; `config` is for tests, and wins over the variables of the process."""
    app = Flask(__name__)
    app.config["DATABASE_URL"] = os.environ.get("DATABASE_URL", "sqlite:///videosite.sqlite3")
    app.config["PLAYER_URL"] = os.environ.get("PLAYER_URL", "")
    app.config.update(config or {})
    # one database, so that a video and its row are committed together
    app.config["RINDLE_DATABASE_URL"] = app.config["DATABASE_URL"]
    database.init_app(app)
    rindle.init_app(app)
    app.register_blueprint(pages.blueprint)
    return app


rindle.on_change(changes.apply_change, transactional=True)
