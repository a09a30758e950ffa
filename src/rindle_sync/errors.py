"""Every error that rindle-sync raises, told apart by what the caller can do about it; none carries a provider's id.

RindleSyncError
├── Gone              the provider has no such object: decide what that means for the row
├── ProviderError          the provider did not answer the question: nothing is known, ask again
│   ├── Throttled     not before `retry_after` seconds
│   ├── Unreachable   5xx, time-out, refused connection, broken body
│   └── Refused       401 or 403: no row's fault, stop the run and mend the credentials
│       ├── MissingCredentials     there are none: nothing was asked
│       └── EnvironmentMismatch  the credentials are good, but not for the environment that the rows were made in
├── InvalidWebhook         a delivery that is not signed, too old, or no webhook: answer 400; `reason` is one word
├── Conflict          somebody else wrote the row again and again: read it and start over
├── AlreadyTracked    another row of ours holds one of these ids
├── NotPlayable       no signed URL can be made of this row: `reason` says why
├── InvalidValue      the database does not take a value: too long, or nothing that it can hold
├── DatabaseUnavailable  the database does not answer, or is not migrated
└── ConfigurationError     a setting is missing or wrong: `setting` names it, the text tells how to mend it
"""


class RindleSyncError(Exception):
    """The root of the tree."""


class NotFound(RindleSyncError):
    """The provider answered that it has no such object (404)."""


class ProviderError(RindleSyncError):
    """The provider gave no answer that tells anything about the object."""


class RateLimited(ProviderError):
    """The provider did not process the call (429); `retry_after` is its wish in seconds, None where it named none."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class ProviderUnavailable(ProviderError):
    """The provider failed (5xx), was silent past the time limit, or sent a body that is no answer."""


class AuthenticationFailed(ProviderError):
    """The provider does not accept our credentials (401, 403): every call will fail until they are mended."""


class MissingCredentials(AuthenticationFailed):
    """This process has no credentials: nothing was asked, so it says nothing of those that others have."""


class EnvironmentMismatch(AuthenticationFailed):
    """The credentials belong to another environment of the provider than the rows: there, every row looks deleted."""


class InvalidWebhook(RindleSyncError):
    """A delivery that is not the provider's, or that we cannot read; `reason` is one of a few fixed words."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the delivery was not accepted: {reason}")
        self.reason = reason


class Conflict(RindleSyncError):
    """A row was written by others between each of our reads and writes, as often as we tried."""


class AlreadyTracked(RindleSyncError):
    """A row with this provider id, upload id, passthrough, or asset and profile exists already.

    `row_id` is that of the row in the way of an upload, so that the app can cancel it; else None.
    """

    def __init__(self, text: str, row_id: str | None = None) -> None:
        super().__init__(text)
        self.row_id = row_id


class NotPlayable(RindleSyncError):
    """A row, or the playback id that was named, is none that a signed URL can be made for; `reason` is a fixed word."""

    def __init__(self, row_id: str, reason: str, text: str) -> None:
        super().__init__(f"row {row_id} {text}")
        self.row_id = row_id
        self.reason = reason


class InvalidValue(RindleSyncError):
    """The database does not take a value that is too long or that it cannot hold; trying again will not help."""


class DatabaseUnavailable(RindleSyncError):
    """The database cannot be reached, is locked past the time limit, or lacks our tables."""


class ConfigurationError(RindleSyncError):
    """A setting is missing or wrong; `setting` is its name, the text tells how to mend it."""

    def __init__(self, setting: str, text: str) -> None:
        super().__init__(f"{setting}: {text}")
        self.setting = setting
