"""A new row, its values checked one by one."""

from typing import Any, Final
from uuid import uuid4

from rindle_sync.domain import ProviderAsset, check_is_text, regular_check, replace, text_fault
from rindle_sync.errors import ConfigurationError
from rindle_sync.reconcile.context import Context

POLICIES: Final = ("public", "signed", "drm")
"""Who may play a video."""

TEXTS: Final = (
    "reference",
    "profile",
    "provider_asset_id",
    "provider_upload_id",
    "passthrough",
    "playback_policy",
    "ingest_mode",
)
"""The texts of a new row."""


def new_row(context: Context, **values: Any) -> ProviderAsset:
    """A row that is not stored yet; raises `ConfigurationError` for a value that none can have."""
    for name in TEXTS:
        check_text(name, values.get(name))
    policies = (values.get("playback_policy") or POLICIES[0]).split(",")
    if not set(policies) <= set(POLICIES):
        text = f"must be of {', '.join(POLICIES)}; several with commas between them"
        raise ConfigurationError("playback_policy", text)
    now = context.now()
    row = ProviderAsset(
        id=str(uuid4()),
        provider_name=context.store.provider,
        environment=context.store.environment,
        provider_created_at=now,
        inserted_at=now,
        updated_at=now,
        **values,
    )
    return replace(row, check_at=regular_check(row, now, context.policy, context.schedule))


def check_text(name: str, value: str | None) -> None:
    """Raise `ConfigurationError` unless `value` is a text that a row can hold, or None."""
    if value is None:
        return
    check_is_text(name, value)
    if fault := text_fault(value):
        raise ConfigurationError(name, fault)
