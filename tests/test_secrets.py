"""The planted-secret test.

Whatever happens, ids of the provider, tokens and passwords are shown nowhere.
"""

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import Settings
from rindle_sync.domain import State
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.faults import FaultKind
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.errors import RindleSyncError
from rindle_sync.providers.mux import sign
from rindle_sync.runtime import ChangeEvent, WebhookReceived
from rindle_sync.runtime.outgoing.signature import new_secret
from rindle_sync.store.api_tokens import ApiTokens
from rindle_sync.telemetry import Event
from tests.support.app_endpoint import an_endpoint
from tests.support.processes import (
    FarEnd,
    Shell,
    a_store,
    add_due,
    free_port,
    serving,
    settings_for,
)
from tests.support.rows import a_row
from tests.support.webhooks import an_event, chunks, receiver_of
from tests.support.world import ERRORED, NEVER, READY

PIECE = 9
"""A piece of a secret that is this long gives it away.

Its tag is four characters and three dots.
"""

LOGGERS = (
    "aiohttp",
    "aiohttp.client",
    "aiohttp.internal",
    "aiosqlite",
    "alembic",
    "asyncio",
    "psycopg",
    "rindle_sync",
    "sqlalchemy",
    "sqlalchemy.dialects",
    "sqlalchemy.engine",
    "sqlalchemy.orm",
    "sqlalchemy.pool",
)
PRELUDE = "import logging; logging.basicConfig(level=logging.DEBUG)"
FAULTS = [
    kind
    for kind in FaultKind
    if kind not in {"repeated_entries", "dropped_entries", "out_of_order", "lagging_list"}
]


def a_secret() -> str:
    """A word that nothing else can hold."""
    return f"{uuid4().hex}{uuid4().hex}"[:44].swapcase()


@dataclass
class Planted:
    """The provider and the database, full of secrets, and all that was said in their use."""

    far_end: FarEnd
    settings: Settings
    secrets: set[str]
    said: dict[str, list[str]] = field(default_factory=dict)

    def say(self, place: str, *texts: str) -> None:
        self.said.setdefault(place, []).extend(texts)

    def handle(self, event: Event) -> None:
        self.say("events", repr(event), str(event.metadata()), str(event.measurements()))

    def fail(self, error: BaseException) -> None:
        self.say(
            "errors", str(error), repr(error), str(vars(error)), *traceback.format_exception(error)
        )

    def asset(self, life: Life = READY) -> str:
        secret = a_secret()
        return self.keep(
            self.far_end.emulator.create_asset(life=life, passthrough=self.keep(secret))
        )

    def keep(self, secret: str) -> str:
        self.secrets.add(secret)
        return secret

    def leaks(self) -> dict[str, set[str]]:
        """The lines that hold a piece of a secret, by the place where they were said."""
        for truth in self.far_end.emulator.truths().values():
            self.secrets.update(playback.id for playback in truth.playback_ids)
        pieces = {piece for secret in self.secrets for piece in pieces_of(secret)}
        return {
            place: lines
            for place, texts in self.said.items()
            if (
                lines := {
                    line[:300]
                    for text in texts
                    for line in text.splitlines()
                    if not pieces.isdisjoint(pieces_of(line))
                }
            )
        }


def pieces_of(text: str) -> Iterator[str]:
    return (text[i : i + PIECE] for i in range(len(text) - PIECE + 1))


@pytest.fixture
def planted(database_url: str) -> Iterator[Planted]:
    token_id, token_secret, password = a_secret(), a_secret(), a_secret()
    emulator = MuxEmulator(token_id=token_id, token_secret=token_secret)
    with serving(emulator) as far_end:
        told = settings_for(
            with_password(database_url, password),
            far_end,
            provider_stuck_threshold_seconds=7200,
            mux_webhook_secrets=(webhook_secret := a_secret()),
        )
        secrets = {token_id, token_secret, password, webhook_secret}
        yield Planted(far_end, Settings.model_validate(told), secrets)


def with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return url
    return urlunsplit(
        parts._replace(netloc=f"{parts.username}:{password}@{parts.hostname}:{parts.port}")
    )


@pytest.fixture
def every_log(caplog: pytest.LogCaptureFixture, planted: Planted) -> pytest.LogCaptureFixture:
    """All loggers, at their most talkative, from before the first engine is made."""
    for name in ("", *LOGGERS):
        caplog.set_level(logging.DEBUG, name)
    return caplog


@asynccontextmanager
async def in_use(planted: Planted) -> AsyncIterator[RindleSync]:
    async with a_store(planted.settings.database_url):
        pass
    async with connect(planted.settings, listeners=[planted.handle]) as rindle:
        yield rindle


async def tried(planted: Planted, rindle: RindleSync, provider_id: str) -> None:
    try:
        planted.say("results", repr(await rindle.sync(provider_id)))
    except RindleSyncError as error:
        planted.fail(error)


async def track_all_sorts(planted: Planted, rindle: RindleSync) -> list[str]:
    """Rows of every kind of asset and upload; the ids that they can be synced by."""
    emulator = planted.far_end.emulator
    named = Life(
        ends="errored",
        after=0,
        error_message=f"cannot read https://storage.test/{planted.keep(a_secret())}",
    )
    ids = [planted.asset(life) for life in (READY, ERRORED, NEVER, named)]
    ids += [planted.keep(a_secret()), planted.keep("a/b?c=#" + a_secret())]  # not found
    for provider_id in ids:
        planted.say(
            "results",
            repr(await rindle.track(reference=f"video-{uuid4()}", provider_asset_id=provider_id)),
        )
    for finished in (True, False):
        upload = planted.keep(
            emulator.create_upload(life=READY, passthrough=planted.keep(a_secret()))
        )
        if finished:
            planted.keep(emulator.finish_upload(upload))
        await rindle.track(
            reference=f"video-{uuid4()}",
            provider_upload_id=upload,
            passthrough=planted.keep(a_secret()),
        )
    return ids


@asynccontextmanager
async def telling_an_endpoint(planted: Planted, rindle: RindleSync) -> AsyncIterator[None]:
    """An endpoint of outgoing webhooks, which is told at the end of all that has changed."""
    async with an_endpoint(204, 500, 302, 410) as app:
        secret, path = planted.keep(new_secret()), planted.keep(a_secret())
        url = app.url.replace("secretpath0001", path)
        made = await rindle.outgoing.create("app", url, secret=secret, allow_private=True)
        await rindle.outgoing.create("unsafe", f"https://127.0.0.1:9/{path}")
        yield
        await rindle.deliver()
        tested = await rindle.outgoing.test("app")
        planted.say("results", repr(made), repr(tested))
        planted.say("results", repr(await rindle.outgoing.webhooks("app")))
        planted.say("results", repr(await rindle.outgoing.list()))
    bodies = b"".join(request.body for request in app.received).decode()
    rows = [row async for row in rindle.store.assets.rows()]
    assert len(app.received) > 2
    for row in rows:
        assert not row.provider_asset_id or row.provider_asset_id not in bodies
        assert not row.provider_upload_id or row.provider_upload_id not in bodies


async def use_everything(planted: Planted, rindle: RindleSync) -> None:
    async with telling_an_endpoint(planted, rindle):
        for provider_id in await track_all_sorts(planted, rindle):
            await tried(planted, rindle, provider_id)
        await rindle.sweep()
    await clash(planted, rindle)
    await twice(planted, rindle)
    await take_webhooks_and_uploads(planted, rindle)
    await make_replace_and_forget(planted, rindle)
    await add_due(rindle.store, *(planted.asset() for _ in range(3)))
    planted.say(
        "results",
        repr(await rindle.sweep()),
        repr(await rindle.status()),
        repr((rindle.settings, rindle.settings.account)),
    )
    planted.say("results", repr(rindle.context), str(rindle.store.database.engine.url))
    await use_tokens(planted, rindle)


async def use_tokens(planted: Planted, rindle: RindleSync) -> None:
    """A token of the HTTP API that is made, used, made again, and revoked, and an actor's acts."""
    tokens, now = ApiTokens(rindle.store.database), datetime.now(UTC)
    token, text = await tokens.create("backend", may_write=True, sees_provider_ids=True, now=now)
    planted.keep(text)
    planted.keep(sha256(text.encode()).hexdigest())
    planted.say("results", repr(token), repr(tokens), repr(await tokens.find(text, now)))
    await tokens.finish()
    with pytest.raises(RindleSyncError) as caught:
        await tokens.create("backend", may_write=True, sees_provider_ids=True, now=now)
    planted.fail(caught.value)
    planted.say("results", repr(await tokens.list()), repr(await tokens.revoke("backend")))
    actor, asset = rindle.as_actor("token:backend"), planted.asset()
    row = await actor.track(reference=f"film-of-{asset}", provider_asset_id=asset)
    await actor.sync(asset)
    await actor.untrack(row.id, delete_asset=True)
    actions = await rindle.store.row_actions.of_row(row.id, 10)
    explained = await actor.explain(row)
    planted.say("results", repr(actor.context), repr(actions), repr(explained.history))


async def clash(planted: Planted, rindle: RindleSync) -> None:
    """An upload that became an asset which another row holds, and a row that is stuck."""
    upload = planted.keep(planted.far_end.emulator.create_upload(life=READY))
    asset = planted.keep(planted.far_end.emulator.finish_upload(upload))
    await rindle.track(reference="video-held", provider_asset_id=asset)
    now = datetime.now(UTC)
    await rindle.store.assets.add(
        a_row(State.UPLOADING, provider_asset_id=None, provider_upload_id=upload, check_at=now)
    )
    old = now - timedelta(hours=9)
    await rindle.store.assets.add(
        a_row(provider_asset_id=planted.asset(NEVER), updated_at=old, check_at=now)
    )


async def take_webhooks_and_uploads(planted: Planted, rindle: RindleSync) -> None:
    """Webhooks, true and forged, callbacks that fail, and an upload that is begun and cancelled."""

    @rindle.on_change
    async def fails(changed: ChangeEvent) -> None:
        planted.say("results", repr(changed))
        raise ValueError(planted.asset())

    @rindle.on_webhook("video.live_stream.*")
    async def fails_too(event: WebhookReceived) -> None:
        planted.say("results", repr(event))
        raise ValueError(planted.asset())

    asset, stranger = planted.asset(), planted.asset()
    await rindle.track(reference="video-told", provider_asset_id=asset)
    secret = rindle.context.webhooks.secrets[0]
    receiver = receiver_of(rindle.context, rindle.wants_webhook)
    broken = {"playback_ids": planted.keep(a_secret())}
    for event in (
        an_event(asset),
        an_event(stranger),
        an_event(stranger, **broken),
        an_event(stranger, "video.live_stream.active", id=planted.keep(a_secret())),
        {"type": planted.keep(a_secret())},
    ):
        for key in (secret, planted.keep(a_secret())):
            body = json.dumps(event).encode()
            headers = {"Mux-Signature": sign(body, key, datetime.now(UTC))}
            planted.say("replies", repr(await receiver.receive("POST", headers, chunks(body))))
    await rindle.process_webhook_events()
    await rindle.dispatch()
    planted.say("results", repr(await rindle.webhook_events.list()), repr(rindle.context.webhooks))
    upload = await rindle.begin_upload(reference="video-up", cors_origin="*")
    planted.keep(upload.url.rpartition("=")[2])
    planted.say("results", repr(upload), repr(await rindle.cancel_upload(upload.row_id)))


async def make_replace_and_forget(planted: Planted, rindle: RindleSync) -> None:
    """Assets from signed URLs, answered and not, and rows that get others and are forgotten."""
    emulator = planted.far_end.emulator
    for kind in (None, "unauthorized", "server_error", "broken_json"):
        if kind:
            emulator.add_fault(kind, operation="create_asset", times=1)
        film = f"https://files.test/{planted.keep(a_secret())}?key={planted.keep(a_secret())}"
        odd = {"video_quality": film} if kind == "unauthorized" else {}
        prepared = await rindle.prepare_asset(
            reference=f"film-{kind}", input=film, new_asset_settings=odd
        )
        planted.say("results", repr(prepared))
        for _ in range(2):
            try:
                planted.say("results", repr(await rindle.start_asset(prepared)))
            except RindleSyncError as error:
                planted.fail(error)
    waiting = await rindle.prepare_upload(reference="film-up", cors_origin="*")
    link = await rindle.start_upload(waiting)
    again = await rindle.begin_upload(reference="film-up", cors_origin="*", resume=True)
    planted.keep(again.url.rpartition("=")[2])
    planted.say("results", repr(waiting), repr(link), repr(again))
    held, other = planted.asset(), planted.asset()
    await rindle.track(reference="film-held", provider_asset_id=held)
    for asset in (other, held):
        try:
            planted.say("results", repr(await rindle.replace(link.row_id, provider_asset_id=asset)))
        except RindleSyncError as error:
            planted.fail(error)
    planted.say("results", repr(await rindle.untrack(link.row_id, delete_asset=True)))


async def twice(planted: Planted, rindle: RindleSync) -> None:
    provider_id = planted.asset()
    await rindle.track(reference="video-once", provider_asset_id=provider_id)
    with pytest.raises(RindleSyncError) as caught:
        await rindle.track(reference="video-twice", provider_asset_id=provider_id)
    planted.fail(caught.value)


def impatient(planted: Planted) -> Planted:
    """The same with a short time limit: there are faults after which no answer ever comes."""
    return replace(
        planted, settings=planted.settings.model_copy(update={"provider_timeout_seconds": 0.3})
    )


async def suffer_every_fault(planted: Planted, rindle: RindleSync) -> None:
    emulator = planted.far_end.emulator
    for kind in FAULTS:
        asset = planted.asset()
        await add_due(rindle.store, asset, planted.asset())
        timed = {"seconds": 0.01} if kind in {"latency", "late_answer"} else {}
        waits = {"retry_after": 0, "times": 3} if kind == "rate_limited" else {}
        emulator.add_fault(kind, **timed, **waits)
        await tried(planted, rindle, asset)
        await swept(planted, rindle)
        emulator.clear_faults()


async def swept(planted: Planted, rindle: RindleSync) -> None:
    try:
        planted.say("results", repr(await rindle.sweep()))
    except RindleSyncError as error:
        planted.fail(error)


async def suffer_a_database_that_is_down(planted: Planted) -> None:
    parts = urlsplit(planted.settings.database_url)
    if parts.scheme == "sqlite":
        url = f"sqlite:///{__file__}"
    else:
        url = urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{free_port()}"))
    broken = planted.settings.model_copy(update={"database_url": url})
    async with connect(broken, listeners=[planted.handle]) as rindle:
        await tried(planted, rindle, planted.asset())


def note(planted: Planted, records: Iterable[logging.LogRecord]) -> None:
    formatter = logging.Formatter()
    for record in records:
        planted.say(record.name, formatter.format(record), repr(record.args))


@pytest.mark.long_on_postgresql
async def test_no_log_event_error_or_repr_shows_a_secret(
    planted: Planted, every_log: pytest.LogCaptureFixture
) -> None:
    async with in_use(planted) as rindle:
        await use_everything(planted, rindle)
    async with in_use(impatient(planted)) as rindle:
        await suffer_every_fault(planted, rindle)
    await suffer_a_database_that_is_down(planted)

    note(planted, every_log.records)
    assert {"events", "errors", "results", "rindle_sync"} <= set(planted.said)
    assert any(place.startswith("sqlalchemy.engine") for place in planted.said)
    assert planted.leaks() == {}


@pytest.mark.long_on_postgresql
async def test_no_command_prints_a_secret(planted: Planted, tmp_path: Path) -> None:
    told = {
        name: text_of(value)
        for settings in (planted.settings, planted.settings.account)
        for name, value in settings
        if name in settings.model_fields_set
    }
    plain = Shell(tmp_path, told)
    debug, wrong = (
        replace(plain, prelude=PRELUDE),
        plain.but(mux_token_secret=planted.keep(a_secret())),
    )
    ready, other, gone, new = (
        planted.asset(),
        planted.asset(),
        planted.keep(a_secret()),
        planted.keep(a_secret()),
    )
    async with a_store(planted.settings.database_url) as store:
        await add_due(store, ready, gone, other)

        made = await debug.run("token", "create", "backend")
        # on standard output it is shown on purpose, this once
        planted.keep(made.out.removesuffix("\n"))
        planted.say("commands", made.err)
        told_by = await asyncio.gather(
            debug.run("token", "create", "backend"),
            debug.run("token", "list", "--json"),
            debug.run("sync", ready, "--json"),
            debug.run("track", "--reference", "video-1", "--upload-id", new),
            debug.run("sweep"),
            debug.run("events", "list", "--json"),
            debug.run("list"),
            debug.run("list", "--json"),
            debug.run("events", "replay", "--dead"),
            plain.run("sync", gone),
            plain.run("sync", new),
            wrong.run("sync", other),
            plain.but(database_url=f"{planted.settings.database_url}/missing").run("sync", other),
        )

    for ended in told_by:
        planted.say("commands", ended.out, ended.err)
    assert planted.leaks() == {}


def text_of(value: object) -> str:
    return str(value.get_secret_value() if isinstance(value, SecretStr) else value)
