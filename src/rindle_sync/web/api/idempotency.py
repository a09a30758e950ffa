"""Requests with a key: each is done once, and its answer is given again.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, TypeVar

from starlette.responses import Response

from rindle_sync.errors import (
    AlreadyTracked,
    AuthenticationFailed,
    ConfigurationError,
    InvalidValue,
    ProviderUnavailable,
    RateLimited,
    RindleSyncError,
)
from rindle_sync.store.api_requests import (
    LONGEST_KEY,
    Abandoned,
    AnotherRequest,
    ApiRequests,
    Begun,
    StillRunning,
    StoredAnswer,
)
from rindle_sync.store.api_tokens import ApiToken
from rindle_sync.web.api.problems import HEADERS, Declined, wrong

HEADER: Final = "idempotency-key"
REPLAYED: Final = "idempotency-replayed"

LONGEST_CALL: Final = 25.0
"""Seconds that a client waits for what has the provider make something; it goes on after that."""

_NOTHING_DONE: Final = (
    AlreadyTracked,
    AuthenticationFailed,
    ConfigurationError,
    InvalidValue,
    RateLimited,
)
"""The errors after which nothing was made: the key is free again."""

_NOT_BEGUN: Final = (404, 503)
"""The answers of this API itself for which nothing was begun: no such row, no free place."""

_ANOTHER: Final = "stands for another request: take a new key for each, and repeat one unchanged"
_RUNNING: Final = (
    "the same request is being done, or has just failed in a way that leaves open what was made: "
    "repeat it with the same key for up to a minute"
)
_LATE: Final = (
    "it took too long, and goes on: repeat the request with the same idempotency key, or without "
    "one look whether the asset is there"
)

T = TypeVar("T")
Act = Callable[[datetime | None], Coroutine[Any, Any, Response]]
"""Does a request; given when an earlier attempt began whose end nobody knows, or None."""
Errors = tuple[type[Exception], ...]


class Requests:
    """The requests that change something: each goes on, once it is begun, without its client."""

    def __init__(self, stored: ApiRequests, now: Callable[[], datetime]) -> None:
        self._stored = stored
        self._now = now
        self._running: set[asyncio.Task[Any]] = set()

    async def once(
        self, token: ApiToken, key: str | None, request: object, act: Act, *, frees: Errors = ()
    ) -> Response:
        """The answer of `act`, or the one that an earlier request with this key had.

        `request` says in plain JSON what is asked for. After an error of `frees` the key is free
        again, as after one for which nothing was made. Raises `Declined`, and what `act` raises.
        """
        if key is None:
            return await self.finished(act(None))
        if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
            raise wrong("Idempotency-Key", f"must have 1 to {LONGEST_KEY} ASCII characters")
        asked = json.dumps([request, token.sees_provider_ids], sort_keys=True, default=str)
        fingerprint = sha256(asked.encode()).hexdigest()
        found = await self._stored.begin(token.name, key, fingerprint, self._now())
        match found:
            case StoredAnswer(status=status, headers=headers, body=body):
                return Response(body or b"", status, {**HEADERS, **headers, REPLAYED: "true"})
            case AnotherRequest():
                raise wrong("Idempotency-Key", _ANOTHER)
            case StillRunning():
                raise Declined(409, _RUNNING, kind="still-running", headers={"retry-after": "2"})
            case Abandoned(began_at=began_at):
                begun = Begun(token_name=token.name, key=key, began_at=began_at)
                return await self.finished(self._do(begun, act, began_at, frees))
            case Begun() as begun:
                return await self.finished(self._do(begun, act, None, frees))

    async def finished(self, work: Coroutine[Any, Any, T], within: float = LONGEST_CALL) -> T:
        """What comes of `work`, which goes on where the client leaves, or has waited too long."""
        running = asyncio.create_task(work)
        self._running.add(running)
        running.add_done_callback(self._end)
        await asyncio.wait({running}, timeout=within)
        if not running.done():
            raise Declined(504, _LATE, headers={"retry-after": "5"})
        return running.result()

    async def _do(
        self, begun: Begun, act: Act, earlier: datetime | None, frees: Errors
    ) -> Response:
        try:
            response = await act(earlier)
        except Exception as error:
            # after an earlier attempt nobody knows what was made: the key is not to forget that
            if earlier is None and (isinstance(error, frees) or _did_nothing(error)):
                with suppress(RindleSyncError):
                    await self._stored.drop(begun)
            raise
        headers = {"content-type": response.headers["content-type"]}
        # without its answer the request counts as abandoned: what it made is found again
        with suppress(RindleSyncError):
            await self._stored.end(
                begun, status=response.status_code, headers=headers, body=bytes(response.body)
            )
        return response

    def _end(self, running: asyncio.Task[Any]) -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # retrieved: asyncio would log one that no client waits for

    async def close(self, within: float = 5.0) -> None:
        """Let what is under way end, for a while; then it is as if the process were killed."""
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=within)
            for task in late:
                task.cancel()


def _did_nothing(error: Exception) -> bool:
    if isinstance(error, Declined):
        return error.status in _NOT_BEGUN
    if isinstance(error, ProviderUnavailable):
        return not error.was_sent
    return isinstance(error, _NOTHING_DONE)
