"""The settings that each provider environment may have for itself."""

from collections.abc import Mapping
from datetime import timedelta
from re import fullmatch
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic.functional_validators import ModelWrapValidatorHandler

from rindle_sync.config.outgoing import OutgoingSettingsModel
from rindle_sync.config.process_settings import BASE_URL
from rindle_sync.config.reading import variables
from rindle_sync.domain import (
    Policy,
    Schedule,
    StuckPolicy,
    WebhookSettings,
    pattern_fault,
    replace,
)
from rindle_sync.providers import (
    DEFAULT_PROVIDER,
    PREFIX,
    PROVIDERS,
    Buckets,
    Priority,
    ProviderSettings,
    provider_entry,
    split_list,
    trimmed,
)


class EnvironmentSettings(OutgoingSettingsModel):
    """What each provider environment may have for itself.

    `account` is the part that its provider defines.
    """

    provider: str = DEFAULT_PROVIDER
    """The video provider of this environment. It picks which account settings there are: those that
    begin with its name. See adding a provider.
    """
    webhook_public_url: str | None = None
    """The public address of your webhook endpoint, as Mux has it:
    `https://app.example.com/webhooks/mux`. `doctor --ping` compares Mux's endpoints with it;
    nothing else uses it.
    """
    webhook_types: tuple[str, ...] | None = None
    """Types of events that are stored for your app by a process that has no callback for them, such
    as `rindle-sync run`: `video.live_stream.*`.
    """
    webhook_tolerance_seconds: float = Field(default=300, ge=1, le=86_400)
    """How far a delivery's time may be from the local clock, in both directions."""
    webhook_event_retention_days: float = Field(default=7, ge=0.001, le=3650)
    """How long the bodies of applied and ignored webhook events are kept, and how long a change, or
    an event for your app, waits to be dispatched.
    """
    dead_webhook_event_retention_days: float = Field(default=30, ge=0.001, le=3650)
    """How long the bodies of dead webhook events are kept, and so can be replayed."""
    provider_polling_floor_seconds: float = Field(default=30, ge=0.001, le=86_400)
    """The shortest gap of a row in flight. A sweep also skips a row that changed less than this
    ago. Lower it for short videos and few rows.
    """
    provider_stuck_threshold_seconds: float = Field(default=7200, ge=0.001, le=31_536_000)
    """A row in flight without a real change for longer than this is stuck. Raise it for very long
    videos.
    """
    stuck_policy: StuckPolicy = StuckPolicy.DECLARE
    """What happens to a stuck row. `declare` makes it `errored` without a call. `ask-first` checks
    it, and makes it `errored` only if the answer leaves it in flight. Choose `ask-first` if outages
    of hours must not mark healthy rows.
    """
    provider_confirm_seconds: float = Field(default=600, ge=0, le=31_536_000)
    """How far apart two answers must be that take something away: two 404s before a settled row
    becomes `deleted`, two whole assets without a playback id before the row loses it.
    """
    provider_recovery_days: float = Field(default=7, ge=0, le=3650)
    """How long a `stuck` or `not_found` row is watched, so that it can recover by itself. After
    that only `sync` checks it.
    """
    provider_check_growth: float = Field(default=0.25, ge=0, le=10)
    """The gap as a share of the row's age. 0 keeps every gap at the floor."""
    provider_check_cap_seconds: float = Field(default=600, ge=0.001, le=31_536_000)
    """The longest gap of a row in flight."""
    provider_check_jitter: float = Field(default=0.1, ge=0, le=1)
    """How much longer a gap may be, as a share of it, so that environments and stretches of the
    list spread out. It is derived from the environment's name and the hour in which the asset was
    created: neighbours in the list share it, and are checked by one page. 0 adds nothing.
    """
    provider_watch_floor_seconds: float = Field(default=300, ge=0.001, le=31_536_000)
    """The shortest gap of a watched row."""
    provider_watch_cap_seconds: float = Field(default=21_600, ge=0.001, le=31_536_000)
    """The longest gap of a watched row."""
    provider_retry_seconds: float = Field(default=5, ge=0.001, le=3600)
    """The first gap after a check without an answer. It doubles each time."""
    provider_timeout_seconds: float = Field(default=10, ge=0.001, le=300)
    """The time limit of one whole call, with the body of the answer. A connection must be there
    within nine tenths of it. A lease grows with it.
    """
    provider_token_priority: Priority = Priority.LOW
    """The token's priority at Mux: 20 calls at once and 1/s for `low`, 100 and 5/s for `high`.
    Creating uploads has a rate limit of its own: 4 and 1/s for `low`, 20 and 1/s for `high`. `low`
    fits every token, and leaves Mux's other bucket to your app.
    """
    provider_rate_limit_share: float = Field(default=1, ge=0.01, le=1)
    """The share of both buckets that rindle-sync uses. Lower it where your app, or another program,
    calls Mux with a token of the same priority. With 0.5, rindle-sync uses half of the calls and
    leaves the rest.
    """
    provider_read_burst: int | None = Field(default=None, ge=1, le=1_000_000)
    """Calls at once that Mux allows the token. Set it only where Mux has given you other limits. To
    use less than the limit, set `provider_rate_limit_share`.
    """
    provider_reads_per_second: float | None = Field(default=None, ge=0.001, le=1_000_000)
    """Calls per second after that. Likewise."""
    audit_days: float = Field(default=1, ge=0, le=3650)
    """Within how many days a change of a settled row is known that no webhook reported: how often
    `run` compares every settled row with the provider's list, one call for each 100 assets. 0:
    never by itself.
    """
    sweep_batch: int = Field(default=20, ge=1, le=200)
    """How many rows sweeps and audits check by id at the same time, within the rate limit. Each
    check has a connection of its own. List pages are fetched one by one, and have up to 100 rows
    whatever this is.
    """
    _account: ProviderSettings = PrivateAttr()

    @field_validator("provider")
    @classmethod
    def _registered(cls, value: str) -> str:
        if value not in PROVIDERS:
            raise ValueError(f"must be one of {', '.join(PROVIDERS)}")
        return value

    @field_validator("webhook_public_url")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        if value and not fullmatch(BASE_URL, value):
            raise ValueError(
                "must be an address like https://app.example.com/webhooks/mux, with nothing after "
                "its path and no user in it"
            )
        _ = urlsplit(value or "").port  # raises ValueError where it is out of range
        return value or None

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
            given = known_variables(cls.model_fields, given) | given
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
    def environment_has_table(self) -> bool:
        """Whether these are the settings of one environment among several."""
        return bool(self._table)

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


def account_type(provider: str) -> type[ProviderSettings]:
    """The class of a provider's settings; without fields where there is no such provider."""
    return provider_entry(provider).settings if provider in PROVIDERS else ProviderSettings


def named_provider(values: Mapping[str, Any]) -> str:
    """The provider that these settings pick."""
    provider = trimmed(values.get("provider", DEFAULT_PROVIDER))
    return provider if isinstance(provider, str) else ""


def known_variables(fields: Mapping[str, FieldInfo], values: Mapping[str, Any]) -> dict[str, str]:
    """What stands in variables of this process of `fields`, and of the provider's account.

    The provider is the one that `values` or they pick.
    """
    found = variables()
    account = account_type(named_provider({**found, **values}))
    known = {**fields, **account.model_fields}
    return {name: value for name, value in found.items() if name in known}
