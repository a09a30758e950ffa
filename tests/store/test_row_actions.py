"""What people and programs did to rows: any number stored at once, and kept long enough."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from rindle_sync.domain import COMMAND, CONSOLE, Action, Actor, RowAction, State, Trigger
from rindle_sync.errors import ConfigurationError
from rindle_sync.store import Store
from rindle_sync.store.row_actions import KEPT_FOR, PRUNED_AT_ONCE, RowActions
from tests.support.rows import NOW, a_row
from tests.support.world import World, a_job_runner

SECOND = timedelta(seconds=1)


@pytest.fixture
def actions(world: World) -> RowActions:
    return world.context.store.row_actions


def an_action(row_id: str | None, action: Action = Action.TRACK, **values: object) -> RowAction:
    done = RowAction(
        row_id=row_id,
        reference="film-1",
        action=action,
        actor=Actor.of_token("backend"),
        outcome="done",
        at=NOW,
    )
    return replace(done, **values)


async def test_actions_are_read_by_row_and_by_time(actions: RowActions) -> None:
    first, second = a_row().id, a_row().id
    stored = [
        an_action(first),
        an_action(second, at=NOW + SECOND, actor=CONSOLE),
        an_action(first, Action.SYNC, at=NOW + 2 * SECOND, actor=COMMAND, outcome="unchanged"),
        an_action(None, Action.REPLAY, at=NOW + 3 * SECOND, reference=None, outcome="3 events"),
    ]

    await actions.add(stored)
    await actions.add([])

    assert await actions.of_row(first, 10) == [stored[0], stored[2]]
    assert await actions.of_row(first, 1) == [stored[2]]
    assert await actions.newest(3) == [stored[3], stored[2], stored[1]]


async def test_actions_of_other_environments_are_apart(world: World, actions: RowActions) -> None:
    row_id = a_row().id
    await actions.add([an_action(row_id)])

    elsewhere = Store(world.context.store.database, "mux", "staging").row_actions
    assert await elsewhere.newest(10) == []
    assert await elsewhere.of_row(row_id, 10) == []


async def test_a_thousand_actions_are_stored_at_once(actions: RowActions) -> None:
    row_ids = [a_row().id for _ in range(1000)]

    await actions.add([an_action(row_id) for row_id in row_ids])

    assert {action.row_id for action in await actions.newest(2000)} == set(row_ids)


async def test_what_was_decided_about_a_row_is_kept_as_long_as_the_row(
    world: World, actions: RowActions
) -> None:
    row, gone = a_row(State.READY), a_row().id
    await world.context.store.assets.add(row)
    decided = an_action(row.id)
    passing = [an_action(row.id, Action.SYNC), an_action(None, Action.REPLAY)]
    about_gone = [an_action(gone), an_action(gone, Action.UNTRACK)]
    await actions.add([decided, *passing, *about_gone])
    world.clock.move(KEPT_FOR)
    late = an_action(gone, Action.UNTRACK, at=NOW + SECOND)
    await actions.add([late])

    await a_job_runner(world).prune()
    assert len(await actions.newest(10)) == 6  # a year, to the second
    world.clock.move(SECOND)
    await a_job_runner(world).prune()

    assert await actions.newest(10) == [late, decided]


async def test_many_old_actions_are_pruned_in_parts(world: World, actions: RowActions) -> None:
    number = PRUNED_AT_ONCE + 1
    await actions.add([an_action(a_row().id) for _ in range(number)])

    assert await actions.prune(NOW + KEPT_FOR + SECOND) == number
    assert await actions.newest(10) == []


@pytest.mark.parametrize(
    "text", ["", "app", "Console", "token:", "token: a", "token:a\nb", "token:" + "a" * 101]
)
def test_nobody_else_acts(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^actor: "):
        Actor(text)


def test_an_actor_says_what_causes_a_change() -> None:
    found = {actor.text: actor.trigger for actor in (CONSOLE, COMMAND, Actor("token:a b"))}

    assert found == {"console": Trigger.CONSOLE, "command": Trigger.CLI, "token:a b": Trigger.API}
