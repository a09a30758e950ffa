"""The HTTP API of a real service, behind our own server, with the emulator as its provider."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import plain_settings
from rindle_sync.emulator import Life, MuxEmulator
from rindle_sync.providers.mux import sign
from rindle_sync.store.api_tokens import ApiTokens
from rindle_sync.web.mounting import at_prefix
from tests.support.processes import PATIENCE, serving, settings_for
from tests.support.server import served
from tests.support.webhooks import SECRET, an_event
from tests.support.world import READY

TOKEN = "the-api-token-of-the-settings-1234567890"
PREFIX = "/api/v1"
OTHERS = {"mux_webhook_secrets": SECRET}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@dataclass
class ApiWorld:
    """A service with its API, and a client with the token of the settings."""

    rindle: RindleSync
    emulator: MuxEmulator
    client: httpx.AsyncClient
    port: int

    async def token(self, name: str = "reader", **values: Any) -> dict[str, str]:
        """The header of a new token, which may only read unless `values` say more."""
        given = {"may_write": False, "sees_provider_ids": False} | values
        tokens = ApiTokens(self.rindle.store.database)
        _, text = await tokens.create(name, **given, now=datetime.now(UTC))
        return bearer(text)

    def asset(self, life: Life = READY, **values: Any) -> str:
        """The provider's id of a new asset."""
        return self.emulator.create_asset(life=life, **values)

    async def ready(self, reference: str, **values: Any) -> dict[str, Any]:
        """A row as the API shows it, whose asset is ready."""
        asset_id = self.asset(policies=("public",), **values)
        await self.rindle.track(reference=reference, provider_asset_id=asset_id)
        await self.rindle.sync(asset_id, ask_first=True)
        answer = await self.client.get("/assets", params={"reference": reference})
        (row,) = answer.json()["data"]
        return dict(row)

    async def tell(self, asset_id: str) -> None:
        """Deliver a webhook about an asset of the provider's."""
        body = json.dumps(an_event(asset_id)).encode()
        headers = {"mux-signature": sign(body, SECRET, datetime.now(UTC))}
        assert (await self.rindle.receive(headers, body)).status == 202

    async def publish(self) -> None:
        """Give all changes their place in the feed, as an engine does."""
        await self.rindle.job_runner.publish()


@asynccontextmanager
async def an_api(database_url: str, **settings: Any) -> AsyncIterator[ApiWorld]:
    """The API on a database that has our tables."""
    with serving(MuxEmulator()) as far_end:
        told = settings_for(database_url, far_end, api_token=TOKEN, **OTHERS, **settings)
        async with connect(plain_settings(**told)) as rindle:
            app = at_prefix(PREFIX, rindle.api)
            async with served(app) as port:
                base_url = f"http://127.0.0.1:{port}{PREFIX}"
                async with httpx.AsyncClient(
                    base_url=base_url, headers=bearer(TOKEN), timeout=PATIENCE
                ) as client:
                    yield ApiWorld(rindle, far_end.emulator, client, port)
                rindle.api.following.end()
