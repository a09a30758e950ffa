"""Metrics for Prometheus, as text; serves nothing itself."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rindle_sync.diagnostics import CachedQuery
from rindle_sync.exporters.counters import readings
from rindle_sync.exporters.gauges import Gauges
from rindle_sync.exporters.instruments import COUNTED, GAUGES, InstrumentKind, Reading
from rindle_sync.telemetry import Event

HOLDS: Final = timedelta(seconds=1)
"""How long a rendering is reused."""

WITHIN: Final = 9.0
"""Seconds that a scrape waits; Prometheus itself waits ten."""


class Prometheus:
    """Counts events of these environments, in a registry of its own; every series begins at 0."""

    def __init__(self, environments: Sequence[str]) -> None:
        self._registry = CollectorRegistry()
        self._metrics: dict[str, Counter | Histogram] = {}
        for instrument in COUNTED:
            about = instrument.prometheus_name, instrument.description, instrument.label_names
            metric: Counter | Histogram
            if instrument.kind is InstrumentKind.COUNTER:
                metric = Counter(*about, registry=self._registry)
            else:
                metric = Histogram(*about, buckets=instrument.buckets, registry=self._registry)
            # without a first 0, `increase` would miss the first event of a series
            for labels in instrument.combinations(environments):
                metric.labels(**labels)
            self._metrics[instrument.name] = metric

    def handle(self, event: Event) -> None:
        """Count one event."""
        for reading in readings(event):
            series = self._metrics[reading.instrument.name].labels(**reading.labels)
            if isinstance(series, Counter):
                series.inc(reading.value)
            else:
                series.observe(reading.value)

    def text(self, gauges: Iterable[Reading] = ()) -> bytes:
        """All counters and histograms, and these gauges, in the text format."""
        families = []
        for family in self._registry.collect():
            # the library adds a series `_created` to each of ours
            family.samples = [s for s in family.samples if not s.name.endswith("_created")]
            families.append(family)
        by_name: dict[str, list[Reading]] = {}
        for reading in gauges:
            by_name.setdefault(reading.instrument.name, []).append(reading)
        for instrument in GAUGES:
            name, names = instrument.prometheus_name, instrument.label_names
            gauge = GaugeMetricFamily(name, instrument.description, labels=names)
            for reading in by_name.get(instrument.name, []):
                gauge.add_metric([reading.labels[label] for label in names], reading.value)
            if gauge.samples:
                families.append(gauge)
        return bytes(generate_latest(_Families(families)))


class Scraped:
    """The answer to a scrape: rendered in a thread, once for all scrapes within a second."""

    def __init__(self, exporter: Prometheus, gauges: Gauges, now: Callable[[], datetime]) -> None:
        self._exporter = exporter
        self._gauges = gauges
        self._query = CachedQuery(self._rendered, now, HOLDS, within=WITHIN)

    async def text(self) -> bytes | None:
        """All metrics in the text format; None if they are not ready in time."""
        return await self._query.get()

    async def close(self) -> None:
        """Stop rendering."""
        await self._query.close()

    async def _rendered(self) -> bytes:
        return await asyncio.to_thread(self._exporter.text, await self._gauges.readings())


@dataclass(frozen=True, slots=True)
class _Families(Collector):
    """Families that are made already."""

    families: Sequence[Metric]

    def collect(self) -> Iterator[Metric]:
        """These families."""
        yield from self.families
