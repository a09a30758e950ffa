"""The part of the public object that calls the app."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from rindle_sync.app.core import Core
from rindle_sync.domain import ChangeKind, State, matches_any, pattern_fault
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import provider_entry

if TYPE_CHECKING:
    from rindle_sync.runtime import Callback, ChangeCallback, TransactionalCallback, WebhookFunction

Plain = TypeVar("Plain", bound="Callback")
Transactional = TypeVar("Transactional", bound="TransactionalCallback")
OnWebhook = TypeVar("OnWebhook", bound="WebhookFunction")

States = State | str | Iterable[State | str]
"""One state or several."""


class Callbacks(Core):
    """The app's callbacks."""

    @overload
    def on_change(
        self,
        callback: Plain,
        *,
        transactional: Literal[False] = False,
        state: States | None = None,
        kind: ChangeKind | str | None = None,
        adopted: bool | None = None,
        name: str | None = None,
    ) -> Plain: ...

    @overload
    def on_change(
        self,
        callback: Transactional,
        *,
        transactional: Literal[True],
        state: States | None = None,
        kind: ChangeKind | str | None = None,
        adopted: bool | None = None,
        name: str | None = None,
    ) -> Transactional: ...

    @overload
    def on_change(
        self,
        callback: None = None,
        *,
        transactional: Literal[False] = False,
        state: States | None = None,
        kind: ChangeKind | str | None = None,
        adopted: bool | None = None,
        name: str | None = None,
    ) -> Callable[[Plain], Plain]: ...

    @overload
    def on_change(
        self,
        callback: None = None,
        *,
        transactional: Literal[True],
        state: States | None = None,
        kind: ChangeKind | str | None = None,
        adopted: bool | None = None,
        name: str | None = None,
    ) -> Callable[[Transactional], Transactional]: ...

    def on_change(
        self,
        callback: Callable[..., Any] | None = None,
        *,
        transactional: bool = False,
        state: States | None = None,
        kind: ChangeKind | str | None = None,
        adopted: bool | None = None,
        name: str | None = None,
    ) -> Any:
        """Have the async `callback` called with each real change of a row; a decorator, too.

        It is called after the commit, in the order of each row, and again later where it raises or
        takes over 30 s: at least once. `transactional` calls it with an `AsyncConnection` as well:
        what it writes through that commits together with the note that it has handled the change,
        so exactly once. `state` selects changes of kind `state` that lead to one of these states,
        `kind` one kind of change, `adopted` rows that were found at the provider, or the others.
        `name` is what the database knows the callback by, by default its module and qualified name:
        where that changes, calls that it has failed are lost. Raises `ConfigurationError`.
        """
        from rindle_sync.runtime import change_callback

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            registered = change_callback(
                function,
                {known.name for known in self._callbacks},
                transactional=transactional,
                state=state,
                kind=kind,
                adopted=adopted,
                name=name,
            )
            self._callbacks.append(registered)
            return function

        return register if callback is None else register(callback)

    @overload
    def on_webhook(self, type_pattern: str, callback: OnWebhook) -> OnWebhook: ...

    @overload
    def on_webhook(
        self, type_pattern: str, callback: None = None
    ) -> Callable[[OnWebhook], OnWebhook]: ...

    def on_webhook(self, type_pattern: str, callback: Callable[..., Any] | None = None) -> Any:
        """Have the async `callback` called with webhook events that rindle-sync does not act on.

        `type_pattern` is a type, or a pattern in which `*` stands for any text. It is called at
        least once for each event, and of one object at the provider in the order in which they
        occurred. An event is kept for it where the process that receives it has such a callback, or
        a setting `webhook_types` that matches. Raises `ConfigurationError`, also for a pattern that
        matches nothing but types which rindle-sync acts on itself.
        """
        from rindle_sync.runtime import WebhookCallback, callback_name, check_async

        fault = pattern_fault(type_pattern, provider_entry(self.settings.provider).acted_on)
        if fault:
            raise ConfigurationError("type_pattern", fault)

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            check_async("on_webhook", function, "event")
            taken = {known.name for known in self._webhook_callbacks}
            name = callback_name(function, taken)
            self._webhook_callbacks.append(WebhookCallback(name, type_pattern, function))
            return function

        return register if callback is None else register(callback)

    def wants_webhook(self, event_type: str) -> bool:
        """Whether a webhook event of this type is to be stored for the app. Raises nothing."""
        patterns = [callback.pattern for callback in self._webhook_callbacks]
        return matches_any(event_type, [*self.context.webhooks.types, *patterns])

    async def dispatch(self) -> int:
        """Call the callbacks with every change and webhook event that is due; how many.

        Raises `DatabaseUnavailable`.
        """
        return await self.job_runner.dispatch()


def add_callback(service: Callbacks, callback: ChangeCallback) -> None:
    """Register a callback that an integration has made."""
    service._callbacks.append(callback)  # noqa: SLF001  no method of what apps use
