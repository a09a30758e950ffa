"""A web app that takes Mux's webhooks, makes direct uploads, and hears of every change.

Run it with RINDLE_MUX_TOKEN_ID, RINDLE_MUX_TOKEN_SECRET and RINDLE_MUX_WEBHOOK_SECRETS set:
`uvicorn --app-dir examples webhooks:app`. Mux's webhooks go to /webhooks/mux. It guards nothing: add your own login.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from rindle_sync import ChangeEvent, RindleSync, Settings, connect
from rindle_sync.providers.mux import Transport
from rindle_sync.runtime import Callback


async def tell(changed: ChangeEvent) -> None:
    """What the app does about a change; it may be called again, so doing it twice must do no harm."""
    print(changed.change.row_id, changed.change.from_state, "->", changed.change.to_state)


async def begin(request: Request) -> JSONResponse:
    """POST /videos/{asset_id}: a direct upload; the browser sends the file to its URL by PUT."""
    rindle: RindleSync = request.app.state.rindle
    upload = await rindle.begin_upload(
        reference=request.path_params["asset_id"], cors_origin="https://app.example.com"
    )
    return JSONResponse({"row_id": upload.row_id, "url": upload.url}, status_code=201)


async def state(request: Request) -> JSONResponse:
    """GET /rows/{row_id}: where the video stands."""
    rindle: RindleSync = request.app.state.rindle
    row = await rindle.get(request.path_params["row_id"])
    return JSONResponse(
        {"state": row.state} if row else {"error": "not_found"}, status_code=200 if row else 404
    )


def create_app(
    told: Callback = tell, settings: Settings | None = None, transport: Transport | None = None
) -> Starlette:
    """The app; FastAPI takes the same lifespan and the same `mount`."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with connect(settings, transport=transport) as rindle:
            await rindle.migrate()
            rindle.on_change(told)
            app.state.rindle = rindle
            app.mount(
                "/webhooks", rindle.webhooks
            )  # not at /webhooks/mux: Starlette would redirect to /webhooks/mux/
            stop = asyncio.Event()
            service = asyncio.create_task(rindle.run(stop))
            try:
                yield
            finally:
                stop.set()
                await service

    routes = [Route("/videos/{asset_id}", begin, methods=["POST"]), Route("/rows/{row_id}", state)]
    return Starlette(routes=routes, lifespan=lifespan)


app = create_app()
