"""The requests of the HTTP API with an idempotency key: each is done once, and answered again.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import is_ahead
from rindle_sync.errors import Conflict
from rindle_sync.store.repository import SharedRepository
from rindle_sync.store.schema.api_tables import api_requests
from rindle_sync.store.schema.types import UtcTime

KEPT_FOR: Final = timedelta(hours=24)
"""How long a key stands for its request. After that it stands for a new one."""

ENDS_WITHIN: Final = timedelta(seconds=60)
"""After this a request without an answer is abandoned: its process is taken to be dead."""

LARGEST_ANSWER: Final = 256 * 1024
"""The largest body of an answer that is stored, in bytes."""

LONGEST_KEY: Final = 255
"""The longest idempotency key, in characters."""

_LOOKS: Final = 5
"""How often it is looked for what is in the way, where that is deleted meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The caller is to do the request, and then to call `end` or `drop` with this."""

    token_name: str
    key: str = field(repr=False)
    began_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """The request was done before."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    """None where it was larger than `LARGEST_ANSWER`."""


@dataclass(frozen=True, slots=True)
class StillRunning:
    """The same request is being done: try again soon."""


@dataclass(frozen=True, slots=True)
class AnotherRequest:
    """The key stands for another request."""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The request was begun at `began_at`, and its process has died or is late.

    It is not known what came of it. Its answer may still come.
    """

    began_at: datetime


Beginning = Begun | StoredAnswer | StillRunning | AnotherRequest | Abandoned
"""What `begin` finds."""

_COLUMNS: Final = api_requests.c
_IS_IT: Final = (
    _COLUMNS.token_name == sa.bindparam("named"),
    _COLUMNS.idempotency_key == sa.bindparam("key"),
)
_IS_HELD: Final = (*_IS_IT, _COLUMNS.began_at == sa.bindparam("begun_at", type_=UtcTime()))
_GET: Final = sa.select(*_COLUMNS).where(*_IS_IT)
_RUNS: Final = _COLUMNS.status.is_(None)
_END: Final = (
    sa.update(api_requests)
    .where(*_IS_HELD, _RUNS)
    .values(
        status=sa.bindparam("ended_status"),
        headers=sa.bindparam("ended_headers", type_=_COLUMNS.headers.type),
        body=sa.bindparam("ended_body", type_=_COLUMNS.body.type),
    )
)
_DROP: Final = sa.delete(api_requests).where(*_IS_HELD, _RUNS)
_REMOVE: Final = sa.delete(api_requests).where(*_IS_HELD)
_PRUNE: Final = sa.delete(api_requests).where(
    _COLUMNS.began_at <= sa.bindparam("begun_before", type_=UtcTime())
)


class ApiRequests(SharedRepository):
    """The requests with a key, by the name of their token, of every environment."""

    table = api_requests

    async def begin(self, token_name: str, key: str, fingerprint: str, now: datetime) -> Beginning:
        """Begin the request with this key; of several that do so at once, one gets `Begun`.

        `fingerprint` tells it from other requests. A key has up to `LONGEST_KEY` characters. Raises
        `Conflict` where the keys come and go.
        """
        begun = Begun(token_name=token_name, key=key, began_at=now)
        line = {
            "token_name": token_name,
            "idempotency_key": key,
            "fingerprint": fingerprint,
            "began_at": now,
        }
        for _ in range(_LOOKS):
            # read first: a repeated request is to be answered while another process writes
            found = await self.read(_GET, {"named": token_name, "key": key})
            if not found:
                if await self.execute(self.insert_once(), line):
                    return begun
            elif now - found[0].began_at < KEPT_FOR:
                return _as_found(found[0], fingerprint, now)
            else:
                await self.execute(_REMOVE, _held(begun) | {"begun_at": found[0].began_at})
        raise Conflict("requests with this idempotency key come and go; try again")

    async def end(
        self, begun: Begun, *, status: int, headers: Mapping[str, str], body: bytes
    ) -> bool:
        """Store the answer; False where the key stands for a later request by now."""
        kept = body if len(body) <= LARGEST_ANSWER else None
        answer = {"ended_status": status, "ended_headers": dict(headers), "ended_body": kept}
        return await self.execute(_END, _held(begun) | answer) > 0

    async def drop(self, begun: Begun) -> None:
        """Forget a request that has failed before it did anything: it may be made again."""
        await self.execute(_DROP, _held(begun))

    async def prune(self, now: datetime) -> int:
        """Delete the requests whose keys stand for nothing any more; how many."""
        return await self.execute(_PRUNE, {"begun_before": now - KEPT_FOR})


def _as_found(line: sa.Row[Any], fingerprint: str, now: datetime) -> Beginning:
    if line.fingerprint != fingerprint:
        return AnotherRequest()
    if line.status is not None:
        return StoredAnswer(status=line.status, headers=line.headers or {}, body=line.body)
    # a clock that was ahead began it: nobody can say for how long it has been running
    if now - line.began_at < ENDS_WITHIN and not is_ahead(line.began_at, now):
        return StillRunning()
    return Abandoned(line.began_at)


def _held(begun: Begun) -> dict[str, Any]:
    return {"named": begun.token_name, "key": begun.key, "begun_at": begun.began_at}
