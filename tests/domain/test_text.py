"""What is text of the app's, and what is none."""

import pytest

from rindle_sync.domain import is_text, shown_text, text_fault

TEXTS = {
    "a zero-width non-joiner, as Persian has it": "می\u200cخواهم",
    "a zero-width joiner, as in a family": "👨\u200d👩\u200d👧",
    "a no-break space": "10\u00a0km",
    "a full-width space": "動画\u3000一",
    "a narrow no-break space": "1\u202f000",
    "a soft hyphen": "Donau\u00addampf",
    "direction marks": "\u200fא\u200e \u061c",
    "a word joiner and a byte order mark": "a\u2060b\ufeff",
    "a variation selector": "☂\ufe0f",
    "a character that is not assigned": "\u0378",
    "a private one": "\ue000",
    "the replacement character": "\ufffd",
    "an emoji": "🎬",
    "line and paragraph separators": "a\u2028b\u2029c",
    "a URL": "s3://bucket/one.mp4",
    "JSON": '{"video": 1}',
    "255 characters": "x" * 255,
}
FAULTS = {
    "nothing": ("", "must not be empty or blank"),
    "spaces only": (" \u3000\u00a0", "must not be empty or blank"),
    "256 characters": ("x" * 256, "must be at most 255 characters, not 256"),
    "NUL": ("a\x00b", "must not contain a control character: character 2 is U+0000"),
    "a tab": ("ab\tc", "must not contain a control character: character 3 is U+0009"),
    "a line break": ("a\nb", "must not contain a control character: character 2 is U+000A"),
    "DEL": ("a\x7f", "must not contain a control character: character 2 is U+007F"),
    "C1": ("a\x85b", "must not contain a control character: character 2 is U+0085"),
    "half an emoji": ("a\ud83d", "must not contain a lone surrogate: character 2 is U+D83D"),
    "an override": (
        "a\u202eb",
        "must not contain a bidirectional override or isolate: character 2 is U+202E",
    ),
    "an isolate": (
        "\u2066a",
        "must not contain a bidirectional override or isolate: character 1 is U+2066",
    ),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_script_and_its_signs_are_text(text: str) -> None:
    assert text_fault(text) is None
    assert is_text(text)


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_with_a_text_is_named_and_where(text: str, fault: str) -> None:
    assert text_fault(text) == fault
    assert not is_text(text)


def test_what_would_break_or_reverse_a_line_is_shown_as_an_escape() -> None:
    shown = shown_text("a\x1b[31m\n\u2028\u202e\ud83d می\u200cخ\u00a0x")

    assert shown == r"a\x1b[31m\n\u2028\u202e\ud83d " + "می\u200cخ\u00a0x"
