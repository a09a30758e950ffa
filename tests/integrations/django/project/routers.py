"""Routers as projects have them; their methods are those that Django asks."""

from typing import Any


class ToReplica:
    """Reads all from a replica."""

    def db_for_read(self, *_: object, **__: Any) -> str:
        return "replica"


class ByApp:
    """Has no table of rindle-sync in `default`."""

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return False if app_label == "rindle_sync" and db == "default" else None
