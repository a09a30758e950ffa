"""What a running process serves to its operators: console, metrics, probes, and OpenTelemetry."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from rindle_sync.cli.output import Serving, extra, say
from rindle_sync.config import Switch
from rindle_sync.diagnostics import Readiness
from rindle_sync.errors import ConfigurationError
from rindle_sync.exporters import Exporter, Gauges
from rindle_sync.installation import Installation
from rindle_sync.store.revisions import is_newer, revisions
from rindle_sync.web.probes import operations

Metrics = Callable[[], Awaitable[bytes | None]]


@asynccontextmanager
async def console_server(
    installation: Installation, stop: asyncio.Event, *, runs_engine: bool
) -> AsyncIterator[Serving | None]:
    """Serve console, metrics and probes, on a listener that is open already; None if nowhere."""
    contexts = [service.context for service in installation.values()]
    gauges = Gauges(contexts)
    revisions_here = partial(revisions, installation.database.engine)
    readiness = Readiness(contexts, revisions_here, runs_engine=runs_engine, is_newer=is_newer)
    async with AsyncExitStack() as closing:
        # closed in reverse order: the exporters query the gauges until they are closed
        closing.push_async_callback(gauges.close)
        closing.push_async_callback(readiness.close)
        if installation.settings.opentelemetry is Switch.ON:
            with extra("opentelemetry"):
                from rindle_sync.exporters.opentelemetry import OpenTelemetry
            exporter = OpenTelemetry(list(installation))
            exporter.watch(gauges)
            _listen(installation, exporter)
        yield _serving(installation, stop, gauges, readiness, closing)


def _serving(
    installation: Installation,
    stop: asyncio.Event,
    gauges: Gauges,
    readiness: Readiness,
    closing: AsyncExitStack,
) -> Serving | None:
    settings = installation.settings
    if not settings.console_port:
        return None
    try:
        from rindle_sync.web.console.app import Console
        from rindle_sync.web.server import OPERATIONS, listen, serve
    except ModuleNotFoundError:
        say("no console, metrics and probes: they need an extra; pip install 'rindle-sync[server]'")
        return None
    names = "console_host", "console_port"
    try:
        listening = listen(settings.console_host, settings.console_port, settings=names)
    except ConfigurationError as error:
        if settings.model_fields_set.intersection(names):
            raise
        # only the default address is taken: the service works without it
        say(f"no console, metrics and probes: {error}")
        return None
    say(f"console, metrics and probes at http://{settings.console_host}:{settings.console_port}")
    if settings.console_base_url:
        say(f"browsers find the console at {settings.console_base_url}")
    token = settings.console_token.get_secret_value() if settings.console_token else None
    console = Console(installation.runtime.job_runners, token, settings.console_base_url)
    closing.push_async_callback(console.close)
    app = operations(readiness.checks, _metrics(installation, gauges, closing), console)
    return partial(serve, app, listening, stop, limits=OPERATIONS)


def _metrics(installation: Installation, gauges: Gauges, closing: AsyncExitStack) -> Metrics | None:
    try:
        from rindle_sync.exporters.prometheus import Prometheus, Scraped
    except ModuleNotFoundError:
        return None
    exporter = Prometheus(list(installation))
    _listen(installation, exporter)
    scraped = Scraped(exporter, gauges, installation.any_service.context.now)
    closing.push_async_callback(scraped.close)
    return scraped.text


def _listen(installation: Installation, exporter: Exporter) -> None:
    for service in installation.values():
        service.telemetry.listen(exporter.handle)
