"""The passes over a whole environment: who walks, how far, and whom it has not found. Decides nothing."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from rindle_sync.store.database import Database, is_free
from rindle_sync.store.schema.tables import deletion_candidates, job_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """How a kind of pass stands."""

    began_at: datetime | None = None
    """When one began that has not ended; None if none has."""
    ended_at: datetime | None = None
    """When the last one ended."""
    progress: Mapping[str, Any] | None = None
    """How far the one that began is, or what came of the last one."""

    @property
    def report(self) -> Mapping[str, Any] | None:
        """What came of the last one; None while one is under way."""
        return self.progress if self.began_at is None else None


@dataclass(frozen=True, slots=True)
class JobKey:
    """Which pass of which environment."""

    provider: str
    environment: str
    name: str


_COLUMNS: Final = (job_runs.c.began_at, job_runs.c.ended_at, job_runs.c.progress)


class JobRuns(Database):
    """The passes and their suspects. Every method raises `DatabaseUnavailable` when the database does not answer."""

    table = job_runs

    async def take(
        self, key: JobKey, *, now: datetime, token: str, until: datetime
    ) -> JobRun | None:
        """Lease this kind of pass, so that nobody else makes one; None where somebody does."""
        lease = (
            update(job_runs)
            .where(*_mine(key), is_free(job_runs))
            .values(lease_token=token, lease_until=until)
        )
        async with self.leasing(token) as connection:
            found = (
                await connection.execute(lease.returning(*_COLUMNS), {"now": now})
            ).one_or_none()
        if found:
            return JobRun(**found._asdict())
        return (
            await self.take(key, now=now, token=token, until=until)
            if await self._add(key)
            else None
        )

    async def _add(self, key: JobKey) -> bool:
        async with self.reading() as connection:
            if (await connection.execute(select(job_runs.c.kind).where(*_mine(key)))).one_or_none():
                return False
        row = {"provider_name": key.provider, "environment": key.environment, "kind": key.name}
        try:
            async with self.writing() as connection:
                await connection.execute(insert(job_runs), row)
        except IntegrityError:
            return False
        return True

    async def renew(self, token: str, until: datetime) -> None:
        """Hold the pass longer."""
        async with self.writing() as connection:
            await connection.execute(
                update(job_runs).where(job_runs.c.lease_token == token).values(lease_until=until)
            )

    async def keep(
        self, token: str, *, began_at: datetime, progress: Mapping[str, Any], until: datetime
    ) -> bool:
        """Write down how far the pass is, and hold it longer; False if somebody else has taken it over."""
        values = {"began_at": began_at, "progress": progress, "lease_until": until}
        async with self.writing() as connection:
            changed = update(job_runs).where(job_runs.c.lease_token == token).values(values)
            return (await connection.execute(changed)).rowcount > 0

    async def end(self, token: str, ended_at: datetime, report: Mapping[str, Any]) -> None:
        """The pass is complete; what came of it is kept instead of its progress, and it is given back."""
        values: dict[str, Any] = {"began_at": None, "ended_at": ended_at, "progress": report}
        values |= {"lease_token": None, "lease_until": None}
        async with self.writing() as connection:
            await connection.execute(
                update(job_runs).where(job_runs.c.lease_token == token).values(values)
            )

    async def note(self, key: JobKey, ended_at: datetime) -> None:
        """Note that such a pass has ended just now, without a lease."""
        changed = update(job_runs).where(*_mine(key)).values(ended_at=ended_at)
        async with self.writing() as connection:
            is_there = (await connection.execute(changed)).rowcount
        if not is_there:
            await self._add(key)
            async with self.writing() as connection:
                await connection.execute(changed)

    async def get(self, key: JobKey) -> JobRun:
        """How this kind of pass stands."""
        async with self.reading() as connection:
            found = (await connection.execute(select(*_COLUMNS).where(*_mine(key)))).one_or_none()
        return JobRun(**found._asdict()) if found else JobRun()

    async def add_candidates(
        self, key: JobKey, observed_at: Mapping[str, datetime], *, is_missing: bool
    ) -> None:
        """Note rows that were not found, or were found changed, and when; of one noted before, nothing changes."""
        here = {
            "provider_name": key.provider,
            "environment": key.environment,
            "is_missing": is_missing,
        }
        rows = [{"row_id": row_id, "observed_at": at} | here for row_id, at in observed_at.items()]
        async with self.writing() as connection:
            known = await connection.execute(
                select(deletion_candidates.c.row_id).where(
                    deletion_candidates.c.row_id.in_(observed_at)
                )
            )
            fresh = {row["row_id"] for row in rows} - set(known.scalars())
            if fresh:
                await connection.execute(
                    insert(deletion_candidates), [row for row in rows if row["row_id"] in fresh]
                )

    async def candidates(
        self, key: JobKey, limit: int, *, are_missing: bool
    ) -> dict[str, datetime]:
        """Up to `limit` suspects, by row, and when each was noted."""
        of_kind = deletion_candidates.c.is_missing.is_(are_missing)
        wanted = (
            select(deletion_candidates.c.row_id, deletion_candidates.c.observed_at)
            .where(*_of_environment(key), of_kind)
            .limit(limit)
        )
        async with self.reading() as connection:
            return {found.row_id: found.observed_at for found in await connection.execute(wanted)}

    async def count_candidates(self, key: JobKey) -> int:
        """How many suspects there are."""
        async with self.reading() as connection:
            counted = await connection.execute(
                select(func.count()).select_from(deletion_candidates).where(*_of_environment(key))
            )
            return counted.scalar_one()

    async def clear_candidates(self, key: JobKey, row_ids: Collection[str] | None = None) -> None:
        """Forget these suspects, or all."""
        gone = delete(deletion_candidates).where(*_of_environment(key))
        async with self.writing() as connection:
            await connection.execute(
                gone if row_ids is None else gone.where(deletion_candidates.c.row_id.in_(row_ids))
            )


def _mine(key: JobKey) -> tuple[ColumnElement[bool], ...]:
    return (
        job_runs.c.provider_name == key.provider,
        job_runs.c.environment == key.environment,
        job_runs.c.kind == key.name,
    )


def _of_environment(key: JobKey) -> tuple[ColumnElement[bool], ...]:
    return (
        deletion_candidates.c.provider_name == key.provider,
        deletion_candidates.c.environment == key.environment,
    )
