"""What a change of a row does to the app's own table."""

from typing import Any

from sqlalchemy import Connection, update

from rindle_sync import ChangeEvent
from videosite.models import Video


def apply_change(event: ChangeEvent, connection: Connection) -> None:
    """Copy what the app's pages show; committed together with the note that it was done."""
    values: dict[str, Any] = {"state": event.change.to_state.value, "changes": Video.changes + 1}
    if event.row:
        values["duration"] = event.row.duration
    connection.execute(update(Video).where(Video.id == event.reference).values(values))
