"""Metrics for Prometheus, as text; serves nothing itself."""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rindle_sync.exporters.base import COUNTED, GAUGES, Instrument, Kind, Reading
from rindle_sync.exporters.readings import readings
from rindle_sync.telemetry import Event


class Prometheus:
    """Counts what events tell of these environments, in a registry of its own; every series begins at 0."""

    def __init__(self, environments: Sequence[str]) -> None:
        self._registry = CollectorRegistry()
        self._metrics = {one.name: self._metric(one) for one in COUNTED}
        for one in COUNTED:
            for labels in one.combinations(environments):
                self._metrics[one.name].labels(**labels)

    def hear(self, event: Event) -> None:
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
        if one.kind is Kind.COUNTER:
            return Counter(*about, registry=self._registry)
        return Histogram(*about, buckets=one.buckets, registry=self._registry)

    def _counted(self) -> Iterator[Metric]:
        """Without the library's times of creation, a series more for each of ours."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


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
            family = GaugeMetricFamily(instrument.prometheus_name, instrument.description, labels=names)
            for one in found:
                family.add_metric([one.labels[name] for name in names], one.value)
            yield family
