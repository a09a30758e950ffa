"""Which changes a callback selects, and the name that it is known by."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from rindle_sync.app import RindleSync
from rindle_sync.config import plain_settings
from rindle_sync.domain import ChangeKind, State
from rindle_sync.errors import ConfigurationError
from rindle_sync.runtime import ChangeEvent, callback_name, dispatch
from rindle_sync.store import Database
from rindle_sync.store.schema import change_deliveries, changes, open_engine
from tests.runtime.test_dispatch import Heard, a_row_that_went_through, moved
from tests.support.callbacks import registered
from tests.support.rows import a_row
from tests.support.world import World

STATES = [State.UPLOADING, State.PROCESSING, State.READY]


async def heard_with(world: World, **selection: Any) -> list[ChangeEvent]:
    """What a callback with this selection is called with; the change is handled either way."""
    heard = Heard()
    while await dispatch(world.context, registered(heard, **selection)):
        pass
    while await dispatch(world.context, registered(Heard())):
        pass
    async with world.context.store.database.reading() as connection:
        assert list(await connection.execute(change_deliveries.select())) == []
    return heard.changes


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, STATES),
        ("ready", [State.READY]),
        (State.READY, [State.READY]),
        (["ready", State.UPLOADING], [State.UPLOADING, State.READY]),
        ("errored", []),
    ],
)
async def test_a_callback_may_select_states(
    world: World, state: Any, expected: list[State]
) -> None:
    await a_row_that_went_through(world, *STATES)

    events = await heard_with(world, state=state)

    assert [event.change.to_state for event in events] == expected


@pytest.mark.parametrize(
    ("selection", "versions"),
    [({}, [2, 3]), ({"kind": "state"}, [2]), ({"kind": ChangeKind.MEDIA}, [3])],
)
async def test_a_callback_may_select_a_kind(
    world: World, selection: dict[str, Any], versions: list[int]
) -> None:
    await a_row_that_went_through(world, State.READY, State.READY)
    await make_last_one_of_media(world)

    events = await heard_with(world, **selection)

    assert [event.version for event in events] == versions
    assert {event.kind for event in events} == {
        ChangeKind.MEDIA if version == 3 else ChangeKind.STATE for version in versions
    }


async def test_a_state_selects_no_change_of_the_media_alone(world: World) -> None:
    await a_row_that_went_through(world, State.READY, State.READY)
    await make_last_one_of_media(world)

    assert [event.version for event in await heard_with(world, state="ready")] == [2]


async def make_last_one_of_media(world: World) -> None:
    async with world.context.store.database.writing() as connection:
        media = update(changes).where(changes.c.version == 3).values(kind="media")
        await connection.execute(media)


@pytest.mark.parametrize(
    ("adopted", "expected"), [(None, {"found", "made"}), (True, {"found"}), (False, {"made"})]
)
async def test_a_callback_may_select_rows_that_were_found_at_the_provider_or_others(
    world: World, adopted: Any, expected: set[str]
) -> None:
    for reference, mode in (("found", "adopted"), ("made", None)):
        row = a_row(State.PENDING, reference=reference, ingest_mode=mode)
        await world.context.store.assets.add(row)
        await moved(world, row, State.READY)

    events = await heard_with(world, adopted=adopted)

    assert {event.reference for event in events} == expected


async def test_an_event_carries_what_makes_an_app_idempotent(world: World) -> None:
    row = await a_row_that_went_through(world, *STATES)

    events = await heard_with(world)

    assert [event.version for event in events] == [2, 3, 4]
    assert sorted({event.id for event in events}) == [event.id for event in events]
    assert {event.reference for event in events} == {row.reference}
    assert row.provider_asset_id
    assert row.provider_asset_id not in repr(events)


@pytest.mark.parametrize(
    ("selection", "argument"),
    [
        ({"state": "done"}, "state"),
        ({"state": []}, "state"),
        ({"kind": "video"}, "kind"),
        ({"state": "ready", "kind": "media"}, "state"),
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0"}, "name"),
    ],
)
async def test_a_selection_that_cannot_be_meant_is_refused(
    sqlite_url: str, selection: dict[str, Any], argument: str
) -> None:
    rindle = an_app(sqlite_url)

    with pytest.raises(ConfigurationError) as refused:
        rindle.on_change(Heard(), **selection)

    assert refused.value.setting == argument
    with pytest.raises(ConfigurationError):
        rindle.on_change(**selection)(Heard())
    await rindle.close()


def an_app(url: str) -> RindleSync:
    return RindleSync(plain_settings(database_url=url), Database(open_engine(url)))


async def test_callbacks_are_registered_by_decorators_with_and_without_arguments(
    sqlite_url: str,
) -> None:
    rindle = an_app(sqlite_url)

    @rindle.on_change
    async def plain(_: ChangeEvent) -> None: ...

    @rindle.on_change()
    async def called(_: ChangeEvent) -> None: ...

    @rindle.on_change(transactional=True, state=["ready", "errored"], adopted=False)
    async def selecting(_: ChangeEvent, connection: AsyncConnection) -> None: ...

    rindle.on_change(plain, name="the same again")

    here = f"{__name__}.test_callbacks_are_registered_by_decorators_with_and_without_arguments"
    assert [callback.name for callback in rindle.job_runner.callbacks] == [
        f"{here}.<locals>.plain",
        f"{here}.<locals>.called",
        f"{here}.<locals>.selecting",
        "the same again",
    ]
    with pytest.raises(ConfigurationError, match="another callback has this name"):
        rindle.on_change(called, name="the same again")
    await rindle.close()


async def handle(_: ChangeEvent) -> None: ...


def test_a_callback_is_known_by_its_module_and_its_qualified_name() -> None:
    heard = Heard()

    assert callback_name(handle, ()) == f"{__name__}.handle"
    assert callback_name(partial(handle), ()) == f"{__name__}.handle"
    assert callback_name(heard, ()) == "tests.runtime.test_dispatch.Heard"
    assert callback_name(heard.__call__, ()) == "tests.runtime.test_dispatch.Heard.__call__"


def test_of_two_with_the_same_name_the_second_has_a_number() -> None:
    taken: list[str] = []
    for _ in range(3):
        taken.append(callback_name(handle, taken))

    assert taken == [f"{__name__}.handle", f"{__name__}.handle#2", f"{__name__}.handle#3"]
