"""Events about calls, passes, the rate limit, the circuit breaker, and operators."""

from typing import ClassVar

from rindle_sync.telemetry.event import Event, ProviderEvent


class Called(ProviderEvent, frozen=True, kw_only=True):
    """A call to the provider has ended, whatever it was for.

    One list page is one call. `row_id` is None.
    """

    name: ClassVar[str] = "rindle.provider.call.completed"
    way: str
    """The operation: `asset`, `list` (a page), `upload`, `whoami` (the token's environment),
    `create_upload`, `cancel_upload`, `create_asset`, `delete_asset`, `list_endpoints`,
    `create_endpoint`, `delete_endpoint`.
    """
    answer: str
    """The outcome: `answered` (2xx), `not_found` (404), `throttled` (429), `refused` (401, 403),
    `unreachable` (5xx, no answer in time, no connection, an unreadable body).
    """
    duration_ms: int
    """How long it took, in milliseconds, without the wait for the rate limiter."""


class Swept(ProviderEvent, frozen=True, kw_only=True):
    """A pass over the due rows has ended.

    `row_id` is None.

    Compare `looked` with `calls` to see what pages save.
    """

    name: ClassVar[str] = "rindle.provider.sweep.completed"
    outcome: str
    """`done`; `already_running` (another process is sweeping); `stopped` (the service was stopped);
    `unreachable`, `refused` (the circuit is open: no answers, or 401, 403 and a token of another
    environment; `unreachable` also where no check of the pass was answered); `rate_limited` (the
    rate limit allowed no call for more than a minute); `failed` (anything else). `alarm` is an
    outcome of audits alone.
    """
    looked: int
    """Due rows that were processed, including those that needed no call."""
    changed: int
    """How many rows really changed, including those that a page showed before they were due."""
    unanswered: int
    """How many brought no answer."""
    calls: int
    """Calls that the pass made, by page and by id, without those for the identity check."""
    pages: int
    """How many of them were for list pages."""
    duration_ms: int
    """How long the pass took, in milliseconds."""


class RateLimitWaiting(ProviderEvent, frozen=True, kw_only=True):
    """Work waits for the rate limit, for five seconds or longer.

    It is emitted as the wait begins; the commands print it. `row_id` is None.
    """

    name: ClassVar[str] = "rindle.provider.rate_limit.waiting"
    bucket: str
    """The provider's bucket, such as `reads:low`."""
    wait_ms: int
    """Milliseconds until the next call, as far as is known now."""


class BreakerOpened(ProviderEvent, frozen=True, kw_only=True):
    """The circuit breaker opened: no call can succeed, so none is made for a while.

    It is emitted once, and again if the reason changes. `row_id` is None.

    Alert on it at once. Only you can fix `refused` and `other_environment`.
    """

    name: ClassVar[str] = "rindle.provider.breaker.opened"
    reason: str
    """`refused` (401, 403), `other_environment` (the token belongs to another environment than the
    rows), `unreachable` (ten calls in a row without an answer).
    """
    retry_ms: int
    """Milliseconds until the trial call; later gaps are longer."""


class BreakerClosed(ProviderEvent, frozen=True, kw_only=True):
    """The provider answers again.

    `row_id` is None.
    """

    name: ClassVar[str] = "rindle.provider.breaker.closed"
    reason: str
    """Why the circuit was open."""
    open_ms: int
    """For how long, in milliseconds."""


class Audited(ProviderEvent, frozen=True, kw_only=True):
    """An audit has ended, or was interrupted.

    `row_id` is None. An audit that resumes later emits it again, with the figures of both parts.

    A dry run (`--dry-run`) emits nothing.
    """

    name: ClassVar[str] = "rindle.provider.audit.completed"
    outcome: str
    """`done`; `alarm` (so many rows were missing that none was changed); `stopped`, `unreachable`,
    `refused`, `rate_limited`, `failed` (interrupted: it resumes later).
    """
    seen: int
    """Rows that were compared."""
    changed: int
    """Rows that it changed."""
    ended: int
    """Rows that the provider did not find. Each is checked once more before it is `deleted`; with
    `alarm`, none is.
    """
    orphans: int
    """Assets that have no row."""
    adopted: int
    """How many of them got a row."""
    duration_ms: int
    """Milliseconds since it began, breaks included."""


class OperatorActed(Event, frozen=True, kw_only=True):
    """Somebody did something in the console.

    `row_id` is that of the row, for a `sync` and an `untrack`: what is done to several rows at once
    is emitted for each.
    """

    name: ClassVar[str] = "rindle.operator.acted"
    action: str
    """`sync`, `untrack`, `replay`, `replay_dead`, `sign_in`."""
    actor: str
    """Who did it: `console`, or `token:<name>` for whoever signed in with a token of the HTTP API.
    """
    outcome: str
    """`sync`: the verdict, `gone`, `late` (no answer in time), `refused` (by the provider),
    `failed` (a conflict, the database, or a bug); `untrack`: `done`, `late`, `failed`; `replay`,
    `replay_dead`: `done`, `nothing`; `sign_in`: `done`, `refused`.
    """


class RedactionFailed(Event, frozen=True, kw_only=True):
    """An event was about to show a full id of the provider.

    It was redacted, and is emitted after this one. This is a bug in rindle-sync: report it.
    """

    name: ClassVar[str] = "rindle.telemetry.redaction_failed"
    event: str
    """The name of the event."""
