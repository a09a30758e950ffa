"""Every generated page, by its name in docs/reference/."""

from collections.abc import Callable
from typing import Final

from reference.commands import commands
from reference.events import events
from reference.metrics import metrics
from reference.settings import settings
from reference.tables import tables

PAGES: Final[dict[str, Callable[[], str]]] = {
    "settings": settings,
    "commands": commands,
    "events": events,
    "metrics": metrics,
    "tables": tables,
}
