"""The page of the telemetry events."""

from typing import Final

from reference.markdown import attribute_docs, page, paragraphs, table
from rindle_sync.telemetry import EVENTS, Event

_ABOUT: Final = """
An event reports what was written, after it was written: at most once, in the process that made the
write. Event names, measurements and metadata keys are a contract.
[Listening to events](../events.md) says how to get them. To react to a change in your app, use
[`on_change`](../uploads.md#reacting-to-changes), which is called at least once.
"""
_ENVELOPE: Final = (
    ("`name`", "the event's name, as below"),
    (
        "`measurements()`",
        "`system_time` only: the local clock when the event's write was decided, in nanoseconds "
        "since 1970",
    ),
    ("`metadata()`", "the keys below; plain values"),
)


def events() -> str:
    """Every event with its keys."""
    shared = attribute_docs(Event)
    envelope = [(f"`{name}`", shared.get(name, "")) for name in Event.__struct_fields__]
    return page(
        "Telemetry events: names, measurements and metadata",
        paragraphs(_ABOUT),
        "## Every event",
        table(("field", "meaning"), [*_ENVELOPE, *envelope]),
        *(part for kind in EVENTS for part in _event(kind)),
    )


def _event(kind: type[Event]) -> tuple[str, ...]:
    docs = attribute_docs(kind)
    keys = [name for name in kind.__struct_fields__ if name not in Event.__struct_fields__]
    lines = [(f"`{name}`", docs.get(name, "")) for name in keys]
    return f"## `{kind.name}`", paragraphs(kind.__doc__), table(("key", "meaning"), lines)
