"""What the bodies and the parameters of requests may be."""

import re
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from rindle_sync.domain import LONGEST_TEXT, State

Text = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT)]

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d.*", re.ASCII)


def _plain_time(value: Any) -> Any:
    # pydantic takes numbers, too: seconds, or from some number on milliseconds
    if isinstance(value, str) and not _TIME.fullmatch(value):
        raise ValueError("must be a time like 2026-01-31T12:00:00Z")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_plain_time)]
"""A time with its zone, as RFC 3339 has it."""


class Body(BaseModel):
    """The base of bodies of requests: a field that there is not is refused."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid", strict=True)


class TrackBody(Body):
    """An asset, or an upload, that the provider has, to be kept in sync from now on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"reference": "film-1", "provider_asset_id": "Oq01mLNB5hVhCNo1Xd9T"}]
        }
    )

    reference: Text
    """The app's own id of the video."""
    profile: Text = "default"
    """Where one reference has several assets."""
    provider_asset_id: Text | None = None
    provider_upload_id: Text | None = None
    passthrough: Text | None = None
    """What the asset carries, by which a webhook finds the row before its id is known."""
    state: Annotated[State | None, Field(strict=False)] = None
    """By default `processing` with an id of an asset, else `uploading`."""
    playback_policy: Text | None = None
    ingest_mode: Text | None = None


class ReplaceBody(Body):
    """Another asset, or upload, for a row: one of the two."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"provider_asset_id": "Zs02bT7wQd1LkXn4Pc8E"}]}
    )

    provider_asset_id: Text | None = None
    provider_upload_id: Text | None = None
    playback_policy: Text | None = None


class NewAssetBody(Body):
    """What a new asset shall be like."""

    reference: Text
    """The app's own id of the video."""
    profile: Text = "default"
    playback_policy: str | list[str] | None = None
    """One or several; by default those in the settings of the provider."""
    test: bool = False
    new_asset_settings: dict[str, Any] | None = None
    """More of the provider's own settings for the new asset."""
    replace: bool = False
    """Whether a row that is ready begins anew, too."""


class UploadBody(NewAssetBody):
    """A direct upload."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"reference": "film-1", "cors_origin": "https://app.example.com"}]
        }
    )

    cors_origin: Text
    """The address of the page that sends the file."""
    expires_in: Annotated[int, Field(ge=1, le=604_800)] = 3600
    """How long it waits for its file, in seconds."""
    resume: bool = False
    """Whether an upload that still waits for its file is answered again."""


class FromUrlBody(NewAssetBody):
    """A file that the provider fetches."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"reference": "film-1", "input": "https://files.example.com/film-1.mp4"}]
        }
    )

    input: Annotated[str | list[dict[str, Any]], Field(min_length=1)]
    """Its URL, or a list of the provider's own inputs. It is stored nowhere."""
