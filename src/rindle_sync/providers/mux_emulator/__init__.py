"""An emulator of the Mux Video API, for our tests and for yours; imports nothing else of rindle_sync."""

from rindle_sync.providers.mux_emulator.emulator import MuxEmulator
from rindle_sync.providers.mux_emulator.faults import Fault, FaultKind
from rindle_sync.providers.mux_emulator.limits import Priority
from rindle_sync.providers.mux_emulator.lives import AssetState, Ending, Life, PlaybackId, UploadState
from rindle_sync.providers.mux_emulator.rest import Operation
from rindle_sync.providers.mux_emulator.timeline import EventType, LifeEvent
from rindle_sync.providers.mux_emulator.webhooks import Deliveries, Webhook
from rindle_sync.providers.mux_emulator.world import Truth

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
    "UploadState",
    "Webhook",
]
