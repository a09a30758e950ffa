"""JSON read as far as it can be: an odd value costs itself, not the answer around it.

A client's own titles and passthroughs stand in Mux's answers, as whoever wrote them had them.
"""

import json
import math
import re
from typing import Any, Final

import msgspec

DEEPEST: Final = 100
"""How deep objects and lists may be nested; what stands deeper is read as null."""

_LEFT_OUT: Final = object()
# possessive, and with the closing mark optional: no text takes more than one pass
_MARKS: Final = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|[\[\]{}]', re.DOTALL)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def decode(content: bytes) -> Any:
    """The value in `content`; raises `ValueError` where that is no JSON.

    Invalid bytes, lone surrogates and NUL become U+FFFD, since no database can hold them. Numbers
    that no float can hold are left out, with their names. Control characters are read as they are.
    """
    may_be_deep = content.count(b"{") + content.count(b"[") > DEEPEST
    may_have_nul = b"\\" in content and b"\\u0000" in content
    if not (may_be_deep or may_have_nul):
        try:
            return msgspec.json.decode(content)
        except ValueError:  # also where bytes are no UTF-8
            pass
    try:
        return storable(_decode(_flattened(content.decode(errors="replace"))))
    except RecursionError:
        raise ValueError("nested too deep") from None


def _decode(text: str) -> Any:
    def number(digits: str) -> Any:
        value = float(digits)
        if not math.isfinite(value):
            return _LEFT_OUT
        return value if set(digits) & set(".eE") else int(digits)

    return json.loads(
        text, strict=False, parse_int=number, parse_float=number, parse_constant=lambda _: _LEFT_OUT
    )


def _flattened(text: str) -> str:
    """`text` with null in place of what is nested too deep."""
    kept, depth, begin = [], 0, 0
    for mark in _MARKS.finditer(text):
        if mark.group() in {"[", "{"}:
            depth += 1
            if depth == DEEPEST + 1:
                kept.append(f"{text[begin : mark.start()]}null")
        elif mark.group() in {"]", "}"}:
            if depth == DEEPEST + 1:
                begin = mark.end()
            depth -= 1
    return "".join(kept) + text[begin:] if depth <= DEEPEST else ""


def storable(value: Any) -> Any:
    """`value` with U+FFFD for what no database can hold."""
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case dict():
            return {
                storable(key): storable(inner)
                for key, inner in value.items()
                if inner is not _LEFT_OUT
            }
        case list():
            return [storable(inner) for inner in value if inner is not _LEFT_OUT]
        case _:
            return None if value is _LEFT_OUT else value
