"""Metrics and traces for OpenTelemetry, through its API alone: the app, or its agent, brings the SDK."""

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
from rindle_sync.exporters.gauges import StatisticsReader
from rindle_sync.exporters.instruments import COUNTED, GAUGES, Instrument, InstrumentKind, Reading
from rindle_sync.exporters.traces import Passage, passage
from rindle_sync.telemetry import Event

_SCOPE: Final = "rindle_sync"


class OpenTelemetry:
    """Tells what events say of these environments; every counter begins at 0.

    It takes the process's providers of meters and tracers where none are given. With `watch` it has gauges, too.
    """

    def __init__(
        self,
        environments: Sequence[str],
        *,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        ours = version("rindle-sync")
        self._meter: Meter = get_meter(_SCOPE, ours, meter_provider=meter_provider)
        self._tracer: Tracer = get_tracer(_SCOPE, ours, tracer_provider=tracer_provider)
        self._metrics = {one.name: self._metric(one) for one in COUNTED}
        for one in COUNTED:
            if isinstance(metric := self._metrics[one.name], Counter):
                for labels in one.combinations(environments):
                    metric.add(0, labels)

    def handle(self, event: Event) -> None:
        """Count one event, and make a span of it where it took time."""
        for one in readings(event):
            metric = self._metrics[one.instrument.name]
            if isinstance(metric, Counter):
                metric.add(one.value, dict(one.labels))
            else:
                metric.record(one.value, dict(one.labels))
        if found := passage(event):
            self._trace(found)

    def watch(self, standing: StatisticsReader) -> None:
        """Have the gauges read when metrics are collected, on the loop that runs now."""
        read = partial(_read, standing, asyncio.get_running_loop())
        for one in GAUGES:
            observe = partial(_observe, one, read)
            self._meter.create_observable_gauge(
                one.name, [observe], unit=one.unit, description=one.description
            )

    def _metric(self, one: Instrument) -> Counter | Histogram:
        about = {"unit": one.unit, "description": one.description}
        if one.kind is InstrumentKind.COUNTER:
            return self._meter.create_counter(one.name, **about)
        return self._meter.create_histogram(
            one.name, **about, explicit_bucket_boundaries_advisory=one.buckets
        )

    def _trace(self, found: Passage) -> None:
        span: Span = self._tracer.start_span(
            found.name, kind=found.kind, attributes=found.attributes, start_time=found.began
        )
        if found.error:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=found.ended)


def _observe(
    instrument: Instrument, read: Callable[[], Iterable[Reading]], _options: CallbackOptions
) -> list[Observation]:
    return [
        Observation(one.value, dict(one.labels)) for one in read() if one.instrument is instrument
    ]


def _read(standing: StatisticsReader, loop: asyncio.AbstractEventLoop) -> Iterable[Reading]:
    """From a thread of the SDK's: the loop reads. On the loop's own thread, or after its end, there is no waiting."""
    if not loop.is_running() or _is_here(loop):
        return standing.last
    reading = asyncio.run_coroutine_threadsafe(standing.readings(), loop)
    try:
        return reading.result(WITHIN + 1)
    except TimeoutError:
        return ()


def _is_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
