"""Checks of request fields; each ValueError names the field and says how to correct it."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import httpx

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
V = TypeVar("V")

_DEEPEST = 100


def reject(field: str, reason: str) -> NoReturn:
    """Raise the ValueError that rejects the value of `field`."""
    raise ValueError(f"{field}: {reason}")


def parse_json(body: bytes) -> Any:
    """A JSON value that nests no deeper than 100 levels."""
    try:
        value = json.loads(body, parse_constant=lambda word: reject("the body", f"has {word}"))
    except (ValueError, RecursionError):
        reject("the body", 'must be JSON, such as {"n": 3}, and not nest too deeply')
    _check_depth(value)
    return value


def _check_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(_DEEPEST):
        nested: list[object] = []
        for holder in level:
            if isinstance(holder, dict):
                nested.extend(holder.values())
            elif isinstance(holder, list):
                nested.extend(holder)
        level = nested
    if level:
        reject("the body", f"must not nest deeper than {_DEEPEST} levels")


def check_number(field: str, value: object, *, low: float = 0.0, high: float = math.inf) -> float:
    """A finite number from `low` to `high`."""
    # In Python true and false are integers, in JSON they are not.
    if isinstance(value, bool) or not isinstance(value, int | float):
        reject(field, f"must be a number{_range(low, high)}")
    # -(2**63) to 2**63: integers beyond the range of floating point cannot be calculated with
    is_finite = -(2**63) <= value <= 2**63 if isinstance(value, int) else math.isfinite(value)
    if not is_finite or not low <= value <= high:
        reject(field, f"must be a number{_range(low, high)}")
    return value


def check_whole(field: str, value: object, *, low: int, high: float = math.inf) -> int:
    """A whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        reject(field, f"must be a whole number{_range(low, high)}")
    return value


def check_integer(field: str, value: object, *, low: int, high: float = math.inf) -> int:
    """An integer of JSON Schema from `low` to `high`: 60.0 is one, as 60 is."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return check_whole(field, value, low=low, high=high)


def _range(low: float, high: float) -> str:
    if low == -math.inf:
        return ""
    return (
        f" of at least {low:g}"
        if high == math.inf
        else f" of at least {low:g} and at most {high:.15g}"
    )


def check_text(field: str, value: object, *, longest: int) -> str:
    """A text of at most `longest` code points."""
    if not isinstance(value, str) or len(value) > longest:
        reject(field, f"must be a text of at most {longest} characters")
    return value


def check_flag(field: str, value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        reject(field, "must be true or false")
    return value


def check_url(field: str, value: object) -> str:
    """An absolute HTTP or HTTPS URL."""
    text = check_text(field, value, longest=2_048)
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        reject(field, "must be an address such as http://127.0.0.1:8000/webhooks/mux")
    return text


def check_word(field: str, value: object, words: Iterable[str]) -> str:
    """One of the values of an enumeration."""
    if not isinstance(value, str) or value not in list(words):
        reject(field, f"must be one of {', '.join(words)}")
    return str(value)


def check_words(field: str, value: object, words: type[StrEnum]) -> tuple[str, ...]:
    """A list of values of an enumeration."""
    if not isinstance(value, list | tuple):
        reject(field, f"must be a list with any of {', '.join(words)}")
    return tuple(check_word(field, word, words) for word in value)


def check_list(field: str, value: object, check: Callable[[str, Any], V]) -> list[V]:
    """A JSON list, each of whose entries passes `check`."""
    if not isinstance(value, list):
        reject(field, "must be a list")
    return [check(f"{field}[{place}]", entry) for place, entry in enumerate(value)]


def check_object(field: str, value: object) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        reject(field, "must be a JSON object")
    return value


def build(kind: type[T], body: object, name: str = "the body") -> T:
    """A dataclass instance from a JSON object with its fields; `kind` itself checks the values."""
    values = check_object(name, body)
    known = {field.name: field for field in fields(kind)}
    for key in values:
        if key not in known:
            reject(key, f"is not a field here; use {', '.join(known)}")
    for key, field in known.items():
        is_required = field.default is MISSING and field.default_factory is MISSING
        if is_required and key not in values:
            reject(key, f"is missing; add it to {name}")
    return kind(**values)
