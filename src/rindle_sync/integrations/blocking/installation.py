"""How the services of a process are made for code without an event loop."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime

from rindle_sync.app import no_environment, now
from rindle_sync.config import Settings, check_is_of_test, load_settings
from rindle_sync.installation import Installation
from rindle_sync.installation import connect_all as connect_all_async
from rindle_sync.integrations.blocking.background import Background, Blocking
from rindle_sync.integrations.blocking.rindle import BlockingRindle
from rindle_sync.providers import Transport
from rindle_sync.telemetry import Listener


class BlockingInstallation(Blocking, Mapping[str, BlockingRindle]):
    """The services by the names of their environments; made by `connect_all`."""

    def __init__(self, background: Background, environments: Sequence[str]) -> None:
        super().__init__(background)
        self._services = {name: BlockingRindle(background, name) for name in environments}

    def __getitem__(self, environment: str) -> BlockingRindle:
        return self._services[environment]

    def of(self, environment: str) -> BlockingRindle:
        """The service of one environment; raises `ConfigurationError` that names those there are.

        `installation[environment]` raises `KeyError`, as each mapping does.
        """
        if environment not in self._services:
            raise no_environment(environment, self)
        return self._services[environment]

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)


def connect(
    settings: Settings | None = None,
    *,
    listeners: Sequence[Listener] = (),
    transport: Transport | None = None,
    clock: Callable[[], datetime] = now,
) -> BlockingRindle:
    """The service for `settings` (default: those of the process), to be called from any thread.

    `transport` replaces the network in tests, and `clock` the time, in UTC. Nothing is read or
    opened before the first call, which raises `ConfigurationError`.
    """

    def connecting() -> AbstractAsyncContextManager[Installation]:
        if settings:
            check_is_of_test(settings)
        return connect_all_async(
            settings, listeners=listeners, transports=lambda _: transport, clock=clock
        )

    return BlockingRindle(Background(connecting))


def connect_all(
    settings: Settings | None = None,
    *,
    listeners: Sequence[Listener] = (),
    transports: Callable[[str], Transport | None] = lambda _: None,
    clock: Callable[[], datetime] = now,
) -> BlockingInstallation:
    """The services of all environments in `settings` (default: those of this process).

    Raises `ConfigurationError`; nothing is opened before the first call.
    """
    known = settings or load_settings()

    def connecting() -> AbstractAsyncContextManager[Installation]:
        return connect_all_async(known, listeners=listeners, transports=transports, clock=clock)

    return BlockingInstallation(Background(connecting), list(known.each()))
