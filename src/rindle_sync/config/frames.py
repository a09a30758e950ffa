"""Errors about settings without the frames that hold them: debug pages show local variables."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from rindle_sync.errors import ConfigurationError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def hides_values(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function`, whose `ConfigurationError` is raised by a frame that holds no setting."""

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except ConfigurationError as error:
            told = error.with_traceback(None)
            told.__cause__ = told.__context__ = None
        del args, kwargs
        raise told

    return call
