"""One history: hosts, a provider, an app with users, an operator, and what goes wrong."""

import asyncio
import json
import logging
import math
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from random import Random
from typing import Any, Final, TypeVar

import httpx

from rindle_sync.app import RindleSync
from rindle_sync.config import Settings, plain_settings
from rindle_sync.domain import Outcome, outgoing_retry
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import AssetState, Ending, Life, PlaybackId
from rindle_sync.errors import AlreadyTracked, RindleSyncError
from rindle_sync.providers.mux import sign
from rindle_sync.runtime.engines import embedded
from rindle_sync.runtime.outgoing.client import OutgoingClient
from rindle_sync.webhooks import process
from simulation.acts import FILE, begin_upload, perform, track_with_a_row
from simulation.apps import App, WayToApps, follow, listen
from simulation.clock import BEGIN, VirtualLoop
from simulation.draw import ASSET_FAULTS, Command, Plan, Video, Window
from simulation.history import History
from simulation.host import Host, HostDied
from simulation.outputs import Output, make
from simulation.stores import Place

Answer = TypeVar("Answer")
Rest = Callable[["World", datetime], bool]

SECRET: Final = "simulated-webhook-secret"
_GLANCE: Final = 30.0
"""Seconds between two looks whether all has come to rest."""

_RETRY: Final = 7.0
"""Seconds after which the app tries again what did not work."""

_AUDITS: Final = 200
"""How often an audit is begun or gone on with until it must have come to its end."""

_ABSURD: Final = ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2031-01-01T00:00:00Z")
"""Times that no event has."""

_LATE_ANSWER: Final = 1.8

RETRY_WAITS: Final = (timedelta(seconds=5), *[timedelta(minutes=1)] * 100_000)
"""Those of outgoing webhooks."""

_EMULATED: Final = frozenset(name for name, _ in ASSET_FAULTS) | {"lagging_list"}


@dataclass(slots=True, eq=False)
class World:
    """One history under way."""

    plan: Plan
    loop: VirtualLoop
    place: Place
    is_quiet: Rest
    """Whether nothing is under way any more, and each row was looked at since then."""
    is_at_rest: Rest
    """The same, and whether all is as it should be."""
    history: History = field(default_factory=History)
    hosts: list[Host] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    """The assets that the app tracks."""
    failures: list[str] = field(default_factory=list)
    """Why the history could not go on, if it could not."""
    acknowledged: set[str] = field(default_factory=set)
    ill_answered: list[str] = field(default_factory=list)
    """What is wrong with answers to deliveries, as it was when they were given."""
    own: dict[str, str] = field(default_factory=dict)
    """By the app's reference, the asset or the upload that it tracks under it."""
    filled: set[str] = field(default_factory=set)
    """The assets that were there when a backfill came to its end."""
    superseded: set[str] = field(default_factory=set)
    """The assets that the app has untracked, or replaced by others."""
    without_history: set[str] = field(default_factory=set)
    """The rows that the app has untracked with their history."""
    all_sent_again: bool = False
    """Whether every event was sent once more after that."""
    listening: dict[str, int] = field(default_factory=dict)
    """By the name of an app, the number of the first entry after its endpoint was there."""
    apps: dict[str, App] = field(default_factory=dict)
    emulator: MuxEmulator = field(init=False)
    other: MuxEmulator = field(init=False)
    settings: Settings = field(init=False)
    """What every host is set to."""
    _chance: Random = field(init=False)
    _open: dict[Window, None] = field(default_factory=dict)
    is_calm: bool = False

    def __post_init__(self) -> None:
        self._chance = Random(f"{self.plan.seed}:world")
        self.emulator, self.other = (self._an_emulator(name) for name in ("right", "other"))
        self.settings = self._settings()
        for hearer in self.plan.hearers:
            # whsec_ and the base64 of 32 bytes
            secret = "whsec_" + b64encode(sha256(hearer.name.encode()).digest()).decode()
            chance = Random(f"{self.plan.seed}:{hearer.name}")
            self.apps[hearer.name] = App(self, hearer, chance, secret)

    def _an_emulator(self, name: str) -> MuxEmulator:
        plan = self.plan
        return MuxEmulator(
            now=lambda: self.moment().timestamp(),
            sleep=asyncio.sleep,
            seed=plan.seed,
            token_id=f"token-id-{plan.seed}",
            token_secret=f"token-secret-{plan.seed}",
            environment_id=f"{name}-environment",
            rate_limits=plan.limits,  # type: ignore[arg-type]
            retry_after=plan.retry_after,
        )

    async def run(self) -> None:
        """Live through the trouble and the calm after it."""
        plan = self.plan
        if plan.old:
            life = Life(ends="ready", after=0)
            self.emulator.create_assets(plan.old, every=30.0, life=life)
        if plan.odd_text:
            self.emulator.add_fault("odd_text")
        self._tell_webhooks(plan.webhooks)
        stop = asyncio.Event()
        couriers = asyncio.ensure_future(self._deliver(stop))
        async with asyncio.TaskGroup() as group:
            for number, skew in enumerate(plan.hosts):
                group.create_task(self._keep_up(number, timedelta(seconds=skew), stop))
            lives = [
                group.create_task(self._live(number, video))
                for number, video in enumerate(plan.videos)
            ]
            for window in plan.windows:
                group.create_task(self._go_wrong(window))
            for at, edit in plan.edits:
                group.create_task(self._edit(at, edit))
            for app in self.apps.values():
                group.create_task(listen(self, app, stop))
            if self.apps:
                group.create_task(follow(self, stop))
            for command in plan.commands:
                group.create_task(self._operate(command))
            group.create_task(self._become_calm(stop, lives))
        await couriers

    async def _deliver(self, stop: asyncio.Event) -> None:
        calm = asyncio.Event()
        self.loop.call_later(self.plan.trouble, calm.set)
        await self.emulator.run_webhooks(calm, 4.0)
        await self.emulator.run_webhooks(stop, 15.0)

    # --- what goes wrong

    async def _go_wrong(self, window: Window) -> None:
        await asyncio.sleep(window.begins)
        self._open[window] = None
        rule = None
        if window.kind in _EMULATED:
            times = {"late_answer": _LATE_ANSWER, "lagging_list": self.plan.lag}
            seconds = times.get(window.kind)
            rule = self.emulator.add_fault(window.kind, probability=window.chance, seconds=seconds)
        self._strike(window)
        self.note("world", f"fault {window.kind} begins, {window.chance:.0%}")
        await asyncio.sleep(window.ends - window.begins)
        self._open.pop(window)
        if rule:
            self.emulator.remove_fault(rule)
        self._strike(window)
        self.note("world", f"fault {window.kind} ends")

    def _strike(self, window: Window) -> None:
        """What begins or ends with `window` on our side.

        Databases that fail, or hosts that begin anew with a token.
        """
        for host in self.hosts:
            host.stepping.failing = 0.2 * self._odds("database")
            if window.kind == "other_token":
                host.stepping.kill()

    def _odds(self, kind: str) -> float:
        return max((window.chance for window in self._open if window.kind == kind), default=0.0)

    def clock_off(self) -> timedelta:
        """How far the clocks of all hosts are off now."""
        return timedelta(seconds=self.plan.wrong_clock * self._odds("wrong_clock"))

    def network_fails(self) -> bool:
        """Whether this call does not get through."""
        return self._chance.random() < self._odds("network")

    def refuses(self, event_id: str) -> bool:
        """Whether the database refuses this webhook event."""
        return self.plan.refuses(event_id)

    def page_size(self) -> int:
        """How many assets a list page holds."""
        return self.plan.page_size

    def way_to_apps(self, host: Host) -> OutgoingClient:
        """How outgoing webhooks of a host reach the apps."""
        return WayToApps(host, self.apps)

    def callback_fails(self) -> bool:
        """Whether the app's callback fails now."""
        return not self.is_calm and self._chance.random() < self.plan.failing_callbacks

    async def _become_calm(
        self, stop: asyncio.Event, lives: Sequence["asyncio.Task[None]"]
    ) -> None:
        await asyncio.sleep(self.plan.trouble)
        await asyncio.sleep(0)  # what ends now ends first
        self.is_calm = True
        for host in self.hosts:
            host.stepping.killed_in, host.stepping.slow = None, 0.0
        self.note("world", "all goes well from now on")
        await asyncio.gather(*lives)
        now = self.moment().timestamp()
        last = max((event.at for event in self.emulator.events(now, math.inf)), default=now)
        await asyncio.sleep(last - now + 5)
        began = self.moment()
        if self.plan.audits:
            await self._rest(began, self.is_quiet)  # what then is at rest is what an audit compares
            # it leaves alone what was only just changed
            await asyncio.sleep(self.plan.settings["provider_polling_floor_seconds"])
            await self._audit()
        if self.plan.backfills:
            await self._rest(began, self.is_quiet)
            await self._backfill()
            await self._send_again()
        await self._rest(began, self.is_at_rest)
        stop.set()
        for host in self.hosts:
            if host.is_alive:
                await host.stop()

    async def _rest(self, began: datetime, is_over: Rest) -> None:
        """Wait until the calm is over; where the plan says so, for all its time."""
        ends = self.moment() + timedelta(seconds=self.plan.calm)
        while (left := (ends - self.moment()).total_seconds()) > 0:
            await asyncio.sleep(min(left, _GLANCE))
            if not self.plan.whole_calm and is_over(self, began):
                break

    async def _audit(self) -> None:
        """An audit that comes to its end: an answer may be slow even now."""
        for _ in range(_AUDITS):
            report = await self.on_some_host(lambda rindle: rindle.audit())
            if report and report.outcome is Outcome.DONE:
                return
            await asyncio.sleep(_RETRY)
        self.failures.append("history: no audit came to its end")

    async def _backfill(self) -> None:
        """A backfill that comes to its end, and which assets then should have a row."""
        for _ in range(_AUDITS):
            there = {
                asset_id
                for asset_id, truth in self.emulator.truths().items()
                if truth.passthrough == self.plan.passthrough
                and truth.state is not AssetState.DELETED
            }
            filled = await self.on_some_host(lambda rindle: rindle.backfill())
            if filled and filled.outcome is Outcome.DONE:
                self.filled = there
                return
            await asyncio.sleep(_RETRY)
        self.failures.append("history: no backfill came to its end")

    async def _send_again(self) -> None:
        """Every event that was acknowledged, as an operator has the provider send it again."""
        for body in sorted(self.acknowledged):
            await self.on_some_host(partial(_delivered, self.moment, body.encode()))
        self.all_sent_again = True

    # --- the provider's side

    def moment(self) -> datetime:
        """The true time."""
        return self.loop.now()

    def note(self, host: str, what: Any) -> None:
        """Add to the history."""
        self.history.add(self.loop.moment, host, what)

    def provider(self) -> httpx.AsyncBaseTransport:
        """The environment that the credentials of a host that starts now open."""
        far = self.other if self._chance.random() < self._odds("other_token") else self.emulator
        return httpx.ASGITransport(app=far.app)

    def gone_at(self, asset_id: str) -> float | None:
        """After how many seconds an asset was deleted; None if it never was."""
        asset = self.emulator.environment.asset(asset_id, -math.inf)
        at = math.inf if asset is None else asset.deleted_at - BEGIN.timestamp()
        return None if at > self.loop.moment else at

    def playback_ids(self, asset_id: str) -> set[tuple[str, str]]:
        """The playback ids of an asset, each with its policy."""
        playback_ids = self.emulator.truth(asset_id).playback_ids
        return {(playback_id.id, playback_id.policy) for playback_id in playback_ids}

    def title(self, asset_id: str) -> Any:
        """What the app has called an asset; None for nothing."""
        return self.emulator.environment.assets[asset_id].settings.meta

    def _tell_webhooks(self, faults: dict[str, Any]) -> None:
        self.emulator.clear_webhooks()
        self.emulator.add_webhook(
            "https://app.example.com/hooks", SECRET, transport=_Door(self), **faults
        )

    # --- our side

    async def _keep_up(self, number: int, skew: timedelta, stop: asyncio.Event) -> None:
        """Start a host, and another one in its place whenever it dies."""
        lives = 0
        while not stop.is_set():
            await self._may_start()
            lives += 1
            host = self._start(f"host{number}.{lives}", skew)
            host.serve()
            stopping = asyncio.ensure_future(stop.wait())
            death = asyncio.ensure_future(host.died.wait())
            await asyncio.wait({stopping, death}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            death.cancel()
            if not stop.is_set():
                await asyncio.sleep(self._chance.choice((0.1, 5.0, 90.0)))

    async def _may_start(self) -> None:
        while self._odds("no_host") and not self.is_calm:  # noqa: ASYNC110  time is what ends it, and it is virtual
            await asyncio.sleep(_RETRY)

    def _start(self, name: str, skew: timedelta) -> Host:
        host = Host(name, skew, self, Random(f"{self.plan.seed}:{name}"))
        host.start(self.settings, self.place.open)
        if not self.is_calm and self._chance.random() < self.plan.crashes:
            host.stepping.killed_in = round(2 ** self._chance.uniform(0, 9))
        host.stepping.failing = 0.2 * self._odds("database")
        host.stepping.slow = 0.0 if self.is_calm else host.stepping.slow
        self.hosts.append(host)
        self.note(name, "starts")
        return host

    def _settings(self) -> Settings:
        return plain_settings(
            database_url="sqlite:///:memory:",
            mux_token_id=self.emulator.token_id,
            mux_token_secret=self.emulator.token_secret,
            mux_webhook_secrets=SECRET,
            **self.plan.settings,
        )

    def some_host(self) -> Host | None:
        """Any host that runs."""
        alive = [host for host in self.hosts if host.is_alive]
        return self._chance.choice(alive) if alive else None

    def delete(self, asset_id: str) -> None:
        """Delete an asset at the provider, if it is there still."""
        if self.gone_at(asset_id) is None:
            self.note("user", f"deletes {asset_id}")
            self.emulator.delete_asset(asset_id)

    async def on_some_host(
        self,
        work: Callable[[RindleSync], Awaitable[Answer]],
        final: tuple[type[RindleSyncError], ...] = (AlreadyTracked,),
    ) -> Answer | None:
        """What `work` comes to, tried until some host has done it; None where one says no."""
        while True:
            host = self.some_host()
            if host and not self._odds(
                "other_token"
            ):  # an upload that is made elsewhere stays there
                try:
                    return await host.ask(work)
                except HostDied:
                    pass
                except RindleSyncError as error:
                    self.note(host.name, f"says {type(error).__name__}")
                    if isinstance(error, final):
                        return None
            await asyncio.sleep(_RETRY)

    # --- the app and its users

    async def _live(self, number: int, video: Video) -> None:
        await asyncio.sleep(video.at)
        life = Life(ends=video.ends, after=video.after, deleted_after=video.deleted_after)  # type: ignore[arg-type]
        if video.kind == "upload" and number in self.plan.from_urls:
            await self._create(f"made{number}", video, life)
            return
        if video.kind == "upload":
            await self._upload(number, video, life)
            return
        if video.kind == "own":
            await self._own_upload(number, video, life)
            return
        passthrough = self.plan.passthrough
        if self.plan.odd_text:
            # the app's own data is exact, though it looks like the address of a file
            passthrough = f"s3://videos/{number}.mp4?key=1"
        live_seconds = self.plan.live.get(number)
        asset_id = self.emulator.create_asset(
            life=life,
            passthrough=passthrough,
            live_stream_id="live-1" if live_seconds else None,
            live_seconds=live_seconds,
        )
        outputs = self._make_outputs(number, asset_id)
        if video.kind == "tracked":
            reference, began = f"video{number}", self.loop.moment
            self.own[reference] = asset_id
            self.known.append(asset_id)
            await asyncio.sleep(video.told_after)
            if number in self.plan.in_app and self.place.has_app:
                await track_with_a_row(self, reference, asset_id)
            else:
                await self.on_some_host(
                    lambda rindle: rindle.track(reference=reference, provider_asset_id=asset_id)
                )
            host = self.some_host()
            if host and video.asked_after and began + video.asked_after > self.loop.moment:
                await asyncio.sleep(began + video.asked_after - self.loop.moment)
                with suppress(RindleSyncError, HostDied):
                    await host.ask(lambda rindle: rindle.sync(asset_id))
            for act in self.plan.acts:
                if act.video == number:
                    await perform(self, act, reference, asset_id)
        await outputs

    def _make_outputs(self, number: int, asset_id: str) -> "asyncio.Future[list[None]]":
        """Have made what the plan says of a video: with it, or later by calls of the app's own."""
        wanted = [output for output in self.plan.outputs if output.video == number]
        for output in wanted:
            if output.asked_after is None:
                make(self.emulator, asset_id, output)
        later = [output for output in wanted if output.asked_after is not None]
        return asyncio.gather(*(self._make_later(asset_id, output) for output in later))

    async def _make_later(self, asset_id: str, output: Output) -> None:
        asset = self.emulator.environment.assets[asset_id]
        if asset.ends_at == math.inf or asset.life.ends != Ending.READY:
            return
        asked_at = asset.ends_at + (output.asked_after or 0.0)
        await asyncio.sleep(asked_at - self.moment().timestamp())
        if self.gone_at(asset_id) is not None:
            return
        self.note("user", f"asks for {output.kind} {output.name} of {asset_id}")
        make(self.emulator, asset_id, output)
        host = self.some_host()
        if host and output.is_told:
            with suppress(RindleSyncError, HostDied):
                await host.ask(lambda rindle: rindle.sync(asset_id))

    async def _create(self, reference: str, video: Video, life: Life) -> None:
        """An asset that the provider makes of a file; if it fails, perhaps another."""
        create = partial(
            RindleSync.create_asset,
            reference=reference,
            input=FILE,
            new_asset_settings={"static_renditions": [{"resolution": "highest"}]},
        )
        for _ in range(1 + video.again):
            self.emulator.life = life
            await self.on_some_host(create)
            await asyncio.sleep(video.told_after)

    async def _own_upload(self, number: int, video: Video, life: Life) -> None:
        """An upload that the app makes by itself, tracks, and then sends the file of."""
        reference, passthrough = f"own{number}", self.plan.passthrough
        upload_id = self.emulator.create_upload(life=life, passthrough=passthrough)
        self.own[reference] = upload_id
        await self.on_some_host(
            lambda rindle: rindle.track(
                reference=reference, provider_upload_id=upload_id, passthrough=passthrough
            )
        )
        await asyncio.sleep(video.told_after)
        await self._make_outputs(number, self.emulator.finish_upload(upload_id))

    async def _edit(self, at: float, edit: str) -> None:
        """Change an asset that is ready; of a change of playback ids no webhook is sent."""
        await asyncio.sleep(at)
        now, environment = self.moment().timestamp(), self.emulator.environment
        assets = [environment.assets[asset_id] for asset_id in self.known]
        ready = [asset for asset in assets if asset.state(now) is AssetState.READY]
        if not ready:
            return
        asset = self._chance.choice(ready)
        self.note("user", f"edits {asset.id}: {edit}")
        if edit == "title":
            environment.update_asset(asset, now, {"meta": {"title": f"edited at {at:.0f}"}})
            return
        playback_ids: tuple[PlaybackId, ...] = ()
        if edit == "replacement":
            playback_ids = (PlaybackId(f"replacement{at:.0f}of{asset.id}", "public"),)
        asset.versions.change(now, replace(asset.versions.latest, playback_ids=playback_ids))

    async def _upload(self, number: int, video: Video, life: Life) -> None:
        for _ in range(1 + video.again):
            made = await begin_upload(self, number)
            if made is None:
                return
            await asyncio.sleep(video.told_after)
            if video.fate == "cancelled":
                await self.on_some_host(partial(RindleSync.cancel_upload, row_id=made.row_id))
            elif video.fate == "sent":
                await self._send_file(made.url, life)
                if number in self.plan.cancelled_late:
                    await asyncio.sleep(self.plan.cancelled_late[number])
                    await self.on_some_host(partial(RindleSync.cancel_upload, row_id=made.row_id))
            if not video.again:
                return
            await asyncio.sleep(30)

    async def _send_file(self, url: str, life: Life) -> None:
        self.emulator.life = life
        try:
            async with (
                asyncio.timeout(30),
                httpx.AsyncClient(transport=httpx.ASGITransport(app=self.emulator.app)) as user,
            ):
                answer = await user.put(url, content=b"moving pictures")
        except TimeoutError:
            self.note("user", "gives up")
        else:
            self.note("user", f"sends a file: {answer.status_code}")

    async def _operate(self, command: Command) -> None:
        await asyncio.sleep(command.at)
        host = self.some_host()
        if host is None:
            return
        self.note("operator", command.name)
        which = self._chance.choice(self.known) if self.known else "unknown"
        job_runners: dict[str, Callable[[RindleSync], Awaitable[Any]]] = {
            "sync": lambda rindle: asyncio.gather(rindle.sync(which), rindle.sync(which)),
            "replay": lambda rindle: rindle.webhook_events.replay(),
            "audit": lambda rindle: rindle.audit(),
            "sweep": lambda rindle: rindle.sweep(),
            "backfill": lambda rindle: rindle.backfill(),
        }
        with suppress(RindleSyncError, HostDied):
            await host.ask(job_runners[command.name])

    def end(self) -> None:
        """End what is left of the killed hosts, so that none of it lives when the loop closes."""
        for host in self.hosts:
            host.stepping.kill()
            host.stepping.is_over = True


class _Door(httpx.AsyncBaseTransport):
    """Where deliveries come in: at any host that runs."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = self._world.some_host()
        if host is None:
            raise httpx.ConnectError("nobody is there")
        body, headers = await request.aread(), request.headers
        if self._world.plan.misdated and not _is_forged(headers, body):
            body = _misdated(body, self._world.plan)
            headers = httpx.Headers({**headers, "Mux-Signature": sign(body, SECRET, host.now())})
            headers["Content-Length"] = str(len(body))

        async def answered(rindle: RindleSync) -> httpx.Response:
            copy = httpx.Request(request.method, request.url, headers=headers, content=body)
            return await httpx.ASGITransport(app=rindle.webhooks).handle_async_request(copy)

        troubled = host.is_troubled
        try:
            response = await host.ask(answered)
        except HostDied:
            raise httpx.ReadError("the connection broke") from None
        if response.is_success:
            self._world.acknowledged.add(body.decode())
        event_id = str(json.loads(body)["id"])
        (stored,) = self._world.place.read("SELECT event_id AS id FROM provider_webhook_events")
        is_stored = event_id in {line["id"] for line in stored}
        if response.is_success and not is_stored:
            self._world.ill_answered.append(f"{event_id} was acknowledged before it was stored")
        may_fail = troubled or host.is_troubled or self._world.plan.refuses(event_id)
        if response.status_code == 503 and not may_fail:
            self._world.ill_answered.append(f"{event_id} was not stored, though it could be")
        return response


async def _delivered(now: Callable[[], datetime], body: bytes, rindle: RindleSync) -> None:
    request = httpx.Request(
        "POST",
        "https://app.example.com/hooks",
        headers={"Mux-Signature": sign(body, SECRET, now())},
        content=body,
    )
    await httpx.ASGITransport(app=rindle.webhooks).handle_async_request(request)


def _is_forged(headers: httpx.Headers, body: bytes) -> bool:
    given = headers["Mux-Signature"]
    at = datetime.fromtimestamp(int(given.split(",")[0].removeprefix("t=")), UTC)
    return sign(body, SECRET, at) != given


def _misdated(body: bytes, plan: Plan) -> bytes:
    """The event, perhaps with another time; the same one whenever it is sent."""
    event = json.loads(body)
    chance = Random(f"{plan.seed}:times:{event['id']}")
    if chance.random() >= plan.misdated:
        return body
    created_at = datetime.fromisoformat(event["created_at"])
    near = created_at + timedelta(seconds=chance.uniform(-60, 60))
    event["created_at"] = chance.choice((*[near.isoformat()] * 6, *_ABSURD))
    return json.dumps(event).encode()


class _Logged(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def around(world: World) -> Iterator[None]:
    """Everything that is logged goes to the world.

    The service looks into its tables as rarely, and applies as many webhook events at once, as the
    plan says. Outgoing webhooks are tried again after a minute, and do not die in a history.
    """
    log, logged = logging.getLogger("rindle_sync"), _Logged(world.logged)
    before = embedded.poll_gap, embedded.PASS_EVERY, log.level, log.propagate
    waits, outgoing_retry.RETRY_WAITS = outgoing_retry.RETRY_WAITS, RETRY_WAITS  # type: ignore[misc,assignment]
    batch, process.BATCH = process.BATCH, world.plan.batch  # type: ignore[misc]
    embedded.poll_gap, embedded.PASS_EVERY = (lambda every: world.plan.polling), 300.0  # type: ignore[misc]  # noqa: ARG005
    log.addHandler(logged)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(logged)
        process.BATCH = batch  # type: ignore[misc]
        outgoing_retry.RETRY_WAITS = waits  # type: ignore[misc]
        embedded.poll_gap, embedded.PASS_EVERY, log.level, log.propagate = before  # type: ignore[misc]
