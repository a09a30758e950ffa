"""Serves an ASGI app inside a running event loop until told to stop; handles no signals."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import uvicorn

from rindle_sync.errors import ConfigurationError
from rindle_sync.web.connection import Clients, Connection, Limits
from rindle_sync.webhooks import App, at_most

BACKLOG: Final = 100
"""Connections that wait to be accepted.

asyncio tries to accept as many at once, and logs each that it cannot.
"""

RESTART_AFTER: Final = 1.0
"""Seconds until a server that has ended by itself is started again."""

_log: Final = logging.getLogger("rindle_sync")

WEBHOOKS: Final = Limits()
OPERATIONS: Final = Limits(requests=100, connections=200)


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
    connection: Any = partial(Connection, Clients(limits))
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
