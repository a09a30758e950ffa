"""How ids are hidden.

Whatever text a provider sends, no id and no URL of it stays in what we keep or show.
"""

import re
import string
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rindle_sync.domain import (
    MAX_ERROR_TEXT,
    Due,
    PlaybackId,
    State,
    as_row_id,
    is_row_id,
    redact_id,
    replace,
    scrub,
)
from tests.support.rows import NOW, a_row

ID = "lJ4bGGsp7ZlPf02nMg015W02iHQLN9XnuuLRBsPS00xqd68"
LETTERS_AND_DIGITS = string.ascii_letters + string.digits
ids = st.text(LETTERS_AND_DIGITS, min_size=16, max_size=64).filter(
    lambda text: any(c.isdigit() for c in text)
)
around = st.text(st.characters(codec="utf-8", exclude_characters=LETTERS_AND_DIGITS), max_size=20)
crowded = st.text(st.sampled_from("aB1_./:-+=?&% '\x00\n\u2028é文"), max_size=80)
short_words = st.text(LETTERS_AND_DIGITS, min_size=1, max_size=15)
long_words = st.text(string.ascii_lowercase, min_size=1, max_size=30).flatmap(
    lambda word: st.sampled_from([word, word.upper(), word.title()])
)


def survives(provider_id: str, text: str) -> bool:
    """Whether more of an id than its last four characters is left in `text`."""
    return any(provider_id[i : i + 5] in text for i in range(len(provider_id) - 4))


# scrub: what must go


@given(ids, around, around)
def test_no_id_survives_whatever_stands_beside_it(
    provider_id: str, before: str, after: str
) -> None:
    assert not survives(provider_id, scrub(f"{before}{provider_id}{after}"))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "'{}'",
        '"{}"',
        "({}),",
        "id={}&x=1",
        "asset {}.",
        "asset {}...",
        "-{}-",
        "__{}__",
        "é{}文",
        "\u200b{}\u200b",
        "https://api.mux.com/video/v1/assets/{}",
        "see https://stream.mux.com/{}.m3u8?token=x#y now",
        "文https://stream.mux.com/{}.m3u8",
        "HTTPS://API.MUX.COM/{}",
        "s3://bucket/{}",
        "\x00{}\x00",
        "a\n{}\nb",
    ],
)
def test_no_id_survives_punctuation_urls_and_unicode(text: str) -> None:
    assert not survives(ID, scrub(text.format(ID)))


@pytest.mark.parametrize("before", range(-50, 3))
@pytest.mark.parametrize("cut", [MAX_ERROR_TEXT, 16 * MAX_ERROR_TEXT])
def test_no_part_of_an_id_survives_at_a_cut(cut: int, before: int) -> None:
    filler = ("word " * cut)[: cut + before - 1] + " "
    assert not survives(ID, scrub(f"{filler}{ID} and more"))


@given(st.text(LETTERS_AND_DIGITS, min_size=5, max_size=15), around, around)
def test_a_known_secret_goes_however_short_it_is(secret: str, before: str, after: str) -> None:
    assert not survives(secret, scrub(f"{before}{secret}{after}", secret))


@pytest.mark.parametrize(
    ("secret", "tag"), [("e", "...redacted"), ("abc", "...redacted"), ("abcd", "...abcd")]
)
def test_a_secret_of_up_to_four_characters_is_hidden_where_it_stands_alone(
    secret: str, tag: str
) -> None:
    assert (
        scrub(f"{secret}, {secret}ef and x{secret}", secret) == f"{tag}, {secret}ef and x{secret}"
    )


def test_a_short_secret_with_a_backslash_is_hidden_like_any_other() -> None:
    assert scrub(r"it is a\1b now", r"a\1b") == r"it is ...a\1b now"


def test_a_secret_of_five_characters_is_hidden_wherever_it_stands() -> None:
    assert scrub("abcde, abcdef", "abcde") == "...bcde, ...bcdef"


@pytest.mark.parametrize("after", ["", ".", "...", " now"])
def test_the_tag_of_an_id_at_the_end_of_a_sentence_is_that_of_the_id(after: str) -> None:
    assert scrub(f"it is {ID}{after}") == f"it is ...{ID[-4:]}{after.strip('.')}"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert scrub("it was abcde-fgh", "abcde", "abcde-fgh") == "it was ...-fgh"
    assert scrub("it was a-zzzzz-fgh", "zzzzz", "a-zzzzz-fgh") == "it was ...-fgh"


def test_secrets_that_are_none_or_empty_hide_nothing() -> None:
    assert scrub("plain words", None, "") == "plain words"


@pytest.mark.parametrize("before", ["", "see ", "(", "1", "_", "文", "url:"])
def test_nothing_of_a_url_survives(before: str) -> None:
    assert scrub(f"{before}https://x.io/in.mp4?sig=short now") == f"{before}[url] now"


def test_nothing_of_a_url_in_capitals_survives() -> None:
    assert scrub("see HTTPS://X.IO/in.mp4 now") == "see [url] now"


# scrub: what must stay


@given(st.lists(st.one_of(short_words, long_words), max_size=60).map(" ".join))
def test_plain_words_survive(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "The input file could not be downloaded.",
        "stuck in :processing past threshold",
        "Unauthorized request",
        "a word for internationalization",
    ],
)
def test_a_sentence_survives(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize(
    "name", ["RemoteProtocolError", "ConnectionResetError", "IncompleteReadError"]
)
def test_the_name_of_an_error_survives(name: str) -> None:
    assert scrub(f"mux cannot be reached ({name})") == f"mux cannot be reached ({name})"
    assert scrub(f"{name}aB3dE5fG7hJ9") != f"{name}aB3dE5fG7hJ9"


@pytest.mark.parametrize(
    "name", ["psycopg.errors.UndefinedTable", "sqlalchemy.exc.ProgrammingError"]
)
def test_the_name_of_a_class_in_its_module_survives(name: str) -> None:
    assert scrub(f"{name}: no such table") == f"{name}: no such table"
    assert scrub(f"{name}aB3dE5fG7hJ9") != f"{name}aB3dE5fG7hJ9"


@pytest.mark.parametrize(
    "word", ["invalid_parameters", "mux_token_secret", "non_standard_input_detected"]
)
def test_words_tied_by_underscores_survive(word: str) -> None:
    assert scrub(f"it says {word}, twice") == f"it says {word}, twice"


def test_a_long_word_survives_at_the_end_of_a_sentence() -> None:
    assert scrub("This is about internationalization.") == "This is about internationalization."


def test_a_secret_of_one_character_leaves_the_text_readable() -> None:
    assert "could not be downloaded" in scrub("The input file could not be downloaded", "e")


# scrub: its form


def test_lines_become_one_with_a_space_between() -> None:
    assert scrub("\n the file\r\n is not\u2028there\x00") == "the file  is not there"


def test_of_a_text_that_is_too_long_to_be_read_the_last_word_that_was_read_is_left_out() -> None:
    longest = 16 * MAX_ERROR_TEXT

    assert scrub(f"one two three{' ' * longest}four") == "one two"
    assert scrub("four".rjust(longest)) == "four"
    assert scrub("four".rjust(longest + 1)) == ""


@given(st.one_of(st.text(), crowded))
def test_the_result_is_one_line_of_at_most_4096_characters(text: str) -> None:
    result = scrub(text * 100)
    assert len(result) <= MAX_ERROR_TEXT
    assert len(result.splitlines()) <= 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", result)
    assert result == result.strip()


@given(st.one_of(st.text(), crowded))
@example("_aaaaaaaaaaaaaaaaaaaa://x")
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


@pytest.mark.parametrize("length", range(MAX_ERROR_TEXT - 4, MAX_ERROR_TEXT + 4))
def test_a_text_cut_to_its_length_is_scrubbed_for_good(length: int) -> None:
    once = scrub(f"{'ab ' * MAX_ERROR_TEXT}"[: length - 2] + "  z")
    assert scrub(once) == once


BUSY = ["a." * 16_000, "a+" * 16_000, "a" * 32_000, "A1" * 16_000, "a://" * 8_000, "\0" * 9_999]
BUSY += [piece * 24 + "9" for piece in ("ab.", "a.", "A_", "Ab-", "AB/", "..")]


@pytest.mark.parametrize(
    "text", BUSY, ids=lambda text: f"{text[:4]!r}x{len(text)}".replace("\\", "%")
)
def test_no_text_keeps_the_scrubber_busy(text: str) -> None:
    began = time.process_time()  # ours alone, however busy the machine is
    scrub(text)
    assert time.process_time() - began < 1


# redact_id


@given(st.text(min_size=4))
def test_a_tag_shows_the_last_four_characters_and_no_more(provider_id: str) -> None:
    assert redact_id(provider_id) == "..." + provider_id[-4:]


@given(st.text(max_size=3))
def test_an_id_under_four_characters_is_hidden_whole(provider_id: str) -> None:
    assert redact_id(provider_id) == "...redacted"


def test_no_id_has_no_tag() -> None:
    assert redact_id(None) is None


# the app's own reference

UPLOAD = "zd01Pe2bNpYhxbrw"


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("video-1", "video-1"),
        (ID, redact_id(ID)),
        (f"mux/{ID}", f"mux/{redact_id(ID)}"),
        (f"{UPLOAD}:{ID}", f"{redact_id(UPLOAD)}:{redact_id(ID)}"),
    ],
)
def test_a_reference_is_shown_without_the_provider_s_ids(reference: str, shown: str) -> None:
    row = a_row(reference=reference, provider_asset_id=ID, provider_upload_id=UPLOAD)

    assert row.shown_reference == shown
    assert row.reference == reference


def test_a_reference_that_is_the_provider_s_id_is_redacted_in_a_repr() -> None:
    shown = repr(a_row(reference=f"mux:{ID}", provider_asset_id=ID))

    assert not survives(ID, shown)
    assert "reference='mux:...qd68'" in shown
    assert "reference='video-1'" in repr(a_row(reference="video-1"))


def test_a_value_shows_its_fields_but_for_those_that_may_hold_an_id() -> None:
    due = Due(
        id="row-1",
        state=State.READY,
        error_kind=None,
        provider_created_at=NOW,
        updated_at=NOW,
        check_at=None,
        provider_asset_id=ID,
        provider_upload_id=UPLOAD,
    )

    assert repr(due) == (
        f"Due(id='row-1', state={State.READY!r}, error_kind=None, provider_created_at={NOW!r}, "
        f"updated_at={NOW!r}, check_at=None, missing_since=None, playback_absent_since=None, "
        "ingest_mode=None, begun_at=None)"
    )


# the id of a row

ROW_ID = "0d9f5b1e-8c1a-4a55-9d3e-5b2f6f1c7a90"


@pytest.mark.parametrize("text", [ROW_ID, ROW_ID.upper()])
def test_the_id_of_a_row_is_read_in_either_case(text: str) -> None:
    assert is_row_id(text)
    assert as_row_id(text) == ROW_ID


@pytest.mark.parametrize(
    "text",
    ["", "video-1", ROW_ID[:-1], ROW_ID.replace("-", ""), f"{{{ROW_ID}}}", f"urn:uuid:{ROW_ID}"],
)
def test_what_a_database_would_not_match_is_no_id_of_a_row(text: str) -> None:
    assert not is_row_id(text)
    assert as_row_id(text) is None


def test_a_row_has_one_hash_for_each_of_its_versions() -> None:
    row = a_row()

    assert hash(row) == hash(replace(row, decision_log=["another"]))
    assert hash(row) != hash(replace(row, version=2))
    assert hash(row) != hash(a_row())


def test_a_reference_that_is_a_playback_id_of_its_row_is_shown_redacted() -> None:
    row = a_row(State.READY, reference="play-34", playback_ids=(PlaybackId("play-34", "public"),))

    assert row.shown_reference == "...y-34"
    assert "play-34" not in repr(row)
