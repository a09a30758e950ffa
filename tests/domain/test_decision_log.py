"""What a row remembers of its last looks and webhooks."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from rindle_sync.domain import (
    MOST,
    FailureKind,
    FetchFailure,
    LoggedDecision,
    Observation,
    ObservationSource,
    Policy,
    ProviderAsset,
    State,
    Trigger,
    Verdict,
    decide,
    log_decision,
    read_log,
)
from tests.support.rows import NOW, a_404, a_look, a_row, a_webhook
from tests.support.world import World

MINUTE = timedelta(minutes=1)


def log_of(
    *observations: Observation | FetchFailure | None,
    row: ProviderAsset | None = None,
    by: Trigger = Trigger.SWEEP,
) -> list[LoggedDecision]:
    """The log after decisions about one row, a minute apart."""
    row, log = row or a_row(), list[Mapping[str, Any]]()
    for number, observation in enumerate(observations):
        now = NOW + number * MINUTE
        log = log_decision(log, observation, decide(row, observation, now, Policy()), by, now)
    return read_log(log)


def test_a_decision_is_kept_with_who_saw_what_and_why() -> None:
    [entry] = log_of(a_look(State.READY))

    assert entry == LoggedDecision(
        at=NOW,
        until=NOW,
        times=1,
        trigger=Trigger.SWEEP,
        source=ObservationSource.GET,
        verdict=Verdict.CHANGED,
        reason="the provider says ready",
    )


def test_looks_that_come_to_the_same_are_one_entry() -> None:
    [entry] = log_of(*[a_look(State.PROCESSING)] * 5)

    assert (entry.at, entry.until, entry.times, entry.reason) == (
        NOW,
        NOW + 4 * MINUTE,
        5,
        "in sync",
    )


def test_no_answer_is_kept_by_its_kind_alone() -> None:
    failure = FetchFailure(kind=FailureKind.UNREACHABLE, at=NOW, text="a text that could be long")

    [entry] = log_of(failure)

    assert (entry.source, entry.verdict, entry.reason) == (None, Verdict.UNANSWERED, "unreachable")


def test_the_oldest_entries_are_forgotten() -> None:
    looks = [a_look(State.PROCESSING), a_webhook(State.READY)] * MOST

    kept = log_of(*looks)

    assert len(kept) == MOST
    assert kept[-1].at == NOW + (len(looks) - 1) * MINUTE
    assert kept[0].at == NOW + (len(looks) - MOST) * MINUTE


async def test_each_road_leaves_its_trace_on_the_row(world: World) -> None:
    row = await world.track()

    await world.sync(row)
    world.clock.move(60)
    world.emulator.delete_asset(row.provider_asset_id or "")
    await world.sync(row)

    left = read_log((await world.now_is(row)).decision_log)
    assert [(entry.trigger, entry.verdict, entry.reason) for entry in left] == [
        (Trigger.SYNC, Verdict.CHANGED, "the provider says ready"),
        (Trigger.SYNC, Verdict.MISSING_ONCE, "not found, to be confirmed"),
    ]
    assert [entry.at for entry in left] == [world.clock.now() - MINUTE, world.clock.now()]


async def test_a_conflict_leaves_one_entry_for_each_write(world: World) -> None:
    row = await world.track()
    for _ in range(3):
        world.clock.move(60)
        await world.sync(row)

    after = await world.now_is(row)

    assert (
        sum(entry.times for entry in read_log(after.decision_log))
        == after.version - row.version
        == 3
    )


@pytest.mark.parametrize("moment", [NOW, NOW.replace(microsecond=0)])
def test_moments_are_read_as_they_were_written(moment: datetime) -> None:
    log = log_decision(
        (), a_404(), decide(a_row(), a_404(), moment, Policy()), Trigger.AUDIT, moment
    )

    assert read_log(log)[0].at == moment
