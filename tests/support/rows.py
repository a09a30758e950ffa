"""Rows and observations for tests, made from what matters to the test alone."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from rindle_sync.domain import (
    ErrorKind,
    Media,
    Observation,
    ObservationSource,
    OutputStatus,
    PlaybackId,
    Policy,
    ProviderAsset,
    Rendition,
    Schedule,
    State,
    Track,
    TrackKind,
    longest_gaps,
)

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
OLD = NOW - timedelta(hours=3)
GAPS = longest_gaps(Policy(), Schedule())
PUBLIC = PlaybackId("playback-0001", "public")
SIGNED = PlaybackId("playback-0002", "signed")


def a_track(status: str = "ready", **values: Any) -> Track:
    """Captions."""
    kind = values.pop("kind", TrackKind.CAPTIONS)
    track_id = values.pop("id", "track-0001")
    return Track(id=track_id, kind=kind, status=OutputStatus(status), **values)


def a_rendition(status: str = "ready", **values: Any) -> Rendition:
    """A file to download."""
    name = values.pop("name", "1080p.mp4")
    return Rendition(name=name, status=OutputStatus(status), **values)


CAPTIONS = a_track()
MEDIA = Media(duration=61.5, title="A title", tracks=(CAPTIONS,), renditions=(a_rendition(),))


def a_row(state: State = State.PROCESSING, **values: Any) -> ProviderAsset:
    """A row with a provider id, last changed an hour ago."""
    values.setdefault("updated_at", NOW - timedelta(hours=1))
    values.setdefault("inserted_at", values["updated_at"])
    values.setdefault("provider_created_at", values["inserted_at"])
    if state is State.ERRORED:
        values.setdefault("error_kind", ErrorKind.PROVIDER)
    row_id = values.pop("id", None) or str(uuid4())
    return ProviderAsset(
        id=row_id,
        reference=values.pop("reference", f"video-{row_id[:8]}"),
        profile=values.pop("profile", "default"),
        provider_name="mux",
        environment=values.pop("environment", "default"),
        provider_asset_id=values.pop("provider_asset_id", f"asset{row_id.replace('-', '')}"),
        state=state,
        **values,
    )


def a_look(state: State | None = State.READY, **values: Any) -> Observation:
    """A GET that began just now."""
    return Observation(
        source=values.pop("source", ObservationSource.GET),
        at=values.pop("at", NOW),
        state=state,
        **values,
    )


def a_404(**values: Any) -> Observation:
    """A GET that was answered with a 404."""
    return Observation(source=ObservationSource.GET, at=values.pop("at", NOW), gone=True, **values)


def a_webhook(state: State | None = State.READY, **values: Any) -> Observation:
    """A webhook that came in just now, about something that just happened."""
    values.setdefault("occurred_at", values.get("at", NOW))
    values.setdefault("event_id", str(uuid4()))
    return Observation(
        source=ObservationSource.WEBHOOK, at=values.pop("at", NOW), state=state, **values
    )
