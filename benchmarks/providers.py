"""The providers that a sweep is measured against.

`0 ms`: prepared answers of a process of its own, over real HTTP. `20 ms`: the same, but every
answer takes that long, as over a network. `object`: no HTTP. A Python object returns a finished
`Observation`; what is left is ours and the database's.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import httpx
import msgspec

from benchmarks.canned import Answers, serving
from rindle_sync.domain import Observation, ObservationSource, State, replace
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.providers import Page
from rindle_sync.providers.mux import Credentials, Mux
from tests.support.processes import Shell, free_port

BASE_URL: Final = "http://mux.invalid"
LATENCIES: Final = {"0 ms": 0.0, "20 ms": 0.02}
OBJECT: Final = "object"
PROVIDERS: Final = (*LATENCIES, OBJECT)
READY: Final = Life(ends="ready", after=0)
NEVER: Final = Life(ends="never")


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
    """As many assets as there are rows, all in one state, in the emulator and other providers."""

    assets: Assets
    emulator: MuxEmulator
    observation: Observation
    """What is observed of the first of the assets."""

    @classmethod
    async def of(cls, count: int, state: State = State.READY) -> Self:
        emulator, (first, every) = MuxEmulator(), Assets.order(count)
        life = READY if state is State.READY else NEVER
        ids = emulator.create_assets(count, life=life, created_at=first, every=every)
        assets = Assets.oldest_first(ids, first, every)
        observation = await adapter(emulator.app).get_asset(assets.ids[0], datetime.now(UTC))
        return cls(assets, emulator, observation)

    @property
    def told(self) -> Told:
        return Told(self.assets, self.observation)

    @asynccontextmanager
    async def provider(self, name: str) -> AsyncIterator[Mux]:
        """One of `PROVIDERS`."""
        if name == OBJECT:
            yield self.told
            return
        asset = msgspec.Raw(msgspec.json.encode(self.observation.metadata))
        ids, made = list(self.assets.ids), list(self.assets.made)
        async with serving(Answers(ids, made, asset, LATENCIES[name])) as url:
            provider = Mux(TOKEN, base_url=url)
            try:
                yield provider
            finally:
                await provider.close()


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
