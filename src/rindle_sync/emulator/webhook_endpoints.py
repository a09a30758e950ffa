"""Mux's operations on webhook endpoints."""

from typing import Any, Final

from rindle_sync.emulator.call import Call
from rindle_sync.emulator.requests import Check, read_fields
from rindle_sync.emulator.responses import NOT_FOUND, ApiResponse, problem
from rindle_sync.emulator.validation import check_flag, check_url, reject
from rindle_sync.emulator.webhook_payloads import timestamp
from rindle_sync.emulator.webhooks import Webhook

_CREATE: Final[dict[str, Check]] = {"address": check_url}
_UPDATE: Final[dict[str, Check]] = {"address": check_url, "enabled": check_flag}


def create_webhook(call: Call) -> ApiResponse:
    """POST /system/v1/webhooks; only this answer has the secret."""
    if refused := _refused(call, "system:write"):
        return refused
    address = read_fields(call.json(), _CREATE, required="address")["address"]
    _check_free(call, address)
    webhook = call.webhooks.create(address, call.now)
    secret = {"signing_secret": webhook.endpoint.secret}
    return ApiResponse(201, {"data": _shown(webhook) | secret})


def list_webhooks(call: Call) -> ApiResponse:
    """GET /system/v1/webhooks, newest first; Mux has no cursor here."""
    if refused := _refused(call, "system:read"):
        return refused
    limit, skip = call.page()
    newest = sorted(call.webhooks, key=lambda webhook: webhook.id, reverse=True)
    data = [_shown(webhook) for webhook in newest[skip : skip + limit]]
    return ApiResponse(200, {"data": data, "total_row_count": len(newest)})


def get_webhook(call: Call) -> ApiResponse:
    """GET /system/v1/webhooks/{id}."""
    if refused := _refused(call, "system:read"):
        return refused
    webhook = call.webhooks.find(call.id)
    return NOT_FOUND if webhook is None else ApiResponse(200, {"data": _shown(webhook)})


def update_webhook(call: Call) -> ApiResponse:
    """PATCH /system/v1/webhooks/{id}."""
    if refused := _refused(call, "system:write"):
        return refused
    webhook = call.webhooks.find(call.id)
    if webhook is None:
        return NOT_FOUND
    given = read_fields(call.json(), _UPDATE)
    if not given:
        reject("address", "or enabled must be given")
    address = given.get("address")
    if address != webhook.endpoint.url:
        _check_free(call, address)
    webhook.change(call.now, url=address, enabled=given.get("enabled"))
    return ApiResponse(200, {"data": _shown(webhook)})


def delete_webhook(call: Call) -> ApiResponse:
    """DELETE /system/v1/webhooks/{id}."""
    if refused := _refused(call, "system:write"):
        return refused
    webhook = call.webhooks.find(call.id)
    if webhook is None:
        return NOT_FOUND
    call.webhooks.remove(webhook)
    return ApiResponse(204)


def _refused(call: Call, permission: str) -> ApiResponse | None:
    if permission in call.whoami.permissions:
        return None
    return problem(403, "forbidden", f"The access token lacks the permission {permission}.")


def _check_free(call: Call, address: str | None) -> None:
    if any(webhook.endpoint.url == address for webhook in call.webhooks):
        reject("address", "has already been taken")


def _shown(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.key,
        "address": webhook.endpoint.url,
        "enabled": webhook.is_enabled,
        "created_at": timestamp(webhook.created_at),
    }
