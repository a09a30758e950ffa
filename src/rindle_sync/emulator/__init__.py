"""A fake Mux for tests and the demo; imports nothing of ours."""

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life, RenditionLife

__all__ = ["Life", "MuxEmulator", "RenditionLife"]
