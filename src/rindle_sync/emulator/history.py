"""A value that calls can change, as it was at any time."""

from typing import Generic, TypeVar

V = TypeVar("V")


class History(Generic[V]):
    """A value with what it was before each change: an event shows the value of its own time."""

    __slots__ = ("_earlier", "latest")

    def __init__(self, first: V) -> None:
        self.latest = first
        self._earlier: tuple[tuple[float, V], ...] = ()

    def at(self, moment: float) -> V:
        """The value at `moment`."""
        for until, value in self._earlier:
            if moment < until:
                return value
        return self.latest

    def change(self, now: float, value: V) -> None:
        """Replace the value from `now` on."""
        self._earlier = (*self._earlier, (now, self.latest))
        self.latest = value
