"""How rows come to be: an existing asset is tracked, a direct upload is created or cancelled."""

from rindle_sync.tracking.direct_upload import (
    INGEST_MODE,
    DirectUpload,
    begin_upload,
    cancel_upload,
    upload_row,
)
from rindle_sync.tracking.track import (
    ARGUMENTS,
    AT_ONCE,
    Refusal,
    TrackedMany,
    track,
    track_many,
    tracked_row,
)
