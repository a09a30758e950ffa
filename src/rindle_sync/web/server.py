"""Serves an ASGI app inside a running event loop until told to stop; handles no signals."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from rindle_sync.errors import ConfigurationError
from rindle_sync.webhooks import App, at_most

HEAD_WITHIN: Final = 10
"""Seconds in which a connection must send the whole head of its first or next request."""

MOST_AT_ONCE: Final = 1000
"""How many requests are served at once; idle connections do not count."""

BACKLOG: Final = 100
"""Connections that wait to be accepted.

asyncio tries to accept as many at once, and logs each that it cannot.
"""


class _Connection(H11Protocol):
    """Closes a connection that sends the head of a request too slowly.

    uvicorn itself closes only silent connections.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        # there is no cycle before the first request
        if not getattr(self.cycle, "response_complete", True):
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline:
            self._deadline.cancel()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle none: the caller of `serve` does."""
        yield


def listen(
    host: str, port: int, *, settings: tuple[str, str] = ("listen_host", "listen_port")
) -> socket.socket:
    """A socket to serve on; port 0 is any free port.

    Raises `ConfigurationError` about one of the two `settings`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    host_setting, port_setting = settings
    try:
        return socket.create_server((host, port), family=family)
    except UnicodeError:
        setting, reason = host_setting, "no such address"
    except OSError as error:
        code = error.errno or 0
        setting, reason = port_setting, os.strerror(code)
        # below 0 are the codes of getaddrinfo, which does not know the host
        if code < 0 or code == errno.EADDRNOTAVAIL:
            setting, reason = host_setting, "no such address"
    text = f"cannot listen on {host}:{port} ({reason}); choose another one"
    raise ConfigurationError(setting, text)


async def serve(
    app: App,
    listening: socket.socket,
    stop: asyncio.Event,
    *,
    lifespan: bool = False,
    head_within: int = HEAD_WITHIN,
) -> None:
    """Serve `app` until `stop` is set, then give running requests five seconds to end."""
    config = uvicorn.Config(
        at_most(MOST_AT_ONCE, app),
        http=_Connection,
        ws="none",
        log_config=None,
        access_log=False,
        log_level="warning",
        lifespan="on" if lifespan else "off",
        # given, so that uvicorn does not read them from FORWARDED_ALLOW_IPS and WEB_CONCURRENCY
        proxy_headers=False,
        forwarded_allow_ips="",
        workers=1,
        timeout_keep_alive=head_within,
        timeout_graceful_shutdown=5,
        backlog=BACKLOG,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        stopping.cancel()
        await serving
