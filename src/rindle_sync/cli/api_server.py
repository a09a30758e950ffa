"""Where a running process serves the HTTP API: beside the webhooks, or on a port of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Final

from rindle_sync.cli.output import Serving, say
from rindle_sync.installation import Installation
from rindle_sync.store.api_tokens import ApiTokens
from rindle_sync.webhooks import App

PATH: Final = "/api/v1"

_NO_EXTRA: Final = (
    "no HTTP API, though there are tokens: it needs an extra; pip install 'rindle-sync[api]'"
)
_NO_PORT: Final = "no HTTP API: this process has no endpoint to serve it beside; set api_port"


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The API, and where it is served."""

    beside: App | None = None
    """To be served at `PATH` on the listener of the webhooks."""
    serving: Serving | None = None
    """Serves it on a listener of its own, which is open already."""


@asynccontextmanager
async def api_server(
    installation: Installation, stop: asyncio.Event, *, has_endpoint: bool
) -> AsyncIterator[ApiServer]:
    """The API, where the settings have a port or a token for it, or a token was made.

    Who waits for changes is answered once `stop` is set. Raises `ConfigurationError`,
    `DatabaseUnavailable`.
    """
    if not await _is_wanted(installation):
        yield ApiServer()
        return
    settings, api = installation.settings, installation.api()
    if settings.api_port:
        found = ApiServer(serving=_serving(api, settings.api_host, settings.api_port, stop))
    elif has_endpoint:
        found = ApiServer(beside=api)
    else:
        say(_NO_PORT)
        yield ApiServer()
        return
    await api.turn_on()
    ending = asyncio.create_task(_end_with(stop, api.following.end))
    try:
        yield found
    finally:
        ending.cancel()


async def _is_wanted(installation: Installation) -> bool:
    settings = installation.settings
    if settings.api_port or settings.api_token:
        return True
    if not await ApiTokens(installation.database).list():
        return False
    if find_spec("fastapi") is None:
        say(_NO_EXTRA)
        return False
    return True


def _serving(api: App, host: str, port: int, stop: asyncio.Event) -> Serving:
    from rindle_sync.web.mounting import at_prefix
    from rindle_sync.web.server import WEBHOOKS, listen, serve

    listening = listen(host, port, settings=("api_host", "api_port"))
    say(f"HTTP API at http://{host}:{port}{PATH}")
    return partial(serve, at_prefix(PATH, api), listening, stop, limits=WEBHOOKS)


async def _end_with(stop: asyncio.Event, end: Callable[[], None]) -> None:
    await stop.wait()
    end()
