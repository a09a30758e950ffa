"""Events about checks and changes of rows."""

from typing import ClassVar

from rindle_sync.telemetry.event import Event, RowEvent


class Resolved(RowEvent, frozen=True, kw_only=True):
    """The provider answered about a row.

    It is emitted for every answered check that was applied, whether or not something changed, 404
    included: by id, and by list page for rows that were due, that were more than half of the way to
    their next check, or out of sync. Settled rows that an audit finds in sync emit nothing. A
    webhook is no check: it emits `processed`, and `state_change` where it changed something.
    Creating and cancelling a direct upload emit `resolved` too.
    """

    name: ClassVar[str] = "rindle.provider.sync.resolved"
    provider_state: str
    """The row's state after this check: `pending`, `uploading`, `processing`, `ready`, `errored`,
    `deleted`.
    """
    age_ms: int
    """Milliseconds since the row's `updated_at`, read before this check wrote."""
    no_change: bool
    """True where state, error kind, playback ids and the asset's id stayed."""


class Stuck(Resolved, frozen=True, kw_only=True):
    """A row was in flight past the threshold, and is `errored` now.

    The keys are those of `resolved`: `profile`, `provider`, `asset_id`, `provider_state` (always
    `errored`), `age_ms` (the figure that crossed the threshold), `no_change` (always false).

    With `declare` it comes alone, since the provider was not called. With `ask-first` it follows a
    `resolved` that reports the provider's answer: the state as it was, with `no_change` true.
    """

    name: ClassVar[str] = "rindle.provider.sync.stuck"


class Failed(RowEvent, frozen=True, kw_only=True):
    """A check brought no answer.

    State and `updated_at` stayed. The event is about one row: an authentication failure in a sweep,
    and a list page without an answer, do not emit it.

    The text of the reason is in the row's `last_sync_error`.
    """

    name: ClassVar[str] = "rindle.provider.sync.failed"
    reason: str
    """`throttled` (429), `unreachable` (5xx, no answer in time, no connection, an unreadable body),
    `refused` (401, 403), `clash` (the provider answered, but another row holds an id in the answer,
    or the database refuses a value in it), `conflict` (other processes wrote the row between each
    of five reads and writes).
    """
    attempt: int
    """How many checks in a row have brought no answer; `throttled` and `refused` do not count."""


class UnknownStatus(RowEvent, frozen=True, kw_only=True):
    """The provider used a status word that rindle-sync does not know.

    The row's state stayed. It follows the `resolved` of the same check.
    """

    name: ClassVar[str] = "rindle.provider.sync.unknown_status"
    status: str
    """The provider's word, scrubbed, at most 64 characters."""


class StateChange(RowEvent, frozen=True, kw_only=True):
    """A row really changed: its state, error kind, playback ids or asset id.

    It is emitted for every trigger, once for each line of kind `state` in `provider_asset_changes`,
    after the `resolved` or `stuck` of the same write.

    Compare `by` `sweep` with `by` `webhook`, for `to_state` `ready`, to see how many webhooks are
    missed or late.
    """

    name: ClassVar[str] = "rindle.provider_asset.state_change"
    from_state: str
    """The state before; the same as `to_state` where only playback ids or the asset's id changed.
    """
    to_state: str
    """The state after."""
    error_kind: str | None
    """Why it is `errored` now; None otherwise."""
    by: str
    """The trigger: `webhook`, `sweep`, `sync` (and checks of ambiguous rows), `audit`, `cli`,
    `console`, `app`, `api`.
    """
    late_ms: int
    """How late it was found, in milliseconds. For a webhook, since the event; else at most, since
    the row was last known to be right.
    """


class MediaChange(RowEvent, frozen=True, kw_only=True):
    """The media of a row changed, and nothing else: its state and `updated_at` are as before.

    Media are its duration, title, tracks, renditions and so on. It is emitted once for each line of
    kind `media` in `provider_asset_changes`.
    """

    name: ClassVar[str] = "rindle.provider_asset.media_change"
    state: str
    """The state, before and after."""
    fields: str
    """The names of the columns that changed, as in `tracks, duration`."""
    by: str
    """The trigger, as in `state_change`."""
    late_ms: int
    """As in `state_change`."""


class CallbackException(Event, frozen=True, kw_only=True):
    """A callback of your app failed on a change, or took too long.

    It is called again.
    """

    name: ClassVar[str] = "rindle.provider_asset.callback_exception"
    callback: str
    """Its name: the module and the qualified name, or what `on_change(name=...)` was given."""
    error: str
    """The name of the exception; `TimeoutError` after 30 s."""
    attempt: int
    """Which attempt of this callback this was."""
    traceback: str
    """The traceback with the causes, in several lines; ids of the provider, URLs and keys are
    redacted.
    """
