"""Mux's refusals, in all the bodies that they come in, as errors of ours."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from rindle_sync.domain import scrub
from rindle_sync.errors import (
    AuthenticationFailed,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    RindleSyncError,
)
from rindle_sync.providers.http import CallFailed
from rindle_sync.providers.mux.fields import errors_text
from rindle_sync.providers.network import Proxy

_LONGEST_WAIT: Final = 86_400.0


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: Mapping[str, Any] | None,
    secrets: tuple[str, ...],
    about: str = "asset",
    *,
    permission: str = "",
) -> RindleSyncError:
    """What an answer other than success means; `about` is what it is about.

    `secrets` are kept out of its text; `permission` is what the token needs for the call.
    """
    match body:
        case {"error": dict(error)}:
            told = errors_text(error)
        case {"errors": list(errors)}:
            told = " ".join(text for text in errors if isinstance(text, str))
        case {"message": str(message)}:
            told = message
        case _:
            told = ""
    told = scrub(told, *secrets)
    text = f"mux answered {status}" + (f": {told}" if told else "")
    # a proxy or a wrong address answers 404 as well, without Mux's body
    if status == 404 and body is not None and isinstance(body.get("error"), dict):
        return NotFound(f"mux {about} not found")
    match status:
        case 404:
            return ProviderUnavailable(
                "mux answered 404 without its error body: is mux_base_url the address of Mux?"
            )
        case 401 | 403:
            may = f"has the permission {permission}" if permission else "may do this"
            return AuthenticationFailed(
                f"{text}; check mux_token_id and mux_token_secret, and that the token {may}"
            )
        case 407:  # not an answer of Mux
            return ProviderUnavailable(
                f"{text}; it comes from a proxy: are its user and password in HTTP_PROXY right?"
            )
        case 429:
            return RateLimited(text, _seconds(headers.get("retry-after")))
        case _:
            return ProviderUnavailable(text)


def unreachable(failure: CallFailed, proxy: Proxy | None) -> str:
    """Why there was no answer."""
    text = f"mux cannot be reached ({failure})"
    if proxy:
        status = failure.proxy_status
        said = f", which answered {status}" if status else ""
        text = f"{text} through the proxy that {proxy.variable} names{said}"
    if failure.is_untrusted:
        text += ": its certificate is not trusted; SSL_CERT_FILE may name others to trust"
    return text


def _seconds(retry_after: str | None) -> float | None:
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if isfinite(seconds) else None
