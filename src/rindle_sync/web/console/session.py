"""Who is signed in: a signed cookie holds the session; the process keeps only those signed out."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from secrets import token_hex
from typing import Any, Final

from itsdangerous import BadData, Signer, URLSafeSerializer

from rindle_sync.domain import has_come

COOKIE: Final = "rindle_sync_session"
LASTS: Final = timedelta(hours=12)

MOST_ENDED: Final = 10_000
"""How many signed-out sessions are remembered; beyond, the earliest sign-outs are forgotten."""


class Sessions:
    """The sessions that `token` opens; without a token nobody can sign in."""

    def __init__(self, token: str | None) -> None:
        self.token = token
        signer: dict[str, Any] = {"digest_method": sha256, "key_derivation": "hmac"}
        # not itsdangerous' timed serializer, which would read the clock of the machine
        self._serializer = URLSafeSerializer(token or "", salt="session", signer_kwargs=signer)
        self._form_signer = Signer(token or "", salt="form", **signer)
        # signed-out sessions by id, with the time at which each would have expired
        self._ended: dict[str, int] = {}

    def opens(self, given: str) -> bool:
        """Whether this is the token; compared in constant time."""
        return bool(self.token) and compare_digest(given.encode(), (self.token or "").encode())

    def begin(self, now: datetime) -> str:
        """The cookie of a new session."""
        session = {"id": token_hex(16), "until": int((now + LASTS).timestamp())}
        return str(self._serializer.dumps(session))

    def is_open(self, cookie: str | None, now: datetime) -> bool:
        """Whether this cookie belongs to a session that has not ended."""
        return self._read(cookie, now) is not None

    def end(self, cookie: str, now: datetime) -> None:
        """End the session of this cookie before it expires, in this process."""
        self._ended = {i: until for i, until in self._ended.items() if until > now.timestamp()}
        session = self._read(cookie, now)
        if session:
            self._ended[session["id"]] = session["until"]
        while len(self._ended) > MOST_ENDED:
            del self._ended[next(iter(self._ended))]

    def form_key(self, cookie: str) -> str:
        """What each form of this session carries, so that a form of another site is refused."""
        return self._form_signer.get_signature(cookie).decode()

    def has_form_key(self, cookie: str, form_key: str) -> bool:
        """Whether a form carries the key of this session."""
        return self._form_signer.verify_signature(cookie, form_key)

    def _read(self, cookie: str | None, now: datetime) -> dict[str, Any] | None:
        # without a token everybody would know the signing key
        if not self.token or not cookie:
            return None
        try:
            session: dict[str, Any] = self._serializer.loads(cookie)
        except BadData:
            return None
        # one that was begun under a clock far ahead would last until that time has come
        is_over = has_come(datetime.fromtimestamp(session["until"], UTC), now, LASTS)
        return None if is_over or session["id"] in self._ended else session
