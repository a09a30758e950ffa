"""What is measured, and how Prometheus and OpenTelemetry receive it; on SQLite."""

import asyncio
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as with_others
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import fields, replace

from rindle_sync.diagnostics import GRACE
from rindle_sync.domain import ErrorKind, ProviderAsset, State, Trigger
from rindle_sync.exporters import (
    COUNTED,
    ENVIRONMENT,
    GAUGES,
    HOLDS,
    INSTRUMENTS,
    OTHER,
    REJECTED,
    Exporter,
    Gauges,
    Instrument,
    InstrumentKind,
    Reading,
    readings,
)
from rindle_sync.reconcile import AUDIT, audit
from rindle_sync.runtime import ChangeEvent, Heartbeat, dispatch
from rindle_sync.runtime.outgoing.endpoints import OutgoingWebhooksOfApp
from rindle_sync.telemetry import EVENTS, Called, Event, Resolved, UnknownStatus, WebhookVerified
from rindle_sync.web.console.app import Console
from rindle_sync.webhooks import process_webhook_events
from tests.runtime.test_dispatch import a_row_that_went_through
from tests.support.app_endpoint import an_endpoint
from tests.support.callbacks import registered
from tests.support.rows import a_row
from tests.support.webhooks import an_event, deliver, tell_ready, with_secrets
from tests.support.world import NEVER, World, a_context, a_job_runner, a_world

prometheus_client = pytest.importorskip("prometheus_client")
pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402  not where the extra is missing
from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: E402
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402
from opentelemetry.trace import SpanKind, StatusCode  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from rindle_sync.exporters.opentelemetry import OpenTelemetry  # noqa: E402
from rindle_sync.exporters.prometheus import Prometheus, Scraped  # noqa: E402

SOURCE = Path(__file__).parents[2] / "src" / "rindle_sync"
PLANTED = "planted-id-0123456789"

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]


def key(labels: Mapping[str, Any]) -> Labels:
    return tuple(sorted((name, str(value)) for name, value in labels.items()))


def samples(text: bytes) -> dict[Series, float]:
    """Every series of the text, but for the buckets of histograms."""
    return {
        (sample.name, key(sample.labels)): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if "le" not in sample.labels
    }


def value(told: Mapping[Series, float], instrument: Instrument, **labels: str) -> float:
    here = labels if instrument.is_shared else {ENVIRONMENT: "default"} | labels
    return told[
        instrument.prometheus_name + "_count" * (instrument.kind is InstrumentKind.HISTOGRAM),
        key(here),
    ]


@dataclass
class Collector:
    """The SDK of OpenTelemetry, which keeps everything in memory."""

    metrics: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    traces: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def exporter(self, *environments: str) -> OpenTelemetry:
        tracing = TracerProvider(shutdown_on_exit=False)
        tracing.add_span_processor(SimpleSpanProcessor(self.traces))
        metering = MeterProvider([self.metrics], shutdown_on_exit=False)
        return OpenTelemetry(environments, meter_provider=metering, tracer_provider=tracing)

    def points(self) -> dict[tuple[str, Labels], Any]:
        """The points of every metric, by its name with dots and its attributes."""
        data = self.metrics.get_metrics_data()
        return {
            (metric.name, key(point.attributes or {})): point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.traces.get_finished_spans() if span.name == name]


@pytest.fixture
async def world(sqlite_tables_url: str) -> AsyncIterator[World]:
    async with a_world(sqlite_tables_url, migrated=True) as world:
        yield with_secrets(world)


def listen(world: World, *exporters: Exporter) -> None:
    """Have these exporters handle events as in a service of the environment `default`."""

    def told(event: Event) -> None:
        for exporter in exporters:
            exporter.handle(replace(event, environment="default"))

    world.context.telemetry.listen(told)


async def everything_happens(world: World) -> list[str]:
    """Have every kind of event happen; returns the ids that nobody may see."""
    told = await world.track()
    await tell_ready(world, told)
    await deliver_some(world, told)
    await check_rows(world)
    await dispatch(world.context, registered(failing))
    await the_provider_is_down(world)
    world.emulator.create_asset()
    await audit(world.context)
    world.context.telemetry.emit(a_resolved(asset_id=PLANTED))
    await tell_an_endpoint(world)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Console([a_job_runner(world)], None))
    ) as browser:
        await browser.post("http://localhost/sign-in", data={"token": "wrong"})
    rows = [row async for row in world.context.store.assets.rows()]
    return [
        PLANTED,
        *(row.id for row in rows),
        *(row.provider_asset_id for row in rows if row.provider_asset_id),
    ]


async def tell_an_endpoint(world: World) -> None:
    runner = a_job_runner(world)
    async with an_endpoint(204, 410) as app:
        client = runner.deliveries.client
        api = OutgoingWebhooksOfApp(world.context.store, client, world.clock.now)
        await api.create("app", app.url, allow_private=True)
        await a_row_that_went_through(world, State.PROCESSING, State.READY)
        await runner.publish()
        world.clock.move(1)
        await runner.deliver()
    await runner.close()


async def deliver_some(world: World, row: ProviderAsset) -> None:
    event = an_event(row, id="event-of-the-test")
    for _ in range(2):
        await deliver(world, event)
    await deliver(world, an_event(row, "video.live_stream.active"))
    await deliver(world, event, secret="another")
    # about nothing that has an id: it can never be applied
    await deliver(world, an_event(PLANTED) | {"data": {}, "object": None})
    for _ in range(12):
        await process_webhook_events(world.context)
        world.clock.move(60)


async def check_rows(world: World) -> None:
    row = await world.track()
    await world.sync(row)
    await world.sync(row)
    rule = world.emulator.add_fault("unknown_status")
    await world.sync(row)
    world.emulator.remove_fault(rule)
    for _ in range(30):
        await world.track()
    await world.track(life=NEVER, updated_at=world.clock.now() - timedelta(days=1))
    await world.sweep()


async def the_provider_is_down(world: World) -> None:
    row = await world.track()
    rule = world.emulator.add_fault("server_error")
    while world.context.gateway.circuit.opened is None:
        await world.sync(row)
    world.emulator.remove_fault(rule)
    world.clock.move(600)


async def failing(_changed: ChangeEvent) -> None:
    raise RuntimeError


def a_resolved(**values: Any) -> Resolved:
    about: dict[str, Any] = {
        "profile": "default",
        "provider": "mux",
        "asset_id": None,
        "provider_state": "ready",
    }
    return Resolved(**(about | {"system_time": 1, "age_ms": 0, "no_change": True} | values))


def an_event_of(kind: type[Event]) -> Event:
    """An event of this class, whose every text is one that nobody knows."""
    plain: dict[str, Any] = {"str": PLANTED, "int": 7, "bool": False}
    return kind(
        **{
            f.name: plain[str(getattr(f.type, "__name__", f.type)).partition(" ")[0]]
            for f in fields(kind)
        }
    )


# what is measured


def test_the_name_for_prometheus_follows_from_the_one_with_dots() -> None:
    names = {instrument.name: instrument.prometheus_name for instrument in INSTRUMENTS}

    assert names["rindle_sync.webhooks.received"] == "rindle_sync_webhooks_received_total"
    assert names["rindle_sync.webhooks.ack.duration"] == "rindle_sync_webhooks_ack_duration_seconds"
    assert names["rindle_sync.webhooks.loss"] == "rindle_sync_webhooks_loss_ratio"
    assert names["rindle_sync.rows"] == "rindle_sync_rows"
    assert len(set(names.values())) == len(INSTRUMENTS)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.name)
def test_no_label_grows_with_what_an_event_says(kind: type[Event]) -> None:
    event = replace(an_event_of(kind), environment="default")

    for reading in readings(event):
        words = {name: word for name, word in reading.labels.items() if name != ENVIRONMENT}
        assert {
            name: {*reading.instrument.labels[name], OTHER} >= {word}
            for name, word in words.items()
        } == dict.fromkeys(reading.instrument.labels, True)


def test_every_reason_to_reject_a_delivery_has_its_series() -> None:
    sources = [
        (SOURCE / file).read_text() for file in ("webhooks/receive.py", "providers/mux/webhooks.py")
    ]
    raised = r"(?:InvalidWebhook\(|_Refused\()\"(\w+)\""
    reasons = re.findall(raised, "".join(sources))

    assert {*reasons} - {"unreadable_data"} == {*REJECTED} - {
        OTHER
    }  # that one is found when it is applied


@pytest.mark.parametrize(
    ("duplicate", "acted_on", "result"),
    [(False, True, "stored"), (True, True, "duplicate"), (False, False, "ignored")],
)
def test_a_delivery_counts_as_one_thing(duplicate: bool, acted_on: bool, result: str) -> None:  # noqa: FBT001
    plain = {
        "system_time": 1,
        "provider": "mux",
        "type": "a",
        "secret": 0,
        "ack_ms": 20,
        "delivery_ms": 3000,
    }
    first, *rest = readings(WebhookVerified(**plain, duplicate=duplicate, acted_on=acted_on))  # type: ignore[arg-type]

    assert first.labels["result"] == result
    assert [reading.value for reading in rest] == [0.02] + [3.0] * (not duplicate)


# Prometheus


def test_every_series_begins_at_0() -> None:
    told = samples(Prometheus(["default", "another"]).text())

    expected = {
        (instrument.prometheus_name + suffix, key(labels))
        for instrument in COUNTED
        for labels in instrument.combinations(["default", "another"])
        for suffix in (("_count", "_sum") if instrument.kind is InstrumentKind.HISTOGRAM else ("",))
    }
    assert set(told) == expected
    assert set(told.values()) == {0}


async def test_what_happens_moves_every_counter_and_histogram(world: World) -> None:
    exporter = Prometheus(["default"])
    listen(world, exporter)

    await everything_happens(world)

    told = samples(exporter.text())
    still = [
        instrument.name
        for instrument in COUNTED
        if not any(
            value(told, instrument, **{n: v for n, v in labels.items() if n != ENVIRONMENT})
            for labels in instrument.combinations(["default"])
        )
    ]
    assert still == []


async def test_what_happens_moves_the_series_that_it_is_about(world: World) -> None:
    exporter = Prometheus(["default"])
    listen(world, exporter)

    await everything_happens(world)

    told, found = (
        samples(exporter.text()),
        {instrument.name: instrument for instrument in INSTRUMENTS},
    )

    def moved(name: str, **labels: str) -> float:
        return value(told, found[f"rindle_sync.{name}"], **labels)

    assert [moved("webhooks.received", result=r) for r in ("stored", "duplicate", "ignored")] == [
        3,
        1,
        1,
    ]
    assert moved("webhooks.rejected", reason="signature_mismatch") == 1
    assert moved("webhook_events.processed", verdict="changed") == 1
    assert moved("webhook_events.failed", result="dead") == 1
    assert moved("checks", outcome="stuck") == 1
    assert moved("checks", outcome="unreachable") >= 1
    assert moved("checks.unknown_status") == 1
    assert moved("provider.calls", operation="asset", outcome="unreachable") >= 10
    assert moved("changes", trigger="webhook", to_state="ready") == 1
    assert moved("circuit.opened", reason="unreachable") == 1
    assert moved("audits", outcome="done") == 1
    assert moved("audit.orphans") >= 1


async def test_no_id_is_exported(world: World) -> None:
    collector, prometheus, gauges = (Collector(), Prometheus(["default"]), Gauges([world.context]))
    listen(world, prometheus, collector.exporter("default"))

    secret_ids = await everything_happens(world)

    spans = json.dumps([span.to_json() for span in collector.traces.get_finished_spans()])
    text = (
        prometheus.text(await gauges.readings()).decode() + str(collector.points().keys()) + spans
    )
    assert [secret_id for secret_id in secret_ids if secret_id in text] == []
    assert "event-of-the-test" not in text


# gauges


async def gauge_samples(*worlds: World) -> dict[Series, float]:
    gauges = Gauges([world.context for world in worlds])
    return samples(Prometheus([]).text(await gauges.readings()))


def by_name(name: str) -> Instrument:
    (found,) = [instrument for instrument in GAUGES if instrument.name == f"rindle_sync.{name}"]
    return found


NOT_KNOWN_YET = ("rindle_sync_webhooks_loss_ratio", key({"environment": "default"}))
"""Without a change, no webhook was expected: a loss of 0 would be a claim."""


async def test_every_gauge_has_a_value_on_an_empty_database(world: World) -> None:
    told = await gauge_samples(world)

    words = {
        (instrument.prometheus_name, key(labels))
        for instrument in GAUGES
        for labels in instrument.combinations(["default"])
    } - {NOT_KNOWN_YET}
    assert {
        series for series in told if series[1] or series[0] in {name for name, _ in words}
    } == words
    at_once = {
        "rindle_sync_database_up",
        "rindle_sync_build_info",
        "rindle_sync_rate_limit_calls_left",
    }
    assert {name for (name, _), number in told.items() if number} == at_once


async def test_the_gauges_show_rows_webhook_events_and_the_audit(world: World) -> None:
    now = world.clock.now()
    rows = [
        a_row(State.READY, checked_at=now),
        a_row(State.ERRORED, error_kind=ErrorKind.STUCK, check_at=now - GRACE, check_failures=1),
        a_row(State.READY, environment="another"),
    ]
    await world.context.store.assets.add_all(rows)
    await deliver(world, an_event(PLANTED))
    await Heartbeat(world.context.store.database, "mux").beat(now)
    await world.context.store.environments.note_circuit("refused", now)
    await world.context.store.job_runs.take(AUDIT, now=now, token="t", until=now + GRACE)
    report = {"report": {"rows": 200, "seen": 50}}
    await world.context.store.job_runs.save("t", began_at=now, progress=report, until=now + GRACE)

    told = await gauge_samples(world, with_others(world, context=a_context(world, "another")))

    def of(name: str, **labels: str) -> float:
        return value(told, by_name(name), **labels)

    assert [of("rows", state=state) for state in ("ready", "errored", "deleted")] == [1, 1, 0]
    assert told["rindle_sync_rows", key({"environment": "another", "state": "ready"})] == 1
    assert (of("rows.errored", error_kind="stuck"), of("rows.unanswered"), of("rows.due")) == (
        1,
        1,
        1,
    )
    assert of("rows.oldest_due.timestamp") == (now - GRACE).timestamp()
    assert of("checks.last_answered.timestamp") == now.timestamp()
    assert (of("inbox.pending"), of("inbox.oldest_pending.timestamp")) == (1, now.timestamp())
    assert [of("circuit.open", reason=reason) for reason in ("refused", "unreachable")] == [1, 0]
    assert (of("audit.under_way"), of("audit.progress"), of("audit.ended.timestamp")) == (
        1,
        0.25,
        0,
    )
    assert of("engine.tick.timestamp") == now.timestamp()


async def test_the_gauges_show_missed_webhooks_and_the_rate_limit(world: World) -> None:
    with_secrets(world)
    world.with_reads(10, 1)
    await world.context.gateway.reads.take(10, trigger=Trigger.SYNC)
    await world.sync(await world.track())
    world.clock.move(GRACE)
    await world.context.gateway.reads.pause(timedelta(seconds=30))

    told = await gauge_samples(world)

    def of(name: str, **labels: str) -> float:
        return value(told, by_name(name), **labels)

    assert (
        of("webhooks.expected"),
        of("webhooks.missed", trigger="sync"),
        of("webhooks.loss"),
    ) == (1, 1, 1)
    assert (of("rate_limit.calls_left", bucket="reads"), of("rate_limit.wait", bucket="reads")) == (
        0,
        31,
    )
    assert of("rate_limit.wait", bucket="creates") == 0


async def test_the_tables_are_read_again_after_ten_seconds(world: World) -> None:
    gauges = Gauges([world.context])

    async def ready() -> float:
        return value(
            samples(Prometheus([]).text(await gauges.readings())), by_name("rows"), state="ready"
        )

    before = await ready()
    await world.context.store.assets.add(a_row(State.READY))
    world.clock.move(HOLDS / 2)
    meanwhile = await ready()
    world.clock.move(HOLDS / 2)

    assert (before, meanwhile, await ready()) == (0, 0, 1)


async def test_a_database_that_does_not_answer_is_down_and_nothing_else_is_exported(
    world: World,
) -> None:
    gauges = Gauges([world.context])
    up = await gauges.readings()
    async with world.context.store.database.writing() as connection:
        await connection.exec_driver_sql("DROP TABLE provider_rate_limits")
    world.clock.move(HOLDS)

    told = samples(Prometheus([]).text(await gauges.readings()))

    assert len(up) > 2
    assert {name: number for (name, _), number in told.items()} == {
        "rindle_sync_database_up": 0,
        "rindle_sync_build_info": 1,
    }


async def test_what_cannot_be_counted_in_time_keeps_its_last_count(
    postgres_tables_url: str,
) -> None:
    async with a_world(postgres_tables_url, migrated=True) as world:
        await world.context.store.assets.add(a_row(State.READY))
        gauges = Gauges([world.context])
        before = samples(Prometheus([]).text(await gauges.readings()))
        world.clock.move(HOLDS)
        async with world.context.store.database.engine.connect() as other:
            await other.exec_driver_sql("LOCK TABLE media_provider_assets IN ACCESS EXCLUSIVE MODE")
            told = samples(Prometheus([]).text(await gauges.readings()))
            await other.rollback()
        await gauges.close()

    assert value(before, by_name("rows"), state="ready") == 1
    assert told == before


# OpenTelemetry


async def test_opentelemetry_exports_the_same_values(world: World) -> None:
    collector, prometheus = Collector(), Prometheus(["default"])
    listen(world, prometheus, collector.exporter("default"))

    await everything_happens(world)

    told, points = samples(prometheus.text()), collector.points()
    for instrument in COUNTED:
        for labels in instrument.combinations(["default"]):
            words = {name: word for name, word in labels.items() if name != ENVIRONMENT}
            point = points.get((instrument.name, key(labels)))
            if instrument.kind is InstrumentKind.COUNTER:
                assert point.value == value(told, instrument, **words), (instrument.name, labels)  # type: ignore[union-attr]
            else:
                assert (point.count if point else 0) == value(told, instrument, **words), (
                    instrument.name,
                    labels,
                )


def test_every_counter_begins_at_0_for_opentelemetry() -> None:
    collector = Collector()
    collector.exporter("default", "another")

    counters = [instrument for instrument in COUNTED if instrument.kind is InstrumentKind.COUNTER]
    assert {series: point.value for series, point in collector.points().items()} == {
        (instrument.name, key(labels)): 0
        for instrument in counters
        for labels in instrument.combinations(["default", "another"])
    }


async def test_the_gauges_are_read_on_the_loop_when_metrics_are_collected(world: World) -> None:
    await world.context.store.assets.add(a_row(State.READY))
    collector = Collector()
    collector.exporter("default").watch(Gauges([world.context]))

    points = await asyncio.to_thread(collector.points)

    gauges = [
        series for series in points if series[0] in {instrument.name for instrument in GAUGES}
    ]
    names = {instrument.name for instrument in GAUGES}
    assert {name for name, _ in gauges} == names - {"rindle_sync.webhooks.loss"}
    assert points["rindle_sync.rows", key({"environment": "default", "state": "ready"})].value == 1


async def test_on_the_loop_itself_the_gauges_are_those_read_last(world: World) -> None:
    collector, gauges = Collector(), Gauges([world.context])
    collector.exporter("default").watch(gauges)
    before = {name for name, _ in collector.points()}
    await gauges.readings()

    assert "rindle_sync.database.up" not in before
    assert collector.points()["rindle_sync.database.up", ()].value == 1


async def test_a_call_is_a_span_of_a_client(world: World) -> None:
    collector = Collector()
    listen(world, collector.exporter("default"))
    world.emulator.add_fault("server_error", times=1)

    await world.sync(await world.track())

    failed, answered = collector.spans("provider asset")
    assert (failed.kind, answered.kind) == (SpanKind.CLIENT, SpanKind.CLIENT)
    assert dict(failed.attributes or {})["error.type"] == "unreachable"
    assert failed.status.status_code is StatusCode.ERROR
    assert "error.type" not in (answered.attributes or {})
    assert answered.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("took_ms", [0, 1500])
def test_a_span_lasts_as_long_as_its_subject(took_ms: int) -> None:
    collector = Collector()
    at = 1_700_000_000_000_000_000
    event = Called(
        system_time=at, provider="mux", way="list", answer="answered", duration_ms=took_ms
    )

    collector.exporter("default").handle(event)

    (span,) = collector.spans("provider list")
    assert (span.start_time, span.end_time) == (at - took_ms * 1_000_000, at)


async def test_sweeps_audits_and_webhooks_are_spans(world: World) -> None:
    collector = Collector()
    listen(world, collector.exporter("default"))

    await everything_happens(world)

    assert {span.name: span.kind for span in collector.traces.get_finished_spans()} == {
        "sweep": SpanKind.INTERNAL,
        "audit": SpanKind.INTERNAL,
        "provider asset": SpanKind.CLIENT,
        "provider list": SpanKind.CLIENT,
        "provider whoami": SpanKind.CLIENT,
        "receive webhook": SpanKind.CONSUMER,
        "process webhook": SpanKind.CONSUMER,
    }
    told = [dict(span.attributes or {}) for span in collector.spans("receive webhook")]
    assert {words["messaging.operation.type"] for words in told} == {"receive"}
    assert [words["error.type"] for words in told if "error.type" in words] == [
        "signature_mismatch"
    ]
    (swept,) = collector.spans("sweep")
    assert dict(swept.attributes or {})["rindle_sync.environment"] == "default"


# what a scrape reads


class Slow(Prometheus):
    """One whose rendering takes long; notes where it was done, and how often."""

    def __init__(self) -> None:
        super().__init__(["default"])
        self.threads: list[int] = []

    def text(self, gauges: Iterable[Reading] = ()) -> bytes:
        self.threads.append(threading.get_ident())
        time.sleep(0.2)
        return super().text(gauges)


async def test_scrapes_at_one_time_share_one_rendering_and_keep_nothing_else_waiting(
    world: World,
) -> None:
    exporter = Slow()
    scraped = Scraped(exporter, Gauges([world.context]), world.clock.now)

    texts = await asyncio.gather(*(scraped.text() for _ in range(100)))
    world.clock.move(1)
    exporter.handle(replace(an_event_of(UnknownStatus), environment="default"))
    later = await scraped.text()

    assert len(set(texts)) == 1
    assert later not in texts
    assert len(exporter.threads) == 2
    assert threading.get_ident() not in exporter.threads
