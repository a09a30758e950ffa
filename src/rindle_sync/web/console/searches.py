"""What the address of a page asks for; an unknown word counts as none. Knows no HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Final, Self, TypeVar
from urllib.parse import urlencode

from rindle_sync.domain import LONGEST_TEXT, ErrorKind, EventStatus, State, Trigger
from rindle_sync.store import RowOrder, WebhookOutcome

W = TypeVar("W", bound=StrEnum)


class Only(StrEnum):
    """The videos that a figure of the overview counts."""

    DUE = "due"
    OVERDUE = "overdue"
    FAILING = "failing"
    UNLINKED = "unlinked"


class Sort(StrEnum):
    """The orders in which a million videos are listed as fast as ten; each has an index."""

    NEWEST = "-created"
    OLDEST = "created"
    CHECKED_LATELY = "-checked"
    CHECKED_LONG_AGO = "checked"
    NEXT = "next_check"
    NEXT_LAST = "-next_check"

    @property
    def order(self) -> RowOrder:
        """The time by which this sorts."""
        return RowOrder(self.removeprefix("-"))

    @property
    def is_descending(self) -> bool:
        """Whether the latest come first."""
        return self.startswith("-")


_BY_DUE: Final = (Only.DUE, Only.OVERDUE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A list that an address asks for."""

    path: ClassVar[str]
    environment: str
    after: str = ""
    """The cursor of the page before."""

    def address(self, **changes: Any) -> str:
        """The path and query of the same list, but for these `changes`, from its first page on."""
        wanted = replace(self, **{"after": "", **changes})
        values = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
        query = {name: str(value) for name, value in values.items() if value}
        return f"{self.path}?{urlencode(query)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSearch(Search):
    """Which videos are listed, and in which order."""

    path: ClassVar = "/rows"
    state: State | None = None
    kind: ErrorKind | None = None
    profile: str = ""
    only: Only | None = None
    sort: Sort | None = None
    name: str = ""
    """A reference, or the id of a row."""

    @classmethod
    def of(cls, query: Mapping[str, str], environments: Sequence[str]) -> Self:
        """What the query of an address asks for."""
        return cls(
            **_common(query, environments),
            state=_word(State, query.get("state")),
            kind=_word(ErrorKind, query.get("kind")),
            profile=_text(query.get("profile", "")),
            only=_word(Only, query.get("only")),
            sort=_word(Sort, query.get("sort")),
            name=_text(query.get("name", "")),
        )

    @property
    def sorted_by(self) -> Sort:
        """The order; what is due comes by its check, all else by its creation."""
        return self.sort or (Sort.NEXT if self.only in _BY_DUE else Sort.NEWEST)

    @property
    def is_filtered(self) -> bool:
        """Whether it asks for less than all videos."""
        return any((self.state, self.kind, self.profile, self.only, self.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSearch(Search):
    """Which changes are listed: those of a day, or of the hour that begins at `hour`."""

    path: ClassVar = "/changes"
    trigger: Trigger | None = None
    to_state: State | None = None
    webhook: WebhookOutcome | None = None
    hour: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str], environments: Sequence[str]) -> Self:
        """What the query of an address asks for."""
        begins = _hour(query.get("hour", ""))
        return cls(
            **_common(query, environments),
            trigger=_word(Trigger, query.get("trigger")),
            to_state=_word(State, query.get("to_state")),
            webhook=_word(WebhookOutcome, query.get("webhook")),
            hour=f"{begins:%Y-%m-%dT%H}" if begins else "",
        )

    @property
    def begins(self) -> datetime | None:
        """When the hour begins; None for a day."""
        return _hour(self.hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSearch(Search):
    """Which webhook events are listed."""

    path: ClassVar = "/webhook-events"
    status: EventStatus | None = None
    within: str = ""
    """`day` for those of 24 hours."""

    @classmethod
    def of(cls, query: Mapping[str, str], environments: Sequence[str]) -> Self:
        """What the query of an address asks for."""
        return cls(
            **_common(query, environments),
            status=_word(EventStatus, query.get("status")),
            within="day" if query.get("within") == "day" else "",
        )


def environment_of(query: Mapping[str, str], environments: Sequence[str]) -> str:
    """The environment that an address names, or the first."""
    environment = query.get("environment", "")
    return environment if environment in environments else environments[0]


def _common(query: Mapping[str, str], environments: Sequence[str]) -> dict[str, str]:
    environment = environment_of(query, environments)
    return {"environment": environment, "after": query.get("after", "")[:100]}


def _word(kind: type[W], given: str | None) -> W | None:
    return kind(given) if given in set(kind) else None


def _text(given: str) -> str:
    # PostgreSQL refuses a text with a NUL
    return given.replace("\0", "").strip()[:LONGEST_TEXT]


def _hour(given: str) -> datetime | None:
    try:
        return datetime.strptime(given, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    except ValueError:
        return None
