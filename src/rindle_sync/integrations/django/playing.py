"""What a template needs of a video: its row, what plays it, or why nothing does."""

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.conf import settings

from rindle_sync.domain import ErrorKind, ProviderAsset, State
from rindle_sync.errors import ConfigurationError, NotPlayable
from rindle_sync.integrations.blocking import BlockingRindle
from rindle_sync.integrations.django.process import rindle

T = TypeVar("T")

PLAYER_URL: Final = "RINDLE_PLAYER_URL"
"""The Django setting: where a browser loads the provider's player from. None: a video element."""

WAITING: Final = "This video is being processed."
FAILED: Final = "This video could not be processed."
NOT_NOW: Final = "This video cannot be played now."
WORDS: Final = {
    State.PENDING: "This video has not been uploaded yet.",
    State.UPLOADING: "This video is being uploaded.",
    State.PROCESSING: WAITING,
    State.READY: NOT_NOW,
    State.ERRORED: FAILED,
    State.DELETED: "This video was deleted.",
}

_OURS: Final = frozenset({ErrorKind.STUCK, ErrorKind.NOT_FOUND})
"""Kinds of error that the provider may still take back."""

_log: Final = logging.getLogger("rindle_sync")


def player_url() -> str:
    """The address of the player's script; empty where the page has a plain video element."""
    return str(getattr(settings, PLAYER_URL, "") or "")


def row_of(video: Any) -> ProviderAsset | None:
    """The row of what a template names: a row, one of the model, or None for no video."""
    if video is None or video == "" or isinstance(video, ProviderAsset):
        return video or None
    row = getattr(video, "row", None)
    if isinstance(row, ProviderAsset):
        return row
    text = "must be the value of a VideoField, a row of the model ProviderAsset, or what it has"
    raise ConfigurationError("video", f"{text}; it is a {type(video).__name__}")


def playing(
    row: ProviderAsset | None, ask: Callable[[BlockingRindle, ProviderAsset], T]
) -> T | None:
    """What `ask` has of the row to play; None where there is nothing.

    That a setting is missing is logged, and no reason to fail a visitor's whole page.
    """
    if row is None or row.state is not State.READY:
        return None
    try:
        return ask(rindle.of(row.environment), row)
    except NotPlayable:
        return None
    except ConfigurationError as error:
        _log.error("row %s cannot be played: %s", row.id, error)
        return None


def why_not(row: ProviderAsset | None) -> tuple[str, str, bool]:
    """The state, a sentence for visitors, and whether it is a failure that will not mend itself."""
    if row is None:
        return "none", "There is no video.", False
    if row.state is State.ERRORED and row.error_kind in _OURS:
        return row.state.value, WAITING, False
    return row.state.value, WORDS[row.state], row.state is State.ERRORED
