"""The app's own table, and its engine."""

import sqlite3
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import DateTime, Double, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Video(Base):
    __tablename__ = "videos"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: str(uuid4()))
    title: Mapped[str]
    state: Mapped[str] = mapped_column(default="pending")
    duration: Mapped[float | None] = mapped_column(Double)
    changes: Mapped[int] = mapped_column(default=0)
    """How many changes rindle-sync has reported: each counts once."""
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), default=lambda: datetime.now(UTC)
    )


def open_engine(url: str) -> AsyncEngine:
    """The app's engine. On SQLite each transaction begins as a writing one: none fails late."""
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine.sync_engine, "connect")
        def connected(connection: sqlite3.Connection, _record: Any) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA busy_timeout = 15000")

        @event.listens_for(engine.sync_engine, "begin")
        def began(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
