"""Responses of the emulated API before they become bytes; the error bodies are those of Mux."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

JSON: Final = "application/json; charset=utf-8"
HTML: Final = "text/html"


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A status and a body: None for no body, bytes for a raw body, anything else becomes JSON."""

    status: int
    body: Any = None
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def raw(self) -> bytes:
        """The body as bytes."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body or b""
        try:
            return msgspec.json.encode(self.body)
        except UnicodeEncodeError:  # half a surrogate pair: valid in JSON, but not in UTF-8
            return json.dumps(self.body, separators=(",", ":")).encode()


def problem(status: int, kind: str, *messages: str) -> ApiResponse:
    """The error body of most 4xx and 5xx statuses."""
    return ApiResponse(status, {"error": {"type": kind, "messages": list(messages)}})


def too_many_requests(headers: Mapping[str, str]) -> ApiResponse:
    """The rate limit is exceeded; unlike all others, this body has the key `errors`."""
    return ApiResponse(429, {"errors": ["Too many requests, retry later."]}, headers=headers)


def web_page(status: int, title: str) -> ApiResponse:
    """The HTML error page of a proxy in front of Mux."""
    text = f"{status} {title}"
    page = f"<html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>"
    return ApiResponse(status, page.encode(), HTML)


UNAUTHORIZED: Final = problem(401, "unauthorized", "Unauthorized request")
NOT_FOUND: Final = problem(
    404, "not_found", "The requested resource either doesn't exist or you don't have access to it."
)
