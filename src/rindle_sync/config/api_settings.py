"""The settings of the HTTP API, and how long a token must be."""

from pathlib import Path
from re import fullmatch
from typing import Any, Final

from pydantic import Field, SecretStr, field_validator

from rindle_sync.config.choices import Switch
from rindle_sync.providers import SettingsModel, trimmed

_SHORTEST: Final = 32
"""Characters: no program may find it by trying."""


def not_blank(value: Any, least: int) -> Any:
    """A token as it was given; raises `ValueError` for nothing but blanks."""
    # an empty one is none: who sets blanks would have no protection without knowing
    if value and not trimmed(value):
        raise ValueError(f"must have at least {least} characters")
    return value


def long_enough(value: SecretStr | None, least: int) -> SecretStr | None:
    """A token, None for an empty one; raises `ValueError` for one that is too short."""
    text = value.get_secret_value() if value else ""
    if text and len(text) < least:
        raise ValueError(f"must have at least {least} characters")
    return value if text else None


class ApiSettings(SettingsModel):
    """Where the HTTP API is served, and its token that needs no command."""

    api_token: SecretStr | None = None
    """A token of the API that may read and write, named `settings`. With it `run` and `receive`
    serve the API; so they do where `rindle-sync token create` has made a token.
    """
    api_token_file: Path | None = None
    """Holds `api_token` instead of it."""
    api_token_sees_provider_ids: Switch = Switch.OFF
    """Whether answers to this token have the provider's ids of assets and uploads."""
    api_host: str = Field(default="127.0.0.1", min_length=1)
    """The address of `api_port`. `0.0.0.0` in a container, in a private network."""
    api_port: int | None = Field(default=None, ge=1, le=65_535)
    """A port for the API alone. Without it, the API is served at `/api/v1` on `listen_port`, beside
    the webhooks.
    """

    @field_validator("api_token", mode="before")
    @classmethod
    def _no_blank_token(cls, value: Any) -> Any:
        return not_blank(value, _SHORTEST)

    @field_validator("api_token")
    @classmethod
    def _good_token(cls, value: SecretStr | None) -> SecretStr | None:
        token = long_enough(value, _SHORTEST)
        # https://www.rfc-editor.org/rfc/rfc6750#section-2.1
        if token and not fullmatch(r"[A-Za-z0-9._~+/-]+=*", token.get_secret_value()):
            raise ValueError(
                "must have letters, digits and - . _ ~ + / only, as a header can carry them"
            )
        return token
