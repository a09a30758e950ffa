"""What an error is as an answer: a problem document, as RFC 9457 has it.

https://www.rfc-editor.org/rfc/rfc9457
"""

import json
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from rindle_sync.domain import shown_text
from rindle_sync.errors import (
    AlreadyClosed,
    AlreadyTracked,
    AuthenticationFailed,
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    InvalidValue,
    NotFound,
    NotPlayable,
    ProviderError,
    RateLimited,
    RindleSyncError,
    UnknownChange,
)

MEDIA_TYPE: Final = "application/problem+json"
KINDS: Final = "urn:rindle-sync:problem:"
"""What the `type` of each problem begins with."""

LONGEST_DETAIL: Final = 2000
RETRY_AFTER: Final = 5
"""Seconds, where nothing better is known."""

HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

_STATUS_TITLES: Final = {
    400: ("bad-request", "The request cannot be read"),
    401: ("unauthorized", "A valid token is needed"),
    403: ("forbidden", "The token may not do this"),
    404: ("not-found", "There is no such thing"),
    405: ("method-not-allowed", "The path does not take this method"),
    408: ("late-request", "The request did not arrive in time"),
    409: ("conflict", "The state of things does not allow this"),
    410: ("gone", "It is not there any more"),
    413: ("too-large", "The body is too large"),
    415: ("not-json", "The body must be JSON"),
    422: ("invalid", "A value is not valid"),
    429: ("rate-limited", "Too many requests"),
    500: ("fault", "A bug in rindle-sync"),
    502: ("provider", "The provider gave no answer"),
    503: ("unavailable", "Not available now"),
    504: ("late", "It took too long"),
}


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str
    """The name in the body, the query, the path or the headers; parts are joined by dots."""
    message: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "type": KINDS + "invalid",
                    "title": "A value is not valid",
                    "status": 422,
                    "detail": "reference: must not be empty or blank",
                    "errors": [{"field": "reference", "message": "must not be empty or blank"}],
                }
            ]
        },
    )

    type: str
    """Tells problems apart: the same for each of a kind, and made for programs."""
    title: str
    """What `type` means, for people."""
    status: int
    """The status of the answer."""
    detail: str
    """What is wrong this time, for people, and how to go on."""
    errors: list[FieldError] = []
    """The fields that are wrong."""
    row_id: str | None = None
    """The asset that is in the way."""
    state: str | None = None
    """Its state."""
    differs: list[str] = []
    """The fields in which it is another than the request says."""
    reason: str | None = None
    """A fixed word for why a row cannot be played."""


class Declined(Exception):
    """The request is answered with a problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str | None = None,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        **others: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.errors = errors
        self.headers = dict(headers or {})
        self.others = {name: value for name, value in others.items() if value}


def wrong(field: str, message: str) -> Declined:
    """A problem with one field of a request."""
    return Declined(422, f"{field}: {message}", errors=[(field, message)])


def busy(detail: str, retry_after: float = RETRY_AFTER) -> Declined:
    """A problem that passes."""
    return Declined(503, detail, headers=_after(retry_after))


def answer(declined: Declined) -> Response:
    """The answer to a request that is declined."""
    status = declined.status
    known, title = _STATUS_TITLES.get(status, ("error", "The request was refused"))
    body: dict[str, Any] = {
        "type": KINDS + (declined.kind or known),
        "title": title,
        "status": status,
        "detail": shown_text(declined.detail)[:LONGEST_DETAIL],
    }
    if declined.errors:
        body["errors"] = [
            {"field": shown_text(field)[:100], "message": shown_text(message)[:LONGEST_DETAIL]}
            for field, message in declined.errors
        ]
    content = json.dumps(body | declined.others).encode()
    return Response(content, status, HEADERS | declined.headers, MEDIA_TYPE)


def refusal_of(error: RindleSyncError) -> Declined:
    """What an error of the library means to whoever has sent the request."""
    for kind, refuse in _BY_ERROR.items():
        if isinstance(error, kind):
            return refuse(error)
    return Declined(409, str(error))


def _after(seconds: float | None) -> dict[str, str]:
    return {"retry-after": str(max(1, ceil(RETRY_AFTER if seconds is None else seconds)))}


def _tracked(error: Any) -> Declined:
    return Declined(
        409,
        str(error),
        kind="already-tracked",
        row_id=error.row_id,
        state=error.state and str(error.state),
        differs=list(error.differs),
    )


def _not_playable(error: Any) -> Declined:
    return Declined(409, str(error), kind="not-playable", row_id=error.row_id, reason=error.reason)


def _configuration(error: Any) -> Declined:
    return wrong(error.setting, str(error).removeprefix(f"{error.setting}: "))


def _rate_limited(error: Any) -> Declined:
    return Declined(429, str(error), headers=_after(error.retry_after))


def _closed(_: Any) -> Declined:
    return busy("the service ends; try again")


_BY_ERROR: Final[Mapping[type[RindleSyncError], Callable[[Any], Declined]]] = {
    AlreadyTracked: _tracked,
    NotPlayable: _not_playable,
    ConfigurationError: _configuration,
    InvalidValue: lambda error: Declined(422, str(error)),
    RateLimited: _rate_limited,
    AuthenticationFailed: lambda error: Declined(502, str(error), kind="provider-refused"),
    ProviderError: lambda error: Declined(502, str(error), headers=_after(None)),
    NotFound: lambda error: Declined(404, str(error), kind="not-at-provider"),
    UnknownChange: lambda error: Declined(410, str(error), kind="unknown-change"),
    Conflict: lambda error: Declined(409, str(error), headers=_after(1)),
    DatabaseUnavailable: lambda error: busy(str(error)),
    AlreadyClosed: _closed,
}
"""The first that fits counts: a kind stands before its base."""
