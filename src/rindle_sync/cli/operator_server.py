"""What a process that keeps running tells its operator: page, metrics and probes on a listener, and traces."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from rindle_sync.cli.output import Serving, extra, say
from rindle_sync.config import Settings, Switch
from rindle_sync.diagnostics import Readiness
from rindle_sync.errors import ConfigurationError
from rindle_sync.exporters.gauges import StatisticsReader
from rindle_sync.exporters.instruments import Exporter
from rindle_sync.installation import Installation
from rindle_sync.store import AssetStore
from rindle_sync.web.probes import operations


@asynccontextmanager
async def operating(
    all_: Installation, stop: asyncio.Event, *, runs_engine: bool
) -> AsyncIterator[Serving | None]:
    """The serving of what an operator asks, listening already; None where nothing is to be served."""
    contexts = [service.context for service in all_.values()]
    standing = StatisticsReader(contexts)
    readiness = Readiness(contexts[0], partial(_revisions, all_.store), runs_engine=runs_engine)
    if all_.settings.opentelemetry is Switch.ON:
        _tell_opentelemetry(all_, standing)
    async with AsyncExitStack() as ending:
        ending.push_async_callback(standing.close)
        ending.push_async_callback(readiness.close)
        yield _serving(all_, stop, standing, readiness, ending)


async def _revisions(store: AssetStore) -> tuple[str | None, str]:
    from rindle_sync.store.migrations import revisions

    return await revisions(store.engine)


def _tell_opentelemetry(all_: Installation, standing: StatisticsReader) -> None:
    with extra("opentelemetry"):
        from rindle_sync.exporters.opentelemetry import OpenTelemetry
    exporter = OpenTelemetry(list(all_))
    exporter.watch(standing)
    _listen(all_, exporter)


def _serving(
    all_: Installation,
    stop: asyncio.Event,
    standing: StatisticsReader,
    readiness: Readiness,
    ending: AsyncExitStack,
) -> Serving | None:
    settings = all_.settings
    if not settings.console_port:
        return None
    try:
        from rindle_sync.web.console.app import Console
        from rindle_sync.web.server import serve
    except ModuleNotFoundError:
        say("no page, metrics and probes: they need an extra; pip install 'rindle-sync[server]'")
        return None
    if (listening := _listening(settings)) is None:
        return None
    say(f"page, metrics and probes at http://{settings.console_host}:{settings.console_port}")
    token = settings.console_token.get_secret_value() if settings.console_token else None
    page = Console(all_.job_runners, token)
    ending.push_async_callback(page.close)
    app = operations(readiness.checks, _metrics(all_, standing, ending), page)
    return partial(serve, app, listening, stop)


def _listening(settings: Settings) -> socket.socket | None:
    """The listener; None where nobody has asked for it and the port is taken."""
    from rindle_sync.web.server import listen

    try:
        return listen(
            settings.console_host, settings.console_port, settings=("console_host", "console_port")
        )
    except ConfigurationError as error:
        if settings.model_fields_set & {"console_host", "console_port"}:
            raise
        say(f"no page, metrics and probes: {error}")
        return None


def _metrics(
    all_: Installation, standing: StatisticsReader, ending: AsyncExitStack
) -> Callable[[], Awaitable[bytes | None]] | None:
    try:
        from rindle_sync.exporters.prometheus import Prometheus, Scraped
    except ModuleNotFoundError:
        return None
    exporter = Prometheus(list(all_))
    _listen(all_, exporter)
    scraped = Scraped(exporter, standing, next(iter(all_.values())).context.now)
    ending.push_async_callback(scraped.close)
    return scraped.text


def _listen(all_: Installation, exporter: Exporter) -> None:
    for service in all_.values():
        service.telemetry.listen(exporter.handle)
