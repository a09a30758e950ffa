"""Metrics and traces for OpenTelemetry, through its API alone: bring the SDK yourself."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Final

from opentelemetry.metrics import (
    CallbackOptions,
    Counter,
    Histogram,
    Meter,
    MeterProvider,
    Observation,
    get_meter,
)
from opentelemetry.trace import Span, Status, StatusCode, Tracer, TracerProvider, get_tracer

from rindle_sync.diagnostics import WITHIN
from rindle_sync.exporters.counters import readings
from rindle_sync.exporters.gauges import Gauges
from rindle_sync.exporters.instruments import COUNTED, GAUGES, Instrument, InstrumentKind, Reading
from rindle_sync.exporters.traces import finished_span
from rindle_sync.telemetry import Event

_SCOPE: Final = "rindle_sync"


class OpenTelemetry:
    """Exports events of these environments; every counter begins at 0.

    It uses the meter and tracer providers of the process, unless others are given. `watch` adds
    the gauges.
    """

    def __init__(
        self,
        environments: Sequence[str],
        *,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        our_version = version("rindle-sync")
        self._meter: Meter = get_meter(_SCOPE, our_version, meter_provider=meter_provider)
        self._tracer: Tracer = get_tracer(_SCOPE, our_version, tracer_provider=tracer_provider)
        self._metrics: dict[str, Counter | Histogram] = {}
        for instrument in COUNTED:
            name = instrument.name
            about = {"unit": instrument.unit, "description": instrument.description}
            if instrument.kind is InstrumentKind.COUNTER:
                counter = self._metrics[name] = self._meter.create_counter(name, **about)
                for labels in instrument.combinations(environments):
                    counter.add(0, labels)
            else:
                self._metrics[name] = self._meter.create_histogram(
                    name, **about, explicit_bucket_boundaries_advisory=instrument.buckets
                )

    def handle(self, event: Event) -> None:
        """Count one event, and make a span of it where it took time."""
        for reading in readings(event):
            metric = self._metrics[reading.instrument.name]
            if isinstance(metric, Counter):
                metric.add(reading.value, dict(reading.labels))
            else:
                metric.record(reading.value, dict(reading.labels))
        finished = finished_span(event)
        if finished:
            span: Span = self._tracer.start_span(
                finished.name,
                kind=finished.kind,
                attributes=finished.attributes,
                start_time=finished.began,
            )
            if finished.error:
                span.set_status(Status(StatusCode.ERROR))
            span.end(end_time=finished.ended)

    def watch(self, gauges: Gauges) -> None:
        """Read the gauges whenever metrics are collected, on the loop that runs now."""
        read = partial(_read, gauges, asyncio.get_running_loop())
        for instrument in GAUGES:
            observe = partial(_observe, instrument, read)
            self._meter.create_observable_gauge(
                instrument.name, [observe], instrument.unit, instrument.description
            )


def _observe(
    instrument: Instrument, read: Callable[[], Iterable[Reading]], _options: CallbackOptions
) -> list[Observation]:
    ours = [reading for reading in read() if reading.instrument is instrument]
    return [Observation(reading.value, dict(reading.labels)) for reading in ours]


def _read(gauges: Gauges, loop: asyncio.AbstractEventLoop) -> Iterable[Reading]:
    """Have the loop read the gauges, from a thread of the SDK."""
    try:
        is_current = asyncio.get_running_loop() is loop
    except RuntimeError:
        is_current = False
    # waiting on the loop's own thread would block it, and an ended loop never answers
    if is_current or not loop.is_running():
        return gauges.last
    pending = asyncio.run_coroutine_threadsafe(gauges.readings(), loop)
    try:
        return pending.result(WITHIN + 1)
    except TimeoutError:
        return ()
