"""What is believed of a request from a browser: where it comes from, and the form that it sends."""

import asyncio
import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request

LARGEST_FORM: Final = 16 * 1024
FORM_WITHIN: Final = 10.0
"""Seconds in which a whole form must arrive."""

LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_LOCAL_HOST: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)

FORWARDING: Final = (
    "cf-",
    "fastly-client-ip",
    "fly-",
    "forwarded",
    "true-client-ip",
    "via",
    "x-amzn-trace-id",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-",
    "x-forwarded",
    "x-original-",
    "x-proxy",
    "x-real-ip",
    "x-remote-",
)
"""How the names of the headers begin by which a proxy shows itself."""

_FOREIGN: Final = (
    "the request comes from a page of another address; behind a proxy, set console_base_url to "
    "the address that browsers use, and open the console there"
)


class Declined(Exception):
    """The request is refused with `status`; the error page links `back`."""

    def __init__(self, status: int, text: str, back: str = "/") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.back = back


@dataclass(frozen=True, slots=True)
class Address:
    """Where browsers find the console; without an `origin`, at whatever name they call it."""

    origin: str | None = None
    path: str = ""
    """What stands before every path of the console, as in `/ops/rindle`."""

    @classmethod
    def of(cls, base_url: str | None) -> Self:
        """The address that the setting `console_base_url` names, if it is set."""
        if not base_url:
            return cls()
        parts = urlsplit(base_url)
        origin = f"{parts.scheme}://{parts.netloc}".lower()
        default_port = ":443" if parts.scheme == "https" else ":80"
        return cls(origin.removesuffix(default_port), parts.path.rstrip("/"))

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it over TLS."""
        return (self.origin or "").startswith("https:")

    def within(self, path: str) -> str:
        """The path within the console; a proxy may pass its own part on, or leave it out."""
        if path == self.path or path.startswith(f"{self.path}/"):
            return path.removeprefix(self.path) or "/"
        return path


def is_local(request: Request) -> bool:
    """Whether the request comes from this machine, by a local name, and through no proxy.

    The name is checked since a foreign name may resolve to this machine (DNS rebinding).
    """
    # nginx speaks HTTP/1.0 unless told otherwise, and adds no header; no browser does
    if request.scope["http_version"] == "1.0":
        return False
    if any(name.startswith(FORWARDING) for name in request.headers):
        return False
    client = request.client.host if request.client else ""
    # not `request.url`: for a name that it cannot read, it takes the address of this server
    host = request.headers.get("host", "")
    return _LOCAL_HOST.fullmatch(host) is not None and client in LOCAL


def check_origin(request: Request, address: Address) -> None:
    """Another site may link here; it may not embed, load or post to the console.

    https://www.w3.org/TR/fetch-metadata/
    """
    headers = request.headers
    is_document = headers.get("sec-fetch-dest", "document") == "document"
    is_link = is_document and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") == "cross-site" and not is_link:
        raise Declined(403, "another site may not load the console")
    origin = headers.get("origin")
    if origin is None:
        return
    if address.origin is None:
        # the scheme is not compared: a proxy may end TLS
        is_ours = origin.partition("://")[2] == headers.get("host")
    else:
        is_ours = origin == address.origin
    if not is_ours:
        raise Declined(403, _FOREIGN)


async def read_form(request: Request, within: float = FORM_WITHIN) -> dict[str, str]:
    """The fields of a form, each with its first value."""
    fields = await read_fields(request, within)
    return {name: values[0] for name, values in fields.items()}


async def read_fields(request: Request, within: float = FORM_WITHIN) -> dict[str, list[str]]:
    """The fields of a form, each with all its values."""
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
    return parse_qs(body.decode("utf-8", "replace"))
