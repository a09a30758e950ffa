"""Metrics and traces of what happens; each metric library in its own module."""

from rindle_sync.exporters.counters import readings
from rindle_sync.exporters.gauges import HOLDS, Gauges
from rindle_sync.exporters.instruments import (
    BUILD,
    COUNTED,
    ENVIRONMENT,
    GAUGES,
    INSTRUMENTS,
    OTHER,
    REJECTED,
    Exporter,
    Instrument,
    InstrumentKind,
    Reading,
)

__all__ = [
    "BUILD",
    "COUNTED",
    "ENVIRONMENT",
    "GAUGES",
    "HOLDS",
    "INSTRUMENTS",
    "OTHER",
    "REJECTED",
    "Exporter",
    "Gauges",
    "Instrument",
    "InstrumentKind",
    "Reading",
    "readings",
]
