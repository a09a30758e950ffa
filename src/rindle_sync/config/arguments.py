"""What settings can be given in code: for type checkers and editors; what counts is `Settings`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from pydantic import SecretStr


class SettingsArguments(TypedDict, total=False):
    """Every setting by its name, with those of Mux; words may be members of their enumeration."""

    database_url: str
    database_schema: str | None
    environment: str
    environments: Mapping[str, Mapping[str, Any]]
    engine: str
    listen_host: str
    listen_port: int
    console_host: str
    console_port: int
    console_token: SecretStr | str | None
    console_token_file: Path | str | None
    console_base_url: str | None
    api_token: SecretStr | str | None
    api_token_file: Path | str | None
    api_token_sees_provider_ids: str
    api_host: str
    api_port: int | None
    opentelemetry: str
    log_format: str
    log_level: str
    sweep_interval_seconds: float
    provider: str
    webhook_public_url: str | None
    webhook_types: Sequence[str] | None
    webhook_tolerance_seconds: float
    webhook_event_retention_days: float
    dead_webhook_event_retention_days: float
    provider_polling_floor_seconds: float
    provider_stuck_threshold_seconds: float
    stuck_policy: str
    provider_confirm_seconds: float
    provider_recovery_days: float
    provider_check_growth: float
    provider_check_cap_seconds: float
    provider_check_jitter: float
    provider_watch_floor_seconds: float
    provider_watch_cap_seconds: float
    provider_retry_seconds: float
    provider_timeout_seconds: float
    provider_token_priority: str
    provider_rate_limit_share: float
    provider_read_burst: int | None
    provider_reads_per_second: float | None
    audit_days: float
    sweep_batch: int
    outgoing_webhook_url: str | None
    outgoing_webhook_secret: SecretStr | str | None
    outgoing_webhook_secret_file: Path | str | None
    outgoing_webhook_events: Sequence[str] | None
    outgoing_webhook_allow_private: str
    mux_base_url: str | None
    mux_token_id: SecretStr | str | None
    mux_token_secret: SecretStr | str | None
    mux_webhook_secrets: SecretStr | str | None
    mux_environment_id: str | None
    mux_signing_key_id: str | None
    mux_signing_private_key: SecretStr | str | None
    mux_token_id_file: Path | str | None
    mux_token_secret_file: Path | str | None
    mux_webhook_secrets_file: Path | str | None
    mux_signing_private_key_file: Path | str | None
