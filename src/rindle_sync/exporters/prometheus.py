"""Metrics for Prometheus, as text; serves nothing itself."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rindle_sync.diagnostics import CachedQuery
from rindle_sync.exporters.counters import readings
from rindle_sync.exporters.gauges import StatisticsReader
from rindle_sync.exporters.instruments import COUNTED, GAUGES, Instrument, InstrumentKind, Reading
from rindle_sync.telemetry import Event

HOLDS: Final = timedelta(seconds=1)
"""How long what was rendered is told again."""

WITHIN: Final = 9.0
"""Seconds that a scrape waits; Prometheus itself waits ten."""


class Prometheus:
    """Counts what events tell of these environments, in a registry of its own; every series begins at 0."""

    def __init__(self, environments: Sequence[str]) -> None:
        self._registry = CollectorRegistry()
        self._metrics = {one.name: self._metric(one) for one in COUNTED}
        for one in COUNTED:
            for labels in one.combinations(environments):
                self._metrics[one.name].labels(**labels)

    def handle(self, event: Event) -> None:
        """Count one event."""
        for one in readings(event):
            series = self._metrics[one.instrument.name].labels(**one.labels)
            if isinstance(series, Counter):
                series.inc(one.value)
            else:
                series.observe(one.value)

    def text(self, gauges: Iterable[Reading] = ()) -> bytes:
        """All of it in the text format, and these gauges."""
        return bytes(generate_latest(_Told([*self._counted(), *_families(gauges)])))

    def _metric(self, one: Instrument) -> Counter | Histogram:
        about = one.prometheus_name, one.description, one.label_names
        if one.kind is InstrumentKind.COUNTER:
            return Counter(*about, registry=self._registry)
        return Histogram(*about, buckets=one.buckets, registry=self._registry)

    def _counted(self) -> Iterator[Metric]:
        """Without the library's times of creation, a series more for each of ours."""
        for family in self._registry.collect():
            family.samples = [
                sample for sample in family.samples if not sample.name.endswith("_created")
            ]
            yield family


class Scraped:
    """What a scrape reads: one rendering at a time, beside the event loop, for all who ask within a second."""

    def __init__(
        self, exporter: Prometheus, standing: StatisticsReader, now: Callable[[], datetime]
    ) -> None:
        self._exporter = exporter
        self._standing = standing
        self._query = CachedQuery(self._rendered, now, HOLDS, within=WITHIN)

    async def text(self) -> bytes | None:
        """All metrics in the text format; None where they are not there in time."""
        return await self._query.get()

    async def close(self) -> None:
        """Render no more."""
        await self._query.close()

    async def _rendered(self) -> bytes:
        return await asyncio.to_thread(self._exporter.text, await self._standing.readings())


class _Told(Collector):
    """Families that are made already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """These families."""
        yield from self._families


def _families(gauges: Iterable[Reading]) -> Iterator[Metric]:
    by_name: dict[str, list[Reading]] = {}
    for one in gauges:
        by_name.setdefault(one.instrument.name, []).append(one)
    for instrument in GAUGES:
        if found := by_name.get(instrument.name):
            names = instrument.label_names
            family = GaugeMetricFamily(
                instrument.prometheus_name, instrument.description, labels=names
            )
            for one in found:
                family.add_metric([one.labels[name] for name in names], one.value)
            yield family
