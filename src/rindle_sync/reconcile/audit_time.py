"""When settled rows are compared with the provider's list again."""

from datetime import datetime
from typing import Final

from rindle_sync.domain import JobKind, is_ahead
from rindle_sync.reconcile.context import Context

AUDIT: Final = JobKind.AUDIT.value

SHARE_OF_TIME: Final = 0.95
"""An audit begins after this share of its time.

What has changed just behind an audit is then known when that time is over: the next one must come
as far, and a second 404 be waited for.
"""


def audited_before(context: Context) -> datetime | None:
    """An audit is due where the last one has ended before; None where there are none."""
    every = context.audit_every
    return context.now() - every * SHARE_OF_TIME if every else None


async def is_audit_due(context: Context) -> bool:
    """Whether it is time for an audit, or to resume one."""
    job_run, before = await context.store.job_runs.get(AUDIT), audited_before(context)
    if before is None:
        return False
    ended_at = job_run.ended_at
    if ended_at is None or job_run.began_at is not None or is_ahead(ended_at, context.now()):
        return True
    return ended_at <= before
