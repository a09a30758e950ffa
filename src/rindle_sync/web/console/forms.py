"""What a browser asks and sends, as far as it is to be believed: from where, out of which form, how large, how fast."""

import asyncio
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request

LARGEST_FORM: Final = 16 * 1024
FORM_WITHIN: Final = 10.0
"""Seconds in which a form has to come in whole."""

LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})


class Declined(Exception):
    """The browser does not get this; `status` is the answer's, `back` where its page leads."""

    def __init__(self, status: int, text: str, back: str = "/") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.back = back


def is_local(request: Request) -> bool:
    """Whether it comes from this machine and calls it so: a name that leads here by a trick does not."""
    client = request.client.host if request.client else ""
    return request.url.hostname in LOCAL and client in LOCAL


def check_origin(request: Request) -> None:
    """Another site may lead here by a link; it may not have its visitors' browsers load parts of us.

    https://www.w3.org/TR/fetch-metadata/
    """
    told = request.headers
    is_link = (
        told.get("sec-fetch-mode") == "navigate"
        and told.get("sec-fetch-dest", "document") == "document"
    )
    if told.get("sec-fetch-site") == "cross-site" and not is_link:
        raise Declined(403, "another site may not load this page")


async def read_form(request: Request, within: float = FORM_WITHIN) -> dict[str, str]:
    """The fields of a form, each once."""
    body = bytearray()
    try:
        async with asyncio.timeout(within):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_FORM:
                    raise Declined(413, "the form is too large")
    except TimeoutError:
        raise Declined(408, f"the form did not come in whole within {within:g} s") from None
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
