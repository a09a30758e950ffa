"""The service of a Django process: calls within `transaction.atomic` are a part of it."""

import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime
from functools import wraps
from typing import Any, Final, TypeVar, cast
from weakref import WeakSet

from django.db import connections
from django.utils.asyncio import async_unsafe

from rindle_sync.app import RindleSync, no_environment, now
from rindle_sync.config import hides_values
from rindle_sync.domain import Actor
from rindle_sync.errors import ConfigurationError, DatabaseUnavailable, LockedByThisProcess
from rindle_sync.installation import Installation, connect_all
from rindle_sync.integrations.blocking import BlockingRindle
from rindle_sync.integrations.blocking.background import Background
from rindle_sync.integrations.django import conf
from rindle_sync.integrations.django.in_tests import (
    check_test_database,
    is_testing,
    refuse_test_transaction,
)
from rindle_sync.integrations.django.signals import connect_signals
from rindle_sync.providers import Transport

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_LOCKED: Final = (
    "a transaction.atomic() of this thread has the SQLite file locked, and this call writes on a "
    "connection of rindle-sync: call it after the commit. For an upload, call prepare_upload "
    "within, then start_upload after the commit"
)


def _joining(method: F) -> F:
    """The method, on Django's own connection where a transaction is open on it."""

    @wraps(method)
    def call(self: "DjangoRindle", /, *args: Any, **kwargs: Any) -> Any:
        if "connection" not in kwargs and (joined := open_transaction()):
            kwargs["connection"] = joined
        if kwargs.get("connection") is not None:
            self = self._joined()
        return method(self, *args, **kwargs)

    return cast(F, call)


def _reading(method: F) -> F:
    """The method, which sees what an open transaction of Django has written."""

    @wraps(method)
    def call(self: "DjangoRindle", /, *args: Any, **kwargs: Any) -> Any:
        return method(self._within(open_transaction()), *args, **kwargs)

    return cast(F, call)


def open_transaction() -> Any:
    """Django's connection to our database, if this thread has a transaction open on it."""
    connection = connections[conf.database_alias()]
    return connection if connection.in_atomic_block else None


class _Shared:
    """What the services of all environments share: the loop, on the database that Django uses."""

    def __init__(self) -> None:
        self.setups: list[Callable[[Installation], object]] = [connect_signals]
        self.overrides: dict[str, Any] = {}
        self.transport: Transport | None = None
        self.clock: Callable[[], datetime] = now
        self._background: Background | None = None
        self._url: str | None = None
        self._lock = threading.Lock()
        _shared_here.add(self)

    def background(self) -> Background:
        """The loop; a new one where the settings or the database are other ones than before."""
        url = self.overrides.get("database_url")
        if not url:
            check_test_database(conf.database_alias())
            url = conf.database_url()
        with self._lock:
            if self._background is None or url != self._url:
                self._end()
                self._url = url
                self._background = Background(self._connecting)
                for setup in self.setups:
                    self._background.set_up(setup)
            return self._background

    def close(self) -> None:
        """End the loop; the next call begins another one."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        background, self._background = self._background, None
        if background:
            background.close()

    def forget_parent(self) -> None:
        """Begin anew in a forked process, in which nobody would give the lock back."""
        self._lock = threading.Lock()

    def set_up(self, setup: Callable[[Installation], object]) -> None:
        """Call `setup` once for each loop, before its first call, or now."""
        self.setups.append(setup)
        if self._background:
            self._background.set_up(setup)

    def _connecting(self) -> AbstractAsyncContextManager[Installation]:
        settings = conf.load(**self.overrides)
        # a connection of ours would keep a test database from being dropped
        return connect_all(
            settings,
            transports=lambda _: self.transport,
            clock=self.clock,
            keep_connections=not is_testing(),
        )


_shared_here: Final[WeakSet[_Shared]] = WeakSet()


def _forget_parent() -> None:
    for shared in list(_shared_here):
        shared.forget_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, which forks nothing
    os.register_at_fork(after_in_child=_forget_parent)


class DjangoRindle(BlockingRindle):
    """`RindleSync` for Django; any thread may call, and waits for the answer.

    Methods, arguments, results and errors are those of `RindleSync`. Within `transaction.atomic`
    on our database, what takes a `connection` is written on Django's own one: with the app's rows,
    or not at all; `connection=None` writes on one of ours instead. Rows are read there, too. An
    async view raises `SynchronousOnlyOperation`: call through `sync_to_async`, as the ORM.
    """

    def __init__(
        self,
        shared: _Shared | None = None,
        environment: str | None = None,
        *,
        transaction: Any = None,
        joins: bool = False,
        actor: Actor | None = None,
    ) -> None:
        # there is no loop yet: `_background` gives it, where one is needed
        self._shared = shared or _Shared()
        self._environment = environment
        self._transaction = transaction
        self._joins = joins or transaction is not None
        self._names: set[str] = set()
        self._actor = actor

    @property
    def _background(self) -> Background:  # type: ignore[override]
        return self._shared.background()

    track = _joining(BlockingRindle.track)
    track_many = _joining(BlockingRindle.track_many)
    prepare_upload = _joining(BlockingRindle.prepare_upload)
    prepare_asset = _joining(BlockingRindle.prepare_asset)
    replace = _joining(BlockingRindle.replace)
    untrack = _joining(BlockingRindle.untrack)
    get = _reading(BlockingRindle.get)
    find_by_reference = _reading(BlockingRindle.find_by_reference)
    find_by_provider_id = _reading(BlockingRindle.find_by_provider_id)
    list = _reading(BlockingRindle.list)
    count = _reading(BlockingRindle.count)
    explain = _reading(BlockingRindle.explain)
    playback_url = _reading(BlockingRindle.playback_url)
    playback_bundle = _reading(BlockingRindle.playback_bundle)

    def of(self, environment: str) -> "DjangoRindle":
        """The service of one environment, where the settings have several.

        Raises `ConfigurationError` that names those there are, where this is none of them.
        """
        names = [own.environment for own in conf.environments()]
        # with overrides the first call says so
        if environment not in names and not self._shared.overrides:
            raise no_environment(environment, names)
        return DjangoRindle(self._shared, environment, actor=self._actor)

    def _within(self, transaction: Any) -> "DjangoRindle":
        if transaction is None:
            return self
        return DjangoRindle(
            self._shared, self._environment, transaction=transaction, actor=self._actor
        )

    def _joined(self) -> "DjangoRindle":
        return DjangoRindle(self._shared, self._environment, joins=True, actor=self._actor)

    def close(self) -> None:
        """Give back all connections; a later call connects again. Raises nothing."""
        self._shared.close()

    @contextmanager
    def replaced(
        self,
        *,
        transport: Transport | None = None,
        clock: Callable[[], datetime] = now,
        **overrides: Any,
    ) -> Iterator["DjangoRindle"]:
        """For the time of a block, a service with other settings, and in tests without network.

        Callbacks and signals stay. Each environment gets `transport`; `clock` is the time, in UTC.
        """
        shared = self._shared
        before = shared.transport, shared.clock, shared.overrides
        shared.close()
        shared.transport, shared.clock = transport, clock
        shared.overrides = {**shared.overrides, **overrides}
        try:
            yield self
        finally:
            shared.close()
            shared.transport, shared.clock, shared.overrides = before

    def _set_up(self, setup: Callable[[RindleSync], object]) -> None:
        def set_up(installation: Installation) -> None:
            setup(self._of(installation))

        self._shared.set_up(set_up)

    @hides_values
    def _call(self, work: Callable[[RindleSync], Awaitable[T]]) -> T:
        transaction = self._transaction
        if not self._joins:
            refuse_test_transaction(conf.database_alias())

        def done(rindle: RindleSync) -> Awaitable[T]:
            return work(rindle.within(transaction) if transaction else rindle)

        try:
            return cast(T, _call(lambda: super(DjangoRindle, self)._call(done)))
        except LockedByThisProcess:
            if self._joins or open_transaction() is None:
                raise
            raise LockedByThisProcess(_LOCKED) from None
        except (ConfigurationError, DatabaseUnavailable) as error:
            if "database_url" not in self._shared.overrides:
                error.args = (conf.own_words(str(error)),)
            raise


@async_unsafe("rindle blocks its thread: call it through asgiref.sync.sync_to_async")
def _call(call: Callable[[], Any]) -> Any:
    return call()


rindle: Final = DjangoRindle()
"""The service of this process."""
