"""What Mux needs from the settings, what it allows, and how an environment of it is reached."""

from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from rindle_sync.domain import Bucket
from rindle_sync.providers.base import Buckets, CallsLeft, Priority, ProviderEntry, Transport
from rindle_sync.providers.mux.client import Credentials, Mux
from rindle_sync.providers.mux.playback import MuxPlayback
from rindle_sync.providers.mux.signing import KEY_ID_SETTING, KEY_SETTING, Signer
from rindle_sync.providers.mux.webhooks import ACTED_ON
from rindle_sync.providers.settings import ProviderSettings, split_secrets


class MuxSettings(ProviderSettings):
    """One environment of Mux."""

    credential_names: ClassVar = ("mux_token_id", "mux_token_secret")
    credentials_remedy: ClassVar = (
        "make an access token for Mux Video (write, too, for uploads) in Mux's dashboard"
    )
    webhook_secrets_name: ClassVar = "mux_webhook_secrets"

    mux_base_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    """Change it for the emulator or a proxy."""
    mux_token_id: SecretStr | None = Field(default=None, repr=False)
    """The id of a Mux access token with Mux Video *read*, and *write* for direct uploads.

    Needed by all that calls Mux; not by `migrate`, `track`, `status`, `events`.
    """
    mux_token_secret: SecretStr | None = Field(default=None, repr=False)
    """Its secret. Better in the environment than in a file."""
    mux_webhook_secrets: SecretStr | None = Field(default=None, repr=False)
    """The signing secrets of the endpoints at Mux, one or several. A delivery is valid if any of
    them signed it.
    """
    mux_environment_id: str | None = Field(default=None, min_length=1, repr=False)
    """Mux's own id of the environment that the rows belong to. A delivery about another environment
    is rejected, and so is a token of another one.
    """
    mux_signing_key_id: str | None = Field(default=None, repr=False)
    """The id of a signing key of the environment, for signed playback."""
    mux_signing_private_key: SecretStr | None = Field(default=None, repr=False)
    """Its private key, as Mux shows it: base64, or PEM."""
    mux_token_id_file: Path | None = Field(default=None, repr=False)
    """Holds `mux_token_id` instead of it, as secrets are mounted into containers."""
    mux_token_secret_file: Path | None = Field(default=None, repr=False)
    """Likewise. Files are read once, when the process starts."""
    mux_webhook_secrets_file: Path | None = Field(default=None, repr=False)
    """Holds `mux_webhook_secrets` instead."""
    mux_signing_private_key_file: Path | None = Field(default=None, repr=False)
    """Holds `mux_signing_private_key` instead."""

    _split = field_validator("mux_webhook_secrets")(split_secrets)

    @field_validator("mux_base_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        try:
            parts = urlsplit(value or "http://localhost")
            is_address = bool(parts.hostname) and parts.username is None and (parts.port or 1) > 0
        except ValueError:  # its text would show the value
            is_address = False
        if not is_address:
            raise ValueError("must be an address without a password, as in https://api.example.com")
        return value

    @field_validator("mux_token_id", "mux_token_secret")
    @classmethod
    def _not_blank(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value and value.get_secret_value().strip() else None

    @property
    def environment_id(self) -> str | None:
        """Mux's id of the environment of the rows."""
        return self.mux_environment_id

    def signing_key(self) -> tuple[str, str]:
        """The id and the private key that sign playback URLs; raises `ConfigurationError`."""
        for name in (KEY_ID_SETTING, KEY_SETTING):
            self.need(name, "make a signing key in Mux's dashboard")
        key = self.mux_signing_private_key
        return self.mux_signing_key_id or "", key.get_secret_value() if key else ""


def connect(
    settings: MuxSettings,
    *,
    timeout: float,
    connections: int,
    transport: Transport | None,
    on_calls_left: CallsLeft,
) -> Mux:
    """The environment of Mux that `settings` name."""
    # half a key counts: who set it means to sign, and is told what is missing
    has_key = bool(settings.mux_signing_key_id or settings.mux_signing_private_key)
    return Mux(
        Credentials(*settings.credentials) if settings.credentials else None,
        base_url=settings.mux_base_url,
        timeout=timeout,
        connections=connections,
        transport=transport,
        on_calls_left=on_calls_left,
        playback=MuxPlayback(lambda: Signer(*settings.signing_key()), has_key=has_key),
    )


# https://www.mux.com/docs/core/make-api-requests
MUX: Final = ProviderEntry(
    settings=MuxSettings,
    acted_on=ACTED_ON,
    buckets={
        Priority.LOW: Buckets(
            reads=Bucket(name="reads:low", capacity=20, per_second=1),
            creates=Bucket(name="creates:low", capacity=4, per_second=1),
        ),
        Priority.HIGH: Buckets(
            reads=Bucket(name="reads:high", capacity=100, per_second=5),
            creates=Bucket(name="creates:high", capacity=20, per_second=1),
        ),
    },
    connect=connect,
)
