"""All settings: those of the process, those of one provider environment, and both together."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from re import fullmatch
from typing import TYPE_CHECKING, Any, Final, Self, Unpack
from urllib.parse import urlsplit

from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.functional_validators import ModelWrapValidatorHandler

from rindle_sync.config.api_settings import ApiSettings, long_enough, not_blank
from rindle_sync.config.arguments import SettingsArguments
from rindle_sync.config.choices import EngineName, LogFormat, Switch
from rindle_sync.config.frames import hides_values
from rindle_sync.config.misconfigured import misconfigured
from rindle_sync.config.reading import (
    config_file,
    read_file,
    refuse_typos,
    variables,
    with_variables,
)
from rindle_sync.domain import Policy, Schedule, StuckPolicy, WebhookSettings, pattern_fault
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import (
    DEFAULT_PROVIDER,
    PREFIX,
    PROVIDERS,
    Buckets,
    Priority,
    ProviderSettings,
    SettingsModel,
    provider_entry,
    split_list,
    trimmed,
)

_BASE_URL: Final = (
    r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9_-][A-Za-z0-9._~-]*)*/?"
)


class ServiceSettings(ApiSettings):
    """What is one for the whole process."""

    database_url: str = Field(default="sqlite:///rindle-sync.sqlite3", repr=False, exclude=True)
    database_schema: str | None = None
    environment: str = Field(default="default", min_length=1)
    environments: dict[str, dict[str, Any]] = Field(default={}, repr=False, exclude=True)
    engine: EngineName = EngineName.EMBEDDED
    listen_host: str = Field(default="127.0.0.1", min_length=1)
    listen_port: int = Field(default=8000, ge=1, le=65_535)
    console_host: str = Field(default="127.0.0.1", min_length=1)
    console_port: int = Field(default=8001, ge=0, le=65_535)
    console_token: SecretStr | None = None
    console_token_file: Path | None = None
    console_base_url: str | None = None
    opentelemetry: Switch = Switch.OFF
    log_format: LogFormat = LogFormat.TEXT
    sweep_interval_seconds: float = Field(default=5, ge=0.001, le=86_400)

    @field_validator("database_schema")
    @classmethod
    def _plain_schema(cls, value: str | None) -> str | None:
        if value and not fullmatch(r"(?!pg_)[a-z_][a-z0-9_]{0,62}", value):
            raise ValueError(
                "must be a name of small letters, digits and _, at most 63, that begins with no "
                "digit and not with pg_"
            )
        return value or None

    @field_validator("engine", mode="before")
    @classmethod
    def _no_engine_of_the_apps(cls, value: Any) -> Any:
        if trimmed(value) == "celery":
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

    @field_validator("console_token", mode="before")
    @classmethod
    def _no_blanks(cls, value: Any) -> Any:
        return not_blank(value, 16)

    @field_validator("console_token")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        return long_enough(value, 16)

    @field_validator("console_base_url")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        if not value:
            return None
        if not fullmatch(_BASE_URL, value):
            raise ValueError(
                "must be an address like https://ops.example.com/rindle, with nothing after its "
                "path and no user in it"
            )
        _ = urlsplit(value).port  # raises ValueError where it is out of range
        return value.rstrip("/")

    @model_validator(mode="after")
    def _proxied_with_token(self) -> Self:
        if self.console_base_url and self.console_token is None:
            raise ValueError(
                "console_base_url needs console_token, since behind a proxy everybody seems to be "
                f"on this machine (set {PREFIX}CONSOLE_TOKEN or console_token in the TOML file)"
            )
        return self


class EnvironmentSettings(SettingsModel):
    """What each provider environment may have for itself.

    `account` is the part that its provider defines.
    """

    provider: str = DEFAULT_PROVIDER
    webhook_types: tuple[str, ...] | None = None
    webhook_tolerance_seconds: float = Field(default=300, ge=1, le=86_400)
    webhook_event_retention_days: float = Field(default=7, ge=0.001, le=3650)
    dead_webhook_event_retention_days: float = Field(default=30, ge=0.001, le=3650)
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
    audit_days: float = Field(default=1, ge=0, le=3650)
    sweep_batch: int = Field(default=20, ge=1, le=200)
    _account: ProviderSettings = PrivateAttr()

    @field_validator("provider")
    @classmethod
    def _registered(cls, value: str) -> str:
        if value not in PROVIDERS:
            raise ValueError(f"must be one of {', '.join(PROVIDERS)}")
        return value

    _split = field_validator("webhook_types", mode="before")(split_list)

    @field_validator("webhook_types")
    @classmethod
    def _for_the_app(cls, value: Any, info: ValidationInfo) -> Any:
        acted_on = provider_entry(info.data.get("provider", DEFAULT_PROVIDER)).acted_on
        for fault in (pattern_fault(pattern, acted_on) for pattern in value or ()):
            if fault:
                raise ValueError(fault)
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _with_account(
        cls, values: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """Without a context the variables of this process count as well."""
        given = dict(values)
        if info.context is None:
            given = from_variables(given) | given
        settings_type = account_type(named_provider(given))
        own = {name: given.pop(name) for name in settings_type.model_fields if name in given}
        settings = handler(given)
        account = settings_type.model_validate(own, context=info.context)
        settings._account = account  # noqa: SLF001  it is one of this class
        return settings

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
    def account(self) -> ProviderSettings:
        """The settings of the provider's account, of the class that `provider` picks."""
        return self._account

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
        """What the next check depends on."""
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
    def buckets(self) -> Buckets:
        """The rate limits of the token: the provider's own, unless they are set."""
        limits = provider_entry(self.provider).buckets[self.provider_token_priority]
        reads = replace(
            limits.reads,
            capacity=self.provider_read_burst or limits.reads.capacity,
            per_second=self.provider_reads_per_second or limits.reads.per_second,
        )
        creates = reads if limits.creates == limits.reads else limits.creates
        return Buckets(reads=reads, creates=creates)

    @property
    def webhooks(self) -> WebhookSettings:
        """Which webhook requests are accepted."""
        return WebhookSettings(
            secrets=self.account.webhook_secrets,
            tolerance=timedelta(seconds=self.webhook_tolerance_seconds),
            environment=self.account.environment_id,
            types=self.webhook_types or (),
        )


class Settings(ServiceSettings, EnvironmentSettings):
    """All settings of a process with one environment; `each` gives those of every environment.

    `Settings(...)` reads its arguments and the environment of the process, no file.
    """

    if TYPE_CHECKING:
        # those of the account are fields of another class, and secrets may be given as text
        def __init__(self, **values: Unpack[SettingsArguments]) -> None: ...

    def each(self) -> dict[str, Self]:
        """The settings of each environment that has a table, or of the named one, by name."""
        if not self.environments:
            return {self.environment: self}
        is_named = "environment" in self.model_fields_set
        names = (self.environment,) if is_named else tuple(self.environments)
        for name in names:
            if name not in self.environments:
                text = f"{name} has no table; there are {', '.join(self.environments)}"
                raise ConfigurationError("environment", text)
        return {name: self._of(name) for name in names}

    def _of(self, name: str) -> Self:
        table, prefix = self.environments[name], f"environments.{name}."
        provider = named_provider({"provider": self.provider} | table)
        account_fields = account_type(provider).model_fields
        allowed = {**EnvironmentSettings.model_fields, **account_fields}
        for key in table:
            if key not in allowed:
                near = get_close_matches(key, sorted(allowed), n=1)
                hint = "see docs/settings.md for those that may stand there"
                if near:
                    hint = f"did you mean {near[0]}?"
                raise ConfigurationError(prefix + key, f"is no setting of an environment; {hint}")
        shared: dict[str, Any] = {}
        for key in self.account.model_fields_set & account_fields.keys():
            # secrets (`repr=False`) belong to one environment: none reaches another by accident
            if account_fields[key].repr:
                shared[key] = getattr(self.account, key)
        read_already = {"console_token_file", "api_token_file"}
        for key in self.model_fields_set - {"environment", "environments"} - read_already:
            shared[key] = getattr(self, key)
        try:
            values = shared | table | {"environment": name}
            return self.model_validate(values, context={"table": prefix})
        except ValidationError as error:
            raise misconfigured(error, allowed, table=prefix) from None


def account_type(provider: str) -> type[ProviderSettings]:
    """The class of a provider's settings; without fields where there is no such provider."""
    return provider_entry(provider).settings if provider in PROVIDERS else ProviderSettings


def named_provider(values: Mapping[str, Any]) -> str:
    """The provider that these settings pick."""
    provider = trimmed(values.get("provider", DEFAULT_PROVIDER))
    return provider if isinstance(provider, str) else ""


def fields_of(provider: str = DEFAULT_PROVIDER) -> dict[str, FieldInfo]:
    """All settings by their names, with those of a provider's account."""
    return {**Settings.model_fields, **account_type(provider).model_fields}


def from_variables(values: Mapping[str, Any]) -> dict[str, str]:
    """What stands in variables of this process, for the provider that `values` or they pick."""
    found = variables()
    known = fields_of(named_provider({**found, **values}))
    return {name: value for name, value in found.items() if name in known}


def load_settings(**overrides: Unpack[SettingsArguments]) -> Settings:
    """The settings of this process: arguments, then variables, then the file.

    Raises `ConfigurationError` that names the first one that is wrong.
    """
    return settings_of_process(overrides)


@hides_values
def settings_of_process(overrides: Mapping[str, Any]) -> Settings:
    """The settings of this process, of whatever provider; raises `ConfigurationError`."""
    path = config_file()
    file = read_file(path) if path else {}
    values = {**file, **from_variables({**file, **overrides}), **overrides}
    known = fields_of(named_provider(values))
    tables = values.get("environments")
    if isinstance(tables, dict):
        # each table may pick a provider of its own, with settings of its own
        for table in tables.values():
            if isinstance(table, dict):
                known |= fields_of(named_provider({**values, **table}))
    refuse_typos(known)
    try:
        settings = Settings.model_validate(values, context={})
    except ValidationError as error:
        raise misconfigured(error, known, path) from None
    environments = with_variables(settings.environments)
    if environments:
        settings = settings.model_copy(update={"environments": environments})
    settings.each()
    return settings


def plain_settings(**values: Any) -> Settings:
    """Settings out of `values` and defaults alone, whatever the environment or a file says."""
    try:
        return Settings.model_validate(values, context={})
    except ValidationError as error:
        raise misconfigured(error, fields_of(named_provider(values))) from None
