"""What a change of a row does to the app's own table."""

from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from rindle_sync import ChangeEvent
from videos.models import Video


async def apply_change(event: ChangeEvent, connection: AsyncConnection) -> None:
    """Copy what the app's pages show; committed together with the note that it was done."""
    values: dict[str, Any] = {"state": event.change.to_state.value, "changes": Video.changes + 1}
    if event.row:
        values["duration"] = event.row.duration
    video = update(Video).where(Video.id == event.reference)
    await connection.execute(video.values(values))
