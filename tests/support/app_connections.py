"""The app's own connections, of each kind that is taken, with a table of the app's."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import aiosqlite
import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

VIDEOS = "CREATE TABLE app_videos (id TEXT PRIMARY KEY)"
ADD_VIDEO = "INSERT INTO app_videos VALUES ('video-1')"


@dataclass
class AppSide:
    """A connection of the app, and how the app ends its transaction and runs its statements."""

    connection: Any
    execute: Callable[[str], Any]
    commit: Callable[[], Any]
    rollback: Callable[[], Any]

    async def run(self, sql: str) -> None:
        await _awaited(self.execute(sql))

    async def end(self, *, commit: bool) -> None:
        await _awaited((self.commit if commit else self.rollback)())


async def _awaited(result: Any) -> None:
    if hasattr(result, "__await__"):
        await result


def file_of(url: str) -> str:
    return url.removeprefix("sqlite:///")


def driver_url(url: str, *, is_async: bool) -> str:
    if url.startswith("sqlite"):
        return url.replace("sqlite", "sqlite+aiosqlite" if is_async else "sqlite", 1)
    return url.replace("postgresql", "postgresql+psycopg", 1)


def _side(connection: Any, execute: Any = None) -> AppSide:
    execute = execute or connection.execute
    return AppSide(connection, execute, connection.commit, connection.rollback)


def _by_text(connection: Any) -> AppSide:
    return _side(connection, lambda sql: connection.execute(sa.text(sql)))


@asynccontextmanager
async def sync_connection(url: str) -> AsyncIterator[AppSide]:
    engine = sa.create_engine(driver_url(url, is_async=False), poolclass=NullPool)
    with engine.connect() as connection:
        yield _by_text(connection)


@asynccontextmanager
async def sync_session(url: str) -> AsyncIterator[AppSide]:
    engine = sa.create_engine(driver_url(url, is_async=False), poolclass=NullPool)
    with Session(engine) as session:
        yield _by_text(session)


@asynccontextmanager
async def scoped(url: str) -> AsyncIterator[AppSide]:
    engine = sa.create_engine(driver_url(url, is_async=False), poolclass=NullPool)
    session = scoped_session(sessionmaker(engine))
    try:
        yield _by_text(session)
    finally:
        session.remove()


@asynccontextmanager
async def async_connection(url: str) -> AsyncIterator[AppSide]:
    engine = create_async_engine(driver_url(url, is_async=True), poolclass=NullPool)
    async with engine.connect() as connection:
        yield _by_text(connection)


@asynccontextmanager
async def async_session(url: str) -> AsyncIterator[AppSide]:
    engine = create_async_engine(driver_url(url, is_async=True), poolclass=NullPool)
    async with AsyncSession(engine) as session:
        yield _by_text(session)


@asynccontextmanager
async def async_scoped(url: str) -> AsyncIterator[AppSide]:
    engine = create_async_engine(driver_url(url, is_async=True), poolclass=NullPool)
    session: Any = async_scoped_session(async_sessionmaker(engine), scopefunc=lambda: 1)
    try:
        yield _by_text(session)
    finally:
        await session.remove()


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[AppSide]:
    """A connection of the driver, with settings that would hinder who relied on the defaults."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(file_of(url))) as connection:
            connection.row_factory = lambda _, line: {"line": line}
            connection.text_factory = bytes
            yield _side(connection)
        return
    with psycopg.connect(url, cursor_factory=psycopg.RawCursor, row_factory=odd_rows) as session:
        session.execute("SET DateStyle = 'German'")
        session.execute("SET TimeZone = 'Asia/Kolkata'")
        session.commit()
        yield _side(session)


@asynccontextmanager
async def async_raw(url: str) -> AsyncIterator[AppSide]:
    """An async connection of the driver, with such settings."""
    if url.startswith("sqlite"):
        async with aiosqlite.connect(file_of(url)) as connection:
            connection.row_factory = sqlite3.Row
            connection.text_factory = bytes
            yield _side(connection)
        return
    kinds: Any = {"cursor_factory": psycopg.AsyncRawCursor, "row_factory": psycopg.rows.dict_row}
    async with await psycopg.AsyncConnection.connect(url, **kinds) as session:
        await session.execute("SET DateStyle = 'German'")
        await session.commit()
        yield _side(session)


def odd_rows(cursor: Any) -> Any:
    """A row factory of the app's."""
    _ = cursor

    def row(values: Sequence[Any]) -> Any:
        return {"line": list(values)}

    return row


Opens = Callable[[str], AbstractAsyncContextManager[AppSide]]
KINDS: dict[str, Opens] = {
    "connection": sync_connection,
    "session": sync_session,
    "scoped_session": scoped,
    "async_connection": async_connection,
    "async_session": async_session,
    "async_scoped_session": async_scoped,
    "driver": raw,
    "async_driver": async_raw,
}


async def make_videos(url: str) -> None:
    """The app's own table, of its own making."""
    async with sync_connection(url) as side:
        await side.run(VIDEOS)
        await side.end(commit=True)


@asynccontextmanager
async def with_videos(url: str) -> AsyncIterator[None]:
    """The app's own table for as long as the block lasts: the database can be used again."""
    await make_videos(url)
    yield
    async with sync_connection(url) as side:
        await side.run("DROP TABLE app_videos")
        await side.end(commit=True)


async def videos(url: str) -> int:
    """How many rows the app's own table has."""
    async with sync_connection(url) as side:
        return int(side.connection.execute(sa.text("SELECT count(*) FROM app_videos")).scalar_one())
