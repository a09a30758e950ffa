"""The settings of the one endpoint of outgoing webhooks that settings alone make."""

from pathlib import Path
from typing import Any, Final

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from rindle_sync.config.choices import Switch
from rindle_sync.domain import (
    MOST_SECRETS,
    OutgoingSettings,
    endpoint_url_fault,
    secret_fault,
    type_pattern_fault,
)
from rindle_sync.providers import SettingsModel, split_list, split_secrets

_MADE_BY: Final = "`rindle-sync outgoing new-secret` makes one"


class OutgoingSettingsModel(SettingsModel):
    """Where outgoing webhooks go, what signs them, and which are sent."""

    outgoing_webhook_secret: SecretStr | None = Field(default=None, repr=False)
    """What signs them, the newest first. `rindle-sync outgoing new-secret` makes one."""
    outgoing_webhook_secret_file: Path | None = None
    """Holds `outgoing_webhook_secret` instead."""
    outgoing_webhook_events: tuple[str, ...] | None = None
    """Which types are sent: `asset.ready,asset.errored`, `asset.*`."""
    outgoing_webhook_allow_private: Switch = Switch.OFF
    """Whether the URL may lead to an address that is not public, and may begin with `http://`: set
    it where your app is in the same private network.
    """
    # the last: what it may be depends on the others
    outgoing_webhook_url: str | None = Field(default=None, repr=False)
    """Where to send them. The path is never shown: it may hold a secret."""

    _split_events = field_validator("outgoing_webhook_events", mode="before")(split_list)
    _split_secrets = field_validator("outgoing_webhook_secret")(split_secrets)

    @field_validator("outgoing_webhook_secret", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        plain = [v.get_secret_value() if isinstance(v, SecretStr) else v for v in value]
        if not all(isinstance(part, str) for part in plain):
            raise ValueError("must be text, or a list of texts")
        return SecretStr(",".join(plain))

    @field_validator("outgoing_webhook_secret")
    @classmethod
    def _can_sign(cls, value: SecretStr | None) -> SecretStr | None:
        secrets = value.get_secret_value().split(",") if value else []
        if len(secrets) > MOST_SECRETS:
            raise ValueError(f"must be at most {MOST_SECRETS} secrets")
        for fault in map(secret_fault, secrets):
            if fault:
                raise ValueError(f"{fault}; {_MADE_BY}")
        return value

    @field_validator("outgoing_webhook_events")
    @classmethod
    def _known_types(cls, value: Any) -> Any:
        for fault in map(type_pattern_fault, value or ()):
            if fault:
                raise ValueError(fault)
        return value

    @field_validator("outgoing_webhook_url")
    @classmethod
    def _signed_and_safe(cls, value: str | None, info: ValidationInfo) -> str | None:
        if not value:
            return None
        allow_private = info.data.get("outgoing_webhook_allow_private") is Switch.ON
        fault = endpoint_url_fault(value, allow_private=allow_private)
        # one that is wrong is not there, and is told of by itself
        if fault is None and info.data.get("outgoing_webhook_secret", "") is None:
            fault = f"needs outgoing_webhook_secret, which signs what is sent: {_MADE_BY}"
        if fault:
            raise ValueError(fault.replace("allow_private", "outgoing_webhook_allow_private"))
        return value

    @property
    def outgoing(self) -> OutgoingSettings | None:
        """The endpoint of outgoing webhooks; None where none is set."""
        if self.outgoing_webhook_url is None or self.outgoing_webhook_secret is None:
            return None
        return OutgoingSettings(
            url=self.outgoing_webhook_url,
            secrets=tuple(self.outgoing_webhook_secret.get_secret_value().split(",")),
            types=self.outgoing_webhook_events or (),
            allow_private=self.outgoing_webhook_allow_private is Switch.ON,
        )
