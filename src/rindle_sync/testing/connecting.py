"""Services that are connected for the time of a test."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from rindle_sync.app import RindleSync, connect, open_rindle
from rindle_sync.config import Settings
from rindle_sync.integrations import blocking
from rindle_sync.testing.apart import run_apart
from rindle_sync.testing.databases import make_tables
from rindle_sync.testing.jobs import make_endpoint
from rindle_sync.testing.mux import FakeMux


@contextmanager
def connected(settings: Settings, mux: FakeMux) -> Iterator[RindleSync]:
    """The async service, by the clock of `mux`; `mux` sends it webhooks.

    The block is not async: the service belongs to the event loop in which it is first used, and is
    closed whether that has ended or not. It runs no jobs; the tables are created or migrated.
    Raises `ConfigurationError`, `DatabaseUnavailable`.
    """
    make_tables(settings)
    if settings.outgoing:
        run_apart(lambda: _make_endpoint(settings, mux))
    rindle = open_rindle(settings, listeners=(), transport=mux.transport, clock=mux.clock.now)
    _note_test(rindle)
    try:
        with mux.delivering_to(rindle.receive):
            yield rindle
    finally:
        _close(rindle)


async def _make_endpoint(settings: Settings, mux: FakeMux) -> None:
    # by another service: the test's own belongs to the loop of the test
    async with connect(settings, listeners=(), transport=mux.transport, clock=mux.clock.now) as own:
        await make_endpoint(own)


def _note_test(rindle: RindleSync) -> None:
    # as an engine does, so that no warning says that nothing will apply webhook events
    rindle.job_runner.wakeups.append(asyncio.Event())


def _close(rindle: RindleSync) -> None:
    loop = rindle.store.database.loop
    if loop is None:
        return
    if loop.is_closed() or loop.is_running():
        run_apart(rindle.store.database.close_elsewhere)
    else:
        loop.run_until_complete(rindle.close())


@contextmanager
def connected_blocking(settings: Settings, mux: FakeMux) -> Iterator[blocking.BlockingRindle]:
    """`connected` for code without an event loop."""
    make_tables(settings)
    with blocking.connect(settings, transport=mux.transport, clock=mux.clock.now) as rindle:
        rindle._set_up(_note_test)  # noqa: SLF001  there is nothing for apps to set up so early
        rindle._call(make_endpoint)  # noqa: SLF001
        with mux.delivering_to(rindle.receive):
            yield rindle
