"""The tokens of the HTTP API: who may use it. Of a token's text only a hash is stored."""

import asyncio
import hmac
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa

from rindle_sync.domain import SETTINGS_TOKEN, is_ahead, token_name_fault
from rindle_sync.errors import ConfigurationError, RindleSyncError, TokenNameTaken
from rindle_sync.store.database import Database
from rindle_sync.store.repository import SharedRepository, clock
from rindle_sync.store.repository import is_ahead as stored_ahead
from rindle_sync.store.schema.api_tables import api_tokens
from rindle_sync.store.schema.types import UtcTime

PREFIX: Final = "rsk_"
"""What each token begins with, so that a scanner for leaked secrets knows one."""

_TEXT: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_RANDOM_BYTES: Final = 32
_NOTED_EVERY: Final = timedelta(minutes=1)
_FINISHES_WITHIN: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """What a token may do. Neither its text nor its hash is in it."""

    name: str
    may_write: bool
    sees_provider_ids: bool
    environment: str | None = None
    """The only environment that it is for; None for all."""
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute."""

    def has_expired(self, now: datetime) -> bool:
        """Whether it is valid no longer."""
        return self.expires_at is not None and self.expires_at <= now


_COLUMNS: Final = [api_tokens.c[field.name] for field in fields(ApiToken)]
_BY_HASH: Final = sa.select(*_COLUMNS, api_tokens.c.token_hash).where(
    api_tokens.c.token_hash == sa.bindparam("hash")
)
_ALL: Final = sa.select(*_COLUMNS).order_by(api_tokens.c.name)
_BY_NAME: Final = sa.select(*_COLUMNS).where(api_tokens.c.name == sa.bindparam("named"))
_NOTE: Final = (
    sa.update(api_tokens)
    .where(
        api_tokens.c.name == sa.bindparam("named"),
        sa.or_(
            api_tokens.c.last_used_at.is_(None),
            api_tokens.c.last_used_at <= sa.bindparam("noted_before", type_=UtcTime()),
            stored_ahead(api_tokens.c.last_used_at),
        ),
    )
    .values(last_used_at=sa.bindparam("used_at", type_=UtcTime()))
)
_REVOKE: Final = sa.delete(api_tokens).where(api_tokens.c.name == sa.bindparam("named"))


class ApiTokens(SharedRepository):
    """The tokens of the HTTP API, of every environment."""

    table = api_tokens

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._noted_at: dict[str, datetime] = {}
        """When this process last noted the use of each token, by name, or tried to."""
        self._noting: set[asyncio.Task[None]] = set()

    async def create(
        self,
        name: str,
        *,
        may_write: bool,
        sees_provider_ids: bool,
        environment: str | None = None,
        expires_at: datetime | None = None,
        now: datetime,
    ) -> tuple[ApiToken, str]:
        """A new token, and its text, which is stored nowhere: it is shown once.

        Raises `TokenNameTaken`, `ConfigurationError` for another name or time than there can be.
        """
        _check(name, expires_at, now)
        token = ApiToken(
            name=name,
            may_write=may_write,
            sees_provider_ids=sees_provider_ids,
            environment=environment,
            created_at=now,
            expires_at=expires_at,
        )
        text = PREFIX + token_urlsafe(_RANDOM_BYTES)
        columns = {field.name: getattr(token, field.name) for field in fields(ApiToken)}
        columns |= {"id": str(uuid4()), "token_hash": _hash_of(text)}
        if not await self.execute(self.insert_once(), columns):
            raise TokenNameTaken(name)
        return token, text

    async def find(self, text: str, now: datetime) -> ApiToken | None:
        """The token with this text; None where none has it, or it has expired.

        That it was used is noted afterwards, at most once a minute: see `finish`.
        """
        if not _TEXT.fullmatch(text):
            return None
        token_hash = _hash_of(text)
        found = await self.read(_BY_HASH, {"hash": token_hash})
        if not found or not hmac.compare_digest(found[0].token_hash, token_hash):
            return None
        token = _read(found[0])
        if token.has_expired(now):
            return None
        self._note_use(token, now)
        return token

    async def get(self, name: str) -> ApiToken | None:
        """The token of this name, expired or not; None where none has it."""
        found = await self.read(_BY_NAME, {"named": name})
        return _read(found[0]) if found else None

    async def list(self) -> Sequence[ApiToken]:
        """All tokens, by name."""
        return [_read(line) for line in await self.read(_ALL)]

    async def revoke(self, name: str) -> bool:
        """Delete the token of this name; False where there is none."""
        return await self.execute(_REVOKE, {"named": name}) > 0

    async def finish(self) -> None:
        """Wait up to a second for what is being noted. Raises nothing."""
        if self._noting:
            _, late = await asyncio.wait(self._noting, timeout=_FINISHES_WITHIN)
            for task in late:
                task.cancel()

    def _note_use(self, token: ApiToken, now: datetime) -> None:
        """Note in a task of its own that a token is used: no request waits for the write."""
        for noted_at in (token.last_used_at, self._noted_at.get(token.name)):
            if noted_at and now - noted_at < _NOTED_EVERY and not is_ahead(noted_at, now):
                return
        # also before a failure: a database that is locked is not asked with every request
        self._noted_at[token.name] = now
        task = asyncio.create_task(self._note(token.name, now))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _note(self, name: str, now: datetime) -> None:
        values = {"named": name, "used_at": now, "noted_before": now - _NOTED_EVERY}
        with suppress(RindleSyncError):
            await self.execute(_NOTE, values | clock(now))


def _check(name: str, expires_at: datetime | None, now: datetime) -> None:
    fault = token_name_fault(name)
    if name == SETTINGS_TOKEN:
        fault = f"must not be {SETTINGS_TOKEN}: that is the token of the setting api_token"
    if fault:
        raise ConfigurationError("name", fault)
    if expires_at and expires_at <= now:
        raise ConfigurationError("expires_at", "must be later than now")


def _hash_of(text: str) -> str:
    # The text has 256 random bits: nobody can try them all, so that a slow hash, which is for
    # passwords, would only slow each request down.
    return sha256(text.encode()).hexdigest()


def _read(line: sa.Row[Any]) -> ApiToken:
    values = line._asdict()
    return ApiToken(**{field.name: values[field.name] for field in fields(ApiToken)})
