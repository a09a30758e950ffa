"""rindle-sync inside an app: it runs beside the app's own work, and the app hears of every change.

Run it with RINDLE_MUX_TOKEN_ID and RINDLE_MUX_TOKEN_SECRET set; Ctrl-C ends it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rindle_sync import Event, RindleSync, Settings, connect
from rindle_sync.providers.mux import Transport


@asynccontextmanager
async def syncing(
    changed: asyncio.Queue[str], settings: Settings | None = None, transport: Transport | None = None
) -> AsyncIterator[RindleSync]:
    """The service at work; the id of each row that changes is put into `changed`."""

    def heard(event: Event) -> None:
        # resolved and stuck have `no_change`; an unchanged look is no news
        if event.row_id and event.metadata().get("no_change") is False:
            changed.put_nowait(event.row_id)

    async with connect(settings, listeners=[heard], transport=transport) as rindle:
        await rindle.migrate()
        stop = asyncio.Event()
        service = asyncio.create_task(rindle.run(stop))
        try:
            yield rindle
        finally:
            stop.set()
            await service


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """For FastAPI or Starlette: `app = FastAPI(lifespan=lifespan)`; then use `request.app.state.rindle`."""
    app.state.changed = asyncio.Queue()
    async with syncing(app.state.changed) as rindle:
        app.state.rindle = rindle
        yield


async def main() -> None:
    """Plain asyncio: print what becomes of each row."""
    changed: asyncio.Queue[str] = asyncio.Queue()
    async with syncing(changed) as rindle:
        while True:
            row = await rindle.store.get(await changed.get())
            if row:
                print(row.asset_id, row.state, row.last_sync_error or "")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("ended")
