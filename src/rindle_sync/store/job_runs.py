"""The runs over a whole environment: who runs, the progress, and the deletion candidates."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.exc import IntegrityError

from rindle_sync.store.driver_errors import retried
from rindle_sync.store.repository import Repository, clock, is_free
from rindle_sync.store.schema.tables import deletion_candidates, job_runs


class JobRun(Struct, frozen=True, kw_only=True):
    """The state of one kind of run."""

    began_at: datetime | None = None
    """When the run began that has not ended; None if there is none."""
    ended_at: datetime | None = None
    """When the last run ended."""
    progress: Mapping[str, Any] | None = None
    """The progress of the current run, or the report of the last one."""

    @property
    def report(self) -> Mapping[str, Any] | None:
        """The report of the last run; None during a run."""
        return self.progress if self.began_at is None else None


_COLUMNS: Final = (job_runs.c.began_at, job_runs.c.ended_at, job_runs.c.progress)
_HELD: Final = sa.update(job_runs).where(job_runs.c.lease_token == sa.bindparam("held"))


class JobRuns(Repository):
    """The runs of an environment and their deletion candidates."""

    table = job_runs

    async def take(self, kind: str, *, now: datetime, token: str, until: datetime) -> JobRun | None:
        """Lease this kind of run; None where another process holds it."""
        free = sa.update(job_runs).where(*self.here, job_runs.c.kind == kind, is_free(job_runs))
        taken = free.values(lease_token=sa.bindparam("token"), lease_until=until)
        found = await self.lease(taken.returning(*_COLUMNS), token, clock(now))
        if found:
            return JobRun(**found[0]._asdict())
        if await self._add(kind):
            return await self.take(kind, now=now, token=token, until=until)
        return None

    async def _add(self, kind: str) -> bool:
        """Insert the line of this kind; False if it is there."""
        # read first: a failed insert would be an error in the log of PostgreSQL at each attempt
        if await self.read(sa.select(job_runs.c.kind).where(*self.here, job_runs.c.kind == kind)):
            return False
        try:
            await self.execute(sa.insert(job_runs), self.key | {"kind": kind})
        except IntegrityError:
            return False
        return True

    async def renew(self, token: str, until: datetime) -> None:
        """Extend the lease of the run."""
        await self.execute(_HELD.values(lease_until=until), {"held": token})

    async def save(
        self, token: str, *, began_at: datetime, progress: Mapping[str, Any], until: datetime
    ) -> bool:
        """Store the progress and extend the lease; False if another process has taken the run."""
        values = {"began_at": began_at, "progress": progress, "lease_until": until}
        return await self.execute(_HELD.values(values), {"held": token}) > 0

    async def end(self, token: str, ended_at: datetime, report: Mapping[str, Any]) -> None:
        """End the run: its report replaces the progress, and its lease ends."""
        values: dict[str, Any] = {"began_at": None, "ended_at": ended_at, "progress": report}
        values |= {"lease_token": None, "lease_until": None}
        await self.execute(_HELD.values(values), {"held": token})

    async def note(self, kind: str, ended_at: datetime) -> None:
        """Store that a run without a lease has ended."""
        changed = (
            sa.update(job_runs).where(*self.here, job_runs.c.kind == kind).values(ended_at=ended_at)
        )
        if not await self.execute(changed):
            await self._add(kind)
            await self.execute(changed)

    async def get(self, kind: str) -> JobRun:
        """The state of this kind of run."""
        found = await self.read(sa.select(*_COLUMNS).where(*self.here, job_runs.c.kind == kind))
        return JobRun(**found[0]._asdict()) if found else JobRun()

    @retried
    async def add_candidates(
        self, observed_at: Mapping[str, datetime], *, is_missing: bool
    ) -> None:
        """Store rows, by id, that were not found, or were found changed; known ones stay as is."""
        row_id = deletion_candidates.c.row_id
        async with self.writing() as connection:
            # the first time counts: a candidate is confirmed only some time after it
            known = await connection.execute(sa.select(row_id).where(row_id.in_(observed_at)))
            fresh = set(observed_at) - set(known.scalars())
            rows = [
                {**self.key, "row_id": row, "observed_at": at, "is_missing": is_missing}
                for row, at in observed_at.items()
                if row in fresh
            ]
            if rows:
                await connection.execute(sa.insert(deletion_candidates), rows)

    async def candidates(self, limit: int, *, are_missing: bool) -> dict[str, datetime]:
        """Up to `limit` candidates, by row id, and when each was stored."""
        wanted = sa.select(deletion_candidates.c.row_id, deletion_candidates.c.observed_at).where(
            *self.here_in(deletion_candidates), deletion_candidates.c.is_missing.is_(are_missing)
        )
        found = await self.read(wanted.limit(limit))
        return {line.row_id: line.observed_at for line in found}

    async def count_candidates(self) -> int:
        """The number of candidates."""
        here = self.here_in(deletion_candidates)
        found = await self.read(
            sa.select(sa.func.count()).select_from(deletion_candidates).where(*here)
        )
        return int(found[0][0])

    async def clear_candidates(self, row_ids: Collection[str] | None = None) -> None:
        """Delete these candidates, or all."""
        gone = sa.delete(deletion_candidates).where(*self.here_in(deletion_candidates))
        if row_ids is not None:
            gone = gone.where(deletion_candidates.c.row_id.in_(row_ids))
        await self.execute(gone)
