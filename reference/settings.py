"""The page of the settings."""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from reference.markdown import attribute_docs, page, paragraphs, table
from rindle_sync.config import Settings, fields_of
from rindle_sync.config.environment_settings import account_type
from rindle_sync.providers import DEFAULT_PROVIDER, PREFIX

_ABOUT: Final = """
Each setting is read from the first of these that has it: an argument of `load_settings`, the
environment variable, the TOML file, its default. [Configuring rindle-sync](../settings.md) has
examples, several environments, and what a wrong setting says.
"""
_GROUPS: Final = {
    "The provider's account": (
        r"provider|environments?|mux_(token|base|environment).*|provider_(token|rate|read|timeout).*"
    ),
    "Webhooks": r"mux_webhook.*|webhook_.*|dead_webhook.*|listen_.*",
    "Outgoing webhooks": r"outgoing_.*",
    "The HTTP API": r"api_.*",
    "Signed playback": r"mux_signing.*",
    "The database": r"database_.*",
    "When a row is stuck, missing, or watched": r"provider_(stuck|confirm|recovery).*|stuck_policy",
    "How often a row is checked": (
        r"provider_(polling|check|watch|retry).*|engine|sweep_.*|audit_.*"
    ),
    "Operating": r"console_.*|opentelemetry|log_.*",
}
"""The headings, and the settings below each, in the order in which they stand in the code."""


def settings() -> str:
    """Every setting, by what it is about."""
    docs = attribute_docs(Settings) | attribute_docs(account_type(DEFAULT_PROVIDER))
    fields = fields_of()
    parts = []
    for heading, pattern in _GROUPS.items():
        names = [name for name in fields if re.fullmatch(pattern, name)]
        lines = [_line(name, fields.pop(name), docs.get(name, "")) for name in names]
        titles = "setting", "variable", "default", "bounds", "meaning, and when to change it"
        parts += [f"## {heading}", table(titles, lines)]
    if fields:
        raise LookupError(f"reference/settings.py has no heading for {', '.join(fields)}")
    return page("Settings: every RINDLE_ variable", paragraphs(_ABOUT), *parts)


def _line(name: str, field: FieldInfo, doc: str) -> tuple[str, ...]:
    return f"`{name}`", f"`{PREFIX}{name.upper()}`", _default(field), _bounds(field), doc


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined or (not value and value != 0):
        return "none"
    if isinstance(value, SecretStr):
        return "none"
    return f"`{value.value if isinstance(value, Enum) else value}`"


def _bounds(field: FieldInfo) -> str:
    kind: Any = field.annotation
    for choices in (kind, *get_args(kind)):
        if isinstance(choices, type) and issubclass(choices, Enum):
            return ", ".join(f"`{choice.value}`" for choice in choices)
    return " to ".join(_limits(field))


def _limits(field: FieldInfo) -> Iterator[str]:
    for rule in field.metadata:
        for limit in ("ge", "le"):
            if getattr(rule, limit, None) is not None:
                yield f"{getattr(rule, limit):,}"
