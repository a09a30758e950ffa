"""What the docstrings of the public methods say: errors, and the units of numbers and times."""

import inspect
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from types import UnionType
from typing import Any, get_args, get_origin

import pytest

from rindle_sync import Installation, RindleSync, connect, connect_all, errors, load_settings
from rindle_sync.types import WebhookEvents
from tests.support.hints import hints_of

ERRORS = {name for name, value in vars(errors).items() if inspect.isclass(value)}
MEASURES = (int, float, timedelta, datetime)
UNITS = re.compile(
    r"how many|number of|\bseconds|\bminutes|\bhours|\bdays|\bbytes|\bUTC|\bzone|\b1 to \d|"
    r"rows|at a time|at most|moment|duration"
)


def methods() -> list[Any]:
    found: list[Any] = [connect, connect_all, load_settings]
    for kind in (RindleSync, Installation, WebhookEvents):
        for name, member in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_") and "rindle_sync" in member.__module__:
                found.append(member)
    return [pytest.param(each, id=each.__qualname__) for each in dict.fromkeys(found)]


def text_of(method: Callable[..., Any]) -> str:
    return re.sub(r"\s+", " ", inspect.getdoc(method) or "")


def is_measure(annotation: Any) -> bool:
    # of a union any; what a callable takes is not passed by the caller
    kinds = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
    return any(kind in MEASURES for kind in kinds)


@pytest.mark.parametrize("method", methods())
def test_a_docstring_names_the_errors_that_are_raised(method: Callable[..., Any]) -> None:
    told = re.findall(r"Raises (.*?)(?:\. |\.$|$)", text_of(method))

    assert told, "it does not say what it raises"
    named = {name for sentence in told for name in re.findall(r"`([A-Z]\w+)`", sentence)}
    assert named <= ERRORS
    # or it refers to another method
    assert named or re.search(r"nothing|what `\w+` does", " ".join(told))


@pytest.mark.parametrize("method", methods())
def test_a_docstring_names_what_is_counted_or_timed(method: Callable[..., Any]) -> None:
    text, hints = text_of(method), hints_of(method)
    returned = hints.pop("return", None)
    measured = [name for name, hint in hints.items() if is_measure(hint)]

    assert [name for name in measured if f"`{name}`" not in text] == []
    if measured or is_measure(returned):
        assert UNITS.search(text), "it names no unit"
