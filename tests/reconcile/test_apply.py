"""The tail of every road.

Decide, compare-and-swap, tell, with others writing the same rows at the same time.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest

from rindle_sync.domain import (
    Decision,
    ErrorKind,
    FailureKind,
    FetchFailure,
    LoggedDecision,
    Observation,
    ObservationSource,
    ProviderAsset,
    State,
    StuckPolicy,
    Trigger,
    Verdict,
    read_log,
    replace,
    restart,
)
from rindle_sync.errors import Conflict
from rindle_sync.reconcile import TRIES, Observed, apply, commit, preview
from rindle_sync.store import AssetStore, Change, Write, Written
from rindle_sync.telemetry import Failed, Resolved, StateChange, Stuck, UnknownStatus, nanoseconds
from tests.support.rows import GAPS, PUBLIC, a_404, a_look, a_row, a_webhook
from tests.support.world import NEVER, World


async def settle_one(
    world: World, row: ProviderAsset, observation: Observation, by: Trigger = Trigger.SYNC
) -> Verdict:
    [settled] = await apply(world.context, [Observed(row, observation)], by)
    return settled.decision.verdict


async def test_a_slow_check_never_overwrites_a_webhook_that_came_in_meanwhile(world: World) -> None:
    row = await world.track()
    slow = a_look(State.PROCESSING, at=world.clock.now())
    world.clock.move(2)
    await settle_one(world, row, a_webhook(State.READY, at=world.clock.now()), Trigger.WEBHOOK)
    world.clock.move(2)

    verdict = await settle_one(world, row, slow)

    assert verdict is Verdict.STALE
    assert (await world.now_is(row)).state is State.READY


async def test_a_check_that_overlapped_another_takes_back_nothing_whichever_began_first(
    world: World,
) -> None:
    row, now = await world.track(), world.clock.now()
    await settle_one(world, row, a_look(State.READY, at=now, playback_ids=(PUBLIC,)))

    verdict = await settle_one(world, row, a_look(State.PROCESSING, at=now + timedelta(seconds=1)))

    after = await world.now_is(row)
    assert verdict is Verdict.AMBIGUOUS
    assert (after.state, after.playback_ids, after.check_at) == (State.READY, (PUBLIC,), now)


async def test_a_conflict_is_decided_again_on_the_row_as_it_is_now(world: World) -> None:
    row = await world.track()
    await settle_one(world, row, a_look(State.PROCESSING, playback_ids=(PUBLIC,)))

    await settle_one(world, row, a_look(State.READY, at=world.clock.now() + timedelta(seconds=1)))

    after = await world.now_is(row)
    assert (after.state, after.playback_ids, after.version) == (State.READY, (PUBLIC,), 3)


async def test_nothing_is_lost_when_many_settle_one_row_at_once(world: World) -> None:
    row = await world.track(State.UPLOADING)
    at = world.clock.now()
    observation = [
        a_look(State.PROCESSING, at=at + timedelta(seconds=1)),
        a_webhook(State.PROCESSING, at=at + timedelta(seconds=2)),
        a_webhook(State.READY, at=at + timedelta(seconds=3), playback_ids=(PUBLIC,)),
    ]

    await asyncio.gather(
        *(apply(world.context, [Observed(row, look)], Trigger.WEBHOOK) for look in observation)
    )

    after = await world.now_is(row)
    changes = await world.context.store.assets.changes_of(row.id)
    assert (after.state, after.playback_ids) == (State.READY, (PUBLIC,))
    assert changes[0].from_state is State.UPLOADING
    assert all(earlier.to_state is later.from_state for earlier, later in pairwise(changes))
    assert changes[-1].to_state is State.READY


async def test_a_change_says_who_found_it_when_and_how_late(world: World) -> None:
    row = await world.track()
    world.clock.move(90)

    await settle_one(
        world,
        row,
        a_webhook(at=world.clock.now(), occurred_at=world.clock.now() - timedelta(seconds=7)),
    )

    [change] = await world.context.store.assets.changes_of(row.id)
    assert (change.from_state, change.to_state, change.trigger) == (
        State.PROCESSING,
        State.READY,
        Trigger.SYNC,
    )
    assert (change.at, change.late_ms, change.version) == (world.clock.now(), 7000, 2)


async def test_a_row_that_was_deleted_meanwhile_is_left_out(world: World) -> None:
    assert await apply(world.context, [Observed(a_row(), a_look())], Trigger.SYNC) == []
    assert world.told == []


async def test_a_row_that_others_never_stop_writing_is_a_named_error_and_the_rest_is_settled(
    world: World,
) -> None:
    busy, calm = await world.track(check_failures=2), await world.track()

    class Unlucky(AssetStore):
        """The real store, beside a writer that is always a moment faster."""

        async def write(self, writes: Sequence[Write]) -> Written:
            fresh = await super().get(busy.id)
            assert fresh
            newer = replace(fresh, version=fresh.version + 1)
            faster = [replace(write, row=newer) for write in writes[:1]]
            await super().write(faster)
            return await super().write(writes)

    world.context.store.assets = Unlucky(world.context.store.database, "mux", "default")

    with pytest.raises(
        Conflict,
        match=rf"^1 row\(s\) were written by others {TRIES} times in a row; "
        r"nothing was overwritten$",
    ):
        await apply(
            world.context, [Observed(busy, a_look()), Observed(calm, a_look())], Trigger.SYNC
        )

    assert (await world.now_is(calm)).state is State.READY
    assert [e.row_id for e in world.events(Resolved)] == [calm.id]
    assert world.events(Failed) == [Failed(**about(world, busy), reason="conflict", attempt=2)]


async def test_a_row_that_is_gone_holds_up_none_that_others_wrote_meanwhile(world: World) -> None:
    gone, busy = a_row(), await world.track()
    await settle_one(world, busy, a_look(State.PROCESSING, at=world.clock.now()))
    look = a_look(State.READY, at=world.clock.now())

    settled = await apply(world.context, [Observed(gone, look), Observed(busy, look)], Trigger.SYNC)

    assert [applied.row.id for applied in settled] == [busy.id]
    assert (await world.now_is(busy)).state is State.READY


async def test_a_check_without_an_answer_is_noted_on_the_row_as_others_wrote_it(
    world: World,
) -> None:
    row, now = await world.track(State.UPLOADING), world.clock.now()
    await settle_one(world, row, a_look(State.PROCESSING, at=now))
    failure = FetchFailure(kind=FailureKind.UNREACHABLE, at=now, text="mux answered 500")

    await apply(world.context, [Observed(row, failure)], Trigger.SYNC)

    after = await world.now_is(row)
    assert (after.state, after.last_sync_error) == (State.PROCESSING, "mux answered 500")


async def test_an_answer_is_not_doubted_where_others_wrote_no_news(world: World) -> None:
    row, now = await world.track(), world.clock.now()
    failure = FetchFailure(kind=FailureKind.UNREACHABLE, at=now, text="mux answered 500")
    await apply(world.context, [Observed(row, failure)], Trigger.SYNC)

    assert await settle_one(world, row, a_404(at=now)) is Verdict.CHANGED

    after = await world.now_is(row)
    assert (after.state, after.error_kind) == (State.ERRORED, ErrorKind.NOT_FOUND)


async def test_an_answer_that_names_another_rows_asset_ends_neither_row(world: World) -> None:
    taken = await world.track()
    waiting = await world.track(
        State.UPLOADING, provider_asset_id=None, provider_upload_id="upload-1"
    )
    answer = a_look(
        State.PROCESSING, provider_asset_id=taken.provider_asset_id, at=world.clock.now()
    )

    await settle_one(world, waiting, answer)

    after = await world.now_is(waiting)
    assert (after.state, after.provider_asset_id) == (State.UPLOADING, None)
    assert "another row" in (after.last_sync_error or "")
    assert [e.reason for e in world.events(Failed) if isinstance(e, Failed)] == [FailureKind.CLASH]
    assert await world.now_is(taken) == taken


async def test_settling_twice_writes_one_change_and_tells_no_second(world: World) -> None:
    row = await world.track()
    look = a_look(State.READY, at=world.clock.now())
    await settle_one(world, row, look)

    await settle_one(world, row, look)

    assert len(await world.context.store.assets.changes_of(row.id)) == 1
    assert [e.no_change for e in world.events() if isinstance(e, Resolved)] == [False, True]


async def test_an_older_check_that_ends_later_changes_nothing(world: World) -> None:
    row = await world.track(life=NEVER)
    older = a_look(State.UPLOADING, at=world.clock.now())
    world.clock.move(1)
    await settle_one(world, row, a_look(State.READY, at=world.clock.now()))

    await settle_one(world, row, older)

    assert (await world.now_is(row)).state is State.READY


# what is told and kept, to the last field


def about(world: World, row: ProviderAsset) -> dict[str, Any]:
    """What every event about the row begins with."""
    return {
        "system_time": nanoseconds(world.clock.now()),
        "row_id": row.id,
        "reference": row.reference,
        "profile": row.profile,
        "provider": "mux",
        "asset_id": f"...{(row.provider_asset_id or '')[-4:]}",
    }


async def test_a_check_that_changes_a_row_tells_the_answer_and_the_change(world: World) -> None:
    row = await world.track(profile="tall")
    world.clock.move(5)

    await settle_one(world, row, a_look(State.READY, at=world.clock.now()))

    who = about(world, row)
    assert world.told == [
        Resolved(**who, provider_state="ready", age_ms=3_605_000, no_change=False),
        StateChange(
            **who,
            from_state="processing",
            to_state="ready",
            error_kind=None,
            by="sync",
            late_ms=3_605_000,
        ),
    ]


async def test_a_check_that_changes_nothing_tells_the_answer_alone(world: World) -> None:
    row = await world.track(updated_at=world.clock.now())

    await settle_one(world, row, a_look(State.PROCESSING, at=world.clock.now()))

    assert world.told == [
        Resolved(**about(world, row), provider_state="processing", age_ms=0, no_change=True)
    ]


async def test_a_row_that_is_stuck_without_a_check_is_told_as_stuck(world: World) -> None:
    row = await world.track(updated_at=world.clock.now() - timedelta(hours=3))

    [settled] = await apply(world.context, [Observed(row, None)], Trigger.SWEEP)

    who, age = about(world, row), 3 * 3_600_000
    assert (settled.before, settled.row, settled.changed) == (row, await world.now_is(row), True)
    assert world.told == [
        Stuck(**who, provider_state="errored", age_ms=age, no_change=False),
        StateChange(
            **who,
            from_state="processing",
            to_state="errored",
            error_kind="stuck",
            by="sweep",
            late_ms=age,
        ),
    ]


async def test_a_row_that_a_check_finds_stuck_tells_first_what_the_provider_said(
    world: World,
) -> None:
    world.with_policy(stuck_policy=StuckPolicy.ASK_FIRST)
    row = await world.track(updated_at=world.clock.now() - timedelta(hours=3))

    await settle_one(world, row, a_look(State.PROCESSING, at=world.clock.now()))

    who, age = about(world, row), 3 * 3_600_000
    assert world.told[:2] == [
        Resolved(**who, provider_state="processing", age_ms=age, no_change=True),
        Stuck(**who, provider_state="errored", age_ms=age, no_change=False),
    ]
    assert [event.name for event in world.told[2:]] == [StateChange.name]


async def test_a_status_that_nobody_knows_is_told(world: World) -> None:
    row = await world.track()

    await settle_one(world, row, a_look(None, status="transmogrifying", at=world.clock.now()))

    who = about(world, row)
    assert world.told == [
        Resolved(**who, provider_state="processing", age_ms=3_600_000, no_change=True),
        UnknownStatus(**who, status="transmogrifying"),
    ]


async def test_a_404_is_no_unknown_status(world: World) -> None:
    row = await world.track(State.READY)

    await settle_one(world, row, a_404(at=world.clock.now()))

    assert [event.name for event in world.told] == [Resolved.name]


async def test_a_check_without_an_answer_tells_why_and_which_attempt_it_was(world: World) -> None:
    row = await world.track(check_failures=1)
    failure = FetchFailure(
        kind=FailureKind.UNREACHABLE, at=world.clock.now(), text="mux answered 500"
    )

    await apply(world.context, [Observed(row, failure)], Trigger.SYNC)

    assert world.told == [Failed(**about(world, row), reason="unreachable", attempt=2)]


@pytest.mark.parametrize("source", [ObservationSource.WEBHOOK, ObservationSource.APP])
async def test_what_was_not_asked_for_tells_the_change_alone(
    world: World, source: ObservationSource
) -> None:
    row = await world.track(State.UPLOADING)
    observation = replace(a_webhook(State.PROCESSING, at=world.clock.now()), source=source)

    await settle_one(world, row, observation, Trigger.WEBHOOK)
    await settle_one(
        world,
        await world.now_is(row),
        replace(observation, state=None, event_id="another"),
        Trigger.WEBHOOK,
    )

    assert [event.name for event in world.told] == [StateChange.name]


async def test_a_change_is_kept_with_all_that_it_was(world: World) -> None:
    row = await world.track(checked_at=world.clock.now() - timedelta(seconds=10))

    await settle_one(world, row, a_look(State.ERRORED, at=world.clock.now()), Trigger.AUDIT)

    assert await world.context.store.assets.changes_of(row.id) == [
        Change(
            row_id=row.id,
            reference=row.reference,
            provider_name="mux",
            environment="default",
            version=2,
            from_state=State.PROCESSING,
            to_state=State.ERRORED,
            error_kind=ErrorKind.PROVIDER,
            trigger=Trigger.AUDIT,
            reason="the provider says errored",
            at=world.clock.now(),
            late_ms=10_000,
        )
    ]


async def test_what_is_told_has_the_time_of_the_decision_however_long_the_write_takes(
    world: World,
) -> None:
    row, decided_at = await world.track(), world.clock.now()

    class Slow(AssetStore):
        """The real store, on a database that takes a while."""

        async def write(self, writes: Sequence[Write]) -> Written:
            written = await super().write(writes)
            world.clock.move(9)
            return written

    world.context.store.assets = Slow(world.context.store.database, "mux", "default")

    await settle_one(world, row, a_look(State.READY, at=decided_at))

    [change] = await world.context.store.assets.changes_of(row.id)
    assert change.at == decided_at
    assert [event.system_time for event in world.told] == [nanoseconds(decided_at)] * 2


async def test_a_row_keeps_who_saw_what_and_why(world: World) -> None:
    row, now = await world.track(), world.clock.now()

    await settle_one(world, row, a_look(State.READY, at=now), Trigger.AUDIT)

    assert read_log((await world.now_is(row)).decision_log) == [
        LoggedDecision(
            at=now,
            until=now,
            times=1,
            trigger=Trigger.AUDIT,
            source=ObservationSource.GET,
            verdict=Verdict.CHANGED,
            reason="the provider says ready",
        )
    ]


async def test_an_event_from_ahead_of_our_clock_is_not_late(world: World) -> None:
    row = await world.track()
    now = world.clock.now()

    await settle_one(world, row, a_webhook(at=now, occurred_at=now + timedelta(seconds=7)))

    [change] = await world.context.store.assets.changes_of(row.id)
    assert change.late_ms == 0


async def test_a_row_is_written_with_its_next_check_and_its_next_version(world: World) -> None:
    row = await world.track(State.UPLOADING, version=7)

    await settle_one(world, row, a_look(State.PROCESSING, at=world.clock.now()))

    after = await world.now_is(row)
    assert (after.version, after.updated_at) == (8, world.clock.now())
    assert after.check_at
    assert timedelta(seconds=30) <= after.check_at - world.clock.now() <= timedelta(seconds=33)


# what is not written


async def test_a_row_that_must_be_fetched_is_left_out_and_stays_due(world: World) -> None:
    row = await world.track()

    assert await apply(world.context, [Observed(row, None)], Trigger.SYNC) == []
    assert await world.now_is(row) == row


async def test_what_would_come_of_a_finding_can_be_seen_without_writing(world: World) -> None:
    row, asked = await world.track(), await world.track()
    look = a_look(State.READY, at=world.clock.now())

    [foreseen] = preview(
        world.context,
        [Observed(asked, None), Observed(row, look)],
        Trigger.SWEEP,
        world.clock.now(),
    )

    assert (foreseen.before, foreseen.row.state, foreseen.changed, foreseen.observation) == (
        row,
        State.READY,
        True,
        look,
    )
    assert (await world.now_is(row), world.told) == (row, [])
    [settled] = await apply(world.context, [Observed(row, look)], Trigger.SYNC)
    assert settled == foreseen


async def test_a_dry_run_comes_to_what_would_be_written_and_writes_nothing(world: World) -> None:
    row, now = await world.track(), world.clock.now()
    observed = [Observed(row, a_look(State.READY, at=now))]
    foreseen = preview(world.context, observed, Trigger.AUDIT, now)

    [applied] = await apply(world.context.for_dry_run(), observed, Trigger.AUDIT)

    assert [applied] == foreseen
    assert read_log(applied.row.decision_log) == read_log(foreseen[0].row.decision_log)
    assert [entry.trigger for entry in read_log(applied.row.decision_log)] == [Trigger.AUDIT]
    assert (await world.now_is(row), world.told) == (row, [])


async def test_a_row_that_was_begun_anew_meanwhile_is_left_alone(world: World) -> None:
    row = await world.track(State.ERRORED, passthrough="first")
    await commit(world.context, row, begun_anew(world, row, passthrough="second"), Trigger.APP)
    anew = await world.now_is(row)

    assert (
        await apply(
            world.context, [Observed(row, a_look(State.READY, at=world.clock.now()))], Trigger.SYNC
        )
        == []
    )
    assert await world.now_is(row) == anew


async def test_a_row_that_others_stop_writing_in_time_is_settled(world: World) -> None:
    row = await world.track()

    class Busy(AssetStore):
        """The real store, beside a writer that is a moment faster all times but the last."""

        faster = TRIES - 1

        async def write(self, writes: Sequence[Write]) -> Written:
            if self.faster:
                self.faster -= 1
                now = await super().get(row.id)
                assert now
                await super().write(
                    [replace(writes[0], row=replace(now, version=now.version + 1), change=None)]
                )
            return await super().write(writes)

    world.context.store.assets = Busy(world.context.store.database, "mux", "default")

    assert (
        await settle_one(world, row, a_look(State.READY, at=world.clock.now())) is Verdict.CHANGED
    )
    assert (await world.now_is(row)).version == TRIES + 1
    assert [event.name for event in world.told] == [Resolved.name, StateChange.name]


async def test_rows_that_are_settled_at_the_first_try_and_at_the_second_are_all_told_of(
    world: World,
) -> None:
    calm, busy = await world.track(), await world.track()
    await settle_one(world, busy, a_look(State.PROCESSING, at=world.clock.now()))
    world.clock.move(1)
    look = a_look(State.READY, at=world.clock.now())

    settled = await apply(world.context, [Observed(calm, look), Observed(busy, look)], Trigger.SYNC)

    assert [(s.row.id, s.row.version) for s in settled] == [(calm.id, 2), (busy.id, 3)]


async def test_a_lease_is_given_back_even_when_somebody_else_wrote_the_row_meanwhile(
    world: World,
) -> None:
    row, now = await world.track(), world.clock.now()

    async def claimed() -> list[ProviderAsset]:
        due, until, token = now + timedelta(days=1), now + timedelta(minutes=1), str(uuid4())
        return await world.context.store.assets.claim(
            [row.id], due=due, now=now, longest=GAPS, token=token, until=until
        )

    [held] = await claimed()
    await settle_one(
        world, row, a_webhook(State.PROCESSING, at=now, playback_ids=(PUBLIC,)), Trigger.WEBHOOK
    )
    assert await claimed() == []

    await settle_one(world, held, a_look(State.PROCESSING, at=now))

    assert [claim.id for claim in await claimed()] == [row.id]


async def test_a_clash_says_so_and_is_tried_again_like_a_check_without_an_answer(
    world: World,
) -> None:
    taken, now = await world.track(), world.clock.now()
    waiting = await world.track(
        State.UPLOADING,
        provider_asset_id=None,
        provider_upload_id="upload-1",
        observed_at=now - timedelta(seconds=1),
    )

    await settle_one(
        world, waiting, a_look(State.PROCESSING, provider_asset_id=taken.provider_asset_id, at=now)
    )

    text = (
        "the database does not take the answer: another row holds its asset already, "
        "or a constraint refuses it"
    )
    assert await world.now_is(waiting) == replace(
        waiting,
        last_sync_error=text,
        check_failures=1,
        check_at=now + timedelta(seconds=5),
        version=2,
    )


async def test_a_rate_limited_row_is_checked_again_when_the_provider_wants(world: World) -> None:
    row, now = await world.track(), world.clock.now()
    wait = timedelta(minutes=7)

    await apply(
        world.context,
        [Observed(row, FetchFailure(kind=FailureKind.THROTTLED, at=now, text="wait", wait=wait))],
        Trigger.SYNC,
    )

    assert (await world.now_is(row)).check_at == now + wait


# what the app decides


def begun_anew(world: World, row: ProviderAsset, **values: Any) -> Decision:
    fresh = a_row(State.PENDING, reference=row.reference, provider_asset_id=None, **values)
    decision = restart(row, fresh, world.clock.now())
    assert decision
    return decision


async def test_what_the_app_decides_is_written_and_told(world: World) -> None:
    row = await world.track(State.ERRORED, version=3)

    assert await commit(world.context, row, begun_anew(world, row), Trigger.APP)

    after, [change] = await world.now_is(row), await world.context.store.assets.changes_of(row.id)
    assert (after.state, after.version, after.check_at) == (
        State.PENDING,
        4,
        world.clock.now() + world.context.policy.begin_grace,
    )
    assert (change.reason, change.trigger, change.at) == (
        "begun again",
        Trigger.APP,
        world.clock.now(),
    )
    assert [(entry.trigger, entry.source) for entry in read_log(after.decision_log)] == [
        (Trigger.APP, None)
    ]
    assert world.told == [
        StateChange(
            **about(world, row) | {"asset_id": None},
            from_state="errored",
            to_state="pending",
            error_kind=None,
            by="app",
            late_ms=3_600_000,
        )
    ]


async def test_a_row_begun_anew_whose_upload_is_known_is_checked_after_the_floor(
    world: World,
) -> None:
    row = await world.track(State.ERRORED)

    await commit(
        world.context, row, begun_anew(world, row, provider_upload_id="upload-1"), Trigger.APP
    )

    check_at = (await world.now_is(row)).check_at
    assert check_at
    assert timedelta(seconds=30) <= check_at - world.clock.now() <= timedelta(seconds=33)


async def test_what_the_app_decides_gives_way_to_whoever_wrote_meanwhile(world: World) -> None:
    row = await world.track(State.ERRORED)
    await settle_one(world, row, a_look(State.READY, at=world.clock.now()))
    world.told.clear()

    assert not await commit(world.context, row, begun_anew(world, row), Trigger.APP)

    assert (await world.now_is(row)).state is State.READY
    assert world.told == []
