"""What is believed of a request from a browser: where it comes from, and the form that it sends."""

import asyncio
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request

LARGEST_FORM: Final = 16 * 1024
FORM_WITHIN: Final = 10.0
"""Seconds in which a whole form must arrive."""

LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})


class Declined(Exception):
    """The request is refused with `status`; the error page links `back`."""

    def __init__(self, status: int, text: str, back: str = "/") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.back = back


def is_local(request: Request) -> bool:
    """Whether the request comes from this machine, and by a local name.

    The name is checked since a foreign name may resolve to this machine (DNS rebinding).
    """
    client = request.client.host if request.client else ""
    return request.url.hostname in LOCAL and client in LOCAL


def check_origin(request: Request) -> None:
    """Another site may link here; it may not embed or load parts of the console.

    https://www.w3.org/TR/fetch-metadata/
    """
    headers = request.headers
    is_document = headers.get("sec-fetch-dest", "document") == "document"
    is_link = is_document and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") == "cross-site" and not is_link:
        raise Declined(403, "another site may not load the console")


async def read_form(request: Request, within: float = FORM_WITHIN) -> dict[str, str]:
    """The fields of a form, each with its first value."""
    body = bytearray()
    try:
        async with asyncio.timeout(within):
            async for chunk in request.stream():
                body += chunk
                # counted as it comes: a request need not tell its length
                if len(body) > LARGEST_FORM:
                    raise Declined(413, "the form is too large")
    except TimeoutError:
        raise Declined(408, f"the form did not arrive within {within:g} s") from None
    fields = parse_qs(body.decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}
