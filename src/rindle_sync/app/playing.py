"""The part of the public object that plays rows."""

from typing import Unpack, overload

from rindle_sync.app.rows import Rows
from rindle_sync.domain import ProviderAsset, Rendition, Track
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import (
    Modifiers,
    Playback,
    PlaybackBundle,
    PlaybackKind,
    PlaybackOptions,
    PlaybackRequest,
    PlaybackUrl,
)


class Playing(Rows):
    """What a player, or a page with a poster, needs of a row."""

    @overload
    async def playback_url(
        self,
        row: ProviderAsset,
        kind: PlaybackKind,
        *,
        of: str | Track | Rendition | None = None,
        **options: Unpack[PlaybackOptions],
    ) -> PlaybackUrl: ...

    @overload
    async def playback_url(
        self,
        row: str,
        kind: PlaybackKind,
        *,
        of: str | Track | Rendition | None = None,
        **options: Unpack[PlaybackOptions],
    ) -> PlaybackUrl | None: ...

    async def playback_url(
        self,
        row: ProviderAsset | str,
        kind: PlaybackKind,
        *,
        of: str | Track | Rendition | None = None,
        **options: Unpack[PlaybackOptions],
    ) -> PlaybackUrl | None:
        """A URL to play a row, or a picture or file of it; None where no row has this id.

        Of several playback ids a public one is used, else a signed one, else one with DRM, unless
        `policy` or `playback_id` says which. A public URL has no token and does not expire; the
        others need `expires_at`, a time with a zone, and a signing key. `of` is the language or
        track of captions, or the name or resolution of a rendition. `custom` and `restriction_id`
        go into the token; `modifiers` too, or into the query of a public URL. Raises
        `NotPlayable`, `ConfigurationError`, and for an id `DatabaseUnavailable`.
        """
        found = await self._given(row)
        if found is None:
            return None
        return self._playback.url(found, kind, PlaybackRequest(**options), now=self._now(), of=of)

    @overload
    async def playback_bundle(
        self,
        row: ProviderAsset,
        *,
        poster: Modifiers | None = None,
        **options: Unpack[PlaybackOptions],
    ) -> PlaybackBundle: ...

    @overload
    async def playback_bundle(
        self, row: str, *, poster: Modifiers | None = None, **options: Unpack[PlaybackOptions]
    ) -> PlaybackBundle | None: ...

    async def playback_bundle(
        self,
        row: ProviderAsset | str,
        *,
        poster: Modifiers | None = None,
        **options: Unpack[PlaybackOptions],
    ) -> PlaybackBundle | None:
        """All that a player needs to play a row; None where no row has this id.

        The options are those of `playback_url`: `expires_at`, a time with a zone, is when all
        tokens end. `modifiers` are for the video, those in `poster` for the poster. Raises
        `NotPlayable`, `ConfigurationError`, and for an id `DatabaseUnavailable`.
        """
        found = await self._given(row)
        if found is None:
            return None
        request = PlaybackRequest(**options)
        return self._playback.bundle(found, request, now=self._now(), poster=poster)

    async def _given(self, row: ProviderAsset | str) -> ProviderAsset | None:
        return row if isinstance(row, ProviderAsset) else await self.get(row)

    @property
    def _playback(self) -> Playback:
        provider = self.context.gateway.provider
        if provider.playback is None:
            raise ConfigurationError("provider", f"{provider.name} has no playback URLs")
        return provider.playback
