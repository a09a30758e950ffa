"""What a row takes over of media, and how long it is watched for outputs that are not finished."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from rindle_sync.domain import (
    ChangeKind,
    Master,
    Media,
    Observation,
    OutputStatus,
    Policy,
    ProviderAsset,
    Schedule,
    State,
    TrackKind,
    Verdict,
    decide,
    finished_outputs,
    has_unfinished_outputs,
    is_due,
    is_refreshed,
    is_settled,
    media_fields,
    media_values,
    next_check,
    regular_check,
    replace,
)
from tests.support.rows import (
    CAPTIONS,
    GAPS,
    MEDIA,
    NOW,
    OLD,
    PUBLIC,
    a_404,
    a_look,
    a_rendition,
    a_row,
    a_track,
    a_webhook,
)

POLICY = Policy()
SCHEDULE = Schedule()
MINUTE = timedelta(minutes=1)
OTHER = Media(duration=7.0, title="Another title")
UNFINISHED: list[dict[str, Any]] = [
    {"tracks": (a_track("processing"),)},
    {"renditions": (a_rendition("processing"),)},
    {"master": Master(status=OutputStatus.PROCESSING)},
    {"is_live": True},
]
FINISHED: list[dict[str, Any]] = [
    {},
    {"tracks": (a_track(), a_track("errored", id="track-0002"), a_track("unknown", id="t"))},
    {"renditions": (a_rendition("skipped"),), "master": Master(status=OutputStatus.READY)},
]


def of_media(row: ProviderAsset) -> Media:
    return Media(**{name: getattr(row, name) for name in Media.__struct_fields__})


def checked_at(row: ProviderAsset, observation: Observation, now: datetime = NOW) -> Any:
    """When the row that comes of an observation is checked next."""
    decision = decide(row, observation, now, POLICY)
    return next_check(decision, observation, now, POLICY, SCHEDULE)


# what a row takes over


@pytest.mark.parametrize(
    ("row", "observation"),
    [
        (a_row(State.READY), a_look(State.READY, media=MEDIA)),
        (a_row(State.READY), a_look(None, media=MEDIA)),
        (a_row(State.READY), a_webhook(State.READY, media=MEDIA)),
        (a_row(State.READY), a_webhook(None, media=MEDIA)),
    ],
)
def test_media_alone_is_a_change_of_media_and_none_of_state(
    row: ProviderAsset, observation: Observation
) -> None:
    decision = decide(row, observation, NOW, POLICY)
    after = decision.row

    assert (decision.kind, decision.media) == (
        ChangeKind.MEDIA,
        ("duration", "title", "tracks", "renditions"),
    )
    assert of_media(after) == MEDIA
    assert (after.media_updated_at, after.updated_at, after.state) == (
        NOW,
        row.updated_at,
        row.state,
    )
    assert is_refreshed(row, after)


def test_media_beside_a_change_of_state_is_dated_and_no_change_of_its_own() -> None:
    decision = decide(a_row(), a_look(State.READY, media=MEDIA), NOW, POLICY)

    assert decision.kind is ChangeKind.STATE
    assert (decision.row.media_updated_at, decision.row.updated_at) == (NOW, NOW)


@pytest.mark.parametrize(
    "observation",
    [
        a_look(State.READY, media=MEDIA),
        a_look(State.READY),
        a_404(),
        a_webhook(State.READY, media=MEDIA),
        a_webhook(State.READY),
    ],
)
def test_media_that_is_known_or_not_spoken_of_stays_undated(observation: Observation) -> None:
    row = a_row(State.READY, media_updated_at=OLD, **media_fields(MEDIA))

    decision = decide(row, observation, NOW, POLICY)

    assert (decision.kind, decision.row.media_updated_at) == (None, OLD)
    assert of_media(decision.row) == MEDIA


@pytest.mark.parametrize("state", [State.READY, None])
def test_the_media_of_a_late_event_does_not_take_the_place_of_a_newer_answer(
    state: State | None,
) -> None:
    row = a_row(State.READY, checked_at=NOW - MINUTE, **media_fields(MEDIA))

    late, newer = (
        decide(row, a_webhook(state, media=OTHER, occurred_at=at), NOW, POLICY).row
        for at in (NOW - MINUTE, NOW)
    )

    assert of_media(late) == MEDIA
    # an event takes no output away
    kept = structs.replace(OTHER, tracks=MEDIA.tracks, renditions=MEDIA.renditions)
    assert of_media(newer) == kept


ENDED = Media(
    tracks=(a_track(),), renditions=(a_rendition(),), master=Master(status=OutputStatus.READY)
)
BEFORE = Media(
    tracks=(a_track("processing"),),
    renditions=(a_rendition("processing"),),
    master=Master(status=OutputStatus.PROCESSING),
    is_live=True,
)


@pytest.mark.parametrize("told", [BEFORE, Media(), ENDED])
@pytest.mark.parametrize("state", [State.PROCESSING, State.READY])
def test_an_event_that_comes_late_takes_no_output_away_nor_back_and_a_check_decides(
    told: Media, state: State
) -> None:
    row = a_row(state, media_updated_at=OLD, **media_fields(ENDED))
    event = a_webhook(State.READY, media=told, occurred_at=NOW - MINUTE)

    decision = decide(row, event, NOW, POLICY)
    after = of_media(decision.row)

    assert (after.tracks, after.renditions, after.master) == (
        ENDED.tracks,
        ENDED.renditions,
        ENDED.master,
    )
    assert decision.row.is_live is (told.is_live and state is State.PROCESSING)
    assert decision.row.state is State.READY
    due_at = next_check(decision, event, NOW, POLICY, SCHEDULE)
    assert (due_at == NOW) is (told != ENDED)


@pytest.mark.parametrize("media", [BEFORE, Media()])
def test_a_check_takes_outputs_away_and_back_unless_others_wrote_meanwhile(media: Media) -> None:
    row = a_row(State.READY, media_updated_at=OLD, **media_fields(ENDED))
    look = a_look(State.READY, media=media)

    overtaken = decide(row, replace(look, overtaken=True), NOW, POLICY)

    assert of_media(decide(row, look, NOW, POLICY).row) == media
    assert (overtaken.verdict, of_media(overtaken.row)) == (Verdict.AMBIGUOUS, ENDED)


def test_a_check_begun_before_the_newest_applied_brings_no_media() -> None:
    row = a_row(State.READY, observed_at=NOW)

    stale = decide(row, a_look(State.READY, at=NOW - MINUTE, media=MEDIA), NOW, POLICY)

    assert (stale.verdict, stale.row) == (Verdict.STALE, row)


def test_outputs_in_another_order_are_no_change() -> None:
    tracks = (CAPTIONS, a_track(id="track-0002"))
    row = a_row(State.READY, tracks=tracks)

    decision = decide(row, a_look(State.READY, media=Media(tracks=tracks[::-1])), NOW, POLICY)

    assert (decision.kind, decision.row.tracks) == (None, tracks)


def test_the_reason_that_an_event_told_outlives_answers_that_lack_it() -> None:
    failed = a_track("errored", error="download_failed: no such file")
    row = a_row(
        State.READY,
        tracks=(failed,),
        renditions=(a_rendition("errored", error="too long"),),
        master=Master(status=OutputStatus.ERRORED, error="no space"),
    )
    media = Media(
        tracks=(a_track("errored"), a_track("errored", id="track-0002")),
        renditions=(a_rendition("ready"),),
        master=Master(status=OutputStatus.ERRORED),
    )

    after = decide(row, a_look(State.READY, media=media), NOW, POLICY).row

    assert after.tracks == (failed, a_track("errored", id="track-0002"))
    assert after.renditions == (a_rendition("ready"),)
    assert after.master == row.master


# events about one output


@pytest.mark.parametrize("status", ["ready", "errored", "skipped"])
@pytest.mark.parametrize("occurred_at", [NOW, OLD, None])
def test_an_event_that_ends_an_output_is_believed_whenever_it_occurred_and_checked(
    status: str, occurred_at: datetime | None
) -> None:
    others = a_rendition(name="270p.mp4"), a_rendition(name="720p.mp4")
    row = a_row(
        State.READY,
        checked_at=NOW - MINUTE,
        last_event_at=NOW - MINUTE,
        renditions=(others[0], a_rendition("processing"), others[1]),
    )
    ended = a_rendition(status, size=7)

    event = a_webhook(None, output=ended, occurred_at=occurred_at)
    decision = decide(row, event, NOW, POLICY)

    assert (decision.verdict, decision.kind) == (Verdict.AMBIGUOUS, ChangeKind.MEDIA)
    assert decision.row.renditions == (others[0], ended, others[1])
    assert next_check(decision, event, NOW, POLICY, SCHEDULE) == NOW


@pytest.mark.parametrize("status", ["processing", "errored", "ready"])
def test_an_output_that_the_row_lacks_comes_in_by_event_unless_it_may_be_gone_by_now(
    status: str,
) -> None:
    row = a_row(State.READY, checked_at=NOW - MINUTE, tracks=(CAPTIONS,))
    output = a_track(status, id="track-0002", kind=TrackKind.AUDIO)

    newer, older = (
        decide(row, a_webhook(None, output=output, occurred_at=at), NOW, POLICY)
        for at in (NOW, NOW - 2 * MINUTE)
    )

    assert newer.row.tracks == (CAPTIONS, output)
    assert older.row.tracks == (CAPTIONS,)
    assert newer.verdict is older.verdict is Verdict.AMBIGUOUS


@pytest.mark.parametrize(
    "observation",
    [
        a_webhook(None, output=a_track("processing")),
        a_webhook(None, output=a_track("errored")),
        a_webhook(None, output=CAPTIONS, output_gone=True),
        a_webhook(None, output=a_track("unknown", id="track-0002")),
        a_webhook(None),
    ],
)
def test_any_other_event_about_an_output_only_makes_the_row_due(observation: Observation) -> None:
    row = a_row(State.READY, tracks=(CAPTIONS,))

    decision = decide(row, observation, NOW, POLICY)

    assert (decision.verdict, decision.row) == (Verdict.AMBIGUOUS, row)


def test_a_tombstone_takes_no_output_over() -> None:
    row = a_row(State.DELETED, tracks=(a_track("processing"),))

    assert decide(row, a_webhook(None, output=CAPTIONS), NOW, POLICY).row == row


# which outputs have ended


def test_the_outputs_that_ended_are_those_that_were_unfinished_or_unknown_before() -> None:
    before = a_row(
        State.READY,
        media_updated_at=OLD,
        tracks=(a_track("processing"), a_track("ready", id="known"), a_track(id="gone")),
        renditions=(a_rendition("unknown"),),
        master=Master(status=OutputStatus.PROCESSING),
        is_live=True,
    )
    after = replace(
        before,
        tracks=(a_track("errored"), a_track("errored", id="known"), a_track(id="new")),
        renditions=(a_rendition("skipped"), a_rendition("processing", name="720p.mp4")),
        master=Master(status=OutputStatus.READY),
        is_live=False,
    )

    assert set(finished_outputs(before, after)) == {
        "track track-0001",
        "track new",
        "rendition 1080p.mp4",
        "master",
        "live",
    }
    assert finished_outputs(after, after) == []


def test_nothing_is_known_to_have_ended_by_the_first_media_of_a_row() -> None:
    before = a_row(State.READY)

    assert finished_outputs(before, replace(before, **media_fields(MEDIA))) == []


# when the row is checked again


@pytest.mark.parametrize("media", UNFINISHED)
def test_a_ready_row_with_an_unfinished_output_is_watched_and_settled_all_the_same(
    media: dict[str, Any],
) -> None:
    row = a_row(State.READY, media_updated_at=NOW, **media)

    gap = (regular_check(row, NOW, POLICY, SCHEDULE) or NOW) - NOW

    assert has_unfinished_outputs(row)
    assert is_settled(row)
    assert SCHEDULE.floor <= gap <= SCHEDULE.floor * (1 + SCHEDULE.jitter)


@pytest.mark.parametrize("media", FINISHED)
def test_a_ready_row_whose_outputs_are_finished_is_left_alone(media: dict[str, Any]) -> None:
    assert regular_check(a_row(State.READY, **media), NOW, POLICY, SCHEDULE) is None


@pytest.mark.parametrize("media", UNFINISHED)
def test_the_outputs_of_a_row_that_is_not_ready_change_nothing(media: dict[str, Any]) -> None:
    errored = a_row(State.ERRORED, **media)
    young, plain = (a_row(id="row", updated_at=NOW - MINUTE, **m) for m in (media, {}))

    assert regular_check(errored, NOW, POLICY, SCHEDULE) is None
    assert regular_check(young, NOW, POLICY, SCHEDULE) == regular_check(
        plain, NOW, POLICY, SCHEDULE
    )


@pytest.mark.parametrize(
    ("age", "low"),
    [
        (timedelta(0), SCHEDULE.floor),
        (8 * MINUTE, 2 * MINUTE),
        (60 * MINUTE, SCHEDULE.cap),
        (POLICY.stuck_threshold, SCHEDULE.cap),
        (POLICY.stuck_threshold + timedelta.resolution, timedelta(minutes=30)),
        (timedelta(days=7), SCHEDULE.watch_cap),
        (timedelta(days=7, microseconds=1), None),
    ],
)
def test_the_gaps_grow_with_the_age_of_the_media_until_the_recovery_days_are_over(
    age: timedelta, low: timedelta | None
) -> None:
    row = a_row(
        State.READY, updated_at=NOW - timedelta(days=30), media_updated_at=NOW - age, is_live=True
    )

    check_at = regular_check(row, NOW, POLICY, SCHEDULE)

    if low is None:
        assert check_at is None
    else:
        assert check_at
        assert low <= check_at - NOW <= low * (1 + SCHEDULE.jitter) + timedelta.resolution
        assert not is_due(replace(row, check_at=check_at), NOW, GAPS)


@pytest.mark.parametrize("media_updated_at", [None, NOW + timedelta(hours=1)])
def test_without_a_time_of_the_media_that_can_be_right_the_age_is_that_of_the_row(
    media_updated_at: datetime | None,
) -> None:
    values: dict[str, Any] = {"updated_at": NOW - 8 * MINUTE, "is_live": True, "id": "row"}
    row = a_row(State.READY, media_updated_at=media_updated_at, **values)

    expected = replace(row, media_updated_at=NOW - 8 * MINUTE)
    assert regular_check(row, NOW, POLICY, SCHEDULE) == regular_check(
        expected, NOW, POLICY, SCHEDULE
    )


def test_an_answer_plans_the_next_check_of_outputs_and_the_last_one_ends_it() -> None:
    row = a_row(State.READY, check_at=NOW, media_updated_at=OLD)
    unfinished, finished = (
        a_look(State.READY, media=Media(tracks=(a_track(status),)))
        for status in ("processing", "ready")
    )

    assert checked_at(row, unfinished) > NOW
    assert checked_at(replace(row, tracks=(a_track("processing"),)), finished) is None


def test_a_webhook_plans_the_checks_of_the_outputs_that_it_shows() -> None:
    event = a_webhook(State.READY, media=Media(tracks=(a_track("processing"),)))

    assert checked_at(a_row(State.READY), event) > NOW


def test_a_webhook_that_shows_the_outputs_finished_ends_their_checks() -> None:
    row = a_row(State.READY, check_at=NOW + MINUTE, tracks=(a_track("processing"),))
    event = a_webhook(State.READY, media=Media(tracks=(CAPTIONS,)))

    assert checked_at(row, event) is None


@pytest.mark.parametrize("values", [{"check_at": NOW}, {"check_failures": 1}])
def test_a_webhook_about_outputs_takes_back_no_check_that_is_due_for_another_reason(
    values: dict[str, Any],
) -> None:
    planned: dict[str, Any] = {"check_at": NOW + MINUTE, "tracks": (a_track("processing"),)}
    planned |= values
    row = a_row(State.READY, **planned)
    event = a_webhook(State.READY, media=Media(tracks=(CAPTIONS,)))

    assert checked_at(row, event) == row.check_at


def test_a_404_about_a_row_with_unfinished_outputs_counts_as_of_one_at_rest() -> None:
    row = a_row(State.READY, is_live=True, playback_ids=(PUBLIC,))

    decision = decide(row, a_404(), NOW, POLICY)

    assert (decision.verdict, decision.row.missing_since) == (Verdict.MISSING_ONCE, NOW)
    assert checked_at(row, a_404()) == NOW + POLICY.confirm


def test_the_values_of_a_row_and_of_its_media_are_compared_alike() -> None:
    assert media_values(a_row(State.READY, **media_fields(MEDIA))) == media_values(MEDIA)
    assert replace(CAPTIONS, name="English") != CAPTIONS
