"""Checks of request fields; each ValueError names the field and says how to correct it."""

import math
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import httpx

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def reject(field: str, reason: str) -> NoReturn:
    """Raise the ValueError that rejects the value of `field`."""
    raise ValueError(f"{field}: {reason}")


def check_number(field: str, value: object, *, low: float = 0.0, high: float = math.inf) -> float:
    """A finite number from `low` to `high`."""
    # In Python true and false are integers, in JSON they are not.
    if isinstance(value, bool) or not isinstance(value, int | float):
        reject(field, f"must be a number of at least {_range(low, high)}")
    if not math.isfinite(value) or not low <= value <= high:
        reject(field, f"must be a number of at least {_range(low, high)}")
    return value


def check_whole(field: str, value: object, *, low: int, high: float = math.inf) -> int:
    """A whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        reject(field, f"must be a whole number of at least {_range(low, high)}")
    return value


def _range(low: float, high: float) -> str:
    return f"{low:g}" if high == math.inf else f"{low:g} and at most {high:.15g}"


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


def check_word(field: str, value: object, words: type[StrEnum]) -> str:
    """One of the values of an enumeration."""
    if value not in list(words):
        reject(field, f"must be one of {', '.join(words)}")
    return str(value)


def check_words(field: str, value: object, words: type[StrEnum]) -> tuple[str, ...]:
    """A list of values of an enumeration."""
    if not isinstance(value, list | tuple):
        reject(field, f"must be a list with any of {', '.join(words)}")
    return tuple(check_word(field, word, words) for word in value)


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
