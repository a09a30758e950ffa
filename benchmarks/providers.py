"""The providers that a sweep is measured against, in this process or in another.

`emulator`: the Mux emulator in this process. The adapter, httpx's ASGI transport, Starlette, and
the emulator's own work. `20 ms`: the same, but every answer takes that long, as over a network.
`process`: the emulator in a process of its own, over real HTTP on loopback; its work is not in the
processor time of the run. `instant`: the adapter and ASGI transport, to an ASGI app that only hands
out prepared bodies. `object`: no HTTP. A Python object returns a finished `Observation`; what is
left is ours and the database's.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self
from urllib.parse import parse_qs

import httpx
import msgspec

from rindle_sync.domain import Observation, ObservationSource, replace
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.providers import Page
from rindle_sync.providers.mux import Credentials, Mux
from tests.support.processes import Shell, free_port

PROVIDERS: Final = ("emulator", "20 ms", "process", "instant", "object")
BASE_URL: Final = "http://mux.invalid"
LATENCY: Final = 0.02
READY: Final = Life(ends="ready", after=0)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Assets:
    """Assets at the provider, newest first.

    Their ids, and when each was made, in whole unix seconds.
    """

    ids: Sequence[str]
    made: Sequence[int]

    @classmethod
    def order(cls, count: int) -> tuple[float, float]:
        """When the first of `count` assets is to be made, and the gap to each next one.

        All within one hour.
        """
        return time.time() - 7200, 3600 / count

    @classmethod
    def oldest_first(cls, ids: Sequence[str], first: float, every: float) -> Self:
        return cls(ids[::-1], [int(first + place * every) for place in range(len(ids))][::-1])

    def newest(self, count: int) -> "Assets":
        return Assets(self.ids[:count], self.made[:count])


class Instant:
    """An ASGI app that answers a GET or a list page at once.

    Every body is the first asset's, but for id and age.
    """

    def __init__(self, assets: Assets, asset: bytes) -> None:
        self._bodies = dict(zip(assets.ids, _bodies(assets, asset), strict=True))
        self._pages = {
            str(start): self._page(assets.ids, start)
            for start in range(0, len(assets.ids), Mux.page_size)
        }

    def _page(self, ids: Sequence[str], start: int) -> bytes:
        following = start + Mux.page_size
        data = [msgspec.Raw(self._bodies[asset_id]) for asset_id in ids[start:following]]
        return msgspec.json.encode(
            {"data": data, "next_cursor": str(following) if following < len(ids) else None}
        )

    async def __call__(self, scope: Message, _receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": self._body(scope)})

    def _body(self, scope: MutableMapping[str, Any]) -> bytes:
        asset_id = scope["path"].removeprefix("/video/v1/assets").strip("/")
        if asset_id:
            return b'{"data":%s}' % self._bodies[asset_id]
        return self._pages[parse_qs(scope["query_string"].decode()).get("cursor", ["0"])[0]]


def _bodies(assets: Assets, asset: bytes) -> list[bytes]:
    first_id, first_made = assets.ids[0].encode(), str(assets.made[0]).encode()
    return [
        asset.replace(first_id, asset_id.encode()).replace(first_made, str(made).encode())
        for asset_id, made in zip(assets.ids, assets.made, strict=True)
    ]


class Late:
    """An ASGI app whose every answer takes `LATENCY` seconds longer."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await asyncio.sleep(LATENCY)
        await self._app(scope, receive, send)


class Told(Mux):
    """A provider that asks nobody.

    What is seen of any asset is `observation`, but for its id and when it was made.
    """

    def __init__(self, assets: Assets, observation: Observation) -> None:
        super().__init__(Credentials("", ""))
        self._ids = assets.ids
        self._made = {
            i: datetime.fromtimestamp(made, UTC)
            for i, made in zip(assets.ids, assets.made, strict=True)
        }
        self._observation = observation

    def about(
        self, asset_id: str, at: datetime, source: ObservationSource = ObservationSource.GET
    ) -> Observation:
        return replace(
            self._observation,
            provider_asset_id=asset_id,
            created_at=self._made[asset_id],
            at=at,
            source=source,
        )

    async def get_asset(self, provider_asset_id: str, at: datetime) -> Observation:
        return self.about(provider_asset_id, at)

    async def list_assets(self, at: datetime, cursor: str | None = None) -> Page:
        start = int(cursor or 0)
        following = start + Mux.page_size
        entries = [
            self.about(asset_id, at, ObservationSource.LIST)
            for asset_id in self._ids[start:following]
        ]
        return Page(entries, str(following) if following < len(self._ids) else None)


@dataclass(frozen=True, slots=True)
class World:
    """As many ready assets as there are rows, and the providers in this process that list them."""

    assets: Assets
    emulator: MuxEmulator
    instant: Instant
    told: Told

    @classmethod
    async def of(cls, count: int) -> Self:
        emulator, (first, every) = MuxEmulator(), Assets.order(count)
        ids = emulator.create_assets(count, life=READY, created_at=first, every=every)
        assets = Assets.oldest_first(ids, first, every)
        observation = await adapter(emulator.app).get_asset(assets.ids[0], datetime.now(UTC))
        return cls(
            assets,
            emulator,
            Instant(assets, msgspec.json.encode(observation.metadata)),
            Told(assets, observation),
        )

    def provider(self, provider: str) -> Mux:
        match provider:
            case "emulator":
                return adapter(self.emulator.app)
            case "20 ms":
                return adapter(Late(self.emulator.app))
            case "instant":
                return adapter(self.instant)
            case _:
                return self.told


TOKEN: Final = Credentials(MuxEmulator().token_id, MuxEmulator().token_secret)


def adapter(app: Any) -> Mux:
    """Our adapter, to an ASGI app in this process."""
    return Mux(TOKEN, base_url=BASE_URL, transport=httpx.ASGITransport(app))


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """The address of an emulator in a process of its own."""
    port = free_port()
    with TemporaryDirectory(prefix="rindle-bench-") as folder:
        async with Shell(Path(folder)).started("emulator", "--port", str(port)) as running:
            async with httpx.AsyncClient() as client:
                while not await _answers(client, f"http://127.0.0.1:{port}/_emulator/"):
                    assert running.process.returncode is None, running.err
            yield f"http://127.0.0.1:{port}"


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx.TransportError:
        await asyncio.sleep(0.05)
        return False


async def assets_at(url: str, count: int) -> Assets:
    """As many ready assets at the emulator there, and no others.

    None of their ids was there before.
    """
    first, every = Assets.order(count)
    order = {"n": count, "created_at": first, "every": every, "life": {"ends": "ready", "after": 0}}
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        (
            await client.post("/_emulator/reset", json={"seed": time.time_ns() % 2**31})
        ).raise_for_status()
        made = (await client.post("/_emulator/assets", json=order)).raise_for_status()
    return Assets.oldest_first(made.json()["ids"], first, every)
