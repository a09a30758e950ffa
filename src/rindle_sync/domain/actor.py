"""Who acts on a row beside rindle-sync itself: a person or a program. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from msgspec import Struct

from rindle_sync.domain.asset import Trigger
from rindle_sync.errors import ConfigurationError

LONGEST_TOKEN_NAME: Final = 100
"""The longest name of a token of the HTTP API, in characters."""

SETTINGS_TOKEN: Final = "settings"  # noqa: S105  a name
"""The name of the token that the settings give."""

_TOKEN: Final = "token:"  # noqa: S105  what comes before a name


def token_name_fault(name: str) -> str | None:
    """What is wrong with the name of a token, as a demand; None where nothing is."""
    if not 0 < len(name) <= LONGEST_TOKEN_NAME:
        return f"must have 1 to {LONGEST_TOKEN_NAME} characters, not {len(name)}"
    if not name.isprintable() or name != name.strip():
        return "must have printable characters only, and no space at its ends"
    return None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: `console`, `command`, or `token:<name>` for the HTTP API.

    Raises `ConfigurationError` for any other text.
    """

    text: str

    def __post_init__(self) -> None:
        is_token = self.text.startswith(_TOKEN)
        fault = token_name_fault(self.text.removeprefix(_TOKEN)) if is_token else None
        if fault:
            raise ConfigurationError("actor", f"the name of the token {fault}")
        if not is_token and self.text not in {"console", "command"}:
            raise ConfigurationError("actor", "must be console, command or token:<name>")

    @classmethod
    def of_token(cls, name: str) -> Self:
        """Whoever uses the HTTP API with the token of this name."""
        return cls(f"{_TOKEN}{name}")

    @property
    def token_name(self) -> str | None:
        """The name of the token; None where it is no token."""
        return self.text.removeprefix(_TOKEN) if self.text.startswith(_TOKEN) else None

    @property
    def trigger(self) -> Trigger:
        """What a change by them is caused by."""
        return {"console": Trigger.CONSOLE, "command": Trigger.CLI}.get(self.text, Trigger.API)

    def __str__(self) -> str:
        return self.text


CONSOLE: Final = Actor("console")
COMMAND: Final = Actor("command")


class Action(StrEnum):
    """What a person or a program can do to a row."""

    TRACK = "track"
    REPLACE = "replace"
    UNTRACK = "untrack"
    BEGIN_UPLOAD = "begin_upload"
    CANCEL_UPLOAD = "cancel_upload"
    CREATE_ASSET = "create_asset"
    SYNC = "sync"
    REPLAY = "replay"
    """The webhook events about a row, or all dead ones, are processed again."""

    @property
    def label(self) -> str:
        """Its name for people to read."""
        return self.value.replace("_", " ")


class RowAction(Struct, frozen=True, kw_only=True):
    """What a person or a program did to a row."""

    row_id: str | None
    """None where it was about no single row."""
    reference: str | None
    action: Action
    actor: Actor
    outcome: str
    """`done`, a verdict, or the name of an error: never a text with an id."""
    at: datetime
