"""The callbacks of the app for changes: their names, what they select, and calls of them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from inspect import iscoroutinefunction, signature
from typing import Any, Final, Protocol

from rindle_sync.domain import ADOPTED, ChangeKind, ProviderAsset, State, is_text
from rindle_sync.errors import ConfigurationError
from rindle_sync.store import AnyConnection, AsyncConnection, Change

CALL_LIMIT: Final = timedelta(seconds=30)
"""How long a callback of the app may take."""

GRACE: Final = timedelta(seconds=5)
"""How long a callback may take to end once it is cancelled; then it is abandoned."""

LONGEST_RETRY: Final = timedelta(minutes=10)

LONGEST_NAME: Final = 200
"""How long the name of a callback may be, in characters."""


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One real change, and its row as it is now; None where the app has deleted it since."""

    id: int
    """The change's own: the same at each call, and greater for each later change of a row."""
    change: Change
    row: ProviderAsset | None

    @property
    def reference(self) -> str:
        """The app's own id of the video."""
        return self.change.reference

    @property
    def version(self) -> int:
        """The row's version after the change; the row may be further on."""
        return self.change.version

    @property
    def kind(self) -> ChangeKind:
        """What has changed."""
        return self.change.kind


class Callback(Protocol):
    """An async callback for changes, called at least once for each."""

    def __call__(self, event: ChangeEvent, /) -> Awaitable[None]:
        """Handle a change."""


class TransactionalCallback(Protocol):
    """An async callback for changes; what it writes through `connection` is written once."""

    def __call__(self, event: ChangeEvent, connection: AsyncConnection, /) -> Awaitable[None]:
        """Handle a change, in the transaction of `connection`."""


class Recorder(Protocol):
    """Notes in a transaction of the app's own that a change is handled."""

    def __call__(self, connection: AnyConnection, /) -> Awaitable[None]:
        """Write it on `connection`, before all else that the transaction writes.

        Raises `LeaseLost` where another process handles the change: then nothing is to be done.
        """


class LeaseLost(Exception):
    """Another process may be dispatching this now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeCallback:
    """A callback as it was registered."""

    name: str
    """What the database knows it by."""
    function: Callable[..., Awaitable[None]]
    transactional: bool = False
    owns_transaction: bool = False
    """Whether it writes in a transaction of the app's own, in which it calls what it is given.

    Its function is called with the event and a `Recorder`.
    """
    wants: Callable[[ChangeEvent], bool] = lambda _: True
    """Whether the app wants an event now; what it does not want is not dispatched later."""
    states: frozenset[State] = frozenset()
    kind: ChangeKind | None = None
    adopted: bool | None = None

    def selects(self, event: ChangeEvent) -> bool:
        """Whether it is called with this change."""
        if self.kind and event.kind is not self.kind:
            return False
        if self.states and event.change.to_state not in self.states:
            return False
        if not self.wants(event):
            return False
        is_adopted = event.row is not None and event.row.ingest_mode == ADOPTED
        return self.adopted is None or self.adopted is is_adopted


def change_callback(
    function: Callable[..., Awaitable[None]],
    taken: Collection[str] = (),
    *,
    transactional: bool = False,
    state: State | str | Iterable[State | str] | None = None,
    kind: ChangeKind | str | None = None,
    adopted: bool | None = None,
    name: str | None = None,
) -> ChangeCallback:
    """A callback to register beside those whose names are `taken`. Raises `ConfigurationError`."""
    check_async("on_change", function, "event, connection" if transactional else "event")
    states = _states(state)
    try:
        kind = None if kind is None else ChangeKind(kind)
    except ValueError:
        kinds = ", ".join(ChangeKind)
        raise ConfigurationError("kind", f"must be one of {kinds}, or None for all") from None
    if states and kind is ChangeKind.MEDIA:
        raise ConfigurationError("state", "selects changes of kind state: leave out kind='media'")
    return ChangeCallback(
        name=callback_name(function, taken, name),
        function=function,
        transactional=transactional,
        states=states,
        kind=ChangeKind.STATE if states else kind,
        adopted=adopted,
    )


def _states(state: State | str | Iterable[State | str] | None) -> frozenset[State]:
    if state is None:
        return frozenset()
    given = [state] if isinstance(state, str) else list(state)
    try:
        states = frozenset(State(word) for word in given)
    except ValueError:
        states = frozenset()
    if not states:
        known = ", ".join(State)
        raise ConfigurationError("state", f"must be one or several of {known}, or None for all")
    return states


def check_async(setting: str, function: Callable[..., Any], arguments: str) -> None:
    """Raise `ConfigurationError` for what is no async function of these arguments.

    An object that is called so is one, too.
    """
    if not is_async(function):
        raise ConfigurationError(setting, "wants an async function")
    check_arguments(setting, function, arguments, "an async function")


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)


def check_arguments(
    setting: str, function: Callable[..., Any], arguments: str, wanted: str
) -> None:
    """Raise `ConfigurationError` for a function that cannot be called with these arguments."""
    try:
        signature(function).bind(*arguments.split(", "))
    except TypeError:
        raise ConfigurationError(
            setting, f"wants {wanted} that is called with ({arguments})"
        ) from None


def callback_name(
    function: Callable[..., Any], taken: Collection[str], name: str | None = None
) -> str:
    """The name given, or the module and the qualified name; the second such one has a number.

    Raises `ConfigurationError` for a given name that is taken, or is no text.
    """
    if name is not None:
        if not (name.strip() and is_text(name) and len(name) <= LONGEST_NAME):
            raise ConfigurationError("name", f"must be text of 1 to {LONGEST_NAME} characters")
        if name in taken:
            raise ConfigurationError("name", "another callback has this name: choose another one")
        return name
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    plain = f"{named.__module__}.{named.__qualname__}"[-LONGEST_NAME:]
    number, found = 1, plain
    while found in taken:
        number += 1
        found = f"{plain}#{number}"
    return found


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """How long a callback may take, and then to end once it is cancelled."""

    limit: timedelta = CALL_LIMIT
    grace: timedelta = GRACE

    @property
    def longest(self) -> timedelta:
        """Both together."""
        return self.limit + self.grace

    async def error_of(
        self, call: Callable[[], Awaitable[None]], *, is_last: bool
    ) -> BaseException | None:
        """What a callback fails with; `is_last` says that after it all is done."""
        exits: list[SystemExit] = []

        async def run() -> None:
            try:
                await call()
            except SystemExit as error:
                # `sys.exit` in a callback is its failure: raised here it would end the event loop
                exits.append(error)

        # not `wait_for`, which would wait for a callback that ignores its cancellation
        calling, is_late = asyncio.ensure_future(run()), False
        try:
            await asyncio.wait({calling}, timeout=self.limit.total_seconds())
            if not calling.done():
                is_late = calling.cancel()
                await asyncio.wait({calling}, timeout=self.grace.total_seconds())
        except asyncio.CancelledError:
            if not (is_last and calling.done()):
                # it may be using a connection that its caller takes back
                calling.cancel()
                await asyncio.wait({calling}, timeout=self.grace.total_seconds())
                raise
            # else every callback was called, and the database must say so
        finally:
            calling.cancel()
        if is_late or not calling.done():
            return TimeoutError(f"it took longer than {self.limit.total_seconds():g} s")
        if exits:
            return exits[0]
        # a callback may await something that was cancelled: that is a failure of the callback
        return asyncio.CancelledError() if calling.cancelled() else calling.exception()


def retry_at(now: datetime, failed: int) -> datetime:
    """When to call a callback again that has failed so often."""
    return now + min(timedelta(seconds=2 ** min(failed - 1, 12)), LONGEST_RETRY)
