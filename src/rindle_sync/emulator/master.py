"""Mux's operation on the master of an asset."""

from rindle_sync.emulator.asset_parts import set_master_access
from rindle_sync.emulator.assets import shown
from rindle_sync.emulator.call import Call
from rindle_sync.emulator.lifecycle import AssetState
from rindle_sync.emulator.requests import MASTER_ACCESS, read_fields
from rindle_sync.emulator.responses import NOT_FOUND, ApiResponse
from rindle_sync.emulator.validation import reject


def update_master_access(call: Call) -> ApiResponse:
    """PUT /video/v1/assets/{id}/master-access."""
    asset = call.asset()
    if asset is None:
        return NOT_FOUND
    given = read_fields(call.json(), MASTER_ACCESS, required="master_access")
    if asset.state(call.now) is AssetState.ERRORED:
        reject("ASSET_ID", "must not be of an asset that failed; create another asset")
    set_master_access(call.environment, asset, given["master_access"], call.lives.master, call.now)
    return shown(call, asset)
