"""The traceback of an error as text that may be logged: without provider ids, URLs and keys."""

from collections.abc import Iterator
from traceback import TracebackException
from typing import Final

from rindle_sync.domain import hide, hide_urls, scrub

_FRAMES: Final = 50
"""The innermost frames that are shown of each error."""

_DEPTH: Final = 10
"""How many causes of an error are shown, and how deep in a group."""

_CAUSED: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"


def scrub_traceback(error: BaseException, *secrets: str | None, has_messages: bool = True) -> str:
    """The traceback of `error` and of its causes, without `secrets`, URLs and likely ids or keys.

    Without `has_messages` it names the errors by their class only, for errors whose text could
    hold anything.
    """
    told = TracebackException.from_exception(error, limit=-_FRAMES, compact=True)
    return "".join(_lines(told, secrets, _DEPTH, has_messages=has_messages)).rstrip()


def _lines(
    told: TracebackException, secrets: tuple[str | None, ...], depth: int, *, has_messages: bool
) -> Iterator[str]:
    if depth == 0:
        return
    cause = told.__cause__ or (None if told.__suppress_context__ else told.__context__)
    if cause:
        yield from _lines(cause, secrets, depth - 1, has_messages=has_messages)
        yield _CAUSED if told.__cause__ else _DURING
    yield "Traceback (most recent call last):\n"
    # a line of source can hold an id that somebody wrote into it
    yield hide_urls(hide("".join(told.stack.format()), *secrets))
    if has_messages:
        for line in "".join(told.format_exception_only()).splitlines():
            yield f"{scrub(line, *secrets)}\n"
    else:
        yield f"{told.exc_type.__name__ if told.exc_type else 'Exception'}\n"
    for inner in told.exceptions or ():
        yield from _lines(inner, secrets, depth - 1, has_messages=has_messages)
