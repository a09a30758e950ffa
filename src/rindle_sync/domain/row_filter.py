"""Which rows are listed, in which order, and how the place where a page ends is written. Pure."""

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, TypedDict, TypeVar
from uuid import UUID

from rindle_sync.domain.asset import ErrorKind, ProviderAsset, State
from rindle_sync.domain.text import is_text
from rindle_sync.errors import ConfigurationError

MOST_LISTED: Final = 1000
"""The most rows of a page."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_PLACE: Final = struct.Struct(">q16s")
_CHECKSUM: Final = 9
"""Bytes; with those of the place a multiple of three, which base64 writes without padding."""

W = TypeVar("W", bound=StrEnum)
Place = tuple[datetime, str]
"""A time and an id, as of when the asset of a row was made: the order of a list, without ties."""


class RowFilters(TypedDict, total=False):
    """Which rows are meant; what is left out, or None, takes all."""

    state: str | Collection[str] | None
    """A `State`, or several."""
    error_kind: str | Collection[str] | None
    """An `ErrorKind`, or several."""
    references: str | Collection[str] | None
    """The app's own ids; any number. None of them: no row."""
    profile: str | None
    since: datetime | None
    """Only rows whose asset was made then or later (`provider_created_at`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """Which rows are meant, checked; None takes all."""

    states: tuple[State, ...] | None = None
    error_kinds: tuple[ErrorKind, ...] | None = None
    references: tuple[str, ...] | None = field(default=None, repr=False)
    profile: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RowPage:
    """Some rows of a list, and the cursor of those behind them."""

    rows: tuple[ProviderAsset, ...]
    next: str | None = field(default=None, repr=False)
    """What to pass as `after` for the next page; None at the end of the list."""


def row_filter(
    *,
    state: str | Collection[str] | None = None,
    error_kind: str | Collection[str] | None = None,
    references: str | Collection[str] | None = None,
    profile: str | None = None,
    since: datetime | None = None,
) -> RowFilter:
    """The filter of these `RowFilters`; raises `ConfigurationError`, named after one of them."""
    if profile is not None and not all(map(is_text, _texts("profile", [profile]))):
        raise ConfigurationError("profile", "must be a text that a row can have")
    known = references if references is None else _texts("references", references)
    return RowFilter(
        states=_words("state", state, State),
        error_kinds=_words("error_kind", error_kind, ErrorKind),
        # no row can have another, and PostgreSQL refuses some
        references=known and tuple(sorted({text for text in known if is_text(text)})),
        profile=profile,
        since=_utc(since),
    )


def _utc(since: object) -> datetime | None:
    if since is None:
        return None
    if not isinstance(since, datetime) or since.utcoffset() is None:
        raise ConfigurationError("since", "must be a datetime with a time zone")
    try:
        return since.astimezone(UTC)
    except OverflowError:
        raise ConfigurationError("since", "must be of the years 1 to 9999 in UTC") from None


def _texts(name: str, given: object) -> tuple[str, ...]:
    texts = (given,) if isinstance(given, str) else given
    if not isinstance(texts, Collection) or not all(isinstance(text, str) for text in texts):
        raise ConfigurationError(name, "must be a text or a collection of texts")
    return tuple(texts)


def _words(name: str, given: str | Collection[str] | None, kind: type[W]) -> tuple[W, ...] | None:
    if given is None:
        return None
    words = set(_texts(name, given))
    if not words <= {member.value for member in kind}:
        known = ", ".join(member.value for member in kind)
        raise ConfigurationError(name, f"must be one or several of {known}")
    return tuple(member for member in kind if member.value in words)


def check_limit(limit: object) -> None:
    """Raise `ConfigurationError` unless `limit` can be the most rows of a page."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_LISTED:
        raise ConfigurationError("limit", f"must be a whole number from 1 to {MOST_LISTED}")


def cursor_of(row: ProviderAsset, question: str) -> str:
    """The cursor of the place behind `row` in the list that answers `question`."""
    return cursor_at((row.provider_created_at, row.id), question)


def cursor_at(place_behind: Place, question: str) -> str:
    """The cursor of a place in the list that answers `question`; its id is a UUID."""
    at, row_id = place_behind
    place = _PLACE.pack((at - _EPOCH) // _MICROSECOND, UUID(row_id).bytes)
    return base64.urlsafe_b64encode(place + _checksum(place, question)).decode()


def place_of(cursor: str, question: str) -> Place:
    """The place that `cursor` means; raises `ConfigurationError` for one of another list."""
    try:
        told = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
        place, checksum = told[: _PLACE.size], told[_PLACE.size :]
        moment, row_id = _PLACE.unpack(place)
        at = _EPOCH + moment * _MICROSECOND
    except (AttributeError, ValueError, binascii.Error, struct.error, OverflowError):
        checksum = place = b""
        at, row_id = _EPOCH, bytes(16)
    # not against forgery, which would gain nothing: against a cursor of other rows
    if not place or checksum != _checksum(place, question):
        text = "must be the `next` of a page of the same list, with the same filters and order"
        raise ConfigurationError("after", text)
    return at, str(UUID(bytes=row_id))


def question_of(wanted: RowFilter, *, newest_first: bool, scope: str) -> str:
    """What a list answers, as a text: equal texts have the same rows in the same order."""
    since = wanted.since and wanted.since.isoformat()
    asked = (wanted.states, wanted.error_kinds, wanted.references, wanted.profile, since)
    return json.dumps([scope, newest_first, *asked])


def _checksum(place: bytes, question: str) -> bytes:
    return hashlib.sha256(place + question.encode()).digest()[:_CHECKSUM]
