"""Who did what: what people and programs do to rows is recorded, what the app's code does is not.

A record is in the transaction of its effect, or comes right after a call of the provider.
"""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

from rindle_sync.app import RindleSync, connect
from rindle_sync.config import plain_settings
from rindle_sync.domain import CONSOLE, Action, State, Trigger
from rindle_sync.emulator import MuxEmulator
from rindle_sync.errors import (
    AlreadyTracked,
    AuthenticationFailed,
    ConfigurationError,
    ProviderError,
)
from rindle_sync.store.schema import webhook_events
from tests.support.app_connections import KINDS, Opens
from tests.support.rows import a_row
from tests.support.webhooks import SECRET, chunks, receiver_of, signed
from tests.support.world import READY

URL = "https://files.example/film.mp4"
BACKEND = "token:backend"

REFUSES = {
    True: "CREATE TRIGGER refuses BEFORE INSERT ON provider_row_actions "
    "BEGIN SELECT RAISE(ABORT, 'no'); END",
    False: "ALTER TABLE provider_row_actions ADD CHECK (actor = '')",
}
"""Has every record refused, on SQLite or not."""


@pytest.fixture
def far_end() -> MuxEmulator:
    return MuxEmulator()


@pytest.fixture
async def rindle(tables_url: str, far_end: MuxEmulator) -> AsyncIterator[RindleSync]:
    settings = plain_settings(
        database_url=tables_url,
        mux_token_id=far_end.token_id,
        mux_token_secret=far_end.token_secret,
        mux_webhook_secrets=SECRET,
        provider_retry_seconds=0.01,
    )
    async with connect(settings, transport=httpx.ASGITransport(app=far_end.app)) as rindle:
        yield rindle


async def done(rindle: RindleSync) -> list[tuple[str, str | None, str, str]]:
    """What is recorded, in order: action, reference, actor, outcome."""
    newest = await rindle.store.row_actions.newest(100)
    return [(a.action, a.reference, a.actor.text, a.outcome) for a in reversed(newest)]


async def triggers(rindle: RindleSync, row_id: str) -> set[Trigger]:
    return {change.trigger for change in await rindle.store.assets.changes_of(row_id)}


async def use(service: RindleSync, far_end: MuxEmulator) -> list[str]:
    """Do all that can be done to rows; the ids of the rows."""
    asset, other = (far_end.create_asset(life=READY) for _ in range(2))
    row = await service.track(reference="film-1", provider_asset_id=asset)
    await service.sync(asset)
    await service.replace(row.id, provider_asset_id=other)
    upload = await service.begin_upload(reference="film-2", cors_origin="*")
    await service.begin_upload(reference="film-2", cors_origin="*", resume=True)
    await service.cancel_upload(upload.row_id)
    made = await service.create_asset(reference="film-3", input=URL)
    await service.untrack(made.id, delete_asset=True)
    return [row.id, upload.row_id, made.id]


async def test_all_that_a_program_does_through_the_api_is_recorded(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    row_ids = await use(rindle.as_actor(BACKEND), far_end)

    assert await done(rindle) == [
        ("track", "film-1", BACKEND, "done"),
        ("sync", "film-1", BACKEND, "changed"),
        ("replace", "film-1", BACKEND, "done"),
        ("begin_upload", "film-2", BACKEND, "begun"),
        ("begin_upload", "film-2", BACKEND, "resumed"),
        ("cancel_upload", "film-2", BACKEND, "errored"),
        ("create_asset", "film-3", BACKEND, "begun"),
        ("untrack", "film-3", BACKEND, "begun"),
        ("untrack", "film-3", BACKEND, "done"),
    ]
    for row_id in row_ids:
        assert await triggers(rindle, row_id) == {Trigger.API}


async def test_what_the_apps_own_code_does_is_not(rindle: RindleSync, far_end: MuxEmulator) -> None:
    row_ids = await use(rindle, far_end)

    assert await done(rindle) == []
    assert await triggers(rindle, row_ids[1]) == {Trigger.APP}


async def test_rows_that_are_tracked_together_are_each_recorded(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    known, *new = (
        {"reference": f"film-{n}", "provider_asset_id": far_end.create_asset()} for n in range(4)
    )
    await rindle.track_many([known])
    wrong = {"reference": "film-0", "provider_asset_id": "another"}
    service = rindle.as_actor(BACKEND)

    await service.track_many([known, *new], dry_run=True)
    assert await done(rindle) == []
    result = await service.track_many([known, wrong, *new])

    assert (len(result.added), len(result.present), len(result.refused)) == (3, 1, 1)
    assert sorted(await done(rindle)) == [
        ("track", f"film-{n}", BACKEND, "done") for n in range(1, 4)
    ]


async def test_what_changes_nothing_or_is_refused_at_once_is_not_recorded(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    asset, other = (far_end.create_asset(life=READY) for _ in range(2))
    row = await rindle.track(reference="film-1", provider_asset_id=asset)
    service = rindle.as_actor(BACKEND)

    await service.track(reference="film-1", provider_asset_id=asset)
    await service.replace(row.id, provider_asset_id=asset)
    await service.cancel_upload(row.id)
    assert await service.untrack(str(uuid4())) is None
    with pytest.raises(AlreadyTracked):
        await service.track(reference="film-1", provider_asset_id=other)
    with pytest.raises(AlreadyTracked):
        await service.begin_upload(reference="film-1", cors_origin="*")

    assert await done(rindle) == []


async def test_what_the_provider_refuses_is_recorded_with_the_error(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    service = rindle.as_actor(BACKEND)
    far_end.add_fault("unauthorized", operation="create_upload")
    with pytest.raises(AuthenticationFailed):
        await service.begin_upload(reference="film-1", cors_origin="*")
    far_end.clear_faults()
    row = await rindle.track(reference="film-2", provider_asset_id=far_end.create_asset())
    far_end.add_fault("server_error", operation="delete_asset")
    with pytest.raises(ProviderError):
        await service.untrack(row.id, delete_asset=True)

    assert await done(rindle) == [
        ("begin_upload", "film-1", BACKEND, "begun"),
        ("begin_upload", "film-1", BACKEND, "AuthenticationFailed"),
        ("untrack", "film-2", BACKEND, "begun"),
        ("untrack", "film-2", BACKEND, "ProviderUnavailable"),
    ]


async def test_a_failed_row_that_begins_again_is_recorded(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    row, gone = a_row(State.ERRORED, reference="film-1"), a_row(State.DELETED, reference="film-2")
    await rindle.store.assets.add_all([row, gone])
    service = rindle.as_actor(BACKEND)

    await service.begin_upload(reference="film-1", cors_origin="*")
    await service.track(reference="film-2", provider_asset_id=far_end.create_asset())

    assert await done(rindle) == [
        ("begin_upload", "film-1", BACKEND, "begun"),
        ("track", "film-2", BACKEND, "done"),
    ]
    for row_id in (row.id, gone.id):
        assert await triggers(rindle, row_id) == {Trigger.API}


@pytest.mark.parametrize("opens", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
async def test_a_record_is_in_the_apps_transaction_with_its_effect(
    rindle: RindleSync, tables_url: str, opens: Opens, *, commit: bool
) -> None:
    old, gone = a_row(State.READY, reference="old"), a_row(State.READY, reference="gone")
    await rindle.store.assets.add_all([old, gone])
    service = rindle.as_actor(BACKEND)
    async with opens(tables_url) as app:
        at = {"connection": app.connection}
        await service.track(reference="new", provider_asset_id="asset-1", **at)
        await service.replace(old.id, provider_asset_id="asset-2", **at)
        await service.untrack(gone.id, **at)
        await service.prepare_upload(reference="up", cors_origin="*", **at)
        await app.end(commit=commit)

    recorded = [
        ("track", "new", BACKEND, "done"),
        ("replace", "old", BACKEND, "done"),
        ("untrack", "gone", BACKEND, "done"),
        ("begin_upload", "up", BACKEND, "begun"),
    ]
    assert await done(rindle) == (recorded if commit else [])


async def test_a_row_is_not_written_where_its_record_cannot_be(
    rindle: RindleSync, far_end: MuxEmulator, tables_url: str
) -> None:
    row = await rindle.track(reference="film-1", provider_asset_id=far_end.create_asset())
    async with rindle.store.database.writing() as connection:
        await connection.exec_driver_sql(REFUSES["sqlite" in tables_url])
    service = rindle.as_actor(BACKEND)

    with pytest.raises(sa.exc.IntegrityError):
        await service.track(reference="film-2", provider_asset_id=far_end.create_asset())
    with pytest.raises(sa.exc.IntegrityError):
        await service.begin_upload(reference="film-3", cors_origin="*")
    with pytest.raises(sa.exc.IntegrityError):
        await service.untrack(row.id)

    assert [kept.reference async for kept in rindle.store.assets.rows()] == ["film-1"]
    assert far_end.calls["create_upload"] == 0


async def test_a_forgotten_history_leaves_who_forgot_it_but_not_its_name(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    service = rindle.as_actor(BACKEND)
    row = await service.track(reference="film-1", provider_asset_id=far_end.create_asset())

    await service.untrack(row.id, history=True)

    assert await done(rindle) == [
        ("track", None, BACKEND, "done"),
        ("untrack", None, BACKEND, "done"),
    ]
    actions = await rindle.store.row_actions.of_row(row.id, 10)
    assert [action.row_id for action in actions] == [row.id, row.id]


async def test_a_reference_that_holds_an_id_of_the_provider_is_redacted(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    asset = far_end.create_asset()

    await rindle.as_actor(BACKEND).track(reference=f"mux-{asset}", provider_asset_id=asset)

    assert await done(rindle) == [("track", f"mux-...{asset[-4:]}", BACKEND, "done")]


async def test_a_sync_that_is_given_up_is_recorded(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    asset = far_end.create_asset(life=READY)
    await rindle.track(reference="film-1", provider_asset_id=asset)
    far_end.add_fault("late_answer", operation="get_asset", seconds=30)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await rindle.as_actor(CONSOLE).sync(asset)

    assert await done(rindle) == [("sync", "film-1", "console", "cancelled")]


async def test_events_that_are_replayed_are_recorded_with_their_row(
    rindle: RindleSync, far_end: MuxEmulator
) -> None:
    asset = far_end.create_asset(life=READY)
    row = await rindle.track(reference="film-1", provider_asset_id=asset)
    receiver = receiver_of(rindle.context)
    for provider_id in (asset, "stranger"):
        headers, body = signed(provider_id)
        await receiver.receive("POST", headers, chunks(body))
    async with rindle.store.database.writing() as connection:
        dead = sa.update(webhook_events).values(status="dead", next_attempt_at=None)
        await connection.execute(dead)
    [about_row] = [
        event for event in await rindle.webhook_events.list() if event.provider_asset_id == asset
    ]
    replayed = rindle.as_actor(BACKEND).webhook_events

    assert await replayed.replay(about_row.id) == 1
    assert await replayed.replay() == 1
    assert await replayed.replay() == 0
    assert await replayed.replay(str(uuid4())) == 0

    assert await done(rindle) == [
        ("replay", "film-1", BACKEND, "1 event"),
        ("replay", None, BACKEND, "1 event"),
    ]
    [action] = await rindle.store.row_actions.of_row(row.id, 10)
    assert action.action is Action.REPLAY


async def test_a_view_has_the_jobs_and_limits_of_its_service(rindle: RindleSync) -> None:
    view = rindle.as_actor(BACKEND)
    other = view.as_actor("console")

    assert view.context.gateway is rindle.context.gateway
    assert view.context.list_index is rindle.context.list_index
    assert other.job_runner is view.job_runner is rindle.job_runner
    assert other.waiting_events is rindle.waiting_events
    assert rindle.job_runner.context.actor is None
    with pytest.raises(ConfigurationError, match="actor: must be console, command or token"):
        rindle.as_actor("me")
