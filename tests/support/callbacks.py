"""Callbacks of the app as `on_change` registers them."""

from collections.abc import Awaitable, Callable
from typing import Any

from rindle_sync.runtime import ChangeCallback, change_callback


def registered(*functions: Callable[..., Awaitable[None]], **options: Any) -> list[ChangeCallback]:
    """Each of these as a callback under a name of its own."""
    callbacks: list[ChangeCallback] = []
    for function in functions:
        taken = [callback.name for callback in callbacks]
        callbacks.append(change_callback(function, taken, **options))
    return callbacks
