"""The tables of rindle-sync as models, to read: rows, webhook events, and changes.

`objects` reads what belongs to the environments of this project's settings, `everywhere` all.
What rindle-sync decides is written by it alone: call `rindle` to change a row.
"""

from typing import Any, ClassVar, Final, Self

from django.db import models

from rindle_sync.domain import IN_FLIGHT, hide, redact_id
from rindle_sync.domain import ProviderAsset as Row
from rindle_sync.integrations.django.fields import RowIdField, UtcTimeField, VideoField
from rindle_sync.integrations.django.read_only import (
    AllObjects,
    ReadOnlyModel,
    ReadOnlyObjects,
    ReadOnlyQuerySet,
)
from rindle_sync.store.lines import read_row
from rindle_sync.store.schema import to_json

__all__ = [
    "AssetChange",
    "AssetState",
    "ChangeKind",
    "ErrorKind",
    "EventStatus",
    "ProviderAsset",
    "VideoField",
    "WebhookEvent",
]


class AssetState(models.TextChoices):
    """The state of a row."""

    PENDING = "pending", "Pending"
    UPLOADING = "uploading", "Uploading"
    PROCESSING = "processing", "Processing"
    READY = "ready", "Ready"
    ERRORED = "errored", "Errored"
    DELETED = "deleted", "Deleted"


class ErrorKind(models.TextChoices):
    """Why a row is errored."""

    PROVIDER = "provider", "Refused by the provider"
    STUCK = "stuck", "Stuck"
    NOT_FOUND = "not_found", "Not found at the provider"
    UPLOAD = "upload", "Upload failed"


class EventStatus(models.TextChoices):
    """The processing status of a webhook event."""

    PENDING = "pending", "Pending"
    APPLIED = "applied", "Applied"
    IGNORED = "ignored", "Ignored"
    DEAD = "dead", "Dead"


class ChangeKind(models.TextChoices):
    """What a change is of."""

    STATE = "state", "State"
    MEDIA = "media", "Media"


def _text(**options: Any) -> Any:
    return models.TextField(editable=False, **options)


def _optional_text(**options: Any) -> Any:
    # our tables have NULL where nothing is known
    return models.TextField(null=True, blank=True, editable=False, **options)


def _time(verbose_name: str, **options: Any) -> Any:
    return UtcTimeField(verbose_name, editable=False, **options)


def _optional_time(verbose_name: str) -> Any:
    return _time(verbose_name, null=True, blank=True)


class ProviderAssetQuerySet(ReadOnlyQuerySet):
    """Rows."""

    def ready(self) -> Self:
        """Those that can be played."""
        return self.filter(state=AssetState.READY)

    def errored(self) -> Self:
        """Those that have failed."""
        return self.filter(state=AssetState.ERRORED)

    def in_flight(self) -> Self:
        """Those that wait for the provider: uploading or processing."""
        return self.filter(state__in=sorted(IN_FLIGHT))

    def not_deleted(self) -> Self:
        """Those whose asset is not deleted at the provider."""
        return self.exclude(state=AssetState.DELETED)

    def for_reference(self, reference: str | int, profile: str | None = None) -> Self:
        """The row of the app's own reference, of every profile or of one."""
        found = self.filter(reference=str(reference))
        return found if profile is None else found.filter(profile=profile)


class ProviderAsset(ReadOnlyModel):
    """One video: a row of `media_provider_assets`. Times are in UTC, aware."""

    id: Any = RowIdField(primary_key=True, editable=False)
    reference: Any = _text()
    profile: Any = _text()
    provider_name: Any = _text()
    environment: Any = _text()
    provider_asset_id: Any = _optional_text()
    provider_upload_id: Any = _optional_text()
    passthrough: Any = _optional_text()
    playback_ids: Any = models.JSONField(editable=False)
    playback_policy: Any = _optional_text()
    ingest_mode: Any = _optional_text()
    state: Any = _text(choices=AssetState.choices)
    error_kind: Any = _optional_text(choices=ErrorKind.choices)
    last_sync_error: Any = _optional_text()
    last_event_id: Any = _optional_text()
    last_event_at: Any = _optional_time("last event")
    raw_provider_metadata: Any = models.JSONField(null=True, editable=False)
    duration: Any = models.FloatField("duration in seconds", null=True, editable=False)
    aspect_ratio: Any = _optional_text()
    resolution: Any = _optional_text()
    max_frame_rate: Any = models.FloatField("frames a second", null=True, editable=False)
    title: Any = _optional_text()
    is_live: Any = models.BooleanField(editable=False)
    is_test: Any = models.BooleanField(editable=False)
    tracks: Any = models.JSONField(editable=False)
    renditions: Any = models.JSONField(editable=False)
    master: Any = models.JSONField(null=True, editable=False)
    media_updated_at: Any = _optional_time("media updated")
    provider_created_at: Any = _time("created at the provider")
    inserted_at: Any = _time("inserted")
    begun_at: Any = _optional_time("begun")
    updated_at: Any = _time("last real change")
    observed_at: Any = _optional_time("observed")
    checked_at: Any = _optional_time("last check")
    check_at: Any = _optional_time("next check")
    check_failures: Any = models.IntegerField("failed checks", editable=False)
    missing_since: Any = _optional_time("missing since")
    absent_playback_ids: Any = models.JSONField(editable=False)
    playback_absent_since: Any = _optional_time("playback ids absent since")
    decision_log: Any = models.JSONField(editable=False)
    lease_token: Any = RowIdField(null=True, editable=False)
    lease_until: Any = _optional_time("leased until")
    version: Any = models.BigIntegerField(editable=False)

    objects: ClassVar[Any] = ReadOnlyObjects.from_queryset(ProviderAssetQuerySet)()
    everywhere: ClassVar[Any] = AllObjects.from_queryset(ProviderAssetQuerySet)()

    class Meta:
        """The table is that of rindle-sync."""

        managed = False
        db_table = "media_provider_assets"
        base_manager_name = "everywhere"
        default_manager_name = "objects"
        verbose_name = "video"
        verbose_name_plural = "videos"
        default_permissions = ("view", "change", "delete")
        permissions = (("sync_providerasset", "Can sync a video and replay webhook events"),)

    def __str__(self) -> str:
        return f"{self.shown_reference} ({AssetState(self.state).label})"

    def __repr__(self) -> str:
        return f"<ProviderAsset {self.pk}: {self}>"

    @property
    def row(self) -> Row:
        """The row as `rindle.get` returns it, without a query."""
        return read_row(to_json({name: getattr(self, name) for name in _ROW_FIELDS}))

    @property
    def is_ready(self) -> bool:
        """Whether it can be played."""
        return bool(self.state == AssetState.READY)

    @property
    def is_in_flight(self) -> bool:
        """Whether it waits for the provider."""
        return self.state in IN_FLIGHT

    @property
    def tag(self) -> str | None:
        """The redacted provider id, for people to read."""
        return redact_id(self.provider_asset_id)

    @property
    def shown_reference(self) -> str:
        """The reference for logs and pages: a provider id in it is redacted."""
        playback_ids = [playback_id.get("id") for playback_id in self.playback_ids or ()]
        return hide(self.reference, self.provider_asset_id, self.provider_upload_id, *playback_ids)


_ROW_FIELDS: Final = Row.__struct_fields__


class WebhookEventQuerySet(ReadOnlyQuerySet):
    """Stored webhook events."""

    def pending(self) -> Self:
        """Those that are not applied yet."""
        return self.filter(status=EventStatus.PENDING)

    def dead(self) -> Self:
        """Those that were given up."""
        return self.filter(status=EventStatus.DEAD)


class WebhookEventObjects(ReadOnlyObjects):
    """Stored webhook events, of which each body is read when it is asked for."""

    def get_queryset(self) -> Any:
        """Those of this project."""
        return super().get_queryset().defer("body")


class WebhookEvent(ReadOnlyModel):
    """A stored webhook event: a row of `provider_webhook_events`."""

    id: Any = RowIdField(primary_key=True, editable=False)
    provider_name: Any = _text()
    environment: Any = _text()
    event_id: Any = _text()
    type: Any = _text()
    provider_asset_id: Any = _optional_text()
    provider_upload_id: Any = _optional_text()
    passthrough: Any = _optional_text()
    occurred_at: Any = _optional_time("occurred")
    received_at: Any = _time("received")
    headers: Any = models.JSONField(null=True, editable=False)
    body: Any = models.BinaryField(editable=False)
    status: Any = _text(choices=EventStatus.choices)
    attempts: Any = models.IntegerField(editable=False)
    next_attempt_at: Any = _optional_time("next attempt")
    reason: Any = _optional_text()
    for_app: Any = models.BooleanField(editable=False)
    object_id: Any = _optional_text()
    lease_token: Any = RowIdField(null=True, editable=False)
    lease_until: Any = _optional_time("leased until")

    objects: ClassVar[Any] = WebhookEventObjects.from_queryset(WebhookEventQuerySet)()
    everywhere: ClassVar[Any] = AllObjects.from_queryset(WebhookEventQuerySet)()

    class Meta:
        """The table is that of rindle-sync."""

        managed = False
        db_table = "provider_webhook_events"
        base_manager_name = "everywhere"
        default_manager_name = "objects"
        verbose_name = "webhook event"
        verbose_name_plural = "webhook events"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.type} ({EventStatus(self.status).label})"


class AssetChangeQuerySet(ReadOnlyQuerySet):
    """Changes of rows."""

    def of(self, row: object) -> Self:
        """Those of one row, given by itself or its id, oldest first."""
        return self.filter(row_id=getattr(row, "id", row)).order_by("version")


class AssetChange(ReadOnlyModel):
    """One real change of a row: a line of `provider_asset_changes`."""

    id: Any = models.BigAutoField(primary_key=True)
    row: Any = VideoField(related_name="changes", editable=False)
    reference: Any = _text()
    provider_name: Any = _text()
    environment: Any = _text()
    version: Any = models.BigIntegerField(editable=False)
    kind: Any = _text(choices=ChangeKind.choices)
    from_state: Any = _text(choices=AssetState.choices)
    to_state: Any = _text(choices=AssetState.choices)
    error_kind: Any = _optional_text(choices=ErrorKind.choices)
    trigger: Any = _text()
    reason: Any = _text()
    at: Any = _time("changed")
    late_ms: Any = models.BigIntegerField("found late by, in milliseconds", editable=False)
    webhook_at: Any = _optional_time("reported by a webhook")
    outputs: Any = models.JSONField(null=True, editable=False)
    position: Any = models.BigIntegerField("place in the feed", null=True, editable=False)
    dispatch_at: Any = _optional_time("dispatched next")
    dispatch_attempts: Any = models.IntegerField(editable=False)
    lease_token: Any = RowIdField(null=True, editable=False)
    lease_until: Any = _optional_time("leased until")

    objects: ClassVar[Any] = ReadOnlyObjects.from_queryset(AssetChangeQuerySet)()
    everywhere: ClassVar[Any] = AllObjects.from_queryset(AssetChangeQuerySet)()

    class Meta:
        """The table is that of rindle-sync."""

        managed = False
        db_table = "provider_asset_changes"
        base_manager_name = "everywhere"
        default_manager_name = "objects"
        verbose_name = "change of a video"
        verbose_name_plural = "changes of videos"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.from_state} → {self.to_state}"
