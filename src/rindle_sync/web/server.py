"""Serves an ASGI app from inside a running event loop, until told to stop; leaves the signals alone."""

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
"""Seconds in which a connection has to send the whole head of a request: the first, or the one after an answer."""

MOST_AT_ONCE: Final = 1000
"""How many requests are answered at once; connections that only wait do not count."""

BACKLOG: Final = 100
"""Connections that wait to be accepted; asyncio tries as many at once, and complains of each that it cannot."""


class _Connection(H11Protocol):
    """Closed when no whole head of a request has come for too long: uvicorn only minds connections that are silent."""

    _giving_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self._is_answering:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_answering:
            self._wait_for_head()

    @property
    def _is_answering(self) -> bool:
        return not getattr(
            self.cycle, "response_complete", True
        )  # there is no cycle before the first request

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._giving_up = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._giving_up:
            self._giving_up.cancel()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: whoever runs us listens to the signals."""
        yield


def listen(
    host: str, port: int, *, settings: tuple[str, str] = ("listen_host", "listen_port")
) -> socket.socket:
    """A socket to serve on, at any free port for 0; raises `ConfigurationError` about one of two `settings` without one."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except UnicodeError:
        is_host, told = True, "no such address"
    except OSError as error:
        is_unknown = (
            error.errno or 0
        ) < 0  # a number of getaddrinfo's, which create_server makes an OSError of
        is_host = is_unknown or error.errno == errno.EADDRNOTAVAIL
        told = "no such address" if is_host else os.strerror(error.errno or 0)
    raise ConfigurationError(
        settings[0 if is_host else 1], f"{host}:{port} cannot be had ({told}); name another one"
    )


async def serve(
    app: App,
    listening: socket.socket,
    stop: asyncio.Event,
    *,
    lifespan: bool = False,
    head_within: int = HEAD_WITHIN,
) -> None:
    """Serve `app` until `stop` is set, then let answers under way end, for five seconds."""
    config = uvicorn.Config(
        at_most(MOST_AT_ONCE, app),
        http=_Connection,
        ws="none",
        log_config=None,
        access_log=False,
        log_level="warning",
        lifespan="on" if lifespan else "off",
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
