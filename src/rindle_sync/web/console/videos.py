"""The page that shows a video: its poster, the provider's player, and the provider's ids of it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from rindle_sync.domain import ProviderAsset, State
from rindle_sync.errors import ConfigurationError, NotPlayable
from rindle_sync.providers import PlaybackBundle, PlaybackRequest
from rindle_sync.reconcile import Context

PLAYS_FOR: Final = timedelta(hours=1)
"""How long what is signed for an operator plays."""


def is_playable(context: Context, row: ProviderAsset) -> bool:
    """Whether there is something to play, as far as the row tells."""
    has_player = context.gateway.provider.playback is not None
    return has_player and row.state is State.READY and bool(row.playback_ids)


async def video(context: Context, row: ProviderAsset, *, plays: bool) -> dict[str, Any]:
    """What the page shows; with `plays` the player instead of the poster."""
    provider = context.gateway.provider
    environment = await context.store.environments.get()
    bundle, why_not = _bundle(context, row)
    player_url = None
    if bundle and provider.playback:
        player_url = provider.playback.player_url(bundle)
    return {
        "asset": row,
        "bundle": bundle,
        "why_not": why_not,
        "player_url": player_url,
        "plays": plays and player_url is not None,
        "dashboard_url": provider.dashboard_url(row, environment.provider_environment_id),
        "provider_title": provider.name.capitalize(),
        "ids": _ids(row),
    }


def _bundle(context: Context, row: ProviderAsset) -> tuple[PlaybackBundle | None, str]:
    playback, now = context.gateway.provider.playback, context.now()
    if playback is None:
        return None, f"{row.provider_name} has no playback URLs."
    try:
        return playback.bundle(row, PlaybackRequest(expires_at=now + PLAYS_FOR), now=now), ""
    except (NotPlayable, ConfigurationError) as error:
        return None, f"{error}."


def _ids(row: ProviderAsset) -> list[tuple[str, str]]:
    """What the provider calls the row."""
    named = [
        ("asset", row.provider_asset_id),
        ("upload", row.provider_upload_id),
        ("passthrough", row.passthrough),
    ]
    named += [(f"playback id, {playback.policy}", playback.id) for playback in row.playback_ids]
    return [(name, value) for name, value in named if value]


def content_security_policy(policy: str, shown: Mapping[str, Any]) -> str:
    """The `policy` of all pages, and what this page loads of the provider: nothing else."""
    bundle: PlaybackBundle | None = shown["bundle"]
    if bundle is None:
        return policy
    if shown["plays"]:
        return f"{policy}; frame-src {_origin(shown['player_url'])}"
    if bundle.poster_url is None:
        return policy
    return policy.replace("img-src 'self'", f"img-src 'self' {_origin(bundle.poster_url)}")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
