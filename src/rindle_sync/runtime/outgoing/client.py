"""Sends outgoing webhooks over HTTP: one request each, in time, to public addresses only.

The proxies of the environment are not used: a proxy would look the host up itself, and what it
finds could not be checked here.
"""

import asyncio
import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from math import inf
from typing import TYPE_CHECKING, Any, Final

from rindle_sync.domain import Attempt, OutgoingEndpoint
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers.network import trusted_certificates
from rindle_sync.runtime.outgoing.addresses import REFUSED, is_public

if TYPE_CHECKING:
    import aiohttp

SEND_LIMIT: Final = timedelta(seconds=15)
"""How long a request may take in all, as the specification recommends."""

MOST_READ: Final = 8192
"""Bytes of an answer that are read, and thrown away; then the connection is closed."""

READING: Final = 1.0
"""Seconds in which its body must be there; then, too."""

KEPT_FOR: Final = 2.0
"""Seconds for which an idle connection is kept: fewer than any server keeps it."""

_HEADERS: Final = {
    "content-type": "application/json",
    "user-agent": f"rindle-sync/{version('rindle-sync')}",
    "accept": "*/*",
}


class NotAnswered(Exception):
    """There was no answer; the text says why, and nothing that the endpoint has said."""


class _AddressRefused(OSError):
    """The host has an address that nothing is sent to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An attempt, and how long it took."""

    attempt: Attempt
    took: timedelta


class OutgoingClient:
    """Sends requests side by side. The connections are kept for a moment, for the next ones."""

    def __init__(self, limit: timedelta = SEND_LIMIT) -> None:
        self._limit = limit.total_seconds()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        """By whether private addresses are allowed: such a connection is for no other endpoint."""

    async def send(
        self, endpoint: OutgoingEndpoint, body: bytes, headers: Mapping[str, str], now: datetime
    ) -> Answer:
        """Send `body` to an endpoint; raises nothing but a cancellation."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._limit):
                status, asked = await self._send(endpoint, body, {**_HEADERS, **headers})
            attempt = Attempt(status, retry_after=_retry_after(asked, now))
        except NotAnswered as error:
            attempt = Attempt(reason=str(error))
        except TimeoutError:
            attempt = Attempt(reason=f"no answer within {self._limit:g} s")
        return Answer(attempt, timedelta(seconds=clock() - began))

    async def _send(
        self, endpoint: OutgoingEndpoint, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, str | None]:
        """The status of the answer, and its `Retry-After`; raises `NotAnswered`."""
        import aiohttp

        try:
            try:
                return await self._request(endpoint, body, headers)
            except aiohttp.ServerDisconnectedError:
                # a kept connection may be closed at any moment: once more, on another one
                return await self._request(endpoint, body, headers)
        except ConfigurationError as error:  # of the variables that name certificates
            raise NotAnswered(str(error)) from None
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotAnswered(_reason(error)) from None

    async def _request(
        self, endpoint: OutgoingEndpoint, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, str | None]:
        import aiohttp
        from yarl import URL

        session = self._session(allow_private=endpoint.allow_private)
        limits = aiohttp.ClientTimeout(total=None, ceil_threshold=inf)
        async with session.post(
            URL(endpoint.url, encoded=True),
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=limits,
        ) as response:
            try:
                async with asyncio.timeout(READING):
                    is_longer = await _is_longer(response)
            except (aiohttp.ClientError, OSError, ValueError):
                is_longer = True
            if is_longer:  # the answer is known, and its body does not count
                response.close()
            return response.status, response.headers.get("retry-after")

    def _session(self, *, allow_private: bool) -> "aiohttp.ClientSession":
        if allow_private not in self._sessions:
            self._sessions[allow_private] = _open_session(allow_private=allow_private)
        return self._sessions[allow_private]

    async def close(self) -> None:
        """Close the connections."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()


def _open_session(*, allow_private: bool) -> "aiohttp.ClientSession":
    import aiohttp

    connector = aiohttp.TCPConnector(
        # no limit here: an endpoint that hangs would hold the connections of all
        limit=0,
        ssl=trusted_certificates(),
        keepalive_timeout=KEPT_FOR,
        resolver=aiohttp.ThreadedResolver(),
        # called with each address to connect to, after all that was resolved: no name can lead
        # elsewhere between a check and the connection
        socket_factory=_any_socket if allow_private else _public_socket,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # it would unpack without a bound
        trust_env=False,
    )
    # what instruments every session of a process would record each URL, whose path may be a secret
    session.trace_configs.clear()
    return session


def _public_socket(address: Any) -> socket.socket:
    if not is_public(address[4][0]):
        raise _AddressRefused(errno.EACCES, REFUSED)
    return _any_socket(address)


def _any_socket(address: Any) -> socket.socket:
    family, kind, protocol = address[:3]
    return socket.socket(family=family, type=kind, proto=protocol)


async def _is_longer(response: "aiohttp.ClientResponse") -> bool:
    """Read the body up to a bound; whether it goes on."""
    left = MOST_READ
    async for part in response.content.iter_any():
        left -= len(part)
        if left < 0:
            return True
    return False


def _retry_after(header: str | None, now: datetime) -> timedelta | None:
    """The wait that an endpoint asks for, in seconds or as a date; None where it asks for none."""
    if not header:
        return None
    if header.strip().isdecimal() and len(header.strip()) <= 9:
        return timedelta(seconds=int(header))
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(at - now, timedelta(0))


def _reason(error: Exception) -> str:
    """Why there was no answer, without the error's own text, which may hold anything."""
    import aiohttp

    text = str(error)
    if REFUSED in text:
        return REFUSED
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host has no address"
    if isinstance(error, aiohttp.ClientConnectorError) and error.errno:
        return f"could not connect ({errno.errorcode.get(error.errno, error.errno)})"
    return f"no answer ({type(error).__name__})"
