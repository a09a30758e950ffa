"""Who is signed in: a cookie with an id and its end, signed with the operator's token; only ended ones are kept."""

import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_hex
from typing import Final

COOKIE: Final = "rindle_sync_session"
LASTS: Final = timedelta(hours=12)

MOST_ENDED: Final = 10_000
"""How many signed-out sessions are remembered: beyond, those that were signed out first are forgotten."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions that `token` opens; without one nobody signs in."""

    token: str | None = field(repr=False)
    _ended: dict[str, int] = field(default_factory=dict, repr=False)
    """Until when each session that was signed out would have lasted."""

    def opens(self, given: str) -> bool:
        """Whether this is the token; compared in constant time."""
        return bool(self.token) and hmac.compare_digest(given.encode(), (self.token or "").encode())

    def begin(self, now: datetime) -> str:
        """The cookie of a new session."""
        named = f"{int((now + LASTS).timestamp())}.{token_hex(16)}"
        return f"{named}.{self._sign('session', named)}"

    def is_open(self, cookie: str | None, now: datetime) -> bool:
        """Whether this cookie is of a session that has not ended."""
        named, _, signature = (cookie or "").rpartition(".")
        if not self.token or not hmac.compare_digest(
            signature.encode(), self._sign("session", named).encode()
        ):
            return False
        return now.timestamp() < _until(named) and named not in self._ended

    def end(self, cookie: str, now: datetime) -> None:
        """End the session of this cookie before its time, in this process."""
        for named in [named for named, until in self._ended.items() if until <= now.timestamp()]:
            del self._ended[named]
        if self.is_open(cookie, now):
            named = cookie.rpartition(".")[0]
            self._ended[named] = _until(named)
        while len(self._ended) > MOST_ENDED:
            del self._ended[next(iter(self._ended))]

    def form_key(self, cookie: str) -> str:
        """What each form of this session carries, so that no other site's form counts."""
        return self._sign("form", cookie)

    def is_ours(self, cookie: str, form_key: str) -> bool:
        """Whether a form carries the key of this session."""
        return hmac.compare_digest(form_key.encode(), self.form_key(cookie).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(
            (self.token or "").encode(), f"{purpose}:{text}".encode(), sha256
        ).hexdigest()


def _until(named: str) -> int:
    return int(named.partition(".")[0])
