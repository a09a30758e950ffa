"""Views that no transaction is held open for, whatever ATOMIC_REQUESTS says of any database."""

from collections.abc import Callable
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


class _EveryAlias(set[str]):
    """What Django asks for the alias of each database with ATOMIC_REQUESTS."""

    def __contains__(self, alias: object) -> bool:
        return True


def non_atomic_requests(view: View) -> View:
    """Mark a view: Django's decorator of this name does so for one database, which it must name."""
    view._non_atomic_requests = _EveryAlias()  # type: ignore[attr-defined]  # noqa: SLF001
    return view
