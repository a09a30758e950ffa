"""Settings from the environment (`RINDLE_…`) or a TOML file, validated. The only reader of the environment."""

import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from rindle_sync.decide import Policy, StuckPolicy
from rindle_sync.errors import Misconfigured
from rindle_sync.plan import Schedule
from rindle_sync.schema import BUSY_SECONDS, STATEMENT_SECONDS
from rindle_sync.tools import Webhooks

PREFIX: Final = "RINDLE_"
CONFIG_VARIABLE: Final = "RINDLE_CONFIG"
"""Names the TOML file; without it `rindle-sync.toml` in the current folder is read if it is there."""

DEFAULT_FILE: Final = Path("rindle-sync.toml")


class Priority(StrEnum):
    """The priority of the provider's token; each has a rate limit of its own."""

    LOW = "low"
    HIGH = "high"


_CREATES: Final = {Priority.LOW: (4, 1.0), Priority.HIGH: (20, 1.0)}
_READS: Final = {Priority.LOW: (20, 1.0), Priority.HIGH: (100, 5.0)}


_SECRETS: Final = ("mux_token_id", "mux_token_secret", "mux_webhook_secrets", "mux_signing_private_key")


class Settings(BaseSettings):
    """All settings; each is read from `RINDLE_<NAME>`, else from the TOML file, else it has its default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True)
    toml: ClassVar[Path | None] = None
    reads_surroundings: ClassVar[bool] = True

    database_url: str = Field(default="sqlite:///rindle-sync.sqlite3", repr=False, exclude=True)
    environment: str = Field(default="default", min_length=1)
    mux_base_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    mux_token_id: SecretStr | None = None
    mux_token_secret: SecretStr | None = None
    mux_webhook_secrets: SecretStr | None = None
    mux_environment_id: str | None = Field(default=None, min_length=1, repr=False)
    mux_signing_key_id: str | None = Field(default=None, repr=False)
    mux_signing_private_key: SecretStr | None = None
    webhook_tolerance_seconds: float = Field(default=300, ge=1, le=86_400)
    notice_retention_days: float = Field(default=7, ge=0.001, le=3650)
    dead_notice_retention_days: float = Field(default=30, ge=0.001, le=3650)
    listen_host: str = Field(default="127.0.0.1", min_length=1)
    listen_port: int = Field(default=8000, ge=1, le=65_535)
    provider_polling_floor_seconds: float = Field(default=30, ge=0.001, le=86_400)
    provider_stuck_threshold_seconds: float = Field(default=7200, ge=0.001, le=31_536_000)
    stuck_policy: StuckPolicy = StuckPolicy.DECLARE
    provider_confirm_seconds: float = Field(default=600, ge=0, le=31_536_000)
    provider_recovery_days: float = Field(default=7, ge=0, le=3650)
    provider_check_growth: float = Field(default=0.25, ge=0, le=10)
    provider_check_cap_seconds: float = Field(default=600, ge=0.001, le=31_536_000)
    provider_check_jitter: float = Field(default=0.1, ge=0, le=1)
    provider_watch_floor_seconds: float = Field(default=300, ge=0.001, le=31_536_000)
    provider_watch_cap_seconds: float = Field(default=21_600, ge=0.001, le=31_536_000)
    provider_retry_seconds: float = Field(default=5, ge=0.001, le=3600)
    provider_timeout_seconds: float = Field(default=10, ge=0.001, le=300)
    provider_token_priority: Priority = Priority.LOW
    provider_budget_share: float = Field(default=1, ge=0.01, le=1)
    provider_read_burst: int | None = Field(default=None, ge=1, le=1_000_000)
    provider_reads_per_second: float | None = Field(default=None, ge=0.001, le=1_000_000)
    audit_days: float = Field(default=7, ge=0, le=3650)
    sweep_interval_seconds: float = Field(default=5, ge=0.001, le=86_400)
    sweep_batch: int = Field(default=50, ge=1, le=200)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, and that over the file."""
        if not cls.reads_surroundings:
            return (init_settings,)
        file = TomlConfigSettingsSource(settings_cls, toml_file=cls.toml)
        return init_settings, env_settings, file

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must not be true or false")  # noqa: TRY004  pydantic wants it; true would pass for 1
        return value

    @field_validator("mux_base_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is not None and not _is_address(value):
            raise ValueError("must be an address without a password, as in https://api.example.com")
        return value

    @field_validator("database_url", "mux_environment_id", "mux_signing_key_id", *_SECRETS)
    @classmethod
    def _text(cls, value: str | SecretStr | None) -> str | SecretStr | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value or ""
        if text.encode("utf-8", "replace").decode() != text:
            raise ValueError("must be text in UTF-8")
        return value

    @field_validator("mux_token_id", "mux_token_secret")
    @classmethod
    def _not_blank(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value and value.get_secret_value().strip() else None

    @field_validator("mux_webhook_secrets")
    @classmethod
    def _no_empty_secret(cls, value: SecretStr | None) -> SecretStr | None:
        parts = [part.strip() for part in value.get_secret_value().split(",")] if value else []
        if not any(parts):
            return None
        if not all(parts):
            raise ValueError("must hold secrets with a comma between each two, none of them empty")
        return SecretStr(",".join(parts))

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        pairs = (
            ("provider_polling_floor_seconds", "provider_check_cap_seconds"),
            ("provider_watch_floor_seconds", "provider_watch_cap_seconds"),
        )
        for low, high in pairs:
            if getattr(self, low) > getattr(self, high):
                hint = f"set {PREFIX}{high.upper()} or {high} in the TOML file"
                raise ValueError(f"{high} must not be smaller than {low} ({hint})")
        return self

    @property
    def policy(self) -> Policy:
        """What a verdict depends on."""
        return Policy(
            stuck_threshold=timedelta(seconds=self.provider_stuck_threshold_seconds),
            stuck_policy=self.stuck_policy,
            confirm=timedelta(seconds=self.provider_confirm_seconds),
        )

    @property
    def schedule(self) -> Schedule:
        """What the next look depends on."""
        return Schedule(
            floor=timedelta(seconds=self.provider_polling_floor_seconds),
            cap=timedelta(seconds=self.provider_check_cap_seconds),
            growth=self.provider_check_growth,
            jitter=self.provider_check_jitter,
            watch_floor=timedelta(seconds=self.provider_watch_floor_seconds),
            watch_cap=timedelta(seconds=self.provider_watch_cap_seconds),
            recovery=timedelta(days=self.provider_recovery_days),
            retry=timedelta(seconds=self.provider_retry_seconds),
        )

    @property
    def reads(self) -> tuple[int, float]:
        """Reads of the provider that are allowed at once, and per second after that."""
        burst, per_second = _READS[self.provider_token_priority]
        return self.provider_read_burst or burst, self.provider_reads_per_second or per_second

    @property
    def lease(self) -> timedelta:
        """Longer than a look and everything written after it can take."""
        return timedelta(seconds=60 + self.provider_timeout_seconds + 2 * (BUSY_SECONDS + STATEMENT_SECONDS))

    @property
    def creates(self) -> tuple[int, float]:
        """Uploads that may be made at once, and per second after that."""
        return _CREATES[self.provider_token_priority]

    @property
    def webhooks(self) -> Webhooks:
        """Which deliveries are accepted."""
        return Webhooks(
            secrets=tuple(self.mux_webhook_secrets.get_secret_value().split(",")) if self.mux_webhook_secrets else (),
            tolerance=timedelta(seconds=self.webhook_tolerance_seconds),
            environment=self.mux_environment_id,
        )

    def signing_key(self) -> tuple[str, str]:
        """The id and the private key that sign playback URLs; raises `Misconfigured` if one is missing."""
        for name in ("mux_signing_key_id", "mux_signing_private_key"):
            if getattr(self, name) is None:
                raise Misconfigured(
                    name, f"is not set; make a signing key in Mux's dashboard and put it into {PREFIX}{name.upper()}"
                )
        key = self.mux_signing_private_key
        return self.mux_signing_key_id or "", key.get_secret_value() if key else ""

    @property
    def has_token(self) -> bool:
        """Whether both halves of the provider's token are set."""
        return self.mux_token_id is not None and self.mux_token_secret is not None

    def token(self) -> tuple[str, str]:
        """The provider's token id and secret; raises `Misconfigured` if one is missing."""
        for name in ("mux_token_id", "mux_token_secret"):
            if getattr(self, name) is None:
                raise Misconfigured(
                    name,
                    f"is not set; make an access token for Mux Video (write, too, for uploads) in Mux's dashboard "
                    f"and put it into {PREFIX}{name.upper()}",
                )
        secrets = self.mux_token_id, self.mux_token_secret
        return secrets[0].get_secret_value(), secrets[1].get_secret_value()  # type: ignore[union-attr]


class _Plain(Settings):
    reads_surroundings: ClassVar[bool] = False


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process; raises `Misconfigured` that names the first one that is wrong."""
    _refuse_typos(os.environ)
    path = _file()
    try:
        kind = type("Settings", (Settings,), {"toml": path, "__module__": __name__})
        return kind(**overrides)  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        raise Misconfigured(str(path), "is no UTF-8 text, as TOML must be") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(str(path), f"is no valid TOML: {error}") from None
    except ValidationError as error:
        raise _misconfigured(error, path) from None
    except (ValueError, RecursionError):  # a number of too many digits, tables or lists too deep in each other
        raise Misconfigured(str(path), "is no TOML that can be read") from None
    except OSError as error:
        raise Misconfigured(str(path), f"cannot be read: {error.strerror}") from None


def plain_settings(**values: Any) -> Settings:
    """Settings out of `values` and defaults alone, whatever the environment or a file says."""
    try:
        return _Plain(**values)
    except ValidationError as error:
        raise _misconfigured(error, None) from None


def _file() -> Path | None:
    named = os.environ.get(CONFIG_VARIABLE)
    if named and not _is_file(Path(named)):
        raise Misconfigured(CONFIG_VARIABLE, f"names a file that is not there: {ascii(named)[1:-1]}")
    path = Path(named) if named else DEFAULT_FILE
    return path if path.is_file() else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, or a folder that we may not look into
        return False


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.username is None and (parts.port or 1) > 0
    except ValueError:  # its text would show the value
        return False


def _refuse_typos(environment: Mapping[str, str]) -> None:
    known = [PREFIX + name.upper() for name in Settings.model_fields] + [CONFIG_VARIABLE]
    for variable in sorted(environment):
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            near = get_close_matches(variable.upper(), known, n=1, cutoff=0.85)
            if near:
                raise Misconfigured(variable, f"is no setting; did you mean {near[0]}?")


def _misconfigured(error: ValidationError, path: Path | None) -> Misconfigured:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return Misconfigured("settings", message)
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        near = get_close_matches(name, Settings.model_fields, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; see docs/settings.md for all of them"
        return Misconfigured(name, f"is no setting (in {path or 'the arguments'}){hint}")
    return Misconfigured(
        name, f"{message[0].lower()}{message[1:]} (set {PREFIX}{name.upper()} or {name} in the TOML file)"
    )
