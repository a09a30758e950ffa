"""What a row is, what an observation of it says, and why a fetch can fail. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, Protocol
from uuid import UUID

from msgspec import Struct, structs

from rindle_sync.domain.clocks import credible, is_ahead
from rindle_sync.domain.media import Master, Media, Rendition, Track
from rindle_sync.domain.redact import hide, redact_id
from rindle_sync.domain.value import Value

replace: Final = structs.replace
"""Copies a `ProviderAsset`, a `Due`, an `Observation` or a `Decision` with other values."""


class State(StrEnum):
    """The state of a row; the provider's truth only moves down this list."""

    PENDING = "pending"
    UPLOADING = "uploading"
    PROCESSING = "processing"
    READY = "ready"
    ERRORED = "errored"
    DELETED = "deleted"


IN_FLIGHT: Final = (State.UPLOADING, State.PROCESSING)
"""The states in which a row waits for the provider and can be stuck."""

FINAL: Final = (State.READY, State.ERRORED, State.DELETED)
"""The states that a webhook reports when processing ends, or when the asset is deleted."""


class ErrorKind(StrEnum):
    """Why a row is `errored`; all but `provider` are verdicts of rindle-sync."""

    PROVIDER = "provider"
    STUCK = "stuck"
    NOT_FOUND = "not_found"
    UPLOAD = "upload"


DIRECT_UPLOAD: Final = "direct_upload"
FROM_URL: Final = "url"
ADOPTED: Final = "adopted"
"""`ingest_mode` where the provider made upload or asset for a row, or the asset was found there."""

WATCHED: Final = (ErrorKind.STUCK, ErrorKind.NOT_FOUND)
"""The kinds of errored row that are still checked, since the provider may bring them back."""


class ChangeKind(StrEnum):
    """What a change is of: the state or playback ids of a row, or its media alone."""

    STATE = "state"
    MEDIA = "media"


class Trigger(StrEnum):
    """What caused a check or a change."""

    WEBHOOK = "webhook"
    SYNC = "sync"
    SWEEP = "sweep"
    AUDIT = "audit"
    CLI = "cli"
    CONSOLE = "console"
    APP = "app"
    API = "api"


class ObservationSource(StrEnum):
    """How an observation was made."""

    GET = "get"
    LIST = "list"
    UPLOAD = "upload"
    WEBHOOK = "webhook"
    APP = "app"
    """Not fetched: the app created a direct upload, or failed to."""


FETCH_SOURCES: Final = (ObservationSource.GET, ObservationSource.LIST, ObservationSource.UPLOAD)
"""The sources that are a call to the provider."""

WHOLE_SOURCES: Final = (ObservationSource.GET, ObservationSource.LIST)
"""The sources that show the whole asset as it is now: what they lack, it does not have."""


class PlaybackId(Value, frozen=True):
    """One way to play an asset; `policy` is the provider's word, as in public or signed."""

    hidden = frozenset({"id"})

    id: str
    policy: str


_NO_TIME: Final = timedelta(0)

_HIDDEN: Final = frozenset(
    {
        *("provider_asset_id", "provider_upload_id", "passthrough", "playback_ids", "lease_token"),
        *("last_event_id", "event_id", "last_sync_error", "error_text", "decision_log"),
        *("metadata", "raw_provider_metadata", "absent_playback_ids"),
        *("media", "title", "tracks", "renditions", "output", "reported"),
    }
)
"""Fields that may contain provider ids, or are long."""


class _OfProvider(Value, frozen=True):
    """What may show provider ids in many of its fields."""

    hidden = _HIDDEN


class _Row:
    """What a whole row and its excerpt have in common."""

    __slots__ = ()
    state: State
    provider_asset_id: str | None
    provider_upload_id: str | None
    ingest_mode: str | None
    begun_at: datetime | None
    provider_created_at: datetime
    updated_at: datetime

    def age(self, now: datetime) -> timedelta:
        """The time since the last real change, never negative.

        Since the asset was created, where a wrong clock has written the change.
        """
        is_unknown = is_ahead(self.updated_at, now)
        since = self.provider_created_at if is_unknown else self.updated_at
        return max(now - since, _NO_TIME)

    def has_changed_since(self, moment: datetime, now: datetime) -> bool:
        """Whether the last real change is newer than `moment`, as far as its time is known."""
        return self.updated_at > moment and not is_ahead(self.updated_at, now)

    @property
    def is_fetchable(self) -> bool:
        """Whether the row has an id to fetch by."""
        return bool(self.provider_asset_id or self.provider_upload_id)

    @property
    def is_unclear(self) -> bool:
        """Whether the provider was asked to make its asset, and nobody knows if it did."""
        is_waiting = self.state is State.PENDING and not self.is_fetchable
        return is_waiting and self.begun_at is not None and self.ingest_mode == FROM_URL


class ProviderAsset(_OfProvider, _Row, frozen=True, kw_only=True):
    """One row of `media_provider_assets`; times are in UTC. Equality ignores `decision_log`."""

    id: str
    reference: str
    profile: str
    provider_name: str
    environment: str
    provider_asset_id: str | None = None
    provider_upload_id: str | None = None
    passthrough: str | None = None
    playback_ids: tuple[PlaybackId, ...] = ()
    playback_policy: str | None = None
    ingest_mode: str | None = None
    state: State = State.PENDING
    error_kind: ErrorKind | None = None
    last_sync_error: str | None = None
    last_event_id: str | None = None
    last_event_at: datetime | None = None
    raw_provider_metadata: Mapping[str, Any] | None = None
    duration: float | None = None
    """Seconds; None until the provider knows it."""
    aspect_ratio: str | None = None
    """Width and height, as in `16:9`."""
    resolution: str | None = None
    """The highest that is stored, as in `1080p`, or `audio-only`."""
    max_frame_rate: float | None = None
    """Frames a second."""
    title: str | None = None
    is_live: bool = False
    """Whether it is a live stream that goes on."""
    is_test: bool = False
    tracks: tuple[Track, ...] = ()
    """Audio tracks and captions."""
    renditions: tuple[Rendition, ...] = ()
    """Files to download."""
    master: Master | None = None
    media_updated_at: datetime | None = None
    """Last change of what `Media` holds."""
    provider_created_at: datetime
    """When the provider created the asset; until that is known, when the row was inserted."""
    inserted_at: datetime
    begun_at: datetime | None = None
    """When the provider was asked to make its upload or asset; None where that was not begun."""
    updated_at: datetime
    """Last real change."""
    observed_at: datetime | None = None
    """Local time of the newest observation applied: the fetch began, or the webhook came in."""
    checked_at: datetime | None = None
    """Last check that was answered."""
    check_at: datetime | None = None
    """Next check; None for a settled row."""
    check_failures: int = 0
    missing_since: datetime | None = None
    """When a settled row was first answered with a 404, unless a later check found it."""
    absent_playback_ids: tuple[str, ...] = ()
    """Those of a `ready` row that the last whole answer lacked; a second one removes them."""
    playback_absent_since: datetime | None = None
    """When they were first absent."""
    decision_log: Sequence[Any] = ()
    """The last decisions, oldest first; `read_log` decodes them."""
    lease_token: str | None = None
    lease_until: datetime | None = None
    version: int = 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProviderAsset):
            return NotImplemented
        return bool(_compared(self) == _compared(other))

    def __hash__(self) -> int:
        return hash((self.id, self.version))

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = dict(super().__rich_repr__()) | {"reference": self.shown_reference}
        return list(shown.items())

    @property
    def tag(self) -> str | None:
        """The redacted provider id, for people to read; not a key to join on."""
        return redact_id(self.provider_asset_id)

    @property
    def shown_reference(self) -> str:
        """The reference for logs and events: a provider id in it is redacted."""
        return hide(self.reference, *self.secrets)

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """The provider's ids of it, which no log and no text for people shows."""
        playback_ids = [playback_id.id for playback_id in self.playback_ids]
        return self.provider_asset_id, self.provider_upload_id, *playback_ids


class Due(_OfProvider, _Row, frozen=True, array_like=True):
    """The part of a due row that is needed to plan its check."""

    id: str
    state: State
    error_kind: ErrorKind | None
    provider_created_at: datetime
    updated_at: datetime
    check_at: datetime | None
    provider_asset_id: str | None = None
    provider_upload_id: str | None = None
    missing_since: datetime | None = None
    playback_absent_since: datetime | None = None
    ingest_mode: str | None = None
    begun_at: datetime | None = None


ROW_FIELDS: Final = ProviderAsset.__struct_fields__
_compared: Final = attrgetter(*(name for name in ROW_FIELDS if name != "decision_log"))


class Observation(_OfProvider, frozen=True, kw_only=True):
    """What the provider said about one object: by a GET, an entry of a list page, or a webhook."""

    source: ObservationSource
    at: datetime
    """Local time when the fetch began or the webhook came in."""
    occurred_at: datetime | None = None
    """The provider's time of the event; only webhooks have it."""
    state: State | None = None
    """None for an unknown status word."""
    status: str = ""
    """The provider's own status word."""
    gone: bool = False
    """The provider has no such object."""
    provider_asset_id: str | None = None
    provider_upload_id: str | None = None
    passthrough: str | None = None
    playback_ids: tuple[PlaybackId, ...] | None = None
    """None where the answer does not mention them."""
    created_at: datetime | None = None
    """When the provider created the asset."""
    error_kind: ErrorKind | None = None
    error_text: str | None = None
    event_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    media: Media | None = None
    """What `metadata` says of the media; None where it is no whole asset."""
    output: Track | Rendition | None = None
    """The output that an event is about, where it holds that alone."""
    output_gone: bool = False
    """Whether the event says that this output was deleted."""
    reported: tuple[str, ...] = ()
    """The keys of the outputs whose end an event reports."""
    overtaken: bool = False
    """Whether another process wrote news into the row during the fetch: no clock orders the two."""


class HasProviderIds(Protocol):
    """What names an asset, an upload, or both."""

    @property
    def provider_asset_id(self) -> str | None:
        """The asset's."""

    @property
    def provider_upload_id(self) -> str | None:
        """The upload's."""


def contradiction(row: HasProviderIds, other: HasProviderIds) -> str | None:
    """What the two do not share, `asset` or `upload`, by the strongest id that both have."""
    if row.provider_asset_id and other.provider_asset_id:
        return None if row.provider_asset_id == other.provider_asset_id else "asset"
    if row.provider_upload_id and other.provider_upload_id:
        return None if row.provider_upload_id == other.provider_upload_id else "upload"
    return None


def is_of_upload(observation: Observation) -> bool:
    """Whether it shows an upload, and not an asset: an event does that names no asset."""
    if observation.source is ObservationSource.WEBHOOK:
        return bool(observation.provider_upload_id) and not observation.provider_asset_id
    return observation.source is ObservationSource.UPLOAD


def with_credible_time(observation: Observation, now: datetime) -> Observation:
    """The observation, dated by `now` where no right clock can have given its time.

    An event whose time cannot be right counts as of when it came in; such a time of an asset's
    creation counts as unknown.
    """
    at = now if is_ahead(observation.at, now) else observation.at
    occurred_at, created_at = observation.occurred_at, credible(observation.created_at, now)
    if credible(occurred_at, now) is not occurred_at:
        occurred_at = min(at, now)
    elif at is observation.at and created_at is observation.created_at:
        return observation
    return replace(observation, at=at, occurred_at=occurred_at, created_at=created_at)


class FailureKind(StrEnum):
    """Why a fetch brought no observation."""

    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    CLASH = "clash"
    """There is an answer, but the database refuses it: another row has its asset, or a value."""


class FetchFailure(Struct, frozen=True, kw_only=True):
    """A fetch without an answer: it says nothing about the provider's truth."""

    kind: FailureKind
    at: datetime
    text: str
    """Scrubbed, at most 4096 characters."""
    wait: timedelta | None = None
    """How long the provider asks to wait."""
    called: bool = True
    """False where the open circuit, or the rate limit, prevented the call."""


def is_row_id(text: str) -> bool:
    """Whether `text` can be the id of a row or of a webhook event: a UUID with hyphens."""
    return as_row_id(text) is not None


def as_row_id(text: str) -> str | None:
    """`text` as the canonical UUID of a row or a webhook event; None if it is not one."""
    try:
        found = str(UUID(text))
    except ValueError:
        return None
    # UUID() also reads braces, urn: and missing hyphens, which a database would not match
    return found if found == text.lower() else None
