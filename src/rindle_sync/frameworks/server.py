"""Serves an ASGI app from inside a running event loop, until told to stop; leaves the signals alone."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from rindle_sync.errors import Misconfigured


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: whoever runs us listens to the signals."""
        yield


def listen(host: str, port: int, *, setting: str = "listen_port") -> socket.socket:
    """A socket to serve on, at any free port for 0; raises `Misconfigured` when it cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        told = "no such address" if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise Misconfigured(setting, f"{host}:{port} cannot be had ({told}); name another one") from None


async def serve(app: Any, listening: socket.socket, stop: asyncio.Event, *, lifespan: bool = False) -> None:
    """Serve `app` until `stop` is set, then let answers under way end, for five seconds."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        log_level="warning",
        lifespan="on" if lifespan else "off",
        timeout_graceful_shutdown=5,
        limit_concurrency=1000,
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
