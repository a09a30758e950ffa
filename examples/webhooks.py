"""A web app that receives webhooks of Mux, creates direct uploads, and handles every change.

Run it with RINDLE_MUX_TOKEN_ID, RINDLE_MUX_TOKEN_SECRET and RINDLE_MUX_WEBHOOK_SECRETS set:
`uvicorn --app-dir examples webhooks:app`. Mux sends its webhooks to /webhooks/mux. There is no
login: add your own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from rindle_sync import ChangeEvent, RindleSync, Settings, connect, webhook_app
from rindle_sync.types import Callback, Transport


async def print_change(event: ChangeEvent) -> None:
    """What the app does about a change; may be called twice for one change."""
    print(event.change.row_id, event.change.from_state, "->", event.change.to_state)


async def begin(request: Request) -> JSONResponse:
    """POST /videos/{reference}: a direct upload; the browser sends the file to its URL by PUT."""
    rindle: RindleSync = request.app.state.rindle
    upload = await rindle.begin_upload(
        reference=request.path_params["reference"], cors_origin="https://app.example.com"
    )
    return JSONResponse({"row_id": upload.row_id, "url": upload.url}, status_code=201)


async def state(request: Request) -> JSONResponse:
    """GET /rows/{row_id}: the state of the video."""
    rindle: RindleSync = request.app.state.rindle
    row = await rindle.get(request.path_params["row_id"])
    if row is None:
        return JSONResponse({"error": "not_found"}, status_code=404)
    return JSONResponse({"state": row.state})


def create_app(
    handle_change: Callback = print_change,
    settings: Settings | None = None,
    transport: Transport | None = None,
) -> Starlette:
    """The app; FastAPI takes the same lifespan and the same `mount`."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with connect(settings, transport=transport) as rindle:
            await rindle.migrate()
            rindle.on_change(handle_change)
            app.state.rindle = rindle
            stop = asyncio.Event()
            service = asyncio.create_task(rindle.run(stop))
            try:
                yield
            finally:
                stop.set()
                await service

    routes = [Route("/videos/{reference}", begin, methods=["POST"]), Route("/rows/{row_id}", state)]
    app = Starlette(routes=routes, lifespan=lifespan)
    # once, here, and before a mount at "/"
    app.mount("/webhooks", webhook_app(lambda: app.state.rindle.webhooks))
    return app


app = create_app()
