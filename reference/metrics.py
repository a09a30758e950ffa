"""The page of the metrics."""

from typing import Final

from reference.markdown import page, paragraphs, table
from rindle_sync.exporters import INSTRUMENTS, Instrument

_ABOUT: Final = """
Every metric except those of the whole process has the label `environment`, your name of the
provider environment. A label has only the values below, or `other`. Times are in seconds, and
moments in seconds since 1970, 0 for never. [Metrics, probes, traces and logs](../metrics.md) says
how they are served, and which of them to watch.
"""


def metrics() -> str:
    """Every metric."""
    return page(
        "Prometheus and OpenTelemetry metrics",
        paragraphs(_ABOUT),
        table(("metric", "kind", "labels", "meaning"), map(_line, INSTRUMENTS)),
    )


def _line(instrument: Instrument) -> tuple[str, ...]:
    labels = [
        f"`{label}`: {', '.join(f'`{word}`' for word in words)}"
        for label, words in instrument.labels.items()
    ]
    name, kind = instrument.prometheus_name, instrument.kind.value
    return f"`{name}`", kind, "; ".join(labels), instrument.description
