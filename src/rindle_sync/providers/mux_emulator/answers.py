"""What the far end answers, before it is bytes; the error bodies are Mux's."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

JSON = "application/json; charset=utf-8"
HTML = "text/html"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body: None for no body, bytes for a body as it is, else something to write as JSON."""

    status: int
    body: Any = None
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_success(self) -> bool:
        """Whether the call was processed."""
        return self.status < 300

    def raw(self) -> bytes:
        """The body as bytes."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body or b""
        try:
            return msgspec.json.encode(self.body)
        except UnicodeEncodeError:  # half a character, which JSON can write and UTF-8 cannot
            return json.dumps(self.body, separators=(",", ":")).encode()


def problem(status: int, kind: str, *messages: str) -> Answer:
    """The error body of most statuses of 4xx and 5xx."""
    return Answer(status, {"error": {"type": kind, "messages": list(messages)}})


def unauthorized() -> Answer:
    """Wrong or missing credentials."""
    return problem(401, "unauthorized", "Unauthorized request")


def not_found() -> Answer:
    """No such object in this environment."""
    return problem(404, "not_found", "The requested resource either doesn't exist or you don't have access to it.")


def invalid_parameters(*messages: str) -> Answer:
    """A request that says something that it cannot say."""
    return problem(400, "invalid_parameters", *messages)


def too_many_requests(headers: Mapping[str, str]) -> Answer:
    """An empty bucket; this body has a key of its own."""
    return Answer(429, {"errors": ["Too many requests, retry later."]}, headers=headers)


def web_page(status: int, title: str) -> Answer:
    """What a proxy in front of the far end says."""
    page = f"<html><head><title>{status} {title}</title></head><body><h1>{status} {title}</h1></body></html>"
    return Answer(status, page.encode(), HTML)
