"""What a new asset shall be like, in Mux's words, and the playback policies in it.

https://www.mux.com/docs/api-reference/video/direct-uploads/create-direct-upload
https://www.mux.com/docs/api-reference/video/assets/create-asset
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rindle_sync.errors import ConfigurationError
from rindle_sync.providers.base import AssetRequest, NewAsset, UploadRequest

POLICIES: Final = ("public", "signed", "drm")
DEFAULT: Final = ("public",)

_SETTINGS: Final = "new_asset_settings"
_PLAIN: Final = "playback_policies"
_DEPRECATED: Final = "playback_policy"
_ADVANCED: Final = "advanced_playback_policies"
_DRM_REMEDY: Final = (
    'drm needs a DRM configuration: give new_asset_settings={"advanced_playback_policies": '
    '[{"policy": "drm", "drm_configuration_id": "..."}]}'
)


def upload_body(passthrough: str, request: UploadRequest) -> dict[str, Any]:
    """The body of the call that makes a direct upload."""
    body: dict[str, Any] = {
        "cors_origin": request.cors_origin,
        "timeout": int(request.timeout.total_seconds()),
        "new_asset_settings": {**_asset_settings(request), "passthrough": passthrough},
    }
    if request.test:
        body["test"] = True
    return body


def asset_body(passthrough: str, request: AssetRequest) -> dict[str, Any]:
    """The body of the call that makes an asset."""
    inputs = [dict(given) for given in request.inputs]
    body = {**_asset_settings(request), "inputs": inputs, "passthrough": passthrough}
    # the older name of the same field
    body.pop("input", None)
    if request.test:
        body["test"] = True
    return body


def _asset_settings(request: NewAsset) -> Mapping[str, Any]:
    """The app's settings; playback policies are added only where the app gives none there."""
    if _in_settings(request.settings) is not None:
        return request.settings
    policies = playback_policies(request)
    return {**request.settings, _PLAIN: list(policies)}


def playback_policies(request: NewAsset) -> Sequence[str]:
    """The playback policies that the new asset will have; makes no call.

    Raises `ConfigurationError` for policies that Mux does not have, for DRM without a
    configuration, and where argument and settings disagree.
    """
    asked = request.playback_policies
    for policy in asked:
        _check(_DEPRECATED, policy)
    given = _in_settings(request.settings)
    if given is None:
        if "drm" in asked:
            raise ConfigurationError(_DEPRECATED, _DRM_REMEDY)
        return asked or DEFAULT
    if asked and set(asked) != set(given):
        told = ", ".join(given) or "none"
        text = f"is {', '.join(asked)}, but {_SETTINGS} say {told}: give it in one place alone"
        raise ConfigurationError(_DEPRECATED, text)
    return given


def _in_settings(settings: Mapping[str, Any]) -> Sequence[str] | None:
    """The policies that the app's own settings name; None where they name none at all."""
    if not settings.keys() & {_PLAIN, _DEPRECATED, _ADVANCED}:
        return None
    if {_PLAIN, _DEPRECATED} <= settings.keys():
        text = f"has {_PLAIN} and {_DEPRECATED}, which Mux has renamed: give the former alone"
        raise ConfigurationError(_SETTINGS, text)
    plain = settings.get(_PLAIN, settings.get(_DEPRECATED, ()))
    policies = [plain] if isinstance(plain, str) else _list(_PLAIN, plain)
    for policy in policies:
        _check(f"{_SETTINGS}.{_PLAIN}", policy)
        if policy == "drm":
            raise ConfigurationError(f"{_SETTINGS}.{_PLAIN}", _DRM_REMEDY)
    advanced = _list(_ADVANCED, settings.get(_ADVANCED, ()))
    return list(dict.fromkeys([*policies, *(_advanced(entry) for entry in advanced)]))


def _advanced(entry: Any) -> str:
    """The policy of an entry of `advanced_playback_policies`."""
    name = f"{_SETTINGS}.{_ADVANCED}"
    if not isinstance(entry, Mapping):
        raise ConfigurationError(name, "must be a list of objects, each with a policy")
    policy = _check(name, entry.get("policy"))
    has_configuration = bool(entry.get("drm_configuration_id"))
    if policy == "drm" and not has_configuration:
        raise ConfigurationError(name, "needs a drm_configuration_id beside the policy drm")
    if policy != "drm" and has_configuration:
        raise ConfigurationError(name, f"has a drm_configuration_id beside the policy {policy}")
    return policy


def _list(name: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ConfigurationError(f"{_SETTINGS}.{name}", "must be a list")
    return value


def _check(name: str, policy: Any) -> str:
    if not isinstance(policy, str) or policy not in POLICIES:
        raise ConfigurationError(name, f"must be one of {', '.join(POLICIES)}")
    return policy
