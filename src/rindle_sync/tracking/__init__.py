"""How rows come to be, get another asset, and are forgotten."""

from rindle_sync.tracking.direct_upload import (
    DirectUpload,
    PreparedUpload,
    begin_upload,
    cancel_upload,
    prepare_upload,
    resume_upload,
    start_upload,
    upload_row,
)
from rindle_sync.tracking.new_asset import (
    PreparedAsset,
    asset_row,
    create_asset,
    inputs_of,
    prepare_asset,
    start_asset,
)
from rindle_sync.tracking.replace import replace_asset
from rindle_sync.tracking.track import track
from rindle_sync.tracking.untrack import untrack
