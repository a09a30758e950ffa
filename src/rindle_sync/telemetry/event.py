"""What all events have in common."""

from typing import Any, ClassVar, Final

from msgspec import Struct

_ENVELOPE: Final = frozenset({"system_time", "row_id", "reference", "environment"})


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """The fields of every event: `system_time` in nanoseconds; `row_id`, the key to join on."""

    name: ClassVar[str] = "rindle"
    system_time: int = 0
    """The local clock when the event's write was decided, in nanoseconds since 1970."""
    row_id: str | None = None
    """The row's UUID, safe to show: the key to join on. None where no row is meant."""
    reference: str | None = None
    """The app's own id of the row. One that has a provider id of its row in it is redacted."""
    environment: str | None = None
    """The name of the provider environment in the settings."""

    def measurements(self) -> dict[str, int]:
        """The numbers of the event."""
        return {"system_time": self.system_time}

    def metadata(self) -> dict[str, Any]:
        """The other fields of the event: plain values without provider ids."""
        return {n: getattr(self, n) for n in self.__struct_fields__ if n not in _ENVELOPE}


class ProviderEvent(Event, frozen=True, kw_only=True):
    """An event about a provider environment; `Telemetry` fills in `provider`."""

    provider: str = ""
    """The provider, such as `mux`."""


class RowEvent(ProviderEvent, frozen=True, kw_only=True):
    """An event about a row; `Telemetry` fills in `profile` and `asset_id`, the redacted id."""

    profile: str = ""
    """The row's profile."""
    asset_id: str | None = None
    """The redacted tag of the provider's id: `...` and its last four characters.

    `...redacted` for an id under four, None where the row has none. It is for people, not for
    joining: two rows can have the same.
    """
