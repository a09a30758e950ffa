"""The part of the public object that calls the app."""

from inspect import iscoroutinefunction

from rindle_sync.app.core import Core
from rindle_sync.errors import ConfigurationError
from rindle_sync.runtime import Callback


class Callbacks(Core):
    """The app's callbacks."""

    def on_change(self, callback: Callback) -> Callback:
        """Have the async `callback` called with each real change of a row (as a decorator, too).

        Called after the commit, in the order of each row, at least once; a callback that raises is
        called again later. Raises `ConfigurationError` for a function that is not async.
        """
        if not (iscoroutinefunction(callback) or iscoroutinefunction(type(callback).__call__)):
            raise ConfigurationError("on_change", "wants an async function")
        self._callbacks.append(callback)
        return callback

    async def dispatch(self) -> int:
        """Call the callbacks with every change that is due to be dispatched; how many.

        Raises `DatabaseUnavailable`.
        """
        return await self.job_runner.dispatch()
