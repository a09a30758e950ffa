"""Mux's webhook endpoints: https://www.mux.com/docs/core/manage-webhooks ."""

from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote

from rindle_sync.errors import ProviderUnavailable
from rindle_sync.providers.base import CreatedWebhookEndpoint, EndpointPage, WebhookEndpoint
from rindle_sync.providers.mux.fields import count, parse_time, text_id

PATH: Final = "/system/v1/webhooks"
PAGE_SIZE: Final = 100
READ: Final = "system:read"
WRITE: Final = "system:write"


class SystemCalls(Protocol):
    """What makes calls to Mux that are about no asset or upload."""

    async def system_call(
        self,
        method: str,
        path: str,
        *,
        permission: str,
        query: Mapping[str, str] | None = None,
        asked: Any = None,
    ) -> Mapping[str, Any]:
        """The body of the answer."""


class MuxEndpoints:
    """The webhook endpoints of one Mux environment."""

    def __init__(self, mux: SystemCalls) -> None:
        self._mux = mux

    async def page(self, cursor: str | None = None) -> EndpointPage:
        """https://www.mux.com/docs/api-reference/system/webhooks/list-webhooks .

        An entry that is no endpoint is left out.
        """
        number, seen = map(int, (cursor or "1:0").split(":"))
        query = {"limit": str(PAGE_SIZE), "page": str(number)}
        body = await self._mux.system_call("GET", PATH, permission=READ, query=query)
        entries = body.get("data")
        if not isinstance(entries, list):
            raise ProviderUnavailable("mux sent an answer without data")
        found = [endpoint for endpoint in map(_endpoint, entries) if endpoint]
        seen += len(entries)
        total = count(body.get("total_row_count"))
        # where Mux lists fewer at once than it was asked for, the total alone says that more follow
        is_more = len(entries) >= PAGE_SIZE if total is None else seen < total
        return EndpointPage(found, f"{number + 1}:{seen}" if entries and is_more else None)

    async def create(self, address: str) -> CreatedWebhookEndpoint:
        """https://www.mux.com/docs/api-reference/system/webhooks/create-webhook ."""
        asked = {"address": address}
        body = await self._mux.system_call("POST", PATH, permission=WRITE, asked=asked)
        data = body.get("data")
        endpoint = _endpoint(data)
        secret = data.get("signing_secret") if isinstance(data, dict) else None
        if endpoint is None or not isinstance(secret, str) or not secret:
            raise ProviderUnavailable("mux sent an answer without an endpoint and its secret")
        return CreatedWebhookEndpoint(endpoint=endpoint, secret=secret)

    async def delete(self, endpoint_id: str) -> None:
        """https://www.mux.com/docs/api-reference/system/webhooks/delete-webhook ."""
        segment = quote(endpoint_id, safe="", errors="replace").replace(".", "%2E")
        await self._mux.system_call("DELETE", f"{PATH}/{segment}", permission=WRITE)


def _endpoint(data: Any) -> WebhookEndpoint | None:
    if not isinstance(data, dict):
        return None
    endpoint_id, address = text_id(data.get("id")), text_id(data.get("address"))
    enabled = data.get("enabled")
    if endpoint_id is None or address is None:
        return None
    return WebhookEndpoint(
        id=endpoint_id,
        address=address,
        enabled=enabled if isinstance(enabled, bool) else None,
        created_at=parse_time(data.get("created_at")),
    )
