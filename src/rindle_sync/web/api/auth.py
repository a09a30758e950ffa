"""Who may use the API: by the token of the settings, or by one of the table."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from rindle_sync.diagnostics import ConcurrencyLimit
from rindle_sync.domain import SETTINGS_TOKEN
from rindle_sync.store.api_tokens import ApiToken, ApiTokens
from rindle_sync.web.api.problems import Declined, busy

GUESS_TAKES: Final = 1.0
"""Seconds for which a wrong token delays the next wrong one."""

GUESSES: Final = 5
"""How many wrong tokens may wait; a further one is answered at once, with 429."""

MOST_KNOWN: Final = 1000
"""How many tokens are remembered as having been right."""

LONGEST_TOKEN: Final = 1000

_LOOKUPS: Final = 2
"""Database connections that tokens which were never right may use at once."""

_SCHEME: Final = 'Bearer realm="rindle-sync"'
_BUSY: Final = "busy: the database takes too long to answer; try again in a moment"

Sleep = Callable[[float], Awaitable[None]]


class Tokens:
    """The tokens that are accepted. The text of none is kept, logged or shown."""

    def __init__(
        self,
        stored: ApiTokens,
        from_settings: str | None,
        *,
        sees_provider_ids: bool,
        now: Callable[[], datetime],
        sleep: Sleep,
        slots: ConcurrencyLimit,
    ) -> None:
        self._stored = stored
        self._digest = _digest(from_settings) if from_settings else None
        self._of_settings = ApiToken(
            name=SETTINGS_TOKEN,
            may_write=True,
            sees_provider_ids=sees_provider_ids,
            created_at=datetime.min.replace(tzinfo=UTC),
        )
        self._now = now
        self._sleep = sleep
        self._slots = slots
        self._lookups = ConcurrencyLimit(_LOOKUPS, within=1.0)
        self._known: dict[bytes, None] = {}
        self._guessing = asyncio.Lock()
        self._guesses = 0

    async def of(self, header: str | None) -> ApiToken:
        """The token that an `Authorization` header carries.

        Raises `Declined`, for a wrong one after a while; `DatabaseUnavailable`.
        """
        scheme, _, text = (header or "").partition(" ")
        text = text.strip(" ")
        if scheme.lower() != "bearer" or not text:
            detail = "send a token of the API: `Authorization: Bearer <token>`"
            raise Declined(401, detail, headers={"www-authenticate": _SCHEME})
        digest = _digest(text)
        if self._digest and compare_digest(digest, self._digest):
            return self._of_settings
        token = await self._find(text, digest) if len(text) <= LONGEST_TOKEN else None
        if token is None:
            self._known.pop(digest, None)
            await self._delay_guess()
            headers = {"www-authenticate": f'{_SCHEME}, error="invalid_token"'}
            raise Declined(401, "there is no such token, or it has expired", headers=headers)
        self._known[digest] = None
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return token

    async def _find(self, text: str, digest: bytes) -> ApiToken | None:
        # guesses have connections of their own: however many come, known tokens find theirs
        limit = self._slots if digest in self._known else self._lookups
        try:
            async with limit.slot():
                return await self._stored.find(text, self._now())
        except TimeoutError:
            raise busy(_BUSY) from None

    async def _delay_guess(self) -> None:
        """Answer wrong tokens one after another; a right one never waits for them."""
        if self._guesses >= GUESSES:
            raise Declined(429, "too many wrong tokens", headers={"retry-after": "5"})
        self._guesses += 1
        try:
            async with self._guessing:
                await self._sleep(GUESS_TAKES)
        finally:
            self._guesses -= 1

    async def close(self) -> None:
        """Write down which tokens were used. Raises nothing."""
        await self._stored.finish()


def _digest(text: str) -> bytes:
    # of equal length, whatever is compared
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
