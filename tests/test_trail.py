"""What a row remembers of its last looks and webhooks."""

from datetime import datetime, timedelta

import pytest

from rindle_sync.asset import By, Lack, ProviderAsset, Seen, Silence, State, Via
from rindle_sync.decide import Policy, Verdict, decide
from rindle_sync.trail import MOST, Entry, entries, follow
from tests.rows import NOW, a_404, a_look, a_row, a_webhook
from tests.world import World

MINUTE = timedelta(minutes=1)


def trail_of(*seen: Seen | Silence | None, row: ProviderAsset | None = None, by: By = By.SWEEP) -> list[Entry]:
    """The trail after decisions about one row, a minute apart."""
    row, trail = row or a_row(), list[object]()
    for number, one in enumerate(seen):
        now = NOW + number * MINUTE
        trail = follow(trail, one, decide(row, one, now, Policy()), by, now)
    return entries(trail)


def test_a_decision_is_kept_with_who_saw_what_and_why() -> None:
    [entry] = trail_of(a_look(State.READY))

    assert entry == Entry(
        at=NOW,
        until=NOW,
        times=1,
        by=By.SWEEP,
        via=Via.GET,
        verdict=Verdict.CHANGED,
        reason="the provider says ready",
    )


def test_looks_that_come_to_the_same_are_one_entry() -> None:
    [entry] = trail_of(*[a_look(State.PROCESSING)] * 5)

    assert (entry.at, entry.until, entry.times, entry.reason) == (NOW, NOW + 4 * MINUTE, 5, "in step")


def test_no_answer_is_kept_by_its_kind_alone() -> None:
    silence = Silence(lack=Lack.UNREACHABLE, at=NOW, text="a text that could be long")

    [entry] = trail_of(silence)

    assert (entry.via, entry.verdict, entry.reason) == (None, Verdict.UNANSWERED, "unreachable")


def test_the_oldest_entries_are_forgotten() -> None:
    looks = [a_look(State.PROCESSING), a_webhook(State.READY)] * MOST

    kept = trail_of(*looks)

    assert len(kept) == MOST
    assert kept[-1].at == NOW + (len(looks) - 1) * MINUTE
    assert kept[0].at == NOW + (len(looks) - MOST) * MINUTE


async def test_each_road_leaves_its_trace_on_the_row(world: World) -> None:
    row = await world.track()

    await world.sync(row)
    world.clock.move(60)
    world.emulator.delete_asset(row.provider_asset_id or "")
    await world.sync(row)

    left = entries((await world.now_is(row)).trail)
    assert [(entry.by, entry.verdict, entry.reason) for entry in left] == [
        (By.SYNC, Verdict.CHANGED, "the provider says ready"),
        (By.SYNC, Verdict.SUSPECTED, "not found, to be confirmed"),
    ]
    assert [entry.at for entry in left] == [world.clock.now() - MINUTE, world.clock.now()]


async def test_a_conflict_leaves_one_entry_for_each_write(world: World) -> None:
    row = await world.track()
    for _ in range(3):
        world.clock.move(60)
        await world.sync(row)

    after = await world.now_is(row)

    assert sum(entry.times for entry in entries(after.trail)) == after.version - row.version == 3


@pytest.mark.parametrize("moment", [NOW, NOW.replace(microsecond=0)])
def test_moments_are_read_as_they_were_written(moment: datetime) -> None:
    trail = follow((), a_404(), decide(a_row(), a_404(), moment, Policy()), By.AUDIT, moment)

    assert entries(trail)[0].at == moment
