"""The table of `decide`: every row against every observation, around the stuck threshold."""

import sys
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.domain import (
    CHANGES,
    FROM_URL,
    IN_FLIGHT,
    TOLERANCE,
    WATCHED,
    Decision,
    ErrorKind,
    FailureKind,
    FetchFailure,
    Observation,
    ObservationSource,
    PlaybackId,
    Policy,
    ProviderAsset,
    State,
    StuckPolicy,
    Verdict,
    decide,
    media_fields,
    replace,
    restart,
)
from tests.support.rows import (
    CAPTIONS,
    MEDIA,
    NOW,
    OLD,
    PUBLIC,
    SIGNED,
    a_404,
    a_look,
    a_row,
    a_track,
    a_webhook,
)

DECLARE = Policy()
ASK_FIRST = Policy(stuck_policy=StuckPolicy.ASK_FIRST)
THRESHOLD = DECLARE.stuck_threshold
AGES = {
    "young": timedelta(0),
    "at the threshold": THRESHOLD,
    "past the threshold": THRESHOLD + timedelta(microseconds=1),
}
OURS = (ErrorKind.STUCK, ErrorKind.NOT_FOUND, ErrorKind.UPLOAD)
ROWS: list[tuple[State, ErrorKind | None]] = [
    (state, None) for state in State if state is not State.ERRORED
]
ROWS += [(State.ERRORED, kind) for kind in ErrorKind]
RANK = dict(zip(State, (0, 1, 2, 3, 3, 4), strict=True))


def rank(state: State, kind: ErrorKind | None) -> int:
    return 2 if kind in OURS else RANK[state]


def row_of(state: State, kind: ErrorKind | None, age: timedelta = timedelta(0)) -> ProviderAsset:
    return a_row(state, error_kind=kind, updated_at=NOW - age, playback_ids=(PUBLIC,))


def settled(
    row: ProviderAsset, observation: Observation | FetchFailure | None, policy: Policy = DECLARE
) -> Decision:
    return decide(row, observation, NOW, policy)


def answer_expected(
    state: State, kind: ErrorKind | None, says: State, *, late: bool
) -> tuple[Verdict, State]:
    """The design's table for a look, written a second time."""
    if state is State.DELETED:
        return Verdict.STALE, state
    if kind is ErrorKind.STUCK and says in IN_FLIGHT:
        return Verdict.UNCHANGED, state
    if says is state and state in IN_FLIGHT and late:
        return Verdict.STUCK, State.ERRORED
    same = says is state and kind in {None, ErrorKind.PROVIDER}
    return (Verdict.UNCHANGED if same else Verdict.CHANGED), says


@pytest.mark.parametrize(("row_is", "says"), list(product(ROWS, State)))
def test_a_look_that_was_overtaken_by_news_takes_nothing_back(
    row_is: tuple[State, ErrorKind | None], says: State
) -> None:
    row = row_of(*row_is)
    plain, overtaken = (settled(row, a_look(says, overtaken=is_late)) for is_late in (False, True))

    if plain.verdict is Verdict.CHANGED and RANK[says] <= rank(*row_is):
        assert (overtaken.verdict, overtaken.row) == (Verdict.AMBIGUOUS, row)
    else:
        assert overtaken == plain


def test_an_answer_that_was_overtaken_by_news_says_what_it_is_doubted_for() -> None:
    reason = settled(a_row(State.READY), a_look(State.PROCESSING, overtaken=True)).reason

    assert reason == "others wrote during the check what it did not see"


def test_a_404_that_was_overtaken_by_news_ends_nothing() -> None:
    row = row_of(State.PROCESSING, None)

    decision = settled(row, a_404(overtaken=True))

    assert (decision.verdict, decision.row) == (Verdict.AMBIGUOUS, row)


def test_a_late_webhook_does_not_revive_a_row_whose_asset_was_not_found() -> None:
    row = row_of(State.ERRORED, ErrorKind.NOT_FOUND, timedelta(hours=1))

    decision = settled(row, a_webhook(State.READY))

    assert (decision.verdict, decision.row) == (Verdict.AMBIGUOUS, row)


def test_a_look_at_an_upload_says_nothing_of_a_row_that_has_its_asset_by_now() -> None:
    row = replace(row_of(State.READY, None, timedelta(0)), provider_upload_id="upload-1")
    observation = replace(
        a_look(State.PROCESSING), source=ObservationSource.UPLOAD, provider_upload_id="upload-1"
    )

    decision = settled(row, observation)

    assert (decision.verdict, decision.row) == (Verdict.STALE, row)


@pytest.mark.parametrize("policy", [DECLARE, ASK_FIRST], ids=lambda policy: policy.stuck_policy)
@pytest.mark.parametrize("age", list(AGES.values()), ids=list(AGES))
@pytest.mark.parametrize(
    ("row_is", "says"), list(product(ROWS, [s for s in State if s is not State.DELETED]))
)
def test_a_look_makes_the_row_what_the_provider_says(
    row_is: tuple[State, ErrorKind | None], says: State, age: timedelta, policy: Policy
) -> None:
    row = row_of(*row_is, age)

    decision = settled(row, a_look(says), policy)

    assert (decision.verdict, decision.row.state) == answer_expected(
        *row_is, says, late=age > THRESHOLD
    )


@pytest.mark.parametrize("age", list(AGES.values()), ids=list(AGES))
@pytest.mark.parametrize(("row_is", "says"), list(product(ROWS, State)))
def test_a_webhook_only_moves_a_row_forward(
    row_is: tuple[State, ErrorKind | None], says: State, age: timedelta
) -> None:
    state, kind = row_is
    row = row_of(*row_is, age)
    ahead = RANK[says] - rank(*row_is)

    decision = settled(row, a_webhook(says))

    if state is State.DELETED or ahead < 0:
        assert decision == Decision(Verdict.STALE, row, decision.reason)
    elif kind is ErrorKind.NOT_FOUND and says is not State.DELETED:
        assert decision == Decision(Verdict.AMBIGUOUS, row, decision.reason)
    elif ahead > 0:
        assert (decision.verdict, decision.row.state) == (Verdict.CHANGED, says)
    elif says is state:
        assert (decision.verdict, decision.row.state) == (Verdict.UNCHANGED, state)
    else:
        assert decision == Decision(Verdict.AMBIGUOUS, row, decision.reason)


@pytest.mark.parametrize("policy", [DECLARE, ASK_FIRST], ids=lambda policy: policy.stuck_policy)
@pytest.mark.parametrize("age", list(AGES.values()), ids=list(AGES))
@pytest.mark.parametrize("row_is", ROWS)
def test_with_nothing_in_hand_only_declare_ends_a_row_and_only_in_flight_past_the_threshold(
    row_is: tuple[State, ErrorKind | None], age: timedelta, policy: Policy
) -> None:
    state, _ = row_is
    late = state in {State.UPLOADING, State.PROCESSING} and age > THRESHOLD

    decision = settled(row_of(*row_is, age), None, policy)

    assert decision.verdict is (
        Verdict.STUCK if late and policy is DECLARE else Verdict.NEEDS_FETCH
    )


@pytest.mark.parametrize("row_is", ROWS)
def test_a_404_errors_a_row_in_flight_and_only_suspects_a_row_at_rest(
    row_is: tuple[State, ErrorKind | None],
) -> None:
    state, kind = row_is
    decision = settled(row_of(*row_is), a_404())

    if state is State.DELETED:
        assert decision.verdict is Verdict.STALE
    elif state is State.READY or (state is State.ERRORED and kind not in WATCHED):
        assert (decision.verdict, decision.row.state) == (Verdict.MISSING_ONCE, state)
        assert decision.row.missing_since == NOW
    else:
        assert (decision.row.state, decision.row.error_kind) == (State.ERRORED, ErrorKind.NOT_FOUND)
        assert decision.row.last_sync_error == "mux asset not found"
        assert decision.verdict is (
            Verdict.UNCHANGED if kind is ErrorKind.NOT_FOUND else Verdict.CHANGED
        )


@pytest.mark.parametrize("row_is", ROWS)
def test_silence_leaves_everything_but_the_text(row_is: tuple[State, ErrorKind | None]) -> None:
    row = row_of(*row_is, THRESHOLD * 2)

    decision = settled(
        row, FetchFailure(kind=FailureKind.UNREACHABLE, at=NOW, text="mux answered 500")
    )

    if row.state is State.DELETED:
        assert decision.row == row
    else:
        assert decision.row == replace(row, last_sync_error="mux answered 500", check_failures=1)


@pytest.mark.parametrize(
    ("gap", "state"), [(-1, State.READY), (0, State.DELETED), (1, State.DELETED)]
)
def test_the_second_404_ends_a_row_at_rest_once_it_is_far_enough_from_the_first(
    gap: int, state: State
) -> None:
    first = NOW - DECLARE.confirm - timedelta(microseconds=gap)
    row = a_row(State.READY, missing_since=first)

    assert settled(row, a_404()).row.state is state


def test_an_answer_takes_a_suspicion_back() -> None:
    row = a_row(State.READY, missing_since=OLD)

    assert settled(row, a_look(State.READY)).row.missing_since is None


def test_a_look_that_began_before_the_newest_one_applied_is_stale() -> None:
    row = a_row(State.READY, observed_at=NOW)

    decision = settled(row, a_look(State.PROCESSING, at=NOW - timedelta(microseconds=1)))

    assert decision == Decision(Verdict.STALE, row, decision.reason)


def test_a_slow_look_that_began_before_a_webhook_came_in_does_not_overwrite_it() -> None:
    row = settled(a_row(State.PROCESSING), a_webhook(State.READY)).row

    assert (
        settled(row, a_look(State.PROCESSING, at=NOW - timedelta(seconds=9))).row.state
        is State.READY
    )


@pytest.mark.parametrize(("row_is", "says"), list(product(ROWS, State)))
def test_an_event_older_than_the_last_one_counts_if_it_says_more(
    row_is: tuple[State, ErrorKind | None], says: State
) -> None:
    """The same verdict as in order, and a check is due; but one that says no more is stale."""
    row = replace(row_of(*row_is), last_event_at=NOW)
    in_order, older = (settled(row, a_webhook(says, occurred_at=at)) for at in (NOW, OLD))

    if RANK[says] > rank(*row_is):
        assert (older.verdict, older.row.state) == (in_order.verdict, in_order.row.state)
        assert older.row.last_event_at == NOW
        assert older.is_doubtful == (older.verdict is Verdict.CHANGED)
    else:
        assert (older.verdict, older.row) == (Verdict.STALE, row)


def test_a_deletion_stamped_a_moment_before_the_last_update_counts() -> None:
    row = a_row(State.READY, last_event_at=NOW)

    deleted = settled(row, a_webhook(State.DELETED, occurred_at=NOW - timedelta(milliseconds=1)))

    assert (deleted.verdict, deleted.row.state) == (Verdict.CHANGED, State.DELETED)


def test_an_older_event_that_names_the_asset_links_the_row() -> None:
    row = a_row(
        State.UPLOADING, provider_asset_id=None, provider_upload_id="upload-1", last_event_at=NOW
    )
    names = {"provider_asset_id": "asset-1", "provider_upload_id": "upload-1"}

    linked = settled(row, a_webhook(State.UPLOADING, occurred_at=OLD, **names))

    assert (linked.row.provider_asset_id, linked.is_doubtful) == ("asset-1", True)


@pytest.mark.parametrize("year", [1, 1970, 2027, 2031, 9999])
def test_an_event_with_an_absurd_time_shuts_out_no_later_one(year: int) -> None:
    absurd = datetime(year, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    row = a_row(State.PROCESSING)

    first = settled(row, a_webhook(State.PROCESSING, occurred_at=absurd, playback_ids=(PUBLIC,)))
    later = NOW + timedelta(seconds=1)
    news = a_webhook(State.PROCESSING, at=later, playback_ids=(SIGNED,))
    second = decide(first.row, news, later, DECLARE)

    assert first.row.last_event_at == NOW
    assert second.row.playback_ids == (SIGNED, PUBLIC)


@pytest.mark.parametrize("ahead", [timedelta(0), TOLERANCE])
def test_the_time_of_an_event_is_believed_as_far_ahead_as_clocks_may_differ(
    ahead: timedelta,
) -> None:
    row = settled(a_row(State.PROCESSING), a_webhook(State.READY, occurred_at=NOW + ahead)).row

    assert row.last_event_at == NOW + ahead


def test_the_same_event_again_is_stale() -> None:
    row = a_row(State.PROCESSING, last_event_id="event-1")

    assert settled(row, a_webhook(State.READY, event_id="event-1")).verdict is Verdict.STALE


def test_a_webhook_with_other_playback_ids_in_the_same_state_is_doubted() -> None:
    row = a_row(State.READY, playback_ids=(PUBLIC,))

    assert settled(row, a_webhook(State.READY, playback_ids=(SIGNED,))).verdict is Verdict.AMBIGUOUS


@pytest.mark.parametrize("row_is", [r for r in ROWS if r[0] is not State.DELETED])
def test_an_unknown_status_changes_nothing(row_is: tuple[State, ErrorKind | None]) -> None:
    row = row_of(*row_is, THRESHOLD * 2)

    decision = settled(row, a_look(None, status="transmogrifying"), ASK_FIRST)

    assert decision.verdict is Verdict.UNCHANGED
    assert (decision.row.state, decision.row.error_kind) == row_is
    assert decision.row.updated_at == row.updated_at


def test_an_unknown_event_is_doubted() -> None:
    assert settled(a_row(), a_webhook(None)).verdict is Verdict.AMBIGUOUS


def test_playback_ids_that_an_answer_does_not_speak_of_are_kept() -> None:
    row = a_row(State.PROCESSING, playback_ids=(PUBLIC,))

    assert settled(row, a_look(State.READY, playback_ids=None)).row.playback_ids == (PUBLIC,)


def test_playback_ids_in_another_order_are_no_change() -> None:
    row = a_row(State.READY, playback_ids=(PUBLIC, SIGNED))

    assert (
        settled(row, a_look(State.READY, playback_ids=(SIGNED, PUBLIC))).verdict
        is Verdict.UNCHANGED
    )


def test_a_new_playback_id_is_a_change() -> None:
    row = a_row(State.READY, playback_ids=(PUBLIC,))

    decision = settled(row, a_look(State.READY, playback_ids=(PUBLIC, SIGNED)))

    assert (decision.verdict, decision.row.updated_at) == (Verdict.CHANGED, NOW)


def test_progress_past_the_threshold_is_no_stuck_row() -> None:
    row = a_row(State.UPLOADING, updated_at=OLD)

    assert settled(row, a_look(State.PROCESSING), ASK_FIRST).row.state is State.PROCESSING


def test_a_stuck_row_that_gets_its_asset_at_last_moves_on() -> None:
    row = a_row(
        State.ERRORED,
        error_kind=ErrorKind.STUCK,
        provider_asset_id=None,
        provider_upload_id="upload-1",
    )

    decision = settled(
        row, a_look(State.PROCESSING, source=ObservationSource.UPLOAD, provider_asset_id="asset-1")
    )

    assert (decision.row.state, decision.row.provider_asset_id) == (State.PROCESSING, "asset-1")


def test_a_stuck_rows_text_comes_back_when_the_provider_answers_again() -> None:
    stuck = settled(a_row(State.PROCESSING, updated_at=OLD), None).row
    silent = settled(
        stuck, FetchFailure(kind=FailureKind.UNREACHABLE, at=NOW, text="mux answered 502")
    ).row

    assert "stuck" in (settled(silent, a_look(State.PROCESSING)).row.last_sync_error or "")


def test_the_providers_reason_is_kept() -> None:
    decision = settled(a_row(), a_look(State.ERRORED, error_text="invalid_input: no video track"))

    assert decision.row.error_kind is ErrorKind.PROVIDER
    assert decision.row.last_sync_error == "invalid_input: no video track"


# the table of the module and of docs/how-it-works.md

Case = tuple[ProviderAsset, Observation | FetchFailure | None]
LATE = NOW - THRESHOLD - timedelta(seconds=1)
UPLOAD_ROW: dict[str, Any] = {"provider_asset_id": None, "provider_upload_id": "upload-1"}
ONCE_MISSING = {
    "too soon": NOW - DECLARE.confirm + timedelta(seconds=1),
    "confirmed": NOW - DECLARE.confirm,
}
FAILURES = [FetchFailure(kind=kind, at=NOW, text="no answer") for kind in FailureKind]


def an_absent_row(since: datetime, *absent: PlaybackId, **values: Any) -> ProviderAsset:
    """A `ready` row whose playback ids, or those in `absent`, a check has lacked since then."""
    values.setdefault("playback_ids", (PUBLIC,))
    ids = tuple(sorted(playback.id for playback in absent or values["playback_ids"]))
    return a_row(State.READY, absent_playback_ids=ids, playback_absent_since=since, **values)


def an_unclear_row(ago: timedelta) -> ProviderAsset:
    """A row whose asset the provider was asked to make, so long ago, without an answer."""
    began = {"ingest_mode": FROM_URL, "begun_at": NOW - ago, "updated_at": NOW - ago}
    return a_row(State.PENDING, provider_asset_id=None, **began)


def lines_of(text: str) -> list[tuple[str, ...]]:
    """The first three cells of each line of a table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.split("|")[1:4]) for line in lines[2:]]


LINES = lines_of(sys.modules["rindle_sync.domain.decide"].__doc__ or "")
CASES: dict[tuple[str, str], list[Case]] = {
    ("any", "`deleted`"): [
        *((a_row(State.DELETED), seen) for seen in (a_look(State.READY), a_404())),
        (a_row(State.DELETED), a_webhook(State.READY)),
        *((a_row(State.DELETED), failure) for failure in FAILURES),
    ],
    ("nothing yet", "in flight past the threshold, `declare`"): [
        (a_row(State.PROCESSING, updated_at=LATE), None),
        (a_row(State.UPLOADING, updated_at=LATE, **UPLOAD_ROW), None),
    ],
    ("nothing yet", "asset asked for, no answer"): [
        (an_unclear_row(timedelta(0)), None),
        (an_unclear_row(DECLARE.begin_grace), None),
    ],
    ("nothing yet", "`pending` past the grace, without an id"): [
        (a_row(State.PENDING, provider_asset_id=None, updated_at=NOW - DECLARE.begin_grace), None)
    ],
    ("nothing yet", "anything else without an id"): [
        (a_row(State.PENDING, provider_asset_id=None, updated_at=NOW), None),
        (a_row(State.READY, provider_asset_id=None), None),
    ],
    ("nothing yet", "anything else"): [
        (a_row(State.READY), None),
        (a_row(State.PROCESSING), None),
        (a_row(State.ERRORED, error_kind=ErrorKind.STUCK, updated_at=LATE), None),
    ],
    ("about another asset or upload", "has an asset or upload"): [
        (a_row(State.PROCESSING), a_look(State.READY, provider_asset_id="asset-2")),
        (a_row(State.PROCESSING), a_webhook(State.READY, provider_asset_id="asset-2")),
        (
            a_row(State.UPLOADING, provider_asset_id=None, provider_upload_id="upload-1"),
            a_webhook(State.READY, provider_asset_id="asset-2", provider_upload_id="upload-2"),
        ),
    ],
    ("a check begun before the newest applied", "anything"): [
        (a_row(state, observed_at=NOW), a_look(State.READY, at=OLD))
        for state in State
        if state is not State.DELETED
    ],
    ("a check or an event of an upload", "has its asset"): [
        (
            a_row(State.PROCESSING, provider_upload_id="upload-1"),
            a_look(State.READY, source=ObservationSource.UPLOAD),
        ),
        *(
            (
                a_row(state, provider_upload_id="upload-1"),
                a_webhook(State.ERRORED, provider_upload_id="upload-1"),
            )
            for state in (State.PROCESSING, State.READY)
        ),
    ],
    ("a check, overtaken by others' news", "says otherwise, and is not behind"): [
        (a_row(State.READY), a_look(State.PROCESSING, overtaken=True)),
        (a_row(State.PROCESSING), a_404(overtaken=True)),
    ],
    ("a look for its asset, not there", "asset asked for, within the grace"): [
        (an_unclear_row(DECLARE.begin_grace - timedelta(seconds=1)), a_404())
    ],
    ("a look for its asset, not there", "asset asked for, past the grace"): [
        (an_unclear_row(DECLARE.begin_grace), a_404())
    ],
    ("a check, 404", "not settled"): [
        (a_row(State.PROCESSING), a_404()),
        (a_row(State.ERRORED, error_kind=ErrorKind.STUCK), a_404()),
    ],
    ("a check, 404", "settled"): [
        (a_row(State.READY), a_404()),
        (a_row(State.ERRORED, error_kind=ErrorKind.PROVIDER), a_404()),
        (a_row(State.ERRORED, error_kind=ErrorKind.UPLOAD), a_404()),
    ],
    ("a check, second 404, too soon", "settled"): [
        (a_row(State.READY, missing_since=ONCE_MISSING["too soon"]), a_404())
    ],
    ("a check, second 404", "settled"): [
        (a_row(State.READY, missing_since=ONCE_MISSING["confirmed"]), a_404())
    ],
    ("a check, unknown status word", "anything"): [
        (row_of(state, kind, THRESHOLD * 2), a_look(None, status="transmogrifying"))
        for state, kind in ROWS
        if state is not State.DELETED
    ],
    ("a check, in flight", "`errored` as `stuck`"): [
        (a_row(State.ERRORED, error_kind=ErrorKind.STUCK), a_look(State.UPLOADING)),
        (a_row(State.ERRORED, error_kind=ErrorKind.STUCK), a_look(State.PROCESSING)),
    ],
    ("a check, in flight", "same state, past the threshold"): [
        (a_row(State.PROCESSING, updated_at=LATE), a_look(State.PROCESSING))
    ],
    ("a check, lacks playback ids", "`ready`, and all else is the same"): [
        (a_row(State.READY, playback_ids=(PUBLIC,)), a_look(State.READY, playback_ids=lacking))
        for lacking in (None, ())
    ],
    ("a check, lacks the same ones later", "`ready`, and all else is the same"): [
        (an_absent_row(ONCE_MISSING["confirmed"]), a_look(State.READY, playback_ids=lacking))
        for lacking in (None, ())
    ],
    ("a check", "same state, same playback ids"): [
        (a_row(State.READY, playback_ids=(PUBLIC,)), a_look(State.READY, playback_ids=(PUBLIC,))),
        (a_row(State.PROCESSING), a_look(State.PROCESSING)),
    ],
    ("a check", "anything else"): [
        (a_row(State.READY, playback_ids=(PUBLIC,)), a_look(State.READY, playback_ids=(SIGNED,))),
        (a_row(State.PROCESSING), a_look(State.READY)),
        (a_row(State.READY), a_look(State.PROCESSING)),
    ],
    ("a webhook, repeated", "anything"): [
        (a_row(State.PROCESSING, last_event_id="event-1"), a_webhook(event_id="event-1"))
    ],
    ("a webhook, lower rank", "anything"): [
        (a_row(State.READY), a_webhook(State.PROCESSING)),
        (a_row(State.ERRORED, error_kind=ErrorKind.STUCK), a_webhook(State.UPLOADING)),
    ],
    ("a webhook, older, says no more", "anything"): [
        (a_row(State.READY, last_event_at=NOW), a_webhook(State.READY, occurred_at=OLD)),
        (a_row(State.READY, last_event_at=NOW), a_webhook(State.ERRORED, occurred_at=OLD)),
        (a_row(State.READY, last_event_at=NOW), a_webhook(None, occurred_at=OLD)),
    ],
    ("a webhook about outputs", "shows them so already"): [
        (a_row(State.READY, tracks=(CAPTIONS,)), a_webhook(None, output=CAPTIONS)),
        (a_row(State.PROCESSING, tracks=(CAPTIONS,)), a_webhook(None, output=CAPTIONS)),
        (a_row(State.READY), a_webhook(None, output=CAPTIONS, output_gone=True)),
        (a_row(State.READY, **media_fields(MEDIA)), a_webhook(None, media=MEDIA)),
    ],
    ("a webhook, unknown type or status word", "anything"): [
        (a_row(State.READY, tracks=(CAPTIONS,)), a_webhook(None, output=a_track("processing"))),
        (a_row(State.PROCESSING, **media_fields(MEDIA)), a_webhook(None, media=MEDIA)),
        (a_row(State.PROCESSING), a_webhook(None)),
        (a_row(State.READY), a_webhook(None)),
    ],
    ("a webhook, but for a deletion", "`errored`, its asset was not found"): [
        (a_row(State.ERRORED, error_kind=ErrorKind.NOT_FOUND), a_webhook(State.READY))
    ],
    ("a webhook, higher rank", "anything"): [
        (a_row(State.PROCESSING), a_webhook(State.READY)),
        (a_row(State.ERRORED, error_kind=ErrorKind.STUCK), a_webhook(State.READY)),
        (a_row(State.ERRORED, error_kind=ErrorKind.NOT_FOUND), a_webhook(State.DELETED)),
    ],
    ("a webhook, same rank, names an asset", "has no asset yet"): [
        (
            a_row(State.UPLOADING, **UPLOAD_ROW),
            a_webhook(State.UPLOADING, provider_asset_id="asset-1"),
        )
    ],
    ("a webhook, same rank", "same state, same playback ids"): [
        (a_row(State.READY, playback_ids=(PUBLIC,)), a_webhook(State.READY))
    ],
    ("a webhook, same rank", "same state, in flight"): [
        (a_row(State.PROCESSING), a_webhook(State.PROCESSING, playback_ids=(PUBLIC,)))
    ],
    ("a webhook, same rank", "anything else"): [
        (a_row(State.READY), a_webhook(State.ERRORED)),
        (a_row(State.READY, playback_ids=(PUBLIC,)), a_webhook(playback_ids=(SIGNED,))),
        (a_row(State.READY, playback_ids=(PUBLIC, SIGNED)), a_webhook(playback_ids=(SIGNED,))),
        (an_absent_row(ONCE_MISSING["confirmed"]), a_webhook(playback_ids=())),
    ],
    ("a fetch failure", "anything"): [
        (row_of(state, kind), failure)
        for (state, kind), failure in product(ROWS, FAILURES)
        if state is not State.DELETED
    ],
}


def test_the_docs_have_the_table_of_the_module() -> None:
    docs = (Path(__file__).parents[2] / "docs/how-it-works.md").read_text("utf-8")
    section = docs.split("## What is decided", 1)[1].split("\n## ", 1)[0]

    assert lines_of(section.split("\n\n- ", 1)[0]) == LINES


def test_every_line_of_the_table_has_its_cases() -> None:
    assert [line[:2] for line in LINES] == list(CASES)


@pytest.mark.parametrize("line", LINES, ids=" | ".join)
def test_a_line_of_the_table_is_what_decide_does(line: tuple[str, str, str]) -> None:
    observed, against, verdict = line

    verdicts = {settled(row, observation).verdict for row, observation in CASES[observed, against]}

    assert verdicts == {Verdict[verdict.upper()]}


# what a decision holds, to the last field and word

BEFORE = NOW - timedelta(seconds=9)
"""When the looks below began: the row notes this, and beside it when it was answered."""


def test_a_row_that_must_be_asked_about_stays_as_it_is() -> None:
    row = a_row()

    assert settled(row, None) == Decision(Verdict.NEEDS_FETCH, row, "the provider knows")


def test_a_row_in_flight_that_gave_no_answer_before_is_stuck_with_a_fresh_count_of_failures() -> (
    None
):
    row = a_row(updated_at=OLD, check_failures=3)
    text = "stuck in :processing past threshold"

    assert settled(row, None) == Decision(
        Verdict.STUCK,
        replace(
            row,
            state=State.ERRORED,
            error_kind=ErrorKind.STUCK,
            last_sync_error=text,
            check_failures=0,
            updated_at=NOW,
        ),
        text,
    )


def test_a_row_whose_upload_was_not_begun_within_the_grace_is_errored() -> None:
    row = a_row(State.PENDING, provider_asset_id=None, updated_at=NOW - DECLARE.begin_grace)

    assert settled(row, None) == Decision(
        Verdict.CHANGED,
        replace(
            row,
            state=State.ERRORED,
            error_kind=ErrorKind.UPLOAD,
            last_sync_error="mux upload was not begun",
            updated_at=NOW,
        ),
        "the upload was not begun",
    )


@pytest.mark.parametrize(
    ("state", "age", "policy"),
    [
        (State.PENDING, DECLARE.begin_grace - timedelta(microseconds=1), DECLARE),
        (State.READY, THRESHOLD * 2, DECLARE),
        (State.PROCESSING, THRESHOLD, DECLARE),
        (State.PROCESSING, THRESHOLD * 2, ASK_FIRST),
    ],
)
def test_any_other_row_that_cannot_be_asked_about_stays_as_it_is(
    state: State, age: timedelta, policy: Policy
) -> None:
    row = a_row(state, provider_asset_id=None, updated_at=NOW - age)

    assert settled(row, None, policy) == Decision(
        Verdict.UNCHANGED, row, "there is no id to fetch by"
    )


def test_a_failed_row_begun_anew_keeps_only_its_id_and_its_birth() -> None:
    failed = a_row(
        State.ERRORED, updated_at=OLD, last_sync_error="no video track", last_event_id="event-1"
    )
    fresh = a_row(State.PENDING, provider_asset_id=None, updated_at=BEFORE)

    assert restart(failed, fresh, NOW) == Decision(
        Verdict.CHANGED,
        replace(
            fresh, id=failed.id, inserted_at=failed.inserted_at, observed_at=NOW, updated_at=NOW
        ),
        "begun again",
    )


@pytest.mark.parametrize(
    "state", [state for state in State if state not in {State.ERRORED, State.DELETED}]
)
def test_a_row_that_has_not_failed_is_never_begun_anew(state: State) -> None:
    assert restart(a_row(state), a_row(State.PENDING), NOW) is None


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [
        (FailureKind.THROTTLED, 0),
        (FailureKind.REFUSED, 0),
        (FailureKind.UNREACHABLE, 1),
        (FailureKind.CLASH, 1),
    ],
)
def test_only_a_look_that_was_let_through_counts_as_an_attempt(
    kind: FailureKind, attempts: int
) -> None:
    row = a_row(check_failures=2)

    assert settled(row, FetchFailure(kind=kind, at=NOW, text="no answer")) == Decision(
        Verdict.UNANSWERED,
        replace(row, last_sync_error="no answer", check_failures=2 + attempts),
        kind.value,
    )


def test_the_first_404_of_a_row_at_rest_is_noted_with_the_moment_at_which_the_look_began() -> None:
    row = a_row(State.READY, check_failures=2, last_sync_error="mux answered 500")

    assert settled(row, a_404(at=BEFORE)) == Decision(
        Verdict.MISSING_ONCE,
        replace(
            row,
            observed_at=BEFORE,
            checked_at=NOW,
            check_failures=0,
            last_sync_error=None,
            missing_since=BEFORE,
        ),
        "not found, to be confirmed",
    )


def test_a_404_too_soon_after_the_first_leaves_the_first_standing() -> None:
    row = a_row(State.READY, missing_since=NOW - DECLARE.confirm)

    assert settled(row, a_404(at=BEFORE)) == Decision(
        Verdict.UNCHANGED,
        replace(row, observed_at=BEFORE, checked_at=NOW),
        "not found again, too soon to count",
    )


def test_a_row_that_is_deleted_has_no_error_and_no_suspicion_left() -> None:
    row = a_row(State.ERRORED, last_sync_error="no video track", missing_since=OLD)

    assert settled(row, a_404(at=BEFORE)) == Decision(
        Verdict.CHANGED,
        replace(
            row,
            state=State.DELETED,
            error_kind=None,
            last_sync_error=None,
            missing_since=None,
            observed_at=BEFORE,
            checked_at=NOW,
            updated_at=NOW,
        ),
        "not found twice",
    )


def test_a_404_about_a_row_without_an_asset_is_about_its_upload() -> None:
    row = a_row(State.UPLOADING, provider_asset_id=None, provider_upload_id="upload-1")

    decision = settled(row, a_404())

    assert (decision.row.last_sync_error, decision.reason) == ("mux upload not found", "not found")


def test_a_row_that_is_still_not_found_keeps_its_age() -> None:
    row = a_row(
        State.ERRORED, error_kind=ErrorKind.NOT_FOUND, last_sync_error="mux asset not found"
    )

    assert settled(row, a_404(at=BEFORE)) == Decision(
        Verdict.UNCHANGED, replace(row, observed_at=BEFORE, checked_at=NOW), "still not found"
    )


def test_an_unknown_status_is_an_answer_all_the_same() -> None:
    row = a_row(
        State.READY, missing_since=OLD, check_failures=2, last_sync_error="mux answered 500"
    )

    assert settled(row, a_look(None, at=BEFORE)) == Decision(
        Verdict.UNCHANGED,
        replace(
            row,
            observed_at=BEFORE,
            checked_at=NOW,
            missing_since=None,
            check_failures=0,
            last_sync_error=None,
        ),
        "an unknown status",
    )


def test_a_text_without_a_verdict_goes_with_an_answer_however_it_came_there() -> None:
    row = a_row(last_sync_error="mux answered 500", check_failures=0)

    assert settled(row, a_look(None)).row.last_sync_error is None


def test_the_reason_of_an_errored_row_outlives_a_status_that_we_do_not_know() -> None:
    row = a_row(State.ERRORED, last_sync_error="invalid_input: no video track")

    assert settled(row, a_look(None)).row.last_sync_error == "invalid_input: no video track"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ErrorKind.PROVIDER, "errored at the provider"),
        (ErrorKind.STUCK, "stuck past threshold"),
        (ErrorKind.NOT_FOUND, "not found"),
        (ErrorKind.UPLOAD, "the upload failed"),
    ],
)
def test_a_reason_that_a_failed_look_has_overwritten_comes_back_in_a_few_words(
    kind: ErrorKind, text: str
) -> None:
    row = a_row(
        State.ERRORED, error_kind=kind, last_sync_error="mux answered 500", check_failures=1
    )

    assert settled(row, a_look(None)).row.last_sync_error == text


def test_a_stuck_row_whose_asset_is_still_in_flight_stays_stuck() -> None:
    row = a_row(
        State.ERRORED,
        error_kind=ErrorKind.STUCK,
        last_sync_error="stuck in :processing past threshold",
    )

    assert settled(
        row, a_look(State.PROCESSING, provider_asset_id=row.provider_asset_id, at=BEFORE)
    ) == Decision(
        Verdict.UNCHANGED,
        replace(row, observed_at=BEFORE, checked_at=NOW),
        "still in flight, and so still stuck",
    )


def test_a_stuck_row_whose_upload_is_still_waiting_stays_stuck() -> None:
    row = a_row(
        State.ERRORED,
        error_kind=ErrorKind.STUCK,
        provider_asset_id=None,
        provider_upload_id="upload-1",
    )

    assert (
        settled(row, a_look(State.UPLOADING, source=ObservationSource.UPLOAD)).verdict
        is Verdict.UNCHANGED
    )


def test_a_look_that_finds_a_row_stuck_still_counts_as_an_answer() -> None:
    row = a_row(updated_at=OLD, check_failures=2)
    text = "stuck in :processing past threshold"

    assert settled(row, a_look(State.PROCESSING, at=BEFORE), ASK_FIRST) == Decision(
        Verdict.STUCK,
        replace(
            row,
            state=State.ERRORED,
            error_kind=ErrorKind.STUCK,
            last_sync_error=text,
            check_failures=0,
            observed_at=BEFORE,
            checked_at=NOW,
            updated_at=NOW,
        ),
        text,
    )


def test_an_answer_in_step_takes_back_what_the_lack_of_answers_left() -> None:
    row = a_row(
        State.READY, missing_since=OLD, check_failures=2, last_sync_error="mux answered 500"
    )

    assert settled(row, a_look(State.READY, at=BEFORE)) == Decision(
        Verdict.UNCHANGED,
        replace(
            row,
            observed_at=BEFORE,
            checked_at=NOW,
            missing_since=None,
            check_failures=0,
            last_sync_error=None,
        ),
        "in sync",
    )


NEWS: dict[str, Any] = {
    "provider_asset_id": "asset-1",
    "provider_upload_id": "upload-1",
    "playback_ids": (PUBLIC, SIGNED),
    "metadata": {"duration": 7},
    "created_at": OLD,
    "at": BEFORE,
}
LEARNED: dict[str, Any] = {
    "state": State.READY,
    "provider_asset_id": "asset-1",
    "provider_upload_id": "upload-1",
    "playback_ids": (PUBLIC, SIGNED),
    "raw_provider_metadata": {"duration": 7},
    "provider_created_at": OLD,
    "observed_at": BEFORE,
    "last_sync_error": None,
    "updated_at": NOW,
}


def a_row_that_waits(**values: Any) -> ProviderAsset:
    return a_row(
        State.UPLOADING,
        provider_asset_id=None,
        observed_at=OLD,
        check_failures=2,
        last_sync_error="mux answered 500",
        last_event_id="event-1",
        last_event_at=OLD,
        **values,
    )


def test_a_look_brings_all_that_it_speaks_of() -> None:
    row = a_row_that_waits()

    assert settled(row, a_look(State.READY, **NEWS)) == Decision(
        Verdict.CHANGED,
        replace(row, **LEARNED, checked_at=NOW, check_failures=0),
        "the provider says ready",
    )


def test_a_webhook_brings_all_that_it_speaks_of_but_is_no_look() -> None:
    row = a_row_that_waits()

    assert settled(
        row, a_webhook(State.READY, **NEWS, event_id="event-2", occurred_at=BEFORE)
    ) == Decision(
        Verdict.CHANGED,
        replace(row, **LEARNED, last_event_id="event-2", last_event_at=BEFORE),
        "the event says ready",
    )


def test_what_a_look_does_not_speak_of_stays() -> None:
    row = a_row(
        provider_upload_id="upload-1", playback_ids=(PUBLIC,), raw_provider_metadata={"duration": 7}
    )

    assert settled(row, a_look(State.READY)).row == replace(
        row,
        state=State.READY,
        observed_at=NOW,
        checked_at=NOW,
        updated_at=NOW,
        absent_playback_ids=(PUBLIC.id,),
        playback_absent_since=NOW,
    )


def test_a_row_that_has_its_asset_takes_no_upload_over() -> None:
    row = a_row(State.PROCESSING, provider_upload_id=None)

    assert (
        settled(row, a_look(State.READY, provider_upload_id="upload-2")).row.provider_upload_id
        is None
    )


def test_an_upload_that_is_known_is_not_taken_for_another() -> None:
    row = a_row(State.UPLOADING, provider_asset_id=None, provider_upload_id="upload-1")

    assert settled(row, a_look(State.READY, provider_upload_id="upload-2")).row == row


def test_the_strongest_id_that_both_have_decides() -> None:
    row = a_row(provider_asset_id="asset-1", provider_upload_id="upload-1")

    after = settled(row, a_look(provider_asset_id="asset-1", provider_upload_id="upload-2")).row

    assert (after.state, after.provider_upload_id) == (State.READY, "upload-1")


def test_an_error_that_the_provider_gives_no_reason_for_says_at_least_who_says_it() -> None:
    row = settled(a_row(), a_look(State.ERRORED, error_kind=ErrorKind.UPLOAD)).row

    assert (row.error_kind, row.last_sync_error) == (ErrorKind.UPLOAD, "mux says errored")


def test_an_error_of_another_kind_is_a_change() -> None:
    row = a_row(State.ERRORED, error_kind=ErrorKind.NOT_FOUND)

    assert settled(row, a_look(State.ERRORED)).verdict is Verdict.CHANGED


def test_a_webhook_of_the_same_rank_that_names_the_asset_is_believed() -> None:
    row = a_row(State.ERRORED, provider_asset_id=None, provider_upload_id="upload-1")

    decision = settled(row, a_webhook(State.READY, provider_asset_id="asset-1"))

    assert (decision.verdict, decision.row.state, decision.row.provider_asset_id) == (
        Verdict.CHANGED,
        State.READY,
        "asset-1",
    )


def test_a_webhook_of_the_same_rank_that_names_no_asset_or_a_known_one_is_doubted() -> None:
    without = a_row(State.ERRORED, provider_asset_id=None, provider_upload_id="upload-1")
    linked = a_row(State.ERRORED, provider_asset_id="asset-1")

    assert settled(without, a_webhook(State.READY)).verdict is Verdict.AMBIGUOUS
    assert (
        settled(linked, a_webhook(State.READY, provider_asset_id="asset-1")).verdict
        is Verdict.AMBIGUOUS
    )


def test_playback_ids_come_in_by_webhook_while_the_asset_is_in_flight() -> None:
    row = a_row(State.PROCESSING)

    assert settled(
        row, a_webhook(State.PROCESSING, playback_ids=(PUBLIC,), event_id="event-1")
    ) == Decision(
        Verdict.CHANGED,
        replace(
            row,
            playback_ids=(PUBLIC,),
            observed_at=NOW,
            last_event_id="event-1",
            last_event_at=NOW,
            updated_at=NOW,
        ),
        "the event says more about the asset",
    )


def test_a_webhook_that_says_what_we_know_makes_no_later_one_look_older() -> None:
    row = a_row(State.READY, last_event_id="event-0", last_event_at=OLD)

    assert settled(row, a_webhook(State.READY, event_id="event-1")) == Decision(
        Verdict.UNCHANGED, replace(row, observed_at=NOW), "the event says nothing new"
    )


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (None, "the event does not say the state"),
        (State.ERRORED, "the event says errored, the row says ready"),
    ],
)
def test_a_doubt_says_what_it_is_about(says: State | None, reason: str) -> None:
    assert settled(a_row(State.READY), a_webhook(says)).reason == reason


def test_a_doubt_about_an_asset_that_was_not_found_says_so() -> None:
    row = a_row(State.ERRORED, error_kind=ErrorKind.NOT_FOUND)

    assert settled(row, a_webhook(State.READY)) == Decision(
        Verdict.AMBIGUOUS, row, "the event says ready, and the provider did not find it"
    )


@pytest.mark.parametrize(
    ("row", "observation", "reason"),
    [
        (a_row(State.DELETED), a_look(), "a tombstone is never revived"),
        (
            a_row(provider_asset_id="asset-1"),
            a_look(provider_asset_id="asset-2"),
            "it is about another asset",
        ),
        (
            a_row(provider_asset_id="asset-1"),
            a_webhook(provider_asset_id="asset-2"),
            "it is about another asset",
        ),
        (
            a_row(provider_asset_id=None, provider_upload_id="upload-1", passthrough="shared"),
            a_webhook(
                provider_asset_id="asset-2", provider_upload_id="upload-2", passthrough="shared"
            ),
            "it is about another upload",
        ),
        (
            a_row(),
            a_look(State.UPLOADING, source=ObservationSource.UPLOAD),
            "it is about the upload, and the row has its asset by now",
        ),
        (
            a_row(),
            a_look(State.UPLOADING, source=ObservationSource.APP),
            "the row was ended meanwhile",
        ),
        (
            a_row(observed_at=NOW),
            a_look(at=BEFORE),
            "the check began before the newest one applied",
        ),
        (
            a_row(observed_at=NOW),
            FetchFailure(kind=FailureKind.UNREACHABLE, at=BEFORE, text="no answer"),
            "the check began before the newest one applied",
        ),
        (a_row(last_event_id="event-1"), a_webhook(event_id="event-1"), "the same event again"),
        (
            a_row(State.READY, last_event_at=NOW),
            a_webhook(State.READY, occurred_at=BEFORE),
            "the event is older than the last one applied",
        ),
        (a_row(State.READY), a_webhook(State.PROCESSING), "the row is further on"),
    ],
)
def test_what_is_stale_says_why_and_leaves_the_row(
    row: ProviderAsset, observation: Observation | FetchFailure, reason: str
) -> None:
    assert settled(row, observation) == Decision(Verdict.STALE, row, reason)


@pytest.mark.parametrize("state", [State.PENDING, State.UPLOADING])
def test_the_app_may_speak_of_an_upload_as_long_as_the_row_waits_for_it(state: State) -> None:
    row = a_row(state, provider_asset_id=None)
    observation = a_look(
        State.UPLOADING, source=ObservationSource.APP, provider_upload_id="upload-1"
    )

    after = settled(row, observation).row

    assert (after.state, after.provider_upload_id) == (State.UPLOADING, "upload-1")


def test_a_look_that_began_at_the_very_moment_of_the_newest_one_counts() -> None:
    assert (
        settled(a_row(observed_at=BEFORE), a_look(State.READY, at=BEFORE)).row.state is State.READY
    )


def test_a_webhook_of_the_very_moment_of_the_last_one_counts() -> None:
    row = a_row(State.PROCESSING, last_event_id="event-1", last_event_at=BEFORE)

    assert settled(row, a_webhook(State.READY, occurred_at=BEFORE)).row.state is State.READY


def test_a_webhook_that_tells_neither_its_id_nor_its_time_counts() -> None:
    row = a_row(State.PROCESSING, last_event_at=BEFORE)

    assert (
        settled(row, a_webhook(State.READY, occurred_at=None, event_id=None)).row.state
        is State.READY
    )


# properties

states = st.sampled_from(State)
LAST = NOW + timedelta(seconds=20_000)
moments = st.integers(-20_000, 20_000).map(lambda s: NOW + timedelta(seconds=s))
maybe_playback = st.none() | st.lists(
    st.sampled_from([PUBLIC, SIGNED, PlaybackId("p3", "drm")]), unique=True
).map(tuple)
policies = st.sampled_from([DECLARE, ASK_FIRST])


@st.composite
def rows(draw: st.DrawFn) -> ProviderAsset:
    state, kind = draw(st.sampled_from(ROWS))
    return a_row(
        state,
        id="6f1c1c39-7a3c-4a4f-9f0a-0123456789ab",
        error_kind=kind,
        playback_ids=draw(maybe_playback) or (),
        updated_at=draw(moments.filter(lambda m: m <= NOW)),
        observed_at=draw(st.none() | moments),
        last_event_at=draw(st.none() | moments),
        missing_since=draw(st.none() | moments) if state is State.READY else None,
        last_sync_error=draw(st.none() | st.just("mux answered 500")),
        check_failures=draw(st.integers(0, 4)),
    )


@st.composite
def observations(draw: st.DrawFn) -> Observation | FetchFailure:
    at = draw(moments)
    kind = draw(st.sampled_from(["look", "webhook", "404", "silence"]))
    playback = draw(maybe_playback)
    match kind:
        case "look":
            return a_look(
                draw(st.none() | states.filter(lambda s: s is not State.DELETED)),
                at=at,
                playback_ids=playback,
            )
        case "webhook":
            return a_webhook(
                draw(st.none() | states), at=at, occurred_at=draw(moments), playback_ids=playback
            )
        case "404":
            return a_404(at=at)
        case _:
            return FetchFailure(
                kind=draw(st.sampled_from(FailureKind)), at=at, text="mux answered 500"
            )


@given(rows(), st.lists(observations(), max_size=6), policies)
def test_a_tombstone_stays(
    row: ProviderAsset, observations: list[Observation | FetchFailure], policy: Policy
) -> None:
    grave = replace(row, state=State.DELETED, error_kind=None)

    for observation in observations:
        assert decide(grave, observation, NOW, policy).row == grave


@given(rows(), observations(), policies)
def test_settling_twice_is_settling_once(
    row: ProviderAsset, observation: Observation | FetchFailure, policy: Policy
) -> None:
    if isinstance(observation, FetchFailure):
        return
    once = decide(row, observation, NOW, policy)
    twice = decide(once.row, observation, NOW, policy)

    assert twice.verdict not in CHANGES
    assert replace(twice.row, check_failures=0) == replace(once.row, check_failures=0)


@given(rows(), observations(), observations(), policies)
def test_an_older_look_never_beats_a_newer_one(
    row: ProviderAsset,
    first: Observation | FetchFailure,
    other: Observation | FetchFailure,
    policy: Policy,
) -> None:
    newer, older = (first, other) if first.at > other.at else (other, first)
    if newer.at == older.at or ObservationSource.WEBHOOK in {
        getattr(newer, "source", None),
        getattr(older, "source", None),
    }:
        return
    after = decide(row, newer, LAST, policy)
    if isinstance(newer, FetchFailure) or after.verdict is Verdict.STALE:
        return

    assert decide(after.row, older, LAST, policy).row == after.row


@given(rows(), observations(), policies)
def test_no_event_moves_the_time_of_the_last_one_further_ahead_than_clocks_may_differ(
    row: ProviderAsset, observation: Observation | FetchFailure, policy: Policy
) -> None:
    after = decide(row, observation, NOW, policy).row

    if after.last_event_at not in {row.last_event_at, None}:
        assert after.last_event_at <= NOW + TOLERANCE


@given(rows(), st.permutations(range(4)), st.lists(moments, min_size=4, max_size=4))
def test_a_deletion_counts_whatever_the_order_and_the_times_of_the_events(
    row: ProviderAsset, order: list[int], times: list[datetime]
) -> None:
    says = [State.PROCESSING, State.READY, State.READY, State.DELETED]

    for number in order:
        event = a_webhook(says[number], occurred_at=times[number])
        row = decide(row, event, NOW, DECLARE).row

    assert row.state is State.DELETED


@given(rows(), observations(), policies)
def test_missing_data_never_erases_good_data(
    row: ProviderAsset, observation: Observation | FetchFailure, policy: Policy
) -> None:
    after = decide(row, observation, NOW, policy).row

    if isinstance(observation, FetchFailure) or observation.playback_ids is None:
        assert after.playback_ids == row.playback_ids
    for name in (
        "provider_asset_id",
        "provider_upload_id",
        "passthrough",
        "reference",
        "profile",
        "inserted_at",
    ):
        assert getattr(after, name) == getattr(row, name)


@given(rows(), observations(), policies)
def test_the_age_starts_anew_with_a_real_change_and_only_then(
    row: ProviderAsset, observation: Observation | FetchFailure, policy: Policy
) -> None:
    decision = decide(row, observation, NOW, policy)

    assert decision.row.updated_at == (NOW if decision.verdict in CHANGES else row.updated_at)


@given(rows(), observations(), policies)
def test_only_an_errored_row_has_a_kind(
    row: ProviderAsset, observation: Observation | FetchFailure, policy: Policy
) -> None:
    after = decide(row, observation, NOW, policy).row

    assert (after.error_kind is not None) == (after.state is State.ERRORED)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001  naive on purpose, shifted below
def test_the_newest_truth_never_goes_back(at: datetime) -> None:
    row = a_row(observed_at=NOW)
    moment = at.replace(tzinfo=NOW.tzinfo)

    assert (
        decide(
            row, a_webhook(State.READY, at=moment, occurred_at=NOW), NOW, DECLARE
        ).row.observed_at
        or NOW
    ) >= NOW


@pytest.mark.parametrize("ahead", [TOLERANCE + timedelta(seconds=1), timedelta(days=365)])
def test_a_time_that_no_right_clock_can_have_written_is_unknown(ahead: timedelta) -> None:
    at = NOW + ahead
    row = a_row(observed_at=at, last_event_at=at, missing_since=at, checked_at=at)

    checked = decide(row, a_look(State.READY), NOW, Policy())
    told = decide(row, a_webhook(State.READY), NOW, Policy())

    assert (checked.verdict, checked.row.observed_at) == (Verdict.CHANGED, NOW)
    assert (checked.row.last_event_at, checked.row.checked_at) == (None, NOW)
    assert (told.verdict, told.row.last_event_at) == (Verdict.CHANGED, NOW)


def test_a_time_within_the_tolerance_is_believed() -> None:
    row = a_row(observed_at=NOW + TOLERANCE)

    assert decide(row, a_look(State.READY), NOW, Policy()).verdict is Verdict.STALE


def test_an_observation_of_a_time_to_come_counts_as_made_now() -> None:
    at = NOW + timedelta(days=365)

    checked = decide(a_row(), a_look(State.READY, at=at), NOW, Policy())
    told = decide(a_row(), a_webhook(State.READY, at=at, occurred_at=at), NOW, Policy())

    assert checked.row.observed_at == NOW
    assert (told.row.observed_at, told.row.last_event_at) == (NOW, NOW)


@pytest.mark.parametrize("year", [1, 1970, 1999, 2031, 9999])
def test_a_time_at_which_no_asset_was_made_is_unknown(year: int) -> None:
    row, made = a_row(), NOW.replace(year=year)

    for seen in (a_look(State.READY, created_at=made), a_webhook(State.READY, created_at=made)):
        assert decide(row, seen, NOW, DECLARE).row.provider_created_at == row.provider_created_at


def test_the_age_of_a_row_that_a_wrong_clock_has_changed_counts_from_its_asset() -> None:
    changed = a_row(updated_at=NOW + timedelta(hours=3), provider_created_at=OLD)
    made = a_row(updated_at=NOW + timedelta(hours=3))

    assert changed.age(NOW) == NOW - OLD
    assert made.age(NOW) == timedelta(0)
    assert a_row(updated_at=NOW + timedelta(seconds=1)).age(NOW) == timedelta(0)
