"""What a template needs of a video: its row, what plays it, or why nothing does."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from django.conf import settings
from django.template import TemplateSyntaxError

from rindle_sync.domain import ErrorKind, ProviderAsset, State
from rindle_sync.errors import ConfigurationError, NotPlayable
from rindle_sync.integrations.blocking import BlockingRindle
from rindle_sync.integrations.django import conf
from rindle_sync.integrations.django.process import rindle
from rindle_sync.providers import PlaybackKind

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

OPTIONS: Final = frozenset(
    {"video", "policy", "kind", "expires_in", "expires_at", "poster_time", "modifiers", "of"}
)
"""What an error names that is of a tag, and not of the settings."""

MOST_SECONDS: Final = 10 * 366 * 24 * 60 * 60
"""Ten years: more than any token lasts."""

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

    That a setting is missing is logged, and no reason to fail a visitor's whole page. Raises
    `ConfigurationError` for what stands in the tag.
    """
    if row is None or row.state is not State.READY or not _is_here(row):
        return None
    try:
        return ask(rindle.of(row.environment), row)
    except NotPlayable:
        return None
    except ConfigurationError as error:
        if error.setting in OPTIONS:
            raise
        _log.error("row %s cannot be played: %s", row.id, error)
        return None


def _is_here(row: ProviderAsset) -> bool:
    """Whether the settings have the environment of the row; that they do not is logged once."""
    names = [own.environment for own in conf.environments()]
    if row.environment not in names and row.environment not in _missing:
        _missing.add(row.environment)
        text = "videos of the environment %s cannot be played: the settings name %s alone"
        _log.error(text, row.environment, ", ".join(names))
    return row.environment in names


_missing: Final[set[str]] = set()


def in_tag(tag: str, show: Callable[[], T], otherwise: Callable[[], T]) -> T:
    """What a tag shows; `otherwise` where an option of it is wrong, which is logged.

    With DEBUG that raises `TemplateSyntaxError`, which names the tag and the option.
    """
    try:
        return show()
    except ConfigurationError as error:
        text = f"{{% {tag} %}}: {error}"
        if settings.DEBUG:
            raise TemplateSyntaxError(text) from None
        _log.error("a template is wrong: %s", text)
        return otherwise()


def seconds(option: str, given: Any) -> float:
    """Seconds that a template names; raises `ConfigurationError`."""
    try:
        found = float(given)
    except (TypeError, ValueError, OverflowError):
        found = -1
    if not 0 <= found <= MOST_SECONDS:
        raise ConfigurationError(option, f"must be seconds, from 0 to {MOST_SECONDS}")
    return found


def kind_of(given: Any) -> PlaybackKind:
    """The kind of picture that a template names; raises `ConfigurationError`."""
    try:
        return PlaybackKind(given)
    except ValueError:
        raise ConfigurationError("kind", f"must be one of {', '.join(PlaybackKind)}") from None


def check_plain(options: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for a list or a dict, of which a page shows nothing sensible."""
    for name, value in options.items():
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            kind = type(value).__name__
            raise ConfigurationError(name, f"must be text or a number; it is a {kind}")


def why_not(row: ProviderAsset | None) -> tuple[str, str, bool]:
    """The state, a sentence for visitors, and whether it is a failure that will not mend itself."""
    if row is None:
        return "none", "There is no video.", False
    if row.state is State.ERRORED and row.error_kind in _OURS:
        return row.state.value, WAITING, False
    return row.state.value, WORDS[row.state], row.state is State.ERRORED
