"""Who is signed in: a signed cookie holds the session; the process keeps only those signed out."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from secrets import token_hex
from typing import Any, Final

from itsdangerous import BadData, Signer, URLSafeSerializer

from rindle_sync.domain import CONSOLE, Actor, has_come
from rindle_sync.store.api_tokens import ApiToken, ApiTokens

COOKIE: Final = "rindle_sync_session"
LASTS: Final = timedelta(hours=12)

MOST_ENDED: Final = 10_000
"""How many signed-out sessions are remembered; beyond, the earliest sign-outs are forgotten."""


Reading = Callable[[], AbstractAsyncContextManager[None]]
"""What each read of the database is within, so that there are few at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who is signed in."""

    actor: Actor = CONSOLE
    may_act: bool = True
    sees_provider_ids: bool = True
    environment: str | None = None
    """The only environment that it may see; None for all."""
    token_made_at: str | None = None
    """When the token of the HTTP API was made, which tells it from others of its name."""


signed_in: Final[ContextVar[Session | None]] = ContextVar("signed_in", default=None)
"""Whose request this is; None where nobody is signed in."""


def actor_here() -> Actor:
    """Who acts in this request."""
    session = signed_in.get()
    return session.actor if session else CONSOLE


class Sessions:
    """The sessions that `token`, and the tokens of the HTTP API beside it, open.

    Without `token`, which signs the cookies, nobody can sign in.
    """

    def __init__(self, token: str | None, api_tokens: ApiTokens, reading: Reading) -> None:
        self.token = token
        self._api_tokens = api_tokens
        self._reading = reading
        signer: dict[str, Any] = {"digest_method": sha256, "key_derivation": "hmac"}
        # not itsdangerous' timed serializer, which would read the clock of the machine
        self._serializer = URLSafeSerializer(token or "", salt="session", signer_kwargs=signer)
        self._form_signer = Signer(token or "", salt="form", **signer)
        # signed-out sessions by id, with the time at which each would have expired
        self._ended: dict[str, int] = {}

    async def open(self, given: str, now: datetime) -> Session | None:
        """A session by this token; None where it opens none. Raises `DatabaseUnavailable`."""
        if not self.token:
            return None
        if compare_digest(given.encode(), self.token.encode()):  # in constant time
            return Session()
        async with self._reading():
            api_token = await self._api_tokens.find(given, now)
        return _session_of(api_token) if api_token else None

    def begin(self, session: Session, now: datetime) -> str:
        """The cookie of a new session."""
        values = {"id": token_hex(16), "until": int((now + LASTS).timestamp())}
        if session.token_made_at:
            values |= {"actor": session.actor.text, "made": session.token_made_at}
        return str(self._serializer.dumps(values))

    async def resume(self, cookie: str | None, now: datetime) -> Session | None:
        """The session of this cookie; None where it has ended, as it does with its token.

        Raises `DatabaseUnavailable`.
        """
        values = self._read(cookie, now)
        if values is None or "actor" not in values:
            return None if values is None else Session()
        async with self._reading():
            api_token = await self._api_tokens.get(Actor(values["actor"]).token_name or "")
        if api_token is None or api_token.has_expired(now):
            return None
        session = _session_of(api_token)
        # another one may have the name by now
        return session if session.token_made_at == values["made"] else None

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


def _session_of(api_token: ApiToken) -> Session:
    return Session(
        actor=Actor.of_token(api_token.name),
        may_act=api_token.may_write,
        sees_provider_ids=api_token.sees_provider_ids,
        environment=api_token.environment,
        token_made_at=api_token.created_at.isoformat(),
    )
