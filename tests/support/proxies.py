"""Reverse proxies before a server of ours, with no settings but where to forward to.

Both pass the name of their upstream on as `Host`, speak HTTP/1.0 to it and add no header.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.support.processes import free_port

_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location {path}/ {{ proxy_pass http://127.0.0.1:{upstream}{strip}; }}
    }}
}}
"""


@asynccontextmanager
async def nginx(folder: Path, upstream: int, path: str, *, strips: bool) -> AsyncIterator[int]:
    """A real nginx that forwards `path`, with or without `path` itself; its port."""
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not installed")
    port, strip = free_port(), "/" * strips
    written = _NGINX.format(folder=folder, port=port, path=path, upstream=upstream, strip=strip)
    config = folder / "nginx.conf"
    config.write_text(written)
    running = await asyncio.create_subprocess_exec(program, "-p", str(folder), "-c", str(config))
    try:
        await _answers(port)
        yield port
    finally:
        running.terminate()
        await running.wait()


@asynccontextmanager
async def small_proxy(_: Path, upstream: int, path: str, *, strips: bool) -> AsyncIterator[int]:
    """The same, in a few lines, where there is no nginx."""

    async def forward(asks: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        head, _, _ = (await asks.readuntil(b"\r\n\r\n")).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        method, target, _ = first.split(" ")
        headers |= {"host": f"127.0.0.1:{upstream}", "connection": "close"}
        target = target.removeprefix(path) if strips else target
        sent = [f"{method} {target} HTTP/1.0", *(": ".join(header) for header in headers.items())]
        body = await asks.readexactly(int(headers.get("content-length", "0")))
        back, on = await asyncio.open_connection("127.0.0.1", upstream)
        on.write("\r\n".join([*sent, "", ""]).encode() + body)
        answers.write(await back.read())
        on.close()
        answers.close()

    async with await asyncio.start_server(forward, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


async def _answers(port: int) -> None:
    while True:
        with suppress(ConnectionError):
            _, asks = await asyncio.open_connection("127.0.0.1", port)
            asks.close()
            return
        await asyncio.sleep(0.02)
