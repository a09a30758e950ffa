"""The types of the connections that an app may pass; none of their libraries is imported."""

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import sqlite3

    import aiosqlite
    import psycopg
    import sqlalchemy as sa
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.utils.connection import ConnectionProxy
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    AnyConnection: TypeAlias = (
        AsyncConnection
        | AsyncSession
        | async_scoped_session[Any]
        | sa.Connection
        | Session
        | scoped_session[Any]
        | psycopg.Connection[Any]
        | psycopg.AsyncConnection[Any]
        | sqlite3.Connection
        | aiosqlite.Connection
        | BaseDatabaseWrapper
        | ConnectionProxy[Any]
    )
else:  # an app imports those that it uses
    AnyConnection = AsyncConnection = Any
