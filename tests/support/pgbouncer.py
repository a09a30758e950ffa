"""A real PgBouncer before a PostgreSQL of the tests, where it is installed."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.support import postgres
from tests.support.processes import free_port

CONF = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
"""


class NoPgbouncer(Exception):
    """PgBouncer is not installed here."""


@contextmanager
def pooling(url: str, mode: str = "transaction", *, sessions: int = 1) -> Iterator[str]:
    """The database at `url` through a PgBouncer that has so many sessions for all clients."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise NoPgbouncer("PgBouncer is not installed: apt-get install pgbouncer")
    server, listen = urlsplit(url), free_port()
    account = postgres.unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="rindle-pgbouncer-", dir="/tmp"))
    conf = CONF.format(
        host=server.hostname,
        port=server.port,
        user=server.username,
        listen=listen,
        mode=mode,
        size=sessions,
    )
    (folder / "pgbouncer.ini").write_text(conf)
    for path in (folder, folder / "pgbouncer.ini"):
        account.own(path)
    command = (program, "-q", str(folder / "pgbouncer.ini"))
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **account.options)
    try:
        pooled = urlunsplit(server._replace(netloc=f"{server.username}@127.0.0.1:{listen}"))
        _wait_for(pooled, process)
        yield pooled
    finally:
        process.terminate()
        process.wait(timeout=10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if process.poll() is not None:
            raise NoPgbouncer(f"PgBouncer does not start: it ended with {process.returncode}")
        with suppress(psycopg.OperationalError):
            # of its own database: it answers before it has a session of the server's
            psycopg.connect(f"{url.rpartition('/')[0]}/pgbouncer", connect_timeout=2).close()
            return
        time.sleep(0.05)
    raise NoPgbouncer("PgBouncer does not answer")
