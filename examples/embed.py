"""rindle-sync inside an app: it runs beside the app's own work, and reports every change to it.

Run it with RINDLE_MUX_TOKEN_ID and RINDLE_MUX_TOKEN_SECRET set; Ctrl-C ends it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rindle_sync import ChangeEvent, RindleSync, Settings, connect
from rindle_sync.types import Transport


@asynccontextmanager
async def syncing(
    changed: asyncio.Queue[ChangeEvent],
    settings: Settings | None = None,
    transport: Transport | None = None,
) -> AsyncIterator[RindleSync]:
    """The service at work; each real change is put into `changed`."""
    async with connect(settings, transport=transport) as rindle:
        rindle.on_change(changed.put)
        await rindle.migrate()
        # without a token the service would end at once, and nobody would see it until the app ends
        rindle.settings.account.check_credentials()
        stop = asyncio.Event()
        service = asyncio.create_task(rindle.run(stop))
        try:
            yield rindle
        finally:
            stop.set()
            await service


async def main() -> None:
    """Print every change."""
    changed: asyncio.Queue[ChangeEvent] = asyncio.Queue()
    async with syncing(changed):
        while True:
            event = await changed.get()
            change = event.change
            print(change.reference, change.from_state, "->", change.to_state)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("ended")
