"""The app's engine, and a session for each request."""

import sqlite3
from typing import Any

import click
from flask import Flask, current_app, g
from flask.cli import with_appcontext
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

from videosite.models import Base


def session() -> Session:
    """The session of this request; a view commits its transaction itself."""
    if "session" not in g:
        g.session = Session(current_app.extensions["engine"], expire_on_commit=False)
    found: Session = g.session
    return found


def init_app(app: Flask) -> None:
    """Give the app an engine, sessions, and `flask init-db`."""
    app.extensions["engine"] = open_engine(app.config["DATABASE_URL"])
    app.teardown_appcontext(_close_session)
    app.cli.add_command(init_db)


@click.command()
@with_appcontext
def init_db() -> None:
    """Create the app's own table; `flask rindle migrate` creates those of rindle-sync."""
    Base.metadata.create_all(current_app.extensions["engine"])


def _close_session(_error: BaseException | None) -> None:
    opened = g.pop("session", None)
    if opened is not None:
        opened.close()


def open_engine(url: str) -> Engine:
    """The app's engine. On SQLite each transaction begins as a writing one: none fails late."""
    if url.startswith("postgresql:"):
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def connected(connection: sqlite3.Connection, _record: Any) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA busy_timeout = 15000")

        @event.listens_for(engine, "begin")
        def began(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
