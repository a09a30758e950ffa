"""The part of the public object that plays rows."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rindle_sync.app.rows import Rows
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import Modifiers, PlaybackKind, SignedUrl


class Playing(Rows):
    """What a player, or a page with a poster, needs of a row."""

    async def playback_url(
        self,
        row_id: str,
        kind: PlaybackKind,
        *,
        expires_at: datetime,
        modifiers: Modifiers | None = None,
        custom: Mapping[str, Any] | None = None,
    ) -> SignedUrl | None:
        """A signed URL to play a row, or a picture of it, until `expires_at`.

        None where there is no such row. Raises `NotPlayable` for a row that is not ready or has no
        signed playback id, `ConfigurationError`.
        """
        row = await self.get(row_id)
        if row is None:
            return None
        playback = self.context.gateway.provider.playback
        if playback is None:
            raise ConfigurationError("provider", f"{row.provider_name} has no signed playback")
        return playback.signed_url(
            row, kind, expires_at=expires_at, now=self._now(), modifiers=modifiers, custom=custom
        )
