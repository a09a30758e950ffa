"""The words of the domain: a row, its states, what was seen of it, and how its ids are hidden. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from rindle_sync.domain.redact import _without, redact_id


class State(StrEnum):
    """Where a row stands; the provider's truth only moves down this list."""

    PENDING = "pending"
    UPLOADING = "uploading"
    PROCESSING = "processing"
    READY = "ready"
    ERRORED = "errored"
    DELETED = "deleted"


IN_FLIGHT: Final = frozenset({State.UPLOADING, State.PROCESSING})
"""The states in which a row is waiting for the provider, and can be stuck."""


FINAL: Final = frozenset({State.READY, State.ERRORED, State.DELETED})
"""The states that the provider tells of when its work on an asset ends, and when the asset does."""


class ErrorKind(StrEnum):
    """Why a row is `errored`. All but `provider` are verdicts of ours, which know less than the provider."""

    PROVIDER = "provider"
    STUCK = "stuck"
    NOT_FOUND = "not_found"
    UPLOAD = "upload"


WATCHED: Final = frozenset({ErrorKind.STUCK, ErrorKind.NOT_FOUND})
"""The kinds of errored row that we go on looking at, since the provider may still bring them back."""


class Trigger(StrEnum):
    """Which road brought a change."""

    WEBHOOK = "webhook"
    SYNC = "sync"
    SWEEP = "sweep"
    AUDIT = "audit"
    CLI = "cli"
    CONSOLE = "page"
    """The operator's page."""
    APP = "app"


class ObservationSource(StrEnum):
    """How an observation was made."""

    GET = "get"
    LIST = "list"
    UPLOAD = "upload"
    WEBHOOK = "webhook"
    APP = "app"
    """Not asked for, but brought about by the app itself: an upload that it has made, or could not make."""


FETCH_SOURCES: Final = frozenset(
    {ObservationSource.GET, ObservationSource.LIST, ObservationSource.UPLOAD}
)
"""The ways of asking the provider."""


@dataclass(frozen=True, slots=True)
class PlaybackId:
    """One way to play an asset. `policy` is the provider's word: public, signed, drm, or one yet unknown."""

    id: str = field(repr=False)
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderAsset:
    """One row of `media_provider_assets`. Times are UTC; the provider's ids stay out of `repr`."""

    id: str
    reference: str
    profile: str
    provider_name: str
    environment: str
    provider_asset_id: str | None = field(default=None, repr=False)
    provider_upload_id: str | None = field(default=None, repr=False)
    passthrough: str | None = field(default=None, repr=False)
    playback_ids: tuple[PlaybackId, ...] = field(default=(), repr=False)
    playback_policy: str | None = None
    ingest_mode: str | None = None
    state: State = State.PENDING
    error_kind: ErrorKind | None = None
    last_sync_error: str | None = field(default=None, repr=False)
    last_event_id: str | None = field(default=None, repr=False)
    last_event_at: datetime | None = None
    raw_provider_metadata: Mapping[str, Any] | None = field(default=None, repr=False)
    provider_created_at: datetime
    """When the provider made the asset; until it has told us, when the row was made."""
    inserted_at: datetime
    updated_at: datetime
    """Last real change."""
    observed_at: datetime | None = None
    """Our clock at the newest truth in this row: when that look began, or when that webhook came in."""
    checked_at: datetime | None = None
    """Last answered look."""
    check_at: datetime | None = None
    """Look again at; None for a row at rest."""
    check_failures: int = 0
    missing_since: datetime | None = None
    """When a row at rest was first answered with a 404 that no later look took back."""
    decision_log: Sequence[Any] = field(default=(), repr=False, compare=False)
    """What was last decided about it, the oldest decision first."""
    lease_token: str | None = field(default=None, repr=False)
    lease_until: datetime | None = None
    version: int = 1

    @property
    def tag(self) -> str | None:
        """The redacted tag of the provider's id, for people to read; no key to join on."""
        return redact_id(self.provider_asset_id)

    @property
    def shown_reference(self) -> str:
        """The app's reference as logs and events show it: a provider's id in it is shown as its tag."""
        return hide(self.reference, self.provider_asset_id, self.provider_upload_id)

    def age(self, now: datetime) -> timedelta:
        """The time since the last real change."""
        return now - self.updated_at

    @property
    def is_fetchable(self) -> bool:
        """Whether the provider can be asked about this row at all."""
        return bool(self.provider_asset_id or self.provider_upload_id)


@dataclass(frozen=True, slots=True)
class Due:
    """As much of a row that is due as it takes to plan how it is looked at."""

    id: str
    state: State
    error_kind: ErrorKind | None
    provider_created_at: datetime
    updated_at: datetime
    check_at: datetime | None
    provider_asset_id: str | None = field(default=None, repr=False)
    provider_upload_id: str | None = field(default=None, repr=False)
    missing_since: datetime | None = None

    def age(self, now: datetime) -> timedelta:
        """The time since the last real change."""
        return now - self.updated_at

    @property
    def is_fetchable(self) -> bool:
        """Whether the provider can be asked about this row at all."""
        return bool(self.provider_asset_id or self.provider_upload_id)


ROW_FIELDS: Final = tuple(f.name for f in fields(ProviderAsset))
_read_fields: Final = attrgetter(*ROW_FIELDS)
_PUT: Final = {name: getattr(ProviderAsset, name).__set__ for name in ROW_FIELDS}

if TYPE_CHECKING:
    from dataclasses import replace as replace  # noqa: PLC0414  said so that others may import it
else:

    def replace(row, /, **values):
        """`dataclasses.replace` for rows alone, in half its time: the slots are copied, nothing is made anew."""
        other = object.__new__(ProviderAsset)
        for put, value in zip(_PUT.values(), _read_fields(row), strict=True):
            put(other, value)
        for name, value in values.items():
            _PUT[name](other, value)
        return other


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One observation of the provider's truth: a GET, an entry of a list page, or a webhook."""

    source: ObservationSource
    at: datetime
    """Our clock when we began to ask, or when the webhook came in."""
    occurred_at: datetime | None = None
    """The provider's clock at the event; only a webhook tells it."""
    state: State | None = None
    """What the provider says; None for a word that we do not know."""
    status: str = ""
    """The provider's own word for it."""
    gone: bool = False
    """The provider has no such object."""
    provider_asset_id: str | None = field(default=None, repr=False)
    provider_upload_id: str | None = field(default=None, repr=False)
    passthrough: str | None = field(default=None, repr=False)
    playback_ids: tuple[PlaybackId, ...] | None = field(default=None, repr=False)
    """None where the answer does not speak of them."""
    created_at: datetime | None = None
    """When the provider made the asset."""
    error_kind: ErrorKind | None = None
    error_text: str | None = field(default=None, repr=False)
    event_id: str | None = field(default=None, repr=False)
    metadata: Mapping[str, Any] | None = field(default=None, repr=False)
    overtaken: bool = False
    """Whether others wrote news into the row while we asked: which of the two is newer, no clock can tell."""


class FailureKind(StrEnum):
    """Why a look brought no answer."""

    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    CLASH = "clash"
    """There is an answer, but it names an asset that another row of ours holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFailure:
    """A look that brought no answer: it tells nothing of the provider's truth."""

    kind: FailureKind
    at: datetime
    text: str
    """Scrubbed, at most 4096 characters."""
    wait: timedelta | None = None
    """How long the provider asks us to wait."""
    called: bool = True
    """Whether there was a call at all: none is made while the breaker is open."""


def is_row_id(text: str) -> bool:
    """Whether this can be the id of a row, or of anything else of ours: a UUID as databases write it."""
    return as_row_id(text) is not None


def as_row_id(text: str) -> str | None:
    """The id of a row, or of anything else of ours, as we write it; None for what is no UUID as databases write it."""
    try:
        found = str(UUID(text))
    except ValueError:
        return None
    return found if found == text.lower() else None


def hide(text: str, *secrets: str | None) -> str:
    """`text` with each of `secrets` shown as its tag."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = _without(text, secret)
    return text
