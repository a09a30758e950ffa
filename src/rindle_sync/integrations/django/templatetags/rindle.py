"""`{% load rindle %}`: a player and a poster, and something sensible while there is none."""

from datetime import datetime, timedelta
from typing import Any, Final

from django import template
from django.forms.utils import flatatt
from django.template import Context
from django.utils import timezone
from django.utils.safestring import SafeString

from rindle_sync.domain import ProviderAsset
from rindle_sync.integrations.django.playing import (
    NOT_NOW,
    check_plain,
    in_tag,
    kind_of,
    player_url,
    playing,
    row_of,
    seconds,
    why_not,
)
from rindle_sync.providers import PlaybackBundle, PlaybackKind

LASTS: Final = 6 * 60 * 60
"""Seconds for which a signed player or poster works, unless the tag says how long."""

register = template.Library()


@register.inclusion_tag("rindle_sync/player.html", takes_context=True)
def mux_player(
    context: Context,
    video: Any,
    *,
    title: str | None = None,
    policy: str | None = None,
    expires_in: int = LASTS,
    poster_time: float | None = None,
    **attributes: Any,
) -> dict[str, Any]:
    """The player of a video, with tokens where its playback id is not public.

    `video` is the value of a `VideoField`, a row of the model, or a `ProviderAsset`. `expires_in`
    is in seconds, and longer than the video; `poster_time` in seconds of the video. All else
    becomes an attribute of the element: `{% mux_player video width=640 muted=True %}`. Without a
    playable video the element is a paragraph that says why.
    """
    common = {"player_url": player_url(), "nonce": _nonce(context)}

    def show() -> dict[str, Any]:
        check_plain(attributes | {"title": title, "policy": policy})
        end = _end(expires_in)
        poster = {} if poster_time is None else {"time": seconds("poster_time", poster_time)}
        row = row_of(video)
        bundle = playing(
            row,
            lambda rindle, found: rindle.playback_bundle(
                found, policy=policy, expires_at=end, poster=poster
            ),
        )
        shown = {"attributes": _attributes(attributes)}
        return shown | (_of_bundle(bundle, title) if bundle else _of_none(row))

    return common | in_tag(mux_player.__name__, show, _not_now)


@register.simple_tag
def mux_poster(
    video: Any,
    *,
    kind: str = PlaybackKind.THUMBNAIL_JPG,
    policy: str | None = None,
    expires_in: int = LASTS,
    **modifiers: Any,
) -> str:
    """The address of a poster, or of another `kind` of picture; empty while there is none.

    `modifiers` are those of the provider: `{% mux_poster video width=320 time=3 as poster %}`.
    """

    def show() -> str:
        check_plain(modifiers | {"policy": policy})
        picture, end = kind_of(kind), _end(expires_in)
        url = playing(
            row_of(video),
            lambda rindle, found: rindle.playback_url(
                found, picture, policy=policy, expires_at=end, modifiers=modifiers
            ),
        )
        return url.url if url else ""

    return in_tag(mux_poster.__name__, show, str)


def _of_bundle(bundle: PlaybackBundle, title: str | None) -> dict[str, Any]:
    return {"bundle": bundle, "title": title or bundle.title, "tokens": bundle.tokens.items()}


def _of_none(row: ProviderAsset | None) -> dict[str, Any]:
    state, text, is_failure = why_not(row)
    return {"state": state, "text": text, "role": "alert" if is_failure else "status"}


def _not_now() -> dict[str, Any]:
    return {"state": "none", "text": NOT_NOW, "role": "alert"}


def _end(expires_in: Any) -> datetime:
    return timezone.now() + timedelta(seconds=seconds("expires_in", expires_in))


def _nonce(context: Context) -> str:
    """The nonce of the page's content security policy, by Django itself or by django-csp."""
    return str(context.get("csp_nonce") or getattr(context.get("request"), "csp_nonce", None) or "")


def _attributes(given: dict[str, Any]) -> SafeString:
    """Attributes of the element, escaped: `True` stands alone, `False` and None are left out."""
    named = {name.replace("_", "-"): value for name, value in given.items()}
    return flatatt(
        {name: value for name, value in named.items() if value is not None and value is not False}
    )
