"""The service in an app of Starlette's, or of a framework that is built on it.

rindle = StarletteRindle()
app = Starlette(routes=[rindle.route(), ...], lifespan=rindle.lifespan)
"""

from collections.abc import Callable

from starlette.routing import Route

from rindle_sync.integrations.asgi import AsgiRindle
from rindle_sync.webhooks import App, Receive, Scope, Send, nowhere, try_again


class StarletteRindle(AsgiRindle):
    """`AsgiRindle` with a route of Starlette's for the webhook endpoint."""

    def route(self, path: str = "/webhooks/{provider}") -> Route:
        """The webhook endpoint at exactly `path`, for `routes` of the app.

        While no service runs, requests are answered 503 with `Retry-After`.
        """
        return Route(path, _Endpoint(self._endpoint), include_in_schema=False)

    def _endpoint(self, provider: str | None) -> App | None:
        service = self._service
        if service and provider not in {None, service.settings.provider}:
            return nowhere
        return service.webhooks if service else None


class _Endpoint:
    """An ASGI app as an object: Starlette calls a function with a request instead."""

    def __init__(self, find: Callable[[str | None], App | None]) -> None:
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._find(scope.get("path_params", {}).get("provider")) or try_again
        await endpoint(scope, receive, send)
