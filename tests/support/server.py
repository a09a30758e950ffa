"""An app behind our own server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rindle_sync.web.server import listen, serve
from rindle_sync.webhooks import App


@asynccontextmanager
async def served(app: App, **limits: Any) -> AsyncIterator[int]:
    """Serve `app`; its port."""
    listening, stop = listen("127.0.0.1", 0), asyncio.Event()
    port = listening.getsockname()[1]
    serving = asyncio.create_task(serve(app, listening, stop, **limits))
    try:
        yield port
    finally:
        stop.set()
        await serving
