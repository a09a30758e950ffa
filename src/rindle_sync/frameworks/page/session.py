"""Who is signed in: a cookie that holds its own end and is signed with the operator's token; nothing is kept."""

import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

COOKIE: Final = "rindle_sync_session"
LASTS: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions that `token` opens; without one nobody signs in."""

    token: str | None = field(repr=False)

    def opens(self, given: str) -> bool:
        """Whether this is the token; compared in constant time."""
        return bool(self.token) and hmac.compare_digest(given.encode(), (self.token or "").encode())

    def begin(self, now: datetime) -> str:
        """The cookie of a new session."""
        until = str(int((now + LASTS).timestamp()))
        return f"{until}.{self._sign('session', until)}"

    def is_open(self, cookie: str | None, now: datetime) -> bool:
        """Whether this cookie is of a session that has not ended."""
        until, _, signature = (cookie or "").partition(".")
        if not self.token or not (until.isascii() and until.isdigit() and len(until) < 15):
            return False
        return hmac.compare_digest(signature.encode(), self._sign("session", until).encode()) and (
            now.timestamp() < int(until)
        )

    def form_key(self, cookie: str) -> str:
        """What each form of this session carries, so that no other site's form counts."""
        return self._sign("form", cookie)

    def is_ours(self, cookie: str, form_key: str) -> bool:
        """Whether a form carries the key of this session."""
        return hmac.compare_digest(form_key.encode(), self.form_key(cookie).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new((self.token or "").encode(), f"{purpose}:{text}".encode(), sha256).hexdigest()
