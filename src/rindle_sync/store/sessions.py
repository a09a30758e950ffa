"""Sessions of psycopg that a pool of another library opens; needs the extra `postgresql`."""

from typing import Any, Final

from psycopg import Error, IsolationLevel
from psycopg.rows import tuple_row

from rindle_sync.store.schema.sessions import SESSION

DriverError: Final = Error
"""The base class of the driver's errors."""


async def prepare_session(session: Any, *, schema: str | None = None) -> None:
    """Give a new session our time limits and isolation, and nothing that others would notice."""
    # behind a pooler the session is shared with other programs: there the role may have them
    if await is_own(session):
        await session.execute(SESSION)
        if schema:
            await session.execute("SELECT set_config('search_path', %s, false)", [schema])
    await session.commit()
    await session.set_isolation_level(IsolationLevel.READ_COMMITTED)


async def is_own(session: Any) -> bool:
    """Whether a session is one of the server's; a pooler gives out process ids of its own."""
    cursor = session.cursor(row_factory=tuple_row)
    server = await (await cursor.execute("SELECT pg_backend_pid()")).fetchone()
    return bool(server == (session.info.backend_pid,))
