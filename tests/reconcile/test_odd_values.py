"""A value that the database refuses sets its own row aside, and no other.

The values are an emoji for a LATIN1 database, and what no JSON can hold for any.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from rindle_sync.domain import EventStatus, Observation, Outcome, ProviderAsset, State, Trigger
from rindle_sync.providers.mux import Credentials, Mux
from rindle_sync.reconcile import Observed, apply, audit, backfill
from rindle_sync.store.schema import metadata, open_engine
from rindle_sync.telemetry import Failed
from rindle_sync.webhooks import process_webhook_events, rows_about
from tests.support import postgres
from tests.support.rows import a_look, a_webhook
from tests.support.webhooks import an_event, deliver, with_secrets
from tests.support.world import READY, World, a_world

EMOJI = {"title": "a \U0001f3ac"}
LATIN = {"title": "Amélie"}


@pytest.fixture
async def latin1(postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A world whose PostgreSQL database has the encoding LATIN1, and whose connections UTF-8."""
    monkeypatch.setenv("PGCLIENTENCODING", "utf8")
    with postgres.new_database(postgres_server, "LATIN1") as url:
        engine = open_engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await engine.dispose()
        async with a_world(url, migrated=True) as world:
            yield world


async def three(world: World, state: State = State.PROCESSING) -> list[ProviderAsset]:
    """Rows that are due, of assets that are ready; the second one's title has an emoji."""
    rows = []
    for meta in (LATIN, EMOJI, LATIN):
        asset_id = world.emulator.create_asset(life=READY, meta=meta)
        rows.append(await world.track(state, provider_asset_id=asset_id))
    return rows


async def check_set_aside(world: World, row: ProviderAsset, cause: str) -> None:
    """The row is as it was, says why, and is tried again."""
    after = await world.now_is(row)
    assert (after.state, after.check_failures) == (row.state, row.check_failures + 1)
    error = after.last_sync_error or ""
    assert error.startswith("the database does not take the answer: ")
    assert cause in error
    assert after.check_at
    assert after.check_at > world.clock.now()
    assert after.lease_until is None


def fields_that_no_json_can_hold() -> dict[str, dict[str, Any]]:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    return {
        "half an emoji in the metadata": {"metadata": {"title": "\ud83d"}},
        "half an emoji in an id": {"provider_upload_id": "\udc00"},
        "too many levels": {"metadata": {"deep": deep}},
        "an object of no type": {"metadata": {"odd": object()}},
    }


@pytest.mark.parametrize("source", ["get", "webhook"])
@pytest.mark.parametrize(
    "odd", fields_that_no_json_can_hold().values(), ids=fields_that_no_json_can_hold()
)
async def test_whatever_a_value_raises_only_its_own_row_is_set_aside(
    world: World, odd: dict[str, Any], source: str
) -> None:
    make: Any = {"get": a_look, "webhook": a_webhook}[source]
    rows = [await world.track(provider_asset_id=f"asset-{number}") for number in range(2)]
    waiting = await world.track(State.UPLOADING, provider_asset_id=None, passthrough="ours")

    def seen(row: ProviderAsset, **values: Any) -> Observed:
        observation: Observation = make(State.READY, at=world.clock.now(), **values)
        return Observed(row, observation)

    observed = [seen(rows[0]), seen(waiting, **odd), seen(rows[1])]
    all_applied = await apply(world.context, observed, Trigger.SWEEP)

    assert {applied.row.id for applied in all_applied} == {waiting.id, *(row.id for row in rows)}
    assert [(await world.now_is(row)).state for row in rows] == [State.READY, State.READY]
    after = await world.now_is(waiting)
    assert (after.state, after.check_failures) == (State.UPLOADING, 1)
    assert "a value is no JSON" in (after.last_sync_error or "")
    assert [event.reason for event in world.events(Failed) if isinstance(event, Failed)] == [
        "clash"
    ]


@pytest.mark.parametrize("by_page", [True, False])
async def test_a_sweep_goes_on_with_the_other_rows(latin1: World, *, by_page: bool) -> None:
    if not by_page:
        latin1.without_pages()
    first, odd, last = await three(latin1)

    result = await latin1.sweep()

    assert (result.outcome, result.checked, result.changed) == (Outcome.DONE, 3, 2)
    for row in (first, last):
        after = await latin1.now_is(row)
        assert (after.state, (after.raw_provider_metadata or {})["meta"]) == (State.READY, LATIN)
    await check_set_aside(latin1, odd, "LATIN1")


async def test_a_row_that_was_set_aside_is_in_sync_once_its_value_fits(latin1: World) -> None:
    row = await latin1.track(provider_asset_id=latin1.emulator.create_asset(life=READY, meta=EMOJI))
    await latin1.sync(row)
    odd = await latin1.now_is(row)

    fits = a_look(State.READY, at=latin1.clock.now(), metadata={"meta": LATIN})
    await apply(latin1.context, [Observed(odd, fits)], Trigger.SWEEP)

    after = await latin1.now_is(row)
    assert (after.state, after.last_sync_error, after.check_failures) == (State.READY, None, 0)


async def test_an_audit_comes_to_its_end(latin1: World) -> None:
    await latin1.know_identity()
    rows = []
    for meta in (LATIN, EMOJI, LATIN):
        asset_id = latin1.emulator.create_asset(life=READY, meta=meta)
        created = latin1.clock.now()
        rows.append(
            await latin1.track(
                State.READY, provider_asset_id=asset_id, provider_created_at=created, check_at=None
            )
        )
    latin1.clock.move(timedelta(hours=2))

    report = await audit(latin1.context)

    assert (report.outcome, report.seen, report.changed) == (Outcome.DONE, 3, 2)
    assert [len((await latin1.now_is(row)).playback_ids) for row in rows] == [1, 0, 1]
    await check_set_aside(latin1, rows[1], "LATIN1")


@pytest.mark.parametrize("passthrough", [None, "ours", "\U0001f3ac"])
async def test_a_backfill_makes_a_row_of_every_asset(
    latin1: World, passthrough: str | None
) -> None:
    for meta in (LATIN, EMOJI, LATIN):
        told = passthrough if meta is EMOJI else None
        latin1.emulator.create_asset(life=READY, meta=meta, passthrough=told)

    filled = await backfill(latin1.context)

    rows = [row async for row in latin1.context.store.assets.rows()]
    assert (filled.outcome, filled.adopted) == (Outcome.DONE, 3)
    assert [row.state for row in rows] == [State.READY] * 3
    [odd] = [row for row in rows if row.last_sync_error]
    assert "LATIN1" in (odd.last_sync_error or "")
    assert (odd.raw_provider_metadata, len(odd.playback_ids)) == (None, 1)
    assert (await backfill(latin1.context)).known == 3


async def test_webhooks_are_kept_and_each_is_applied_to_its_row(latin1: World) -> None:
    with_secrets(latin1)
    first, odd, last = await three(latin1)
    events = [an_event(row, meta=LATIN) for row in (first, last)]
    events.insert(1, an_event(odd, passthrough="\U0001f3ac", meta=EMOJI))

    replies = [await deliver(latin1, event) for event in events]
    await process_webhook_events(latin1.context)

    assert [reply.status for reply in replies] == [202] * 3
    for row in (first, last):
        assert (await latin1.now_is(row)).state is State.READY
    await check_set_aside(latin1, odd, "LATIN1")
    kept = {event.event_id: event for event in await latin1.context.store.inbox.list()}
    assert kept[events[1]["id"]].status is EventStatus.PENDING
    assert kept[events[1]["id"]].reason == "clash"
    assert {kept[events[0]["id"]].status, kept[events[2]["id"]].status} == {EventStatus.APPLIED}


async def test_an_event_with_a_name_that_the_database_cannot_hold_hides_no_other(
    latin1: World,
) -> None:
    with_secrets(latin1)
    row = await latin1.track()
    for event in (an_event("\U0001f3ac"), an_event(row)):
        assert (await deliver(latin1, event)).status == 202

    await process_webhook_events(latin1.context)

    assert (await latin1.now_is(row)).state is State.READY
    found = await latin1.context.store.assets.match(
        provider_asset_ids=["\U0001f3ac", row.provider_asset_id or ""],
        provider_upload_ids=["\U0001f3ac"],
        passthroughs=["\U0001f3ac"],
    )
    assert [other.id for other in found] == [row.id]
    assert await rows_about(latin1.context.store.assets, []) == []


async def test_what_the_database_cannot_hold_is_found_nowhere(latin1: World) -> None:
    store = latin1.context.store

    assert await store.assets.find_by_reference("\U0001f3ac", "default") is None
    assert await store.assets.find_by_provider_id("\U0001f3ac") == []
    assert await store.queries.listed(asset_ids=["\U0001f3ac"], upload_ids=["\U0001f3ac"]) == []


async def test_a_page_with_ids_that_are_no_text_is_backfilled_and_audited(world: World) -> None:
    odd_ids = ["a\x01b", "two\nlines", "\u202e", "\ufffd", "x" * 255]
    page = [{"id": name, "status": "ready", "upload_id": f"{name[:9]}\n"} for name in odd_ids]
    answers = {"/system/v1/whoami": {"environment_id": "env-1"}, "/video/v1/assets": page}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": answers[request.url.path]})

    transport = httpx.MockTransport(answer)
    world.with_gateway(provider=Mux(Credentials("id", "secret"), transport=transport))

    filled = await backfill(world.context)
    world.clock.move(timedelta(hours=2))
    report = await audit(world.context)

    rows = [row async for row in world.context.store.assets.rows()]
    assert (filled.outcome, filled.adopted) == (Outcome.DONE, len(odd_ids))
    assert {row.provider_asset_id for row in rows} == set(odd_ids)
    assert (report.outcome, report.seen) == (Outcome.DONE, len(odd_ids))


async def add_trigger(world: World, row: ProviderAsset, condition: str) -> None:
    """Somebody's trigger that refuses some updates of `row`."""
    of_row = f"WHEN (NEW.id = '{row.id}'{condition})"
    when = f"BEFORE UPDATE ON media_provider_assets FOR EACH ROW {of_row}"
    function = (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'not this row'; END $$"
    )
    async with world.context.store.database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            body = "BEGIN SELECT RAISE(ABORT, 'not this row'); END"
        else:
            await connection.execute(text(function))
            body = "EXECUTE FUNCTION refuse()"
        await connection.execute(text(f"CREATE TRIGGER refusing {when} {body}"))


async def test_a_row_that_a_trigger_refuses_is_set_aside(world: World) -> None:
    odd, other = await world.track(), await world.track()
    await add_trigger(world, odd, " AND NEW.state = 'ready'")

    await world.sweep()

    assert (await world.now_is(other)).state is State.READY
    await check_set_aside(world, odd, "")


async def test_a_row_that_cannot_be_written_at_all_stops_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    odd, other = await world.track(), await world.track()
    await add_trigger(world, odd, " AND NEW.version > OLD.version")

    result = await world.sweep()

    assert (result.outcome, result.checked, result.changed) == (Outcome.DONE, 1, 1)
    assert (await world.now_is(other)).state is State.READY
    assert await world.now_is(odd) == odd
    assert f"row {odd.id} ({odd.reference}) cannot be written" in caplog.text
