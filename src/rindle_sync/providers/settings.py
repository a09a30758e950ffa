"""What all classes of settings have in common, and what each provider's own must offer."""

import string
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr, field_validator, model_validator

from rindle_sync.errors import ConfigurationError

PREFIX: Final = "RINDLE_"

_AROUND: Final = string.whitespace + "\u00a0\u2028\u2029\ufeff"


def variable_of(name: str) -> str:
    """The variable of a setting by its full name, which begins with its table if it has one."""
    return (PREFIX + name.replace(".", "__")).upper().replace("-", "_")


def trimmed(value: Any) -> Any:
    """Text, also a secret, without the blanks, line ends and byte order mark around it."""
    # a secret store or an editor adds them, and a token with a line end is refused as wrong
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(plain, str):
        return value
    bare = plain.strip(_AROUND)
    return SecretStr(bare) if isinstance(value, SecretStr) else bare


class SettingsModel(BaseModel):
    """Some settings, each `trimmed`.

    For `x` there may be `x_file`, which names a file that holds it.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True
    )
    _table: str = PrivateAttr("")
    """What stands before the names of these settings: `environments.<name>.`, or nothing."""

    def model_post_init(self, context: Any) -> None:
        """Take the table from the context of the validation."""
        self._table = (context or {}).get("table", "")

    @model_validator(mode="before")
    @classmethod
    def _from_files(cls, values: Any) -> Any:
        read = dict(values)
        for name in cls.model_fields:
            file = f"{name}_file"
            path = trimmed(read.get(file))
            if file not in cls.model_fields or not isinstance(path, str | Path):
                continue
            if trimmed(read.get(name)):
                raise ValueError(
                    f"{name} and {file} are both set: which one counts? (unset one of them)"
                )
            with suppress(OSError, ValueError):  # named where the file's own setting is checked
                read[name] = trimmed(Path(path).read_text("utf-8"))
        return read

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        if isinstance(value, bool):
            # true would pass for 1; pydantic wants a ValueError
            raise ValueError("must not be true or false")  # noqa: TRY004
        return trimmed(value)

    @field_validator("*")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        if isinstance(value, Path):
            try:
                if not trimmed(value.read_text("utf-8")):
                    raise ValueError("names a file with nothing in it")
            except OSError as error:
                raise ValueError(f"names a file that cannot be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise ValueError("names a file that is no UTF-8 text") from None
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and text.encode("utf-8", "replace").decode() != text:
            raise ValueError("must be text in UTF-8")
        if isinstance(text, str) and "\0" in text:
            # what is written in C takes it for the end of the text
            raise ValueError("must not have a character with the code zero")
        return value

    def name_of(self, setting: str) -> str:
        """The full name of a setting of these."""
        return self._table + setting

    def need(self, name: str, remedy: str) -> None:
        """Raise `ConfigurationError` with `remedy` where the setting is missing."""
        if getattr(self, name) is None:
            full = self.name_of(name)
            text = f"is not set; {remedy} and put it into {variable_of(full)}"
            raise ConfigurationError(full, text)


class ProviderSettings(SettingsModel):
    """One account of a provider. A field with `repr=False` is never shared between environments."""

    credential_names: ClassVar[tuple[str, ...]]
    credentials_remedy: ClassVar[str]
    """How to get credentials, as an imperative."""
    webhook_secrets_name: ClassVar[str]

    @property
    def credentials(self) -> tuple[str, ...] | None:
        """The credentials, in the order of `credential_names`; None where one is missing."""
        found = [getattr(self, name) for name in self.credential_names]
        return None if None in found else tuple(value.get_secret_value() for value in found)

    def check_credentials(self) -> None:
        """Raise `ConfigurationError` where credentials are missing."""
        for name in self.credential_names:
            self.need(name, self.credentials_remedy)

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that webhooks may be signed with."""
        secrets = getattr(self, self.webhook_secrets_name)
        return tuple(secrets.get_secret_value().split(",")) if secrets else ()

    @property
    def environment_id(self) -> str | None:
        """The provider's own id of the environment of the rows, where a setting names it."""
        return None


def split_list(value: Any) -> Any:
    """A list out of text with a comma between each two, each part without blanks."""
    if isinstance(value, str):
        value = value.split(",") if value else []
    return [trimmed(part) for part in value] if isinstance(value, list | tuple) else value


def split_secrets(value: SecretStr | None) -> SecretStr | None:
    """Secrets with a comma between each two, without blanks; None where there is none."""
    parts = [trimmed(part) for part in value.get_secret_value().split(",")] if value else []
    if not any(parts):
        return None
    if not all(parts):
        raise ValueError("must hold secrets with a comma between each two, none of them empty")
    return SecretStr(",".join(parts))
