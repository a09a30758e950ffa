"""The emulated environment, served as an ASGI app."""

from functools import cached_property

from starlette.applications import Starlette

from rindle_sync.providers.mux_emulator.control import control_routes
from rindle_sync.providers.mux_emulator.far_end import FarEnd
from rindle_sync.providers.mux_emulator.gate import mux_routes


class MuxEmulator(FarEnd):
    """A Mux environment of your own, for tests: `app` goes to `httpx.ASGITransport` or to uvicorn."""

    @cached_property
    def app(self) -> Starlette:
        """Mux's REST paths and, under /_emulator/, the emulator's own."""
        return Starlette(routes=[*control_routes(self), *mux_routes(self)])
