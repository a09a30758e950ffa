"""URLs that play an asset."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from rindle_sync.domain import PlaybackId, ProviderAsset
from rindle_sync.errors import NotPlayable
from rindle_sync.providers import PlaybackKind
from rindle_sync.web.api.calls import Call, Reading, ok, problems
from rindle_sync.web.api.models import PlaybackBundleAnswer, PlaybackUrlAnswer
from rindle_sync.web.api.problems import wrong
from rindle_sync.web.api.request_models import Text, Time
from rindle_sync.web.api.routes.assets import RowId

router = APIRouter(tags=["playback"])

LONGEST_EXPIRY: Final = 31_536_000
"""A year, in seconds."""


class _Options:
    """How something is to be played."""

    def __init__(
        self,
        *,
        expires_in: Annotated[
            int | None,
            Query(ge=1, le=LONGEST_EXPIRY, description="Seconds until the tokens in URLs end."),
        ] = None,
        expires_at: Annotated[
            Time | None, Query(description="When they end, in place of `expires_in`.")
        ] = None,
        policy: Annotated[
            Text | None, Query(description="Only a playback id with this policy.")
        ] = None,
        playback_id: Annotated[Text | None, Query(description="This one of the asset's.")] = None,
        restriction_id: Annotated[
            Text | None, Query(description="The provider's id of a playback restriction.")
        ] = None,
        modifier: Annotated[
            list[str] | None,
            Query(max_length=30, description="Modifiers of the provider's, as in `width:640`."),
        ] = None,
    ) -> None:
        if expires_in is not None and expires_at is not None:
            raise wrong("expires_in", "and expires_at are both given: which one counts?")
        self._expires_in = expires_in
        self._expires_at = expires_at
        self._policy = policy
        self._playback_id = playback_id
        self._restriction_id = restriction_id
        self._modifiers = [_modifier(text) for text in modifier or ()]

    def of(self, call: Call, row: ProviderAsset) -> dict[str, Any]:
        """The options for the library. Raises `NotPlayable`."""
        expires_at: datetime | None = self._expires_at
        if self._expires_in is not None:
            expires_at = call.api.now() + timedelta(seconds=self._expires_in)
        return {
            "expires_at": expires_at,
            "policy": self._policy,
            "playback_id": self._playback_id and _known(row, self._playback_id),
            "restriction_id": self._restriction_id,
            "modifiers": dict(self._modifiers) or None,
        }


Options = Annotated[_Options, Depends()]


def _modifier(text: str) -> tuple[str, str | int | float | bool]:
    name, colon, value = text.partition(":")
    if not name or not colon:
        raise wrong("modifier", "must be a name and a value with a colon between, as in width:640")
    if value in {"true", "false"}:
        return name, value == "true"
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return name, int(value)
    whole, dot, fraction = value.partition(".")
    is_number = dot and all(part.isascii() and part.isdecimal() for part in (whole, fraction))
    return name, float(value) if is_number and len(value) < 18 else value


def _known(row: ProviderAsset, playback_id: str) -> PlaybackId:
    for known in row.playback_ids:
        if known.id == playback_id:
            return known
    text = "does not have this playback id: it is of a different row, or was removed"
    raise NotPlayable(row.id, "foreign_id", text)


@router.get(
    "/assets/{row_id}/playback-url",
    operation_id="getPlaybackUrl",
    responses=problems(404, 409),
    response_model=PlaybackUrlAnswer,
)
async def get_playback_url(
    call: Reading,
    row_id: RowId,
    options: Options,
    kind: Annotated[PlaybackKind, Query(description="What is to be played, or shown.")],
    of: Annotated[
        Text | None,
        Query(description="The language of captions, or the name or resolution of a rendition."),
    ] = None,
) -> Response:
    """Get a URL that plays an asset, or a picture or file of it.

    For a playback id that is not public it has a token, and needs a time at which that ends.
    """
    row = await call.row(row_id)
    made = await call.service.playback_url(row, kind, of=of, **options.of(call, row))
    return ok(PlaybackUrlAnswer.of(made))


@router.get(
    "/assets/{row_id}/playback-bundle",
    operation_id="getPlaybackBundle",
    responses=problems(404, 409),
    response_model=PlaybackBundleAnswer,
)
async def get_playback_bundle(call: Reading, row_id: RowId, options: Options) -> Response:
    """Get all that a player needs to play an asset, in one answer."""
    row = await call.row(row_id)
    bundle = await call.service.playback_bundle(row, **options.of(call, row))
    return ok(PlaybackBundleAnswer(**bundle.as_dict()))
