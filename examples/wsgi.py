"""A WSGI app that receives webhooks of Mux, and the service that applies them, in one thread more.

Run it with RINDLE_MUX_TOKEN_ID, RINDLE_MUX_TOKEN_SECRET and RINDLE_MUX_WEBHOOK_SECRETS set, as
`gunicorn --chdir examples wsgi:app`. Mux sends its webhooks to /webhooks/mux.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any, TypeVar

from rindle_sync import RindleSync, Settings, connect
from rindle_sync.types import Transport, WebhookResponse

T = TypeVar("T")
PATIENCE = 30.0
"""Seconds that a request waits for the service."""
LARGEST = 1024 * 1024


class Background:
    """One event loop in a thread, with the service in it; any thread may call it.

    It starts with the first call: a server forks its workers before that, and threads do not
    survive a fork.
    """

    def __init__(self, settings: Settings | None = None, transport: Transport | None = None):
        self._settings = settings
        self._transport = transport
        self._lock = threading.Lock()
        self._started: Future[tuple[asyncio.AbstractEventLoop, RindleSync]] | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def call(self, work: Callable[[RindleSync], Coroutine[Any, Any, T]]) -> T:
        """The result of `work`, in the loop of the service."""
        with self._lock:
            if self._started is None:
                self._started = Future()
                self._thread.start()
        loop, rindle = self._started.result(PATIENCE)
        return asyncio.run_coroutine_threadsafe(work(rindle), loop).result(PATIENCE)

    def close(self) -> None:
        """End the service; for tests, and for servers that tell when a worker ends."""
        if self._started:
            loop, _ = self._started.result(PATIENCE)
            loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(PATIENCE)

    async def _serve(self) -> None:
        assert self._started
        try:
            async with connect(self._settings, transport=self._transport) as rindle:
                await rindle.migrate()
                self._started.set_result((asyncio.get_running_loop(), rindle))
                await rindle.run(self._stop)
        except Exception as error:
            if self._started.done():
                raise
            self._started.set_exception(error)


def create_app(background: Background) -> Callable[..., Iterable[bytes]]:
    """The app; in Flask or Django, `receive` is all that a view has to call."""

    def receive(headers: dict[str, str], body: bytes) -> WebhookResponse:
        return background.call(lambda rindle: rindle.receive(headers, body))

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/webhooks/mux" or environ["REQUEST_METHOD"] != "POST":
            start_response("404 Not Found", [])
            return []
        length = min(int(environ.get("CONTENT_LENGTH") or 0), LARGEST + 1)
        headers = {
            name.removeprefix("HTTP_").replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        response = receive(headers, environ["wsgi.input"].read(length))
        status = f"{response.status} {HTTPStatus(response.status).phrase}"
        start_response(status, list(response.headers.items()))
        return [response.body]

    return app


app = create_app(Background())
