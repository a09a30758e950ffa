"""The tables of rows."""

from typing import Final

import sqlalchemy as sa

from rindle_sync.store.schema.metadata import index, metadata
from rindle_sync.store.schema.types import Json, RowId, Serial, UtcTime

assets: Final = sa.Table(
    "media_provider_assets",
    metadata,
    sa.Column(
        "id", RowId(), primary_key=True, doc="the row's UUID, safe to show, the `row_id` of events"
    ),
    sa.Column("reference", sa.Text(), nullable=False, doc="your app's own id of the video"),
    sa.Column(
        "profile",
        sa.Text(),
        nullable=False,
        doc="which of its renditions or uses this is; plain text, `default`",
    ),
    sa.Column(
        "provider_name", sa.Text(), nullable=False, doc="the word of the provider in the settings"
    ),
    sa.Column(
        "environment",
        sa.Text(),
        nullable=False,
        doc="your name for the provider's environment, from the setting; part of every key",
    ),
    sa.Column("provider_asset_id", sa.Text(), doc="the provider's id of the asset"),
    sa.Column("provider_upload_id", sa.Text(), doc="the provider's id of the direct upload"),
    sa.Column(
        "passthrough",
        sa.Text(),
        doc="the text that was given to the provider to carry; never taken from an answer",
    ),
    sa.Column("playback_ids", Json, nullable=False, doc="JSON list of `id` and `policy`"),
    sa.Column(
        "playback_policy",
        sa.Text(),
        doc="the policy that you asked for, several with commas between them; only stored",
    ),
    sa.Column(
        "ingest_mode",
        sa.Text(),
        doc=(
            "how the asset came to be: `direct_upload` for those of `begin_upload`, `url` for "
            "those of `create_asset`, `adopted` for those found at the provider, else your own "
            "text; only stored"
        ),
    ),
    sa.Column(
        "state",
        sa.Text(),
        nullable=False,
        doc="`pending`, `uploading`, `processing`, `ready`, `errored`, `deleted`",
    ),
    sa.Column(
        "error_kind",
        sa.Text(),
        doc="why it is `errored`: `provider`, `stuck`, `not_found`, `upload`",
    ),
    sa.Column(
        "last_sync_error",
        sa.Text(),
        doc="the reason of that, or why the last check brought no answer",
    ),
    sa.Column(
        "last_event_id",
        sa.Text(),
        doc="the provider's id of the last event that changed the row; empty where none did",
    ),
    sa.Column(
        "last_event_at",
        UtcTime(),
        doc=(
            "the provider's clock at the newest such event; the local clock where that is too far "
            "ahead"
        ),
    ),
    sa.Column(
        "raw_provider_metadata",
        Json,
        doc=(
            "the whole asset as the provider last showed it (the upload until there is one). What "
            "your app gave (`passthrough`, `meta`) is exact. Left out are the fields whose name "
            "ends in `url`, which are keys to a file (an upload's, an input's, a master's), "
            "numbers that no float holds, and what is nested more than 100 levels deep; URLs in "
            "error and input texts are hidden."
        ),
    ),
    sa.Column("duration", sa.Double(), doc="seconds; empty until the provider knows it"),
    sa.Column("aspect_ratio", sa.Text(), doc="width and height, as in `16:9`"),
    sa.Column(
        "resolution", sa.Text(), doc="the highest that is stored, as in `1080p`, or `audio-only`"
    ),
    sa.Column("max_frame_rate", sa.Double(), doc="frames a second"),
    sa.Column("title", sa.Text(), doc="the title at the provider"),
    sa.Column(
        "is_live",
        sa.Boolean(),
        nullable=False,
        server_default=sa.false(),
        doc="whether it is a live stream that goes on",
    ),
    sa.Column(
        "is_test",
        sa.Boolean(),
        nullable=False,
        server_default=sa.false(),
        doc="whether it is a test asset",
    ),
    sa.Column(
        "tracks",
        Json,
        nullable=False,
        server_default="[]",
        doc=(
            "JSON list of audio tracks and captions: `id`, `kind`, `status`, `language`, `name`, "
            "`error`"
        ),
    ),
    sa.Column(
        "renditions",
        Json,
        nullable=False,
        server_default="[]",
        doc=(
            "JSON list of files to download: `name`, `status`, `resolution`, `bitrate` (bits a "
            "second), `size` (bytes), `error`"
        ),
    ),
    sa.Column(
        "master",
        Json,
        doc="the master file, as JSON: `status`, `expires_at`, `error`; empty where there is none",
    ),
    sa.Column(
        "media_updated_at",
        UtcTime(),
        doc="the last change of the columns from `duration` to `master`",
    ),
    sa.Column(
        "provider_created_at",
        UtcTime(),
        nullable=False,
        doc="when the provider made the asset; until that is known, when the row was made",
    ),
    sa.Column("inserted_at", UtcTime(), nullable=False, doc="when the row was made"),
    sa.Column(
        "begun_at",
        UtcTime(),
        doc=(
            "when the provider was asked to make its upload or asset; empty where that was not "
            "begun"
        ),
    ),
    sa.Column(
        "updated_at",
        UtcTime(),
        nullable=False,
        doc="the last real change of state, error kind, playback ids or asset id",
    ),
    sa.Column(
        "observed_at",
        UtcTime(),
        doc=(
            "the local clock at the newest observation in the row: when that check began, or that "
            "webhook came in"
        ),
    ),
    sa.Column("checked_at", UtcTime(), doc="the last answered check"),
    sa.Column(
        "check_at",
        UtcTime(),
        doc="check again at; empty for a settled row whose outputs are finished",
    ),
    sa.Column(
        "check_failures",
        sa.Integer(),
        nullable=False,
        doc="checks in a row that brought no answer, not counting 429, 401 and 403",
    ),
    sa.Column(
        "missing_since",
        UtcTime(),
        doc="the first 404 of a settled row that no later check took back",
    ),
    sa.Column(
        "absent_playback_ids",
        Json,
        nullable=False,
        server_default="[]",
        doc=(
            "JSON list of those `playback_ids` that the last whole answer lacked; a second such "
            "answer removes them"
        ),
    ),
    sa.Column("playback_absent_since", UtcTime(), doc="when they were first absent"),
    sa.Column(
        "decision_log",
        Json,
        nullable=False,
        server_default="[]",
        doc=(
            "the last twelve decisions about it, equal ones merged: first and last time, how "
            "often, by which trigger, observed how, verdict, reason"
        ),
    ),
    sa.Column("lease_token", RowId(), doc="the pass that holds the row"),
    sa.Column("lease_until", UtcTime(), doc="when that lease ends by itself"),
    sa.Column(
        "version", sa.BigInteger(), nullable=False, doc="counts the writes; for compare-and-swap"
    ),
    sa.UniqueConstraint(
        "reference",
        "profile",
        "provider_name",
        name="uq_media_provider_assets_reference_profile_provider",
    ),
)
index("uq_media_provider_assets_provider_asset_id", assets, "provider_asset_id", unique=True)
index("uq_media_provider_assets_provider_upload_id", assets, "provider_upload_id", unique=True)
# many assets may carry one passthrough: it names only a row that has no id of the provider yet
PASSTHROUGH_INDEX: Final = "ix_media_provider_assets_passthrough"
index(
    PASSTHROUGH_INDEX,
    assets,
    "passthrough",
    where=assets.c.provider_asset_id.is_(None) & assets.c.provider_upload_id.is_(None),
)
# settled rows have no check_at: the scan of due rows costs nothing for them
index("ix_media_provider_assets_due", assets, "check_at", where=assets.c.check_at.is_not(None))
_HAS_NO_OUTPUTS: Final = sa.or_(
    assets.c.state != sa.literal_column("'ready'"),
    assets.c.missing_since.is_not(None),
    assets.c.playback_absent_since.is_not(None),
)
IS_UNWATCHED: Final = _HAS_NO_OUTPUTS & sa.func.coalesce(
    assets.c.error_kind, sa.literal_column("''")
).not_in([sa.literal_column("'stuck'"), sa.literal_column("'not_found'")])
"""Whether a row is not checked after far longer gaps than others.

Those errored as stuck or not found are, and those that are ready, for outputs of theirs.
"""

# its end shows whether a wrong clock has planned a check, however many watched rows lie there
index(
    "ix_media_provider_assets_due_unwatched",
    assets,
    "check_at",
    where=assets.c.check_at.is_not(None) & IS_UNWATCHED,
)
# a list page is a range of creation times: this finds the rows that should be on it
index("ix_media_provider_assets_created", assets, "provider_created_at")
index(
    "ix_media_provider_assets_lease",
    assets,
    "lease_token",
    here=False,
    where=assets.c.lease_token.is_not(None),
)

# what is counted: all rows by the table below, those that are not ready by an index of theirs;
# what a figure counts is listed by the same index, in the order of creation
IS_NOT_READY: Final = assets.c.state != sa.literal_column("'ready'")
index(
    "ix_media_provider_assets_not_ready",
    assets,
    *("state", "error_kind", "provider_created_at"),
    where=IS_NOT_READY,
)
IS_FAILING: Final = assets.c.check_failures > sa.literal_column("0")
index("ix_media_provider_assets_failing", assets, "provider_created_at", where=IS_FAILING)
index(
    "ix_media_provider_assets_checked", assets, "checked_at", where=assets.c.checked_at.is_not(None)
)

# the number of rows, kept by triggers as rows come and go: the sum of its lines
row_counts: Final = sa.Table(
    "provider_row_counts",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True, doc="a running number"),
    sa.Column("provider_name", sa.Text(), nullable=False, doc="the provider"),
    sa.Column("environment", sa.Text(), nullable=False, doc="the environment"),
    sa.Column(
        "number", sa.BigInteger(), nullable=False, doc="how many rows came, less those that went"
    ),
    info={
        "doc": (
            "How many rows there are: the sum of `number` over the lines of an environment. "
            "Triggers keep it as rows come and go, whoever writes them. On PostgreSQL each "
            "statement adds a line, so that no writer waits for another, and the hourly prune "
            "makes one of them; on SQLite there is one. It makes counting cheap: the rows that "
            "are ready are all but those in another state, which have an index."
        )
    },
)
index("ix_provider_row_counts_environment", row_counts)

# the ids that a row had before: late events about them match nothing, and no scan adopts them
superseded: Final = sa.Table(
    "provider_superseded_assets",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True, doc="a running number"),
    sa.Column("provider_name", sa.Text(), nullable=False, doc="the provider"),
    sa.Column("environment", sa.Text(), nullable=False, doc="the environment"),
    sa.Column("provider_asset_id", sa.Text(), doc="the provider's id of the asset"),
    sa.Column("provider_upload_id", sa.Text(), doc="the provider's id of the direct upload"),
    sa.Column("row_id", RowId(), nullable=False, doc="the row that had them"),
    sa.Column(
        "reason",
        sa.Text(),
        nullable=False,
        doc="why it has them no longer: `replaced`, or `untracked`",
    ),
    sa.Column("at", UtcTime(), nullable=False, doc="since when"),
    info={
        "doc": (
            "The provider's ids that a row had before, and those of rows that your app has "
            "untracked. Late events about them match nothing, and no backfill makes a row of "
            "them."
        )
    },
)
index("ix_provider_superseded_assets_asset", superseded, "provider_asset_id")
index(
    "ix_provider_superseded_assets_upload",
    superseded,
    "provider_upload_id",
    where=superseded.c.provider_upload_id.is_not(None),
)

deletion_candidates: Final = sa.Table(
    "provider_deletion_candidates",
    metadata,
    sa.Column("row_id", RowId(), primary_key=True, doc="the row"),
    sa.Column("provider_name", sa.Text(), nullable=False, doc="the provider"),
    sa.Column("environment", sa.Text(), nullable=False, doc="the environment"),
    sa.Column(
        "observed_at",
        UtcTime(),
        nullable=False,
        doc="when the check that did not find it, or found it changed, began",
    ),
    sa.Column("is_missing", sa.Boolean(), nullable=False, doc="whether it was not found"),
    info={
        "doc": (
            "Rows that the running audit did not find, or found changed. It is empty when none "
            "runs."
        )
    },
)
