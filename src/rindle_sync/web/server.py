"""Serves an ASGI app inside a running event loop until told to stop; handles no signals."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import uvicorn
from h11 import LocalProtocolError
from uvicorn.protocols.http.h11_impl import H11Protocol

from rindle_sync.errors import ConfigurationError
from rindle_sync.webhooks import App, at_most

BACKLOG: Final = 100
"""Connections that wait to be accepted.

asyncio tries to accept as many at once, and logs each that it cannot.
"""

MOST_PIPELINED: Final = 10
"""How many requests may come on a connection before the answers to those before them are sent."""

RESTART_AFTER: Final = 1.0
"""Seconds until a server that has ended by itself is started again."""

_log: Final = logging.getLogger("rindle_sync")
_requests_log: Final = logging.getLogger("rindle_sync.requests")
_requests_log.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What all clients of one listener may take up; no listener takes from another.

    Both listeners together stay below the 1024 open files that a process usually may have.
    """

    requests: int = 500
    """How many are served at once; 503 for more."""
    connections: int = 600
    """How many are open at once; for a further one, the one that has idled longest is closed."""
    head_within: int = 10
    """Seconds in which a connection must send the whole head of its first or next request."""
    taken_within: int = 30
    """Seconds in which a client must take an answer."""


WEBHOOKS: Final = Limits()
OPERATIONS: Final = Limits(requests=100, connections=200)


@dataclass(slots=True)
class _Clients:
    """The connections of one listener that wait for a request, the longest first."""

    limits: Limits
    idle: "dict[_Connection, None]" = field(default_factory=dict)


class _Connection(H11Protocol):
    """Closes a connection that sends a head, or takes an answer, too slowly.

    uvicorn itself closes only silent connections, and waits without end for what is sent to be
    taken.
    """

    def __init__(self, clients: _Clients, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # uvicorn warns of each request that is malformed: anybody could fill the log
        self.logger = _requests_log
        self._clients = clients
        self._limits = clients.limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._pipelined = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self._limits.connections:
            longest_idle = next(iter(self._clients.idle))
            longest_idle.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting_for_head()
        self._stop_waiting_for_client()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        # there is no cycle before the first request
        if not getattr(self.cycle, "response_complete", True):
            self._stop_waiting_for_head()
            if self._all_is_taken():
                self._stop_waiting_for_client()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._all_is_taken():
            self._wait_for_client()
        if self.cycle.response_complete:
            self._pipelined = 0
            self._wait_for_head()
            return
        # the next request was here before this answer
        self._pipelined += 1
        if self._pipelined >= MOST_PIPELINED:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer has begun; either way the connection ends."""
        if self.cycle is not None:
            # an app that answers before it has read the rest would fail with a traceback
            self.cycle.disconnected = True
        with suppress(LocalProtocolError):
            super().send_400_response(msg)
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_client()

    def abort(self) -> None:
        """Close the connection, whatever has not been sent yet."""
        self._stop_waiting_for_head()
        self.transport.abort()

    def _all_is_taken(self) -> bool:
        return self.transport.get_write_buffer_size() == 0

    def _wait_for_head(self) -> None:
        self._stop_waiting_for_head()
        self._clients.idle[self] = None
        self._head_timer = self.loop.call_later(self._limits.head_within, self._no_head)

    def _stop_waiting_for_head(self) -> None:
        self._clients.idle.pop(self, None)
        if self._head_timer:
            self._head_timer.cancel()

    def _no_head(self) -> None:
        # an answer that is still being taken has a time limit of its own
        if self._all_is_taken():
            self.abort()
        else:
            self._wait_for_head()

    def _wait_for_client(self) -> None:
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(self._limits.taken_within, self._not_taken)

    def _stop_waiting_for_client(self) -> None:
        if self._answer_timer:
            self._answer_timer.cancel()
            self._answer_timer = None

    def _not_taken(self) -> None:
        self._answer_timer = None
        if not self._all_is_taken():
            self.abort()


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
        created = socket.create_server((host, port), family=family)
    except UnicodeError:
        setting, reason = host_setting, "no such address"
    except OSError as error:
        code = error.errno or 0
        setting, reason = port_setting, os.strerror(code)
        # below 0 are the codes of getaddrinfo, which does not know the host
        if code < 0 or code == errno.EADDRNOTAVAIL:
            setting, reason = host_setting, "no such address"
    else:
        # asyncio sends at once (TCP_NODELAY) only on sockets that say that they are of TCP
        return socket.socket(
            family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=created.detach()
        )
    text = f"cannot listen on {host}:{port} ({reason}); choose another one"
    raise ConfigurationError(setting, text)


async def serve(
    app: App,
    listening: socket.socket,
    stop: asyncio.Event,
    *,
    lifespan: bool = False,
    limits: Limits = WEBHOOKS,
) -> None:
    """Serve `app` until `stop` is set, then give running requests five seconds to end.

    A server that ends before is logged and started again.
    """
    # each server closes the socket that it gets; this one keeps the address meanwhile
    with listening:
        while not stop.is_set():
            try:
                await _serve_once(app, listening.dup(), stop, lifespan=lifespan, limits=limits)
                reason = "by itself"
            except Exception as error:  # noqa: BLE001  other servers in this process go on
                reason = f"in an unexpected {type(error).__name__}"
            if not stop.is_set():
                host, port = listening.getsockname()[:2]
                _log.error("the server at %s:%s ended %s; it is started again", host, port, reason)
                with suppress(TimeoutError):
                    async with asyncio.timeout(RESTART_AFTER):
                        await stop.wait()


async def _serve_once(
    app: App, listening: socket.socket, stop: asyncio.Event, *, lifespan: bool, limits: Limits
) -> None:
    connection: Any = partial(_Connection, _Clients(limits))
    config = uvicorn.Config(
        at_most(limits.requests, app),
        http=connection,
        ws="none",
        log_config=None,
        access_log=False,
        log_level="warning",
        lifespan="on" if lifespan else "off",
        # given, so that uvicorn does not read them from FORWARDED_ALLOW_IPS and WEB_CONCURRENCY
        proxy_headers=False,
        forwarded_allow_ips="",
        workers=1,
        timeout_keep_alive=limits.head_within,
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
        try:
            await serving
        finally:
            # one that has failed has closed nothing
            for accepting in getattr(server, "servers", ()):
                accepting.close()
