"""All settings: their names, bounds and defaults, and those of each provider environment."""

from contextlib import suppress
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from re import fullmatch
from typing import Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from rindle_sync.domain import Policy, Schedule, StuckPolicy
from rindle_sync.errors import ConfigurationError
from rindle_sync.reconcile import WebhookSettings
from rindle_sync.store.schema.engine import BUSY_SECONDS, STATEMENT_SECONDS

PREFIX: Final = "RINDLE_"


class Priority(StrEnum):
    """The priority of the provider's token; each has a rate limit of its own."""

    LOW = "low"
    HIGH = "high"


class EngineName(StrEnum):
    """What wakes the steps."""

    EMBEDDED = "embedded"
    PROCRASTINATE = "procrastinate"


class Switch(StrEnum):
    """Whether something is done."""

    OFF = "off"
    ON = "on"


class LogFormat(StrEnum):
    """What a line of the log is."""

    TEXT = "text"
    JSON = "json"


_CREATES: Final = {Priority.LOW: (4, 1.0), Priority.HIGH: (20, 1.0)}
_READS: Final = {Priority.LOW: (20, 1.0), Priority.HIGH: (100, 5.0)}


_SECRETS: Final = (
    "mux_token_id",
    "mux_token_secret",
    "mux_webhook_secrets",
    "mux_signing_private_key",
)

_FILES: Final = {f"{name}_file": name for name in (*_SECRETS, "console_token")}
"""Each secret may stand in a file instead."""

_OWN: Final = frozenset(
    {*_SECRETS, *(f"{name}_file" for name in _SECRETS), "mux_environment_id", "mux_signing_key_id"}
)
"""What one environment has never from another, nor from what stands outside of its table."""

_SHARED: Final = frozenset(
    {
        "database_url",
        "environment",
        "environments",
        "engine",
        "listen_host",
        "listen_port",
        "log_format",
        "opentelemetry",
        "console_host",
        "console_port",
        "console_token",
        "console_token_file",
        "sweep_interval_seconds",
    }
)
"""What is one for the whole process."""


class Settings(BaseSettings):
    """All settings; each is read from `RINDLE_<NAME>`, else from the TOML file, else it has its default."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )
    toml: ClassVar[Path | None] = None
    reads_surroundings: ClassVar[bool] = True
    database_url: str = Field(default="sqlite:///rindle-sync.sqlite3", repr=False, exclude=True)
    environment: str = Field(default="default", min_length=1)
    environments: dict[str, dict[str, Any]] = Field(default={}, repr=False, exclude=True)
    engine: EngineName = EngineName.EMBEDDED
    mux_base_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    mux_token_id: SecretStr | None = None
    mux_token_secret: SecretStr | None = None
    mux_webhook_secrets: SecretStr | None = None
    mux_environment_id: str | None = Field(default=None, min_length=1, repr=False)
    mux_signing_key_id: str | None = Field(default=None, repr=False)
    mux_signing_private_key: SecretStr | None = None
    mux_token_id_file: Path | None = None
    mux_token_secret_file: Path | None = None
    mux_webhook_secrets_file: Path | None = None
    mux_signing_private_key_file: Path | None = None
    webhook_tolerance_seconds: float = Field(default=300, ge=1, le=86_400)
    webhook_event_retention_days: float = Field(default=7, ge=0.001, le=3650)
    dead_webhook_event_retention_days: float = Field(default=30, ge=0.001, le=3650)
    listen_host: str = Field(default="127.0.0.1", min_length=1)
    listen_port: int = Field(default=8000, ge=1, le=65_535)
    console_host: str = Field(default="127.0.0.1", min_length=1)
    console_port: int = Field(default=8001, ge=0, le=65_535)
    console_token: SecretStr | None = None
    console_token_file: Path | None = None
    opentelemetry: Switch = Switch.OFF
    log_format: LogFormat = LogFormat.TEXT
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
    provider_rate_limit_share: float = Field(default=1, ge=0.01, le=1)
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

    @model_validator(mode="before")
    @classmethod
    def _from_files(cls, values: Any) -> Any:
        read = dict(values)
        for file, name in _FILES.items():
            if not isinstance(path := read.get(file), str | Path):
                continue
            if read.get(name):
                raise ValueError(
                    f"{name} and {file} are both set: which one counts? (unset one of them)"
                )
            with suppress(OSError, ValueError):  # told where the file's own setting is checked
                read[name] = Path(path).read_text("utf-8").strip()
        return read

    @field_validator(*_FILES)
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        try:
            if value and not value.read_text("utf-8").strip():
                raise ValueError("names a file with nothing in it")
        except OSError as error:
            raise ValueError(f"names a file that cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError("names a file that is no UTF-8 text") from None
        return value

    @field_validator("engine", mode="before")
    @classmethod
    def _no_engine_of_the_apps(cls, value: Any) -> Any:
        if value == "celery":
            raise ValueError(
                "celery is run by your own app: call add_celery_tasks there, see docs/engines.md"
            )
        return value

    @field_validator("environments")
    @classmethod
    def _named_environments(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in value:
            if not fullmatch(r"[a-z0-9]+([-_][a-z0-9]+)*", name):
                raise ValueError(
                    f"has the name {ascii(name)[1:-1]}; use small letters, digits, single - and _"
                )
        return value

    @field_validator("mux_base_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is not None and not _is_address(value):
            raise ValueError("must be an address without a password, as in https://api.example.com")
        return value

    @field_validator(
        "database_url", "mux_environment_id", "mux_signing_key_id", "console_token", *_SECRETS
    )
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

    @field_validator("console_token")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else ""
        if text and len(text.strip()) < 16:
            raise ValueError("must have at least 16 characters")
        return value if text else None

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
        return timedelta(
            seconds=60 + self.provider_timeout_seconds + 2 * (BUSY_SECONDS + STATEMENT_SECONDS)
        )

    @property
    def creates(self) -> tuple[int, float]:
        """Uploads that may be made at once, and per second after that."""
        return _CREATES[self.provider_token_priority]

    @property
    def webhooks(self) -> WebhookSettings:
        """Which deliveries are accepted."""
        return WebhookSettings(
            secrets=tuple(self.mux_webhook_secrets.get_secret_value().split(","))
            if self.mux_webhook_secrets
            else (),
            tolerance=timedelta(seconds=self.webhook_tolerance_seconds),
            environment=self.mux_environment_id,
        )

    def signing_key(self) -> tuple[str, str]:
        """The id and the private key that sign playback URLs; raises `ConfigurationError` if one is missing."""
        for name in ("mux_signing_key_id", "mux_signing_private_key"):
            self._need(name, "make a signing key in Mux's dashboard")
        key = self.mux_signing_private_key
        return self.mux_signing_key_id or "", key.get_secret_value() if key else ""

    @property
    def has_token(self) -> bool:
        """Whether both halves of the provider's token are set."""
        return self.mux_token_id is not None and self.mux_token_secret is not None

    def token(self) -> tuple[str, str]:
        """The provider's token id and secret; raises `ConfigurationError` if one is missing."""
        for name in ("mux_token_id", "mux_token_secret"):
            self._need(
                name,
                "make an access token for Mux Video (write, too, for uploads) in Mux's dashboard",
            )
        secrets = self.mux_token_id, self.mux_token_secret
        return secrets[0].get_secret_value(), secrets[1].get_secret_value()  # type: ignore[union-attr]

    def _need(self, name: str, remedy: str) -> None:
        if getattr(self, name) is None:
            full = self.name_of(name)
            raise ConfigurationError(
                full, f"is not set; {remedy} and put it into {_variable(full)}"
            )

    def name_of(self, setting: str) -> str:
        """The full name of a setting of these."""
        return setting

    def each(self) -> "dict[str, Settings]":
        """The settings of each environment, by its name: of all that have a table, or of one of them if it is named."""
        if not self.environments:
            return {self.environment: self}
        named = (
            self.environments if "environment" not in self.model_fields_set else (self.environment,)
        )
        if missing := [name for name in named if name not in self.environments]:
            raise ConfigurationError(
                "environment",
                f"{missing[0]} has no table; there are {', '.join(self.environments)}",
            )
        return {name: self._of(name) for name in named}

    def _of(self, name: str) -> "Settings":
        table = self.environments[name]
        for key in table:
            if key not in Settings.model_fields or key in _SHARED:
                allowed = sorted(Settings.model_fields.keys() - _SHARED)
                near = get_close_matches(key, allowed, n=1)
                hint = (
                    f"did you mean {near[0]}?"
                    if near
                    else "see docs/settings.md for those that may stand there"
                )
                raise ConfigurationError(
                    f"environments.{name}.{key}", f"is no setting of an environment; {hint}"
                )
        ours = {
            key: getattr(self, key)
            for key in self.model_fields_set - _OWN - {"environment", "environments"}
        }
        try:
            return _OfTable(**(ours | table | {"environment": name}))
        except ValidationError as error:
            raise misconfigured(error, None, f"environments.{name}.") from None


class _Plain(Settings):
    reads_surroundings: ClassVar[bool] = False


class _OfTable(_Plain):
    def name_of(self, setting: str) -> str:
        """The name of a setting of one of several environments."""
        return f"environments.{self.environment}.{setting}"


def plain_settings(**values: Any) -> Settings:
    """Settings out of `values` and defaults alone, whatever the environment or a file says."""
    try:
        return _Plain(**values)
    except ValidationError as error:
        raise misconfigured(error, None) from None


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.username is None and (parts.port or 1) > 0
    except ValueError:  # its text would show the value
        return False


def _variable(name: str) -> str:
    """The variable of a setting, `environments.<name>.` before it where it is of one environment alone."""
    return (PREFIX + name.replace(".", "__")).upper().replace("-", "_")


def misconfigured(error: ValidationError, path: Path | None, table: str = "") -> ConfigurationError:
    """The first complaint of `error`, with the setting's name and the way to mend it."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return ConfigurationError(table.rstrip(".") or "settings", message)
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        near = get_close_matches(name, Settings.model_fields, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; see docs/settings.md for all of them"
        return ConfigurationError(name, f"is no setting (in {path or 'the arguments'}){hint}")
    variable = _variable(table + name)
    where = (
        f"set {variable} or {name} in the TOML file"
        if not table
        else f"set it in its table, or {variable}"
    )
    if name == "environments":
        where = "write [environments.<name>] into the TOML file, one table for each"
    return ConfigurationError(table + name, f"{message[0].lower()}{message[1:]} ({where})")
