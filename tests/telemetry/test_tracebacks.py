"""The traceback of an error of the app's: whole enough to fix it, without anything secret."""

import pytest

from rindle_sync.telemetry import scrub_traceback

ASSET = "JaUWdXuXM93J9Q2yvSqQnqz6s5MBuXGv"
UPLOAD = "upload-1"
KEY = "https://storage.example.com/original.mp4?signature=abc"


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    def fail() -> None:
        raise error from cause

    try:
        fail()
    except Exception as caught:  # noqa: BLE001
        return caught
    raise AssertionError


def test_it_names_the_place_and_the_message() -> None:
    shown = scrub_traceback(raised(KeyError("duration")))

    assert shown.startswith("Traceback (most recent call last):\n")
    assert __file__ in shown
    assert "in fail" in shown
    assert shown.endswith("KeyError: 'duration'")


@pytest.mark.parametrize("text", [ASSET, f"{UPLOAD} failed", f"see {KEY}", f"x\n  File {ASSET}"])
def test_no_id_url_or_key_is_in_it(text: str) -> None:
    error = RuntimeError(text)
    error.add_note(f"while storing {text}")

    shown = scrub_traceback(raised(error, raised(ValueError(text))), ASSET, UPLOAD)

    assert "RuntimeError" in shown
    assert "ValueError" in shown
    assert "direct cause" in shown
    for secret in (ASSET, UPLOAD, "signature", "original.mp4"):
        assert secret not in shown


def test_without_messages_it_has_the_class_and_the_place_only() -> None:
    shown = scrub_traceback(raised(LookupError("my secret")), has_messages=False)

    assert shown.endswith("\nLookupError")
    assert "in fail" in shown
    assert "my secret" not in shown


def test_what_a_group_holds_is_shown() -> None:
    group = ExceptionGroup("two failed", [raised(KeyError("a")), raised(OSError("b"))])

    shown = scrub_traceback(raised(group))

    assert "KeyError: 'a'" in shown
    assert "OSError: b" in shown


def test_it_is_bounded_however_deep_the_calls_and_the_causes_are() -> None:
    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        raise RecursionError

    with pytest.raises(RecursionError) as caught:
        deeper(500)
    error: Exception = caught.value
    for _ in range(100):
        error = raised(RuntimeError("again"), error)

    assert len(scrub_traceback(error)) < 20_000
