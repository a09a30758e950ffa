"""All settings together: those of the process, and those of one provider environment."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from rindle_sync.config.arguments import SettingsArguments
from rindle_sync.config.environment_settings import (
    EnvironmentSettings,
    account_type,
    known_variables,
    named_provider,
)
from rindle_sync.config.frames import hides_values
from rindle_sync.config.misconfigured import misconfigured
from rindle_sync.config.process_settings import ServiceSettings
from rindle_sync.config.reading import config_file, read_file, refuse_typos, with_variables
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import DEFAULT_PROVIDER

_NOT_SHARED: Final = {
    *("environment", "environments"),
    # what they hold stands in the setting itself by then
    *("console_token_file", "api_token_file", "outgoing_webhook_secret_file"),
}


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
        for key in self.model_fields_set - _NOT_SHARED:
            if f"{key}_file" not in table:
                shared[key] = getattr(self, key)
        if self.webhook_public_url:
            # as the paths of `run` are: no two environments receive at one address
            shared["webhook_public_url"] = f"{self.webhook_public_url.rstrip('/')}/{name}"
        try:
            values = shared | table | {"environment": name}
            return self.model_validate(values, context={"table": prefix})
        except ValidationError as error:
            raise misconfigured(error, allowed, table=prefix) from None


def fields_of(provider: str = DEFAULT_PROVIDER) -> dict[str, FieldInfo]:
    """All settings by their names, with those of a provider's account."""
    return {**Settings.model_fields, **account_type(provider).model_fields}


def from_variables(values: Mapping[str, Any]) -> dict[str, str]:
    """What stands in variables of this process, for the provider that `values` or they pick."""
    return known_variables(Settings.model_fields, values)


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
