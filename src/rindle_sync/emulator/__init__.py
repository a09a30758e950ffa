"""A fake Mux for tests and the demo; imports nothing of ours."""

from rindle_sync.emulator.api import Operation
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.environment import Truth
from rindle_sync.emulator.faults import Fault, FaultKind
from rindle_sync.emulator.lifecycle import AssetState, Ending, Life, PlaybackId, Upload, UploadState
from rindle_sync.emulator.rate_limits import Priority
from rindle_sync.emulator.timeline import EventType, LifeEvent
from rindle_sync.emulator.webhooks import Deliveries, Webhook

__all__ = [
    "AssetState",
    "Deliveries",
    "Ending",
    "EventType",
    "Fault",
    "FaultKind",
    "Life",
    "LifeEvent",
    "MuxEmulator",
    "Operation",
    "PlaybackId",
    "Priority",
    "Truth",
    "Upload",
    "UploadState",
    "Webhook",
]
