"""What may stand in a field of a request; every refusal is one sentence that names the field and how to mend it."""

import math
from collections.abc import Iterable
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def refuse(field: str, remedy: str) -> NoReturn:
    """Refuse what stands in `field`."""
    raise ValueError(f"{field}: {remedy}")


def check_number(field: str, value: object, *, low: float = 0.0, high: float = math.inf) -> float:
    """A finite number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(field, f"must be a number of at least {low:g}")
    if not math.isfinite(value) or not low <= value <= high:
        refuse(field, f"must be a number of at least {low:g}" + ("" if high == math.inf else f" and at most {high:g}"))
    return value


def check_whole(field: str, value: object, *, low: int, high: int | None = None) -> int:
    """A whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        refuse(field, f"must be a whole number of at least {low}" + ("" if high is None else f" and at most {high}"))
    return value


def check_text(field: str, value: object, *, longest: int) -> str:
    """A text of at most `longest` code points."""
    if not isinstance(value, str) or len(value) > longest:
        refuse(field, f"must be a text of at most {longest} characters")
    return value


def check_flag(field: str, value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        refuse(field, "must be true or false")
    return value


def check_word(field: str, value: object, words: type[StrEnum]) -> str:
    """One of the words of an enumeration."""
    if value not in list(words):
        refuse(field, f"must be one of {_listed(words)}")
    return str(value)


def check_words(field: str, value: object, words: type[StrEnum]) -> tuple[str, ...]:
    """A list of words of an enumeration."""
    if not isinstance(value, list | tuple):
        refuse(field, f"must be a list of words out of {_listed(words)}")
    return tuple(check_word(field, word, words) for word in value)


def check_object(field: str, value: object) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        refuse(field, "must be a JSON object")
    return value


def build(kind: type[T], body: object, name: str = "the body") -> T:
    """A `kind` out of a JSON object whose keys are its fields; `kind` itself checks the values."""
    given = check_object(name, body)
    known = {one.name: one.default is MISSING and one.default_factory is MISSING for one in fields(kind)}
    for extra in (one for one in given if one not in known):
        refuse(extra, f"is not a field here; use {_listed(known)}")
    for lacking in (one for one, needed in known.items() if needed and one not in given):
        refuse(lacking, f"is missing; add it to {name}")
    return kind(**given)


def _listed(words: Iterable[object]) -> str:
    return ", ".join(str(word) for word in words)
