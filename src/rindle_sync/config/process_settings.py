"""The settings that are one for the whole process."""

from pathlib import Path
from re import fullmatch
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from rindle_sync.config.api_settings import ApiSettings, long_enough, not_blank
from rindle_sync.config.choices import EngineName, LogFormat, LogLevel, Switch
from rindle_sync.providers import PREFIX, trimmed

BASE_URL: Final = (
    r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9_-][A-Za-z0-9._~-]*)*/?"
)
"""An address with nothing after its path, and no user in it."""


class ServiceSettings(ApiSettings):
    """What is one for the whole process."""

    database_url: str = Field(default="sqlite:///rindle-sync.sqlite3", repr=False, exclude=True)
    """Where the tables are. Three slashes begin a path from the current folder, four an absolute
    one. Use PostgreSQL in production; it may be your app's own database. rindle-sync replaces a
    driver in the URL (`postgresql+asyncpg`) by its own. In user, password and names, write
    `@ # / ? %` as `%40 %23 %2F %3F %25`. Options are those of libpq: `?sslmode=require`, not
    `ssl=`. Several hosts: `postgresql://user:password@/app?host=a,b&port=5432,5432`. The folder of
    a SQLite file must exist; only `migrate` creates the file.
    """
    database_schema: str | None = None
    """The schema of the tables on PostgreSQL, which `migrate` makes. Set it where your app's
    database has tables of its own.
    """
    environment: str = Field(default="default", min_length=1)
    """Your name for the provider environment that the token belongs to. Part of every row's key:
    rows tracked under one name are not visible under another. Set it when several environments
    share a database.
    """
    environments: dict[str, dict[str, Any]] = Field(default={}, repr=False, exclude=True)
    """Several environments in one process."""
    engine: EngineName = EngineName.EMBEDDED
    """What wakes the jobs. Celery's workers do it by themselves."""
    listen_host: str = Field(default="127.0.0.1", min_length=1)
    """The address on which `run` accepts webhooks. `0.0.0.0` in a container."""
    listen_port: int = Field(default=8000, ge=1, le=65_535)
    """Its port."""
    console_host: str = Field(default="127.0.0.1", min_length=1)
    """The address on which `run`, `worker` and `receive` serve the console, metrics and probes.
    `0.0.0.0` in a container, in a private network: anybody who reaches it can read metrics and
    probes.
    """
    console_port: int = Field(default=8001, ge=0, le=65_535)
    """Its port; 0 turns it off. Set it where several processes run on one machine: only the first
    one gets the default.
    """
    console_token: SecretStr | None = None
    """With it, everybody signs in to see the console, from this machine too, and may act there;
    tokens are accepted beside it. Without it the console is read-only, and for this machine alone.
    Set it wherever something forwards to `console_port`.
    """
    console_token_file: Path | None = None
    """Holds `console_token` instead of it."""
    console_base_url: str | None = None
    """The address at which browsers find the console behind a proxy, as in
    `https://ops.example.com/rindle`. Without it, links and cookies are for a console that browsers
    reach directly.
    """
    opentelemetry: Switch = Switch.OFF
    """Whether these processes send metrics and traces to OpenTelemetry."""
    log_format: LogFormat = LogFormat.TEXT
    """The format of a log line."""
    log_level: LogLevel = LogLevel.INFO
    """The least severe lines of the log. `debug` has a line for every event, `warning` only what is
    wrong.
    """
    sweep_interval_seconds: float = Field(default=5, ge=0.001, le=86_400)
    """The pause between two sweeps of `run`. A failed pass doubles it, up to a minute."""

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
        if not fullmatch(BASE_URL, value):
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
