"""The environment and the token that Mux's `whoami` reports."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Whoami:
    """The environment and token that `whoami` reports."""

    environment_id: str
    environment_type: str = "development"
    environment_name: str = "Emulator"
    organization_id: str = "emulator-organization"
    organization_name: str = "Emulator"
    access_token_name: str = "Emulator token"  # noqa: S105 - the token's name, not its secret
    permissions: tuple[str, ...] = ("video:read", "video:write", "system:read", "system:write")
