"""The public object, its methods called from any thread."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import nullcontext
from copy import copy
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack, cast, overload

from rindle_sync.app import RindleSync
from rindle_sync.domain import (
    MOST_LISTED,
    Actor,
    ChangeKind,
    ProviderAsset,
    Rendition,
    RowFilters,
    State,
    Track,
)
from rindle_sync.errors import AlreadyClosed, ConfigurationError
from rindle_sync.installation import Installation
from rindle_sync.integrations.blocking.background import Blocking, Loop, Within, within
from rindle_sync.providers import (
    Modifiers,
    PlaybackBundle,
    PlaybackKind,
    PlaybackOptions,
    PlaybackUrl,
)
from rindle_sync.runtime import (
    ChangeEvent,
    callback_name,
    change_callback,
    check_arguments,
    is_async,
)
from rindle_sync.runtime.outgoing.endpoints import OutgoingWebhooksOfApp
from rindle_sync.store import AsyncConnection, Tracking
from rindle_sync.webhooks import TRY_AGAIN, WebhookEvents, WebhookResponse

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


def _blocking(
    method: Callable[Concatenate[RindleSync, P], Coroutine[Any, Any, T]],
) -> "Callable[Concatenate[BlockingRindle, P], T]":
    """The method, called from any thread; arguments, result and errors are the same."""

    @wraps(method)
    def call(self: "BlockingRindle", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._call(lambda rindle: method(rindle, *args, **kwargs))

    return call


def _blocking_events(
    method: Callable[Concatenate[WebhookEvents, P], Coroutine[Any, Any, T]],
) -> "Callable[Concatenate[BlockingWebhookEvents, P], T]":
    @wraps(method)
    def call(self: "BlockingWebhookEvents", /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = self.call(lambda rindle: method(rindle.webhook_events, *args, **kwargs))
        return result

    return call


def _blocking_outgoing(
    method: Callable[Concatenate[OutgoingWebhooksOfApp, P], Coroutine[Any, Any, T]],
) -> "Callable[Concatenate[BlockingOutgoing, P], T]":
    @wraps(method)
    def call(self: "BlockingOutgoing", /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = self.call(lambda rindle: method(rindle.outgoing, *args, **kwargs))
        return result

    return call


def _as_in(method: Callable[..., Any]) -> Callable[[F], F]:
    """The docstring and the signature of `method`, on a function that says its own types."""

    def decorate(function: F) -> F:
        return cast(F, wraps(method)(function))

    return decorate


class BlockingRindle(Blocking):
    """`RindleSync` for code without an event loop; any thread may call, and waits for the answer.

    Methods, arguments, results and errors are those of `RindleSync`. A `connection` is a sync one,
    and is used on the calling thread alone. It connects with the first call, in each process: make
    it as your app is imported. `CalledFromItsLoop` is raised in a transactional callback.
    """

    def __init__(self, background: Loop, environment: str | None = None) -> None:
        super().__init__(background)
        self._environment = environment
        self._names: set[str] = set()
        self._actor: Actor | None = None

    @_as_in(RindleSync.as_actor)
    def as_actor(self, actor: Actor | str) -> Self:
        """The same service, which records what is done to rows through it, and who does it."""
        service = copy(self)
        vars(service)["_actor"] = Actor(actor) if isinstance(actor, str) else actor
        return service

    track = _blocking(RindleSync.track)
    track_many = _blocking(RindleSync.track_many)
    get = _blocking(RindleSync.get)
    find_by_reference = _blocking(RindleSync.find_by_reference)
    find_by_provider_id = _blocking(RindleSync.find_by_provider_id)
    sync = _blocking(RindleSync.sync)
    explain = _blocking(RindleSync.explain)
    list = _blocking(RindleSync.list)
    count = _blocking(RindleSync.count)
    replace = _blocking(RindleSync.replace)
    untrack = _blocking(RindleSync.untrack)
    begin_upload = _blocking(RindleSync.begin_upload)
    prepare_upload = _blocking(RindleSync.prepare_upload)
    start_upload = _blocking(RindleSync.start_upload)
    cancel_upload = _blocking(RindleSync.cancel_upload)
    create_asset = _blocking(RindleSync.create_asset)
    prepare_asset = _blocking(RindleSync.prepare_asset)
    start_asset = _blocking(RindleSync.start_asset)
    sweep = _blocking(RindleSync.sweep)
    audit = _blocking(RindleSync.audit)
    backfill = _blocking(RindleSync.backfill)
    status = _blocking(RindleSync.status)
    process_webhook_events = _blocking(RindleSync.process_webhook_events)
    deliver = _blocking(RindleSync.deliver)
    dispatch = _blocking(RindleSync.dispatch)
    migrate = _blocking(RindleSync.migrate)
    check_ready = _blocking(RindleSync.check_ready)

    @_as_in(RindleSync.receive)
    def receive(
        self, headers: Mapping[str, str], body: bytes, *, method: str = "POST"
    ) -> WebhookResponse:
        """Store one webhook request that was sent to a host of any kind; what to answer it."""
        try:
            return self._call(lambda rindle: rindle.receive(headers, body, method=method))
        except AlreadyClosed:
            return TRY_AGAIN

    def list_all(
        self, *, newest_first: bool = True, **filters: Unpack[RowFilters]
    ) -> Iterator[ProviderAsset]:
        """Every row with these filters of `list`, read by pages of 1,000 rows."""
        after: str | None = None
        while True:
            page = self.list(limit=MOST_LISTED, after=after, newest_first=newest_first, **filters)
            yield from page.rows
            after = page.next
            if after is None:
                return

    @_as_in(RindleSync.tracking)
    def tracking(self, **arguments: Any) -> Tracking:
        """The row that `track` would insert, and its statement, for the app to run itself."""

        async def tracking(rindle: RindleSync) -> Tracking:
            return rindle.tracking(**arguments)

        return self._call(tracking)

    @overload
    def playback_url(
        self,
        row: ProviderAsset,
        kind: PlaybackKind,
        *,
        of: str | Track | Rendition | None = None,
        **options: Unpack[PlaybackOptions],
    ) -> PlaybackUrl: ...

    @overload
    def playback_url(
        self,
        row: str,
        kind: PlaybackKind,
        *,
        of: str | Track | Rendition | None = None,
        **options: Unpack[PlaybackOptions],
    ) -> PlaybackUrl | None: ...

    @_as_in(RindleSync.playback_url)
    def playback_url(self, row: Any, kind: PlaybackKind, **options: Any) -> PlaybackUrl | None:
        """A URL to play a row, or a picture or file of it; None where no row has this id."""
        url: PlaybackUrl | None = self._call(
            lambda rindle: rindle.playback_url(row, kind, **options)
        )
        return url

    @overload
    def playback_bundle(
        self,
        row: ProviderAsset,
        *,
        poster: Modifiers | None = None,
        **options: Unpack[PlaybackOptions],
    ) -> PlaybackBundle: ...

    @overload
    def playback_bundle(
        self, row: str, *, poster: Modifiers | None = None, **options: Unpack[PlaybackOptions]
    ) -> PlaybackBundle | None: ...

    @_as_in(RindleSync.playback_bundle)
    def playback_bundle(self, row: Any, **options: Any) -> PlaybackBundle | None:
        """All that a player needs to play a row; None where no row has this id."""
        bundle: PlaybackBundle | None = self._call(
            lambda rindle: rindle.playback_bundle(row, **options)
        )
        return bundle

    @property
    def webhook_events(self) -> "BlockingWebhookEvents":
        """The stored webhook events."""
        return BlockingWebhookEvents(self._call)

    @property
    def outgoing(self) -> "BlockingOutgoing":
        """The endpoints of outgoing webhooks, and what is sent to them."""
        return BlockingOutgoing(self._call)

    @overload
    def on_change(
        self,
        callback: F,
        *,
        transactional: bool = False,
        state: State | str | Iterable[State | str] | None = None,
        kind: ChangeKind | str | None = None,
        adopted: bool | None = None,
        name: str | None = None,
    ) -> F: ...

    @overload
    def on_change(
        self,
        callback: None = None,
        *,
        transactional: bool = False,
        state: State | str | Iterable[State | str] | None = None,
        kind: ChangeKind | str | None = None,
        adopted: bool | None = None,
        name: str | None = None,
    ) -> Callable[[F], F]: ...

    def on_change(
        self,
        callback: Callable[..., Any] | None = None,
        *,
        transactional: bool = False,
        name: str | None = None,
        **selected: Any,
    ) -> Any:
        """Have a plain function called with each real change of a row; a decorator, too.

        It runs in a thread of its own, where it may call this service. `transactional` calls it in
        the event loop instead, with a `sqlalchemy.Connection` as well: it blocks all else for as
        long as it runs, and is to write through that connection only. A function cannot be
        stopped: one that takes over 30 s is called again while it still runs. All else is as in
        `RindleSync.on_change`.
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            adapt = _in_transaction if transactional else _in_thread
            adapted = adapt("on_change", function)
            called = callback_name(function, self._names, name)
            # what is wrong with it is told here, and not in the event loop
            change_callback(adapted(nullcontext), transactional=transactional, **selected)
            self._names.add(called)
            options = {"transactional": transactional, "name": called, **selected}
            self._set_up(lambda rindle: rindle.on_change(adapted(within()), **options))
            return function

        return register if callback is None else register(callback)

    @overload
    def on_webhook(self, type_pattern: str, callback: F) -> F: ...

    @overload
    def on_webhook(self, type_pattern: str, callback: None = None) -> Callable[[F], F]: ...

    def on_webhook(self, type_pattern: str, callback: Callable[..., Any] | None = None) -> Any:
        """Have a plain function called with webhook events that rindle-sync does not act on.

        It runs in a thread of its own. All else is as in `RindleSync.on_webhook`.
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            adapted = _in_thread("on_webhook", function)
            self._set_up(lambda rindle: rindle.on_webhook(type_pattern, adapted(within())))
            return function

        return register if callback is None else register(callback)

    def _set_up(self, setup: Callable[[RindleSync], object]) -> None:
        self._background.set_up(lambda installation: setup(self._of(installation)))

    def _call(self, work: Callable[[RindleSync], Awaitable[T]]) -> T:
        return self._background.call(lambda installation: work(self._of(installation)))

    def _of(self, installation: Installation) -> RindleSync:
        service = (
            installation.of(self._environment)
            if self._environment
            else installation.sole_environment
        )
        return service.as_actor(self._actor) if self._actor else service


Caller = Callable[[Callable[[RindleSync], Awaitable[Any]]], Any]


class BlockingWebhookEvents:
    """The stored webhook events; methods as those of `RindleSync.webhook_events`."""

    def __init__(self, call: Caller) -> None:
        self.call = call

    list = _blocking_events(WebhookEvents.list)
    get = _blocking_events(WebhookEvents.get)
    replay = _blocking_events(WebhookEvents.replay)
    prune = _blocking_events(WebhookEvents.prune)


class BlockingOutgoing:
    """The endpoints of outgoing webhooks; methods as those of `RindleSync.outgoing`."""

    def __init__(self, call: Caller) -> None:
        self.call = call

    create = _blocking_outgoing(OutgoingWebhooksOfApp.create)
    list = _blocking_outgoing(OutgoingWebhooksOfApp.list)
    get = _blocking_outgoing(OutgoingWebhooksOfApp.get)
    change = _blocking_outgoing(OutgoingWebhooksOfApp.change)
    rotate_secret = _blocking_outgoing(OutgoingWebhooksOfApp.rotate_secret)
    enable = _blocking_outgoing(OutgoingWebhooksOfApp.enable)
    disable = _blocking_outgoing(OutgoingWebhooksOfApp.disable)
    delete = _blocking_outgoing(OutgoingWebhooksOfApp.delete)
    webhooks = _blocking_outgoing(OutgoingWebhooksOfApp.webhooks)
    counts = _blocking_outgoing(OutgoingWebhooksOfApp.counts)
    replay = _blocking_outgoing(OutgoingWebhooksOfApp.replay)
    test = _blocking_outgoing(OutgoingWebhooksOfApp.test)


Adapted = Callable[[Within], Callable[..., Awaitable[None]]]
"""Makes of what a callback runs within the callback that the service calls."""


def _in_thread(setting: str, function: Callable[..., Any]) -> Adapted:
    _check_plain(setting, function, "event")

    def adapted(around: Within) -> Callable[..., Awaitable[None]]:
        def run(event: Any) -> None:
            with around():
                function(event)

        async def call(event: Any) -> None:
            await asyncio.to_thread(run, event)

        return call

    return adapted


def _in_transaction(setting: str, function: Callable[..., Any]) -> Adapted:
    _check_plain(setting, function, "event, connection")

    def adapted(around: Within) -> Callable[..., Awaitable[None]]:
        def run(plain: Any, event: ChangeEvent) -> None:
            with around():
                function(event, plain)

        async def call(event: ChangeEvent, connection: AsyncConnection) -> None:
            await connection.run_sync(run, event)

        return call

    return adapted


def _check_plain(setting: str, function: Callable[..., Any], arguments: str) -> None:
    if is_async(function):
        text = "wants a function that is not async; those are for `rindle_sync.connect`"
        raise ConfigurationError(setting, text)
    check_arguments(setting, function, arguments, "a function")
