"""Calls over HTTP: one answer to one request, in time, without a word of it in any log or error.

`Network` is the way of every call. `GivenTransport` makes calls through a transport of httpx, which
tests give to have an app in this process answer.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from rindle_sync.errors import ConfigurationError
from rindle_sync.providers.network import SOCKS, Proxy, route_to

if TYPE_CHECKING:
    import aiohttp

CONNECTING: Final = 0.9
"""The share of a time limit in which a connection must be there, else nothing was sent for sure."""

Result = TypeVar("Result")


class Transport(Protocol):
    """What carries the calls, as `httpx.AsyncBaseTransport` does.

    Tests put an emulator in its place.
    """

    async def handle_async_request(self, request: Any, /) -> Any:
        """The response to a request, both of httpx."""

    async def aclose(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: `url` as it is to be sent."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer whose body is still to be read, and is only while it is read."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """By their names, in whatever letters."""
    parts: AsyncIterator[bytes] = field(repr=False)
    """The body as it was packed."""


Read = Callable[[Response], Awaitable[Result]]


class CallFailed(Exception):
    """The call brought no answer; the text names the kind of failure and nothing else."""

    def __init__(
        self,
        kind: str,
        *,
        was_sent: bool = True,
        in_time: bool = True,
        is_untrusted: bool = False,
        proxy_status: int | None = None,
    ) -> None:
        super().__init__(kind)
        self.was_sent = was_sent
        self.in_time = in_time
        self.is_untrusted = is_untrusted
        """Whether a certificate was shown that nobody here trusts."""
        self.proxy_status = proxy_status
        """What a proxy answered that did not let the call pass."""


class HttpClient(Protocol):
    """Makes calls side by side."""

    proxy: Proxy | None

    async def send(self, request: Request, read: Read[Result], *, within: float) -> Result:
        """What `read` makes of the answer; redirects are not followed, nothing is unpacked.

        Raises `CallFailed`, also where it takes more than `within` seconds in all.
        """

    async def close(self) -> None:
        """Close the connections."""


def open_client(url: str, connections: int, transport: Transport | None = None) -> HttpClient:
    """A client for calls to `url` and below; raises `ConfigurationError` for a wrong variable."""
    return GivenTransport(transport) if transport else Network(url, connections)


class Network:
    """Calls over the network, on as many connections at once, which are kept for the next."""

    def __init__(self, url: str, connections: int) -> None:
        self._route = route_to(url)
        self.proxy = self._route.proxy
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        if self.proxy and self.proxy.scheme in SOCKS:
            _socks(self.proxy)

    async def send(self, request: Request, read: Read[Result], *, within: float) -> Result:
        """See `HttpClient`."""
        import aiohttp
        from yarl import URL

        # not before the first call: to load the library and the certificates takes its time
        self._session = self._session or self._opened()
        limits = aiohttp.ClientTimeout(connect=within * CONNECTING, ceil_threshold=inf)
        try:
            async with (
                asyncio.timeout(within),
                self._session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers=request.headers,
                    data=request.body,
                    allow_redirects=False,
                    timeout=limits,
                ) as response,
            ):
                parts = response.content.iter_any()
                return await read(Response(response.status, response.headers, parts))
        except aiohttp.ClientHttpProxyError as error:
            raise _failed(error, was_sent=False, proxy_status=error.status) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _failed(error, was_sent=False) from None
        except (aiohttp.ClientError, OSError, ValueError, zlib.error) as error:
            raise _failed(error) from None

    def _opened(self) -> "aiohttp.ClientSession":
        import aiohttp

        context, proxy = self._route.trusted(), self.proxy
        options: dict[str, Any] = {"limit": self._connections, "ssl": context or True}
        is_socks = proxy is not None and proxy.scheme in SOCKS
        if proxy and is_socks:
            address = proxy.url.replace("socks5h:", "socks5:", 1)
            connector = _socks(proxy).from_url(address, rdns=True, **options)
        else:
            connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver(), **options)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # it would unpack without a bound
            proxy=proxy.url if proxy and not is_socks else None,
        )
        # what instruments every session of a process would record each URL, and so every id
        session.trace_configs.clear()
        return session

    async def close(self) -> None:
        """See `HttpClient`."""
        session, self._session = self._session, None
        if session:
            await session.close()


class GivenTransport:
    """Calls through a transport of httpx."""

    proxy: Proxy | None = None

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: Request, read: Read[Result], *, within: float) -> Result:
        """See `HttpClient`."""
        import httpx

        unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
        try:
            asked = httpx.Request(
                request.method,
                request.url,
                headers=request.headers,
                content=request.body,
                extensions={"timeout": httpx.Timeout(within).as_dict()},
            )
            # the time limits of httpx bound each read, not the whole call
            async with asyncio.timeout(within):
                response = await self._transport.handle_async_request(asked)
                try:
                    # the stream itself: the transport may have read the response already
                    parts = aiter(response.stream)
                    return await read(Response(response.status_code, response.headers, parts))
                finally:
                    await response.aclose()
        except httpx.TimeoutException as error:
            was_sent = not isinstance(error, unsent)
            raise _failed(error, was_sent=was_sent, in_time=False) from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise _failed(error, was_sent=not isinstance(error, unsent)) from None
        except (OSError, ValueError, zlib.error) as error:
            raise _failed(error) from None

    async def close(self) -> None:
        """See `HttpClient`."""
        await self._transport.aclose()


def _failed(error: Exception, **told: Any) -> CallFailed:
    """The failure, without the error's own text, which may hold anything."""
    told.setdefault("in_time", not isinstance(error, TimeoutError))
    is_untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
    return CallFailed(type(error).__name__, is_untrusted=is_untrusted, **told)


def _socks(proxy: Proxy) -> Any:
    """The connections through a SOCKS proxy."""
    try:
        from aiohttp_socks import ProxyConnector
    except ImportError:
        text = "names a SOCKS proxy, which needs an extra; pip install 'rindle-sync[socks]'"
        raise ConfigurationError(proxy.variable, text) from None
    return ProxyConnector
