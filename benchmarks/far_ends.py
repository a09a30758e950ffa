"""The far ends that a pass is measured against, each with less work of its own than the one before.

`emulator`: the Mux emulator in this process. Our adapter, httpx's ASGI transport, Starlette, the emulator's own work.
`instant`: the same adapter and transport, to an ASGI app that only hands out bodies made beforehand.
`told`: no HTTP. A Python object returns a finished `Seen`; what is left is ours and the database's.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self
from urllib.parse import parse_qs

import httpx
import msgspec

from rindle_sync.asset import Seen, Via
from rindle_sync.providers.base import Page
from rindle_sync.providers.mux import Credentials, Mux
from rindle_sync.providers.mux_emulator.emulator import MuxEmulator

FAR_ENDS: Final = ("emulator", "instant", "told")
BASE_URL: Final = "http://mux.invalid"

Message = MutableMapping[str, Any]


class Instant:
    """An ASGI app that answers a GET or a list page at once; every body is the first asset's, but for the id."""

    def __init__(self, ids: Sequence[str], asset: bytes) -> None:
        self.calls = 0
        self._asset = asset.replace(ids[0].encode(), b"%s")
        self._pages = {str(start): self._page(ids, start) for start in range(0, len(ids), Mux.page_size)}

    def _page(self, ids: Sequence[str], start: int) -> bytes:
        following = start + Mux.page_size
        data = [msgspec.Raw(self._about(asset_id)) for asset_id in ids[start:following]]
        return msgspec.json.encode({"data": data, "next_cursor": str(following) if following < len(ids) else None})

    def _about(self, asset_id: str) -> bytes:
        return self._asset.replace(b"%s", asset_id.encode())

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        _receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self.calls += 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": self._body(scope)})

    def _body(self, scope: MutableMapping[str, Any]) -> bytes:
        asset_id = scope["path"].removeprefix("/video/v1/assets").strip("/")
        if asset_id:
            return b'{"data":%s}' % self._about(asset_id)
        return self._pages[parse_qs(scope["query_string"].decode()).get("cursor", ["0"])[0]]


class Told(Mux):
    """A provider that asks nobody: what is seen of any asset is `seen`, but for the id."""

    def __init__(self, ids: Sequence[str], seen: Seen) -> None:
        super().__init__(Credentials("", ""))
        self.calls = 0
        self._ids = ids
        self._seen = seen

    def about(self, asset_id: str, at: datetime, via: Via = Via.GET) -> Seen:
        return replace(self._seen, provider_asset_id=asset_id, at=at, via=via)

    async def get_asset(self, provider_asset_id: str, at: datetime) -> Seen:
        self.calls += 1
        return self.about(provider_asset_id, at)

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        self.calls += 1
        start = int(cursor or 0)
        following = start + Mux.page_size
        entries = [self.about(asset_id, at, Via.LIST) for asset_id in self._ids[start:following]]
        return Page(entries, str(following) if following < len(self._ids) else None)


@dataclass(frozen=True, slots=True)
class World:
    """As many ready assets as there are rows, newest first, and the far ends that tell of them."""

    ids: Sequence[str]
    emulator: MuxEmulator
    instant: Instant
    told: Told

    @classmethod
    async def of(cls, count: int) -> Self:
        emulator = MuxEmulator()
        ids = emulator.create_assets(count, created_at=time.time() - 7200, every=3600 / count)[::-1]
        seen = await _mux(emulator, emulator.app).get_asset(ids[0], datetime.now(UTC))
        emulator.reset_calls()
        return cls(ids, emulator, Instant(ids, msgspec.json.encode(seen.metadata)), Told(ids, seen))

    @property
    def token(self) -> dict[str, Any]:
        return {"mux_token_id": self.emulator.token_id, "mux_token_secret": self.emulator.token_secret}

    def provider(self, far_end: str) -> Mux:
        match far_end:
            case "emulator":
                return _mux(self.emulator, self.emulator.app)
            case "instant":
                return _mux(self.emulator, self.instant)
            case _:
                return self.told

    def calls(self, far_end: str) -> int:
        match far_end:
            case "emulator":
                return self.emulator.calls.total()
            case "instant":
                return self.instant.calls
            case _:
                return self.told.calls


def _mux(account: MuxEmulator, app: Any) -> Mux:
    credentials = Credentials(account.token_id, account.token_secret)
    return Mux(credentials, base_url=BASE_URL, transport=httpx.ASGITransport(app))
