"""Why a video stands as it does, told in order and without an id of the provider's."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from rindle_sync.diagnostics import GRACE, Explanation, MomentKind, explain
from rindle_sync.domain import Actor, ErrorKind, State, Trigger
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.gateway import Reason
from rindle_sync.reconcile import sync_row
from rindle_sync.runtime import Heartbeat
from rindle_sync.tracking import replace_asset
from rindle_sync.webhooks import process_webhook_events
from tests.support.webhooks import an_event, deliver, tell_ready, with_secrets
from tests.support.world import NEVER, READY, World


async def told(world: World, name: str, *, ticked: timedelta | None = timedelta(0)) -> Explanation:
    """What is told of a row; an engine had its heartbeat that long ago."""
    if ticked is not None:
        await Heartbeat(world.context.store.database, "mux").beat(world.clock.now() - ticked)
    row = await world.context.store.assets.get(name)
    assert row
    return await explain(world.context, row)


def lines(explained: Explanation) -> list[tuple[MomentKind, str, str]]:
    return [(moment.kind, moment.trigger, moment.text) for moment in explained.history]


async def test_a_history_is_told_from_the_first_check_to_the_last_change(world: World) -> None:
    with_secrets(world)
    row = await world.track(life=Life(after=120))
    for _ in range(3):
        await world.sync(row)
        world.clock.move(30)
    world.clock.move(60)
    await tell_ready(world, row)

    explained = await told(world, row.id)

    assert lines(explained) == [
        (MomentKind.TRACKED, "app", "the row was made"),
        (MomentKind.DECISION, "sync", "fetched by id: changed (the provider says processing)"),
        (
            MomentKind.CHANGE,
            "sync",
            "processing -> processing: the provider says processing, 60 min late at most",
        ),
        (MomentKind.DECISION, "sync", "fetched by id: unchanged (in sync)"),
        (
            MomentKind.WEBHOOK,
            "webhook",
            "video.asset.ready received, applied: the event says ready",
        ),
        (MomentKind.DECISION, "webhook", "reported by the webhook: changed (the event says ready)"),
        (MomentKind.CHANGE, "webhook", "processing -> ready: the event says ready"),
    ]
    assert explained.history[3].times == 2
    assert explained.next == "at the next audit, or by a webhook: it is settled"
    assert explained.advice == []


async def test_who_did_what_is_told_in_its_place(world: World) -> None:
    row = await world.track(life=Life(after=120))
    acting = replace(world.context, actor=Actor.of_token("backend"))
    await sync_row(acting, row, trigger=Trigger.API)
    world.clock.move(5)
    other = world.emulator.create_asset(life=READY)
    await replace_asset(acting, await world.now_is(row), provider_asset_id=other)

    by_program = [line for line in lines(await told(world, row.id)) if "token" in line[1]]
    kinds = [kind for kind, *_ in lines(await told(world, row.id))]

    assert by_program == [
        (MomentKind.ACTION, "token:backend", "sync: changed"),
        (MomentKind.ACTION, "token:backend", "replace: done"),
    ]
    # each before what came of it
    assert kinds == [
        MomentKind.TRACKED,
        *2 * (MomentKind.ACTION, MomentKind.DECISION, MomentKind.CHANGE),
    ]


async def test_a_change_that_no_webhook_told_of_says_so(world: World) -> None:
    row = await world.track()
    await world.sync(row)
    world.clock.move(2 * GRACE)
    assert (await told(world, row.id)).advice == []  # where none is taken

    with_secrets(world)
    assert (await told(world, row.id)).advice == [
        "no webhook about it ever came: is the endpoint set at the provider, for this environment?"
    ]


async def test_a_webhook_that_came_late_is_told_at_its_change(world: World) -> None:
    with_secrets(world)
    row = await world.track()
    await world.sync(row)
    world.clock.move(90)
    await tell_ready(world, row)

    [change] = [
        text for kind, _, text in lines(await told(world, row.id)) if kind is MomentKind.CHANGE
    ]
    assert change.endswith("; its webhook came 90 s later")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (kind, {"stuck": "took too long", "upload": "begin it again"}.get(kind, ""))
        for kind in ErrorKind
    ],
)
async def test_every_kind_of_error_comes_with_advice(
    world: World, kind: ErrorKind, words: str
) -> None:
    row = await world.track(State.ERRORED, error_kind=kind)

    assert any(words in advice for advice in (await told(world, row.id)).advice)


async def test_what_comes_next_is_told_with_its_reason(world: World) -> None:
    now = world.clock.now()
    later = await world.track(life=NEVER, check_at=now + timedelta(minutes=7))
    due = await world.track(check_at=now - timedelta(minutes=3))
    fresh = await world.track(updated_at=now - timedelta(seconds=10))
    missing = await world.track(State.READY, check_at=now + timedelta(minutes=9), missing_since=now)
    lacking = await world.track(
        State.READY, check_at=now + timedelta(minutes=9), playback_absent_since=now
    )
    gone = await world.track(State.DELETED, check_at=None)
    failing = await world.track(check_at=now + timedelta(minutes=9), check_failures=1)
    limited = await world.track(
        State.READY, check_at=now + timedelta(minutes=9), last_sync_error="mux answered 429"
    )
    rows = (later, due, fresh, missing, lacking, gone, failing, limited)

    nexts = [(await told(world, row.id)).next for row in rows]

    assert nexts == [
        "in 7 min: it is in flight, and checked with growing gaps",
        "due for 3 min: at the next sweep, as the rate limit allows",
        "in 20 s: it changed a moment ago, and is not checked yet",
        "in 9 min: the provider did not find it; it is checked again before it counts as deleted",
        "in 9 min: the provider lacks playback ids of it; it is checked again before they are "
        "removed",
        "never: it is deleted at the provider, and stays so",
        "in 9 min: the last check had no answer",
        "in 9 min: the last check had no answer",
    ]


async def test_an_open_circuit_breaker_explains_why_nothing_happens(world: World) -> None:
    row = await world.track(check_at=world.clock.now() - timedelta(minutes=3))
    await world.context.gateway.circuit.open(Reason.REFUSED, "no")

    explained = await told(world, row.id)

    assert explained.next == "due for 3 min, but the circuit is open: refused"
    assert explained.advice[0].startswith("the circuit is open (refused)")


async def test_what_is_never_checked_is_not_promised_a_check(world: World) -> None:
    resting = await world.track(State.READY, check_at=None)
    waiting = await world.track(check_at=world.clock.now() + timedelta(seconds=31))
    world.context = replace(world.context, audit_every=timedelta(0))
    at_rest = await told(world, resting.id)
    world.context.gateway.has_token = False
    without_token = await told(world, waiting.id)

    assert at_rest.next.startswith("never, but for a webhook")
    assert "audit_days is 0" in at_rest.next
    assert without_token.next.startswith("never with the settings here: without the token")
    assert without_token.advice == [
        "the token is not set here: does this shell have the settings of the service?"
    ]


@pytest.mark.parametrize(
    ("ticked", "words"),
    [
        (None, "no engine has ever run"),
        (timedelta(minutes=5), "no engine heartbeat for 5 min"),
        (timedelta(minutes=-5), "the last engine heartbeat is 5 min ahead: was a clock set back?"),
    ],
)
async def test_a_row_that_is_due_while_no_engine_runs_says_so(
    world: World, ticked: timedelta | None, words: str
) -> None:
    now = world.clock.now()
    due = await world.track(check_at=now - timedelta(minutes=3))
    later = await world.track(check_at=now + timedelta(minutes=7))

    told_of = [await told(world, row.id, ticked=ticked) for row in (due, later)]

    assert told_of[0].next == f"due for 3 min, but {words}"
    assert (
        told_of[1].next
        == "in 7 min, if an engine runs by then: it is in flight, and checked with growing gaps"
    )
    assert [explained.advice for explained in told_of] == [
        [f"{words}: start `rindle-sync run` or a worker"]
    ] * 2


async def test_a_row_that_is_due_while_the_provider_rate_limits_us_says_so(world: World) -> None:
    now = world.clock.now()
    due = await world.track(check_at=now - timedelta(minutes=3))
    soon = await world.track(check_at=now + timedelta(seconds=10))
    await world.context.gateway.reads.pause(timedelta(seconds=100))

    assert (await told(world, due.id)).next == (
        "due for 3 min, but the provider limits the rate: in 100 s at the earliest"
    )
    assert (await told(world, soon.id)).next.startswith("in 100 s: ")


async def test_no_id_of_the_providers_is_told(world: World) -> None:
    with_secrets(world)
    row = await world.track(
        life=READY, provider_upload_id="upload-of-this-test", passthrough="ours-of-this-test"
    )
    await deliver(
        world, an_event(row, playback_ids=[{"id": "playback-of-this-test", "policy": "public"}])
    )
    await process_webhook_events(world.context)
    await world.sync(row)

    text = msgspec.json.encode(await told(world, row.id)).decode()

    known = await world.now_is(row)
    secrets = [
        row.provider_asset_id,
        "upload-of-this-test",
        "ours-of-this-test",
        known.last_event_id,
    ]
    assert [
        secret
        for secret in [*secrets, *(p.id for p in known.playback_ids)]
        if secret and secret in text
    ] == []
