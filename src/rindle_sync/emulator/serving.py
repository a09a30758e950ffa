"""An emulator behind HTTP in a thread of this process, for programs in any language."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from rindle_sync.emulator.emulator import MuxEmulator

_START_WITHIN: Final = 30.0
_END_WITHIN: Final = 10.0


@contextmanager
def serving(emulator: MuxEmulator, *, port: int = 0, deliver: bool = False) -> Iterator[str]:
    """The URL of an emulator on this machine, for as long as the block lasts.

    By default it has any free port. With `deliver` it sends due webhooks by itself, else only when
    `deliver_due` is called. Raises `OSError` where it cannot listen.
    """
    config = uvicorn.Config(
        emulator.app,
        loop="asyncio",
        lifespan="on" if deliver else "off",
        ws="none",
        # the logging of the process that runs the tests is not ours to configure
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    with socket.create_server(("127.0.0.1", port)) as listening:
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=server.run, args=([listening],), name="mux-emulator", daemon=True
        )
        thread.start()
        try:
            _await_start(server, thread)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_END_WITHIN)


def _await_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    waited = 0.0
    while not server.started:
        thread.join(0.01)
        waited += 0.01
        if not thread.is_alive() or waited > _START_WITHIN:
            raise OSError("the emulator could not be served")
