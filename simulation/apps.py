"""Apps that hear of changes: some behind outgoing webhooks, and one that follows the feed."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from rindle_sync.domain import OutgoingEndpoint
from rindle_sync.errors import ConfigurationError, RindleSyncError
from rindle_sync.runtime.outgoing.client import NotAnswered, OutgoingClient
from simulation.draw import Hearer
from simulation.host import Host, HostDied

if TYPE_CHECKING:
    from simulation.world import World

HANGS: Final = 60.0
"""Seconds for which an app does not answer that hangs: longer than anybody waits."""

NOBODY: Final = "nobody is there"


@dataclass(frozen=True, slots=True)
class Heard:
    """A request that an app has got, and what it answered."""

    app: str
    row_id: str
    version: int
    kind: str
    to_state: str
    status: int
    body: str = field(repr=False)
    flaw: str = ""
    """What is wrong with it."""

    @property
    def is_accepted(self) -> bool:
        """Whether the app has it now."""
        return 200 <= self.status < 300

    def __str__(self) -> str:
        return f"{self.app} hears {self.row_id} v{self.version}: {self.status}{self.flaw}"


@dataclass(frozen=True, slots=True)
class Followed:
    """A change that the app has read in the feed."""

    row_id: str
    version: int

    def __str__(self) -> str:
        return f"follower reads {self.row_id} v{self.version}"


@dataclass(slots=True, eq=False)
class App:
    """What answers at the address of an endpoint."""

    world: "World"
    plan: Hearer
    chance: Random
    secret: str

    @property
    def is_down(self) -> bool:
        """Whether nobody answers."""
        now = self.world.loop.moment
        is_struck = any(begins <= now < ends for begins, ends in self.plan.down)
        return is_struck and not self.world.is_calm

    async def answer(
        self, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, str | None] | None:
        """The status and the wait asked for; None where no answer comes."""
        if self.is_down:
            return None
        if self._strikes(self.plan.hanging):
            await asyncio.sleep(HANGS)
        status, asked = 204, None
        if self._strikes(self.plan.throttling):
            status, asked = self.chance.choice((429, 503)), self.chance.choice((None, "20"))
        elif self._strikes(self.plan.failing):
            status = self.chance.choice((500, 404))
        self._note(body, headers, status)
        # the answer may be lost on its way: the app has it, and gets it once more
        return None if self._strikes(self.plan.failing / 4) else (status, asked)

    def _strikes(self, odds: float) -> bool:
        return not self.world.is_calm and self.chance.random() < odds

    def _note(self, body: bytes, headers: Mapping[str, str], status: int) -> None:
        told = json.loads(body)
        data = told["data"]
        flaw = ""
        if not self._is_signed(body, headers):
            flaw = ", and its signature is wrong"
        elif headers["webhook-id"] != _message_id(data):
            flaw = ", and its id is that of another one"
        heard = Heard(
            app=self.plan.name,
            row_id=data["row_id"],
            version=data["version"],
            kind="media" if told["type"] == "asset.media_changed" else "state",
            to_state=data["state"],
            status=status,
            body=body.decode(),
            flaw=flaw,
        )
        self.world.note(self.plan.name, heard)

    def _is_signed(self, body: bytes, headers: Mapping[str, str]) -> bool:
        # by hand, not as the service does it
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        made = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return headers["webhook-signature"] == f"v1,{made}"


def _message_id(data: Mapping[str, Any]) -> str:
    return f"msg_{data['row_id'].replace('-', '')}_{data['version']}"


class WayToApps(OutgoingClient):
    """The way from a host to the apps and back, within the time limit of the real one."""

    def __init__(self, host: Host, apps: Mapping[str, App]) -> None:
        super().__init__()
        self._host = host
        self._apps = apps

    async def _send(
        self, endpoint: OutgoingEndpoint, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, str | None]:
        host, around = self._host, self._host.around
        await host.stepping.go_on()
        await asyncio.sleep(host.chance.random() * 0.3)
        if around.network_fails():
            raise NotAnswered(NOBODY)
        answer = await self._apps[endpoint.name].answer(body, headers)
        await asyncio.sleep(host.chance.random() * 0.3)
        await host.stepping.go_on()
        if answer is None or around.network_fails():
            raise NotAnswered(NOBODY)
        return answer


async def listen(world: "World", app: App, stop: asyncio.Event) -> None:
    """Add the endpoint of an app, as an operator does: again until it is there, or all is over."""
    plan = app.plan
    await asyncio.sleep(plan.at)
    # where nothing was left to be done, a history ends before a killed host has been started again
    while plan.name not in world.listening and not stop.is_set():
        host = world.some_host()
        if host:
            create = partial(_created, name=plan.name, secret=app.secret, types=plan.types)
            with suppress(RindleSyncError, HostDied):
                await host.ask(create)
                world.listening[plan.name] = len(world.history.entries)
                world.note("operator", f"adds the endpoint {plan.name}")
                return
        await asyncio.sleep(7.0)


async def _created(rindle: Any, name: str, secret: str, types: tuple[str, ...]) -> None:
    # one that was committed before its host died is there
    with suppress(ConfigurationError):
        url = f"https://{name}.example.com/hooks"
        await rindle.outgoing.create(name, url, secret=secret, types=types)


async def follow(world: "World", stop: asyncio.Event) -> None:
    """Read the feed again and again, a few changes at once, from whichever host runs."""
    chance, after = Random(f"{world.plan.seed}:follower"), None
    while not stop.is_set():
        host = world.some_host()
        if host:
            with suppress(RindleSyncError, HostDied):
                after = await _read(world, host, after, chance.randint(1, 8))
        await asyncio.sleep(chance.uniform(1.0, 40.0))


async def _read(world: "World", host: Host, after: int | None, most: int) -> int | None:
    page = await host.ask(lambda rindle: rindle.store.change_feed.page(after, limit=most))
    for published in page:
        change = published.change
        world.note("follower", Followed(change.row_id, change.version))
        after = published.id
    return after
