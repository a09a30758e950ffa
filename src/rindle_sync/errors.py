"""Every error that rindle-sync raises, by what the caller can do. None has a provider id.

RindleSyncError
├── NotFound                   the provider has no such object: decide what that means for the row
├── ProviderError              the provider gave no answer: nothing is known, try again
│   ├── RateLimited            no call before `retry_after` seconds: try again then
│   ├── ProviderUnavailable    5xx, timeout, refused connection, unreadable body
│   └── AuthenticationFailed   401 or 403, for every row: stop and fix the credentials
│       ├── MissingCredentials     no credentials are configured: no call was made
│       └── EnvironmentMismatch    the credentials belong to another environment than the rows
├── InvalidWebhook             a webhook unsigned, too old or unreadable: respond with 400
├── Conflict                   another process wrote the row at each attempt: read it, start over
├── AlreadyTracked             another row has one of these ids
│   └── AlreadyBegun           the provider was asked for it already: wait what comes of it
├── NotPlayable                there is nothing to play of this row: `reason` says why
├── InvalidValue               the database cannot store a value: trying again will not help
├── DatabaseUnavailable        the database does not answer, or is not migrated
│   └── LockedByThisProcess        this process holds the lock on the SQLite file: pass `connection`
├── WriteInsideCallback        a transactional callback holds the only write lock (SQLite)
├── ReadOnly                   a model of Django was to be written: call the method that is named
├── TransactionEnded           a transactional callback ended the transaction it was given
├── AlreadyClosed              the service was closed before: connect again
├── WrongEventLoop             the service belongs to another event loop: connect in this one
├── CalledFromItsLoop          a blocking call inside the service's own event loop
├── TokenNameTaken             another token of the HTTP API has this name: choose another one
├── UnknownChange              the feed ends before the change to go on behind: list the rows
├── NotStarted                 the app has not entered the lifespan of the service, or has left it
└── ConfigurationError         `setting` is missing or wrong; the text says how to fix it
"""

from typing import Final

LACKS_SETTINGS: Final = (
    "does this shell lack the settings of the service, database_url above all, as variables "
    "(RINDLE_DATABASE_URL) or in a file"
)
"""Why there is no database, as a command says that no framework runs."""


class RindleSyncError(Exception):
    """The base class of every error of rindle-sync."""


class NotFound(RindleSyncError):
    """The provider has no such object (404)."""


class ProviderError(RindleSyncError):
    """The provider gave no answer about the object."""


class RateLimited(ProviderError):
    """The provider did not process the call (429), or the rate limit allowed none for too long.

    `retry_after` is the wait in seconds, or None where the provider named none. `was_called` is
    False where no call was made.
    """

    def __init__(
        self, text: str, retry_after: float | None = None, *, was_called: bool = True
    ) -> None:
        super().__init__(text)
        self.retry_after = retry_after
        self.was_called = was_called


class ProviderUnavailable(ProviderError):
    """The provider failed (5xx), exceeded the time limit, or sent an unreadable body.

    `was_sent` is False where the request has not left: the provider has done nothing for it.
    """

    def __init__(self, text: str, *, was_sent: bool = True) -> None:
        super().__init__(text)
        self.was_sent = was_sent


class AuthenticationFailed(ProviderError):
    """The provider refused the credentials (401, 403): every call fails until they are fixed.

    `was_called` is False where no call was made.
    """

    def __init__(self, text: str, *, was_called: bool = True) -> None:
        super().__init__(text)
        self.was_called = was_called


class MissingCredentials(AuthenticationFailed):
    """This process has no credentials; other processes may have them."""

    def __init__(self, text: str) -> None:
        super().__init__(text, was_called=False)


class EnvironmentMismatch(AuthenticationFailed):
    """The credentials belong to another environment than the rows: every row would look deleted."""


class InvalidWebhook(RindleSyncError):
    """A webhook that is not the provider's, or is unreadable; `reason` is one of a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the delivery was not accepted: {reason}")
        self.reason = reason


class Conflict(RindleSyncError):
    """Another process wrote the row between each read and write, at every attempt."""


class TokenNameTaken(RindleSyncError):
    """Another token of the HTTP API has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a token {name} already: choose another name, or revoke it first"
        )


class UnknownChange(RindleSyncError):
    """The feed ends before the change that it was to go on behind.

    It is another feed, or its database was restored: list the rows, then follow it from its end.
    """

    def __init__(self, change_id: int) -> None:
        super().__init__(
            f"the feed ends before the change {change_id}: it is another feed, or its database was "
            "restored; list the rows, then follow it from its end"
        )


class AlreadyTracked(RindleSyncError):
    """A row has this provider id, upload id, or reference and profile already.

    `row_id` is that row, where it is known, so that the app can cancel or replace it, and `state`
    its state. `differs` names the fields in which it is another than the app says.
    """

    def __init__(
        self,
        text: str,
        row_id: str | None = None,
        state: str | None = None,
        *,
        differs: tuple[str, ...] = (),
    ) -> None:
        super().__init__(text)
        self.row_id = row_id
        self.state = state
        self.differs = differs


class AlreadyBegun(AlreadyTracked):
    """The provider was asked for this row's upload or asset already, and a second is not made.

    Another process is at it, or was; or the answer was lost, and it may be there all the same.
    """


class NotPlayable(RindleSyncError):
    """Nothing can be played of the row in this way; `reason` is a fixed word."""

    def __init__(self, row_id: str, reason: str, text: str) -> None:
        super().__init__(f"row {row_id} {text}")
        self.row_id = row_id
        self.reason = reason


class InvalidValue(RindleSyncError):
    """A value is too long for the database, or of a kind that it cannot store."""


class DatabaseUnavailable(RindleSyncError):
    """The database cannot be reached, is locked beyond the time limit, or lacks the tables."""


class LockedByThisProcess(DatabaseUnavailable):
    """A transaction is open on another connection of this process, so that waiting cannot help."""

    def __init__(self, text: str = "") -> None:
        super().__init__(
            text
            or "this very process has had a transaction open on the SQLite file for a while, on a "
            "connection of its own, and rindle-sync cannot write until it ends: pass that "
            "connection, as in track(…, connection=connection), or commit first"
        )


class WriteInsideCallback(RindleSyncError):
    """rindle-sync would write from inside a transactional callback, whose lock it would wait for.

    On SQLite one transaction writes at a time, and the callback's is open; on PostgreSQL it holds
    the change that it is called with.
    """

    def __init__(self) -> None:
        super().__init__(
            "this would wait for the transactional callback that it runs in: on SQLite rindle-sync "
            "cannot write meanwhile, and nowhere can it dispatch, or untrack the callback's own "
            "row with its history; write through the connection that the callback was given, or "
            "after it returns"
        )


class TransactionEnded(RindleSyncError):
    """A transactional callback has ended its transaction, or left it failed: nothing was noted.

    Also raised where a callback that has ended, or a task of its, goes on with its connection.
    """

    def __init__(self) -> None:
        super().__init__(
            "a transactional callback must neither commit nor roll back the connection that it was "
            "given, nor use it after its own end, nor go on after a failed statement: raise, or "
            "use connection.begin_nested()"
        )


class AlreadyClosed(RindleSyncError):
    """The service was closed, by the end of its `connect` block or by `close`: connect again."""

    def __init__(self) -> None:
        super().__init__("this service was closed: call connect() again, and use what it returns")


class WrongEventLoop(RindleSyncError):
    """The service was first used in another event loop, to which its connections belong."""

    def __init__(self) -> None:
        super().__init__(
            "this service belongs to the event loop in which it was first used: call connect() in "
            "each loop that uses one; code without an event loop has "
            "rindle_sync.integrations.blocking, which may be called from any thread"
        )


class CalledFromItsLoop(RindleSyncError):
    """A blocking service was called in its own event loop, which would wait for itself."""

    def __init__(self) -> None:
        super().__init__(
            "a transactional callback runs in the event loop of its service, and cannot wait for "
            "that: use the connection that it is given, or a callback that is not transactional"
        )


class NotStarted(RindleSyncError):
    """The service of an app was used outside the app's lifespan."""

    def __init__(self) -> None:
        super().__init__(
            "the service has not started, or has ended: give the app its lifespan, and in tests "
            "enter that, as TestClient does in a `with` block"
        )


class ConfigurationError(RindleSyncError):
    """`setting` is missing or wrong; the text says how to fix it."""

    def __init__(self, setting: str, text: str) -> None:
        super().__init__(f"{setting}: {text}")
        self.setting = setting


class ReadOnly(RindleSyncError):
    """A model of Django, which only reads, was to be written; the text names what to call."""
