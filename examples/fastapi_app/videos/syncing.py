"""All that the app does with rindle-sync."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from rindle_sync import ChangeEvent, RindleSync, Settings, connect
from rindle_sync.types import Transport
from videos.models import Video


async def apply_change(event: ChangeEvent, connection: AsyncConnection) -> None:
    """Copy what the app's pages show; committed together with the note that it was done."""
    values: dict[str, Any] = {"state": event.change.to_state.value, "changes": Video.changes + 1}
    if event.row:
        values["duration"] = event.row.duration
    video = update(Video).where(Video.id == event.reference)
    await connection.execute(video.values(values))


@asynccontextmanager
async def syncing(settings: Settings, transport: Transport | None) -> AsyncIterator[RindleSync]:
    """The service at work beside the app."""
    async with connect(settings, transport=transport) as rindle:
        await rindle.migrate()
        rindle.on_change(apply_change, transactional=True)
        stop = asyncio.Event()
        service = asyncio.create_task(rindle.run(stop))
        try:
            yield rindle
        finally:
            stop.set()
            await service
