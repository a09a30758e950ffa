"""The tables of environments, their rate limits, and jobs."""

from typing import Final

import sqlalchemy as sa

from rindle_sync.store.schema.metadata import metadata
from rindle_sync.store.schema.types import Json, RowId, UtcTime

environments: Final = sa.Table(
    "provider_environments",
    metadata,
    sa.Column("provider_name", sa.Text(), primary_key=True, doc="the provider"),
    sa.Column("environment", sa.Text(), primary_key=True, doc="your name for its environment"),
    sa.Column(
        "provider_environment_id",
        sa.Text(),
        doc="the provider's own id of it; empty until a row was really observed",
    ),
    sa.Column("circuit_reason", sa.Text(), doc="why the circuit is open; empty while it is closed"),
    sa.Column("circuit_opened_at", UtcTime(), doc="since when"),
    info={"doc": "One line for each environment."},
)

# millionths of a call and microseconds since 1970: whole numbers, exact on both databases
rate_limits: Final = sa.Table(
    "provider_rate_limits",
    metadata,
    sa.Column("provider_name", sa.Text(), primary_key=True, doc="the provider"),
    sa.Column("environment", sa.Text(), primary_key=True, doc="the environment"),
    sa.Column(
        "bucket",
        sa.Text(),
        primary_key=True,
        doc="`reads` or `creates`, a colon and the token's priority: `reads:low`",
    ),
    sa.Column("tokens", sa.BigInteger(), nullable=False, doc="what was in it at `filled_at`"),
    sa.Column("filled_at", sa.BigInteger(), nullable=False, doc="when that was calculated"),
    sa.Column("paused_until", sa.BigInteger(), nullable=False, doc="no call before that"),
    sa.Column(
        "hourly_calls",
        Json,
        doc="the newest hour since 1970, then the calls of each hour, the newest first",
    ),
    info={
        "doc": "One line for each bucket: calls in millionths, times in microseconds since 1970."
    },
)

job_runs: Final = sa.Table(
    "provider_job_runs",
    metadata,
    sa.Column("provider_name", sa.Text(), primary_key=True, doc="the provider"),
    sa.Column("environment", sa.Text(), primary_key=True, doc="the environment"),
    sa.Column(
        "kind",
        sa.Text(),
        primary_key=True,
        doc=(
            "`sweep` (its lease alone), `audit`, `backfill`, `prune`, and `heartbeat` "
            "(environment `*`: the last heartbeat of an engine)"
        ),
    ),
    sa.Column("began_at", UtcTime(), doc="when one began that has not ended"),
    sa.Column("ended_at", UtcTime(), doc="when the last one ended"),
    sa.Column(
        "progress",
        Json,
        doc="how far the one that began is, its cursor included; else the figures of the last one",
    ),
    sa.Column("lease_token", RowId(), doc="who runs it"),
    sa.Column("lease_until", UtcTime(), doc="when that lease ends by itself"),
    info={"doc": "One line for each kind of job."},
)
