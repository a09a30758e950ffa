"""The figures of any number of environments, in a few statements."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from msgspec import Struct, field

from rindle_sync.domain import FINAL, TOLERANCE, ChangeKind, ErrorKind, EventStatus, State, Trigger
from rindle_sync.store.driver_errors import retried
from rindle_sync.store.job_runs import JobRun
from rindle_sync.store.lines import CHECK_TRIGGERS
from rindle_sync.store.repository import Repository
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table, once
from rindle_sync.store.schema.tables import (
    DEAD_INDEX,
    IS_FAILING,
    IS_NOT_READY,
    assets,
    changes,
    environments,
    job_runs,
    row_counts,
    webhook_events,
)
from rindle_sync.store.schema.types import UtcTime

if TYPE_CHECKING:
    from rindle_sync.store.outgoing_webhooks import EndpointFigures


class WebhookCounts(Struct, kw_only=True):
    """The changes that a webhook should report, by the trigger that found them."""

    found: dict[Trigger, int] = field(
        default_factory=lambda: dict.fromkeys((Trigger.WEBHOOK, *CHECK_TRIGGERS), 0)
    )
    missed: dict[Trigger, int] = field(default_factory=lambda: dict.fromkeys(CHECK_TRIGGERS, 0))
    """Those that no webhook has reported since."""

    @property
    def expected(self) -> int:
        """The number of these changes."""
        return sum(self.found.values())

    @property
    def loss(self) -> float | None:
        """The share that no webhook has reported; None while there was no change to report."""
        return sum(self.missed.values()) / self.expected if self.expected else None


class Figures(Struct, kw_only=True):
    """The figures of one environment."""

    by_state: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    by_error_kind: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unlinked: int = 0
    """Pending or uploading rows without an asset."""
    failing: int = 0
    last_checked: datetime | None = None
    due: int = 0
    oldest_due: datetime | None = None
    pending: int = 0
    oldest_pending: datetime | None = None
    """The earliest next attempt of a pending event that is not for the app."""
    oldest_for_app: datetime | None = None
    outgoing: "Sequence[EndpointFigures]" = ()
    """The earliest next attempt of one that is."""
    dead: int = 0
    failed: int = 0
    """Events that died since `since`."""
    circuit_reason: str | None = None
    circuit_opened_at: datetime | None = None
    audit: JobRun = field(default_factory=JobRun)
    webhooked: WebhookCounts = field(default_factory=WebhookCounts)


_NAMES: Final = json_table("environments", "names")


def _here(table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
    named = table.c.environment.in_(sa.select(json_field(_NAMES, table.c.environment)))
    return table.c.provider_name == sa.bindparam("provider"), named


def counts(
    table: sa.Table, *figures: sa.ColumnElement[Any], by: Sequence[str] = ()
) -> sa.Select[Any]:
    """The `figures` of each environment in the parameters, or of each group of it."""
    groups = [table.c[name] for name in ("environment", *by)]
    return sa.select(*groups, *figures).where(*_here(table)).group_by(*groups)


_FINAL_STATES: Final = [state.value for state in FINAL]
FOUND_BY: Final = [Trigger.WEBHOOK.value, *(trigger.value for trigger in CHECK_TRIGGERS)]
_SINCE: Final = sa.bindparam("since", type_=UtcTime())
# what a wrong clock has dated would count for as long as it was ahead
_BY_NOW: Final = sa.bindparam("ahead", type_=UtcTime())
IS_UNLINKED: Final = assets.c.provider_asset_id.is_(None) & assets.c.state.in_(
    ["pending", "uploading"]
)
_NONE: Final = sa.cast(sa.null(), sa.Text())
# in one statement, whose parts all see the same rows
_ROWS: Final = sa.union_all(
    counts(assets, sa.func.count().label("number"), by=("state", "error_kind")).where(IS_NOT_READY),
    sa.select(
        row_counts.c.environment,
        _NONE.label("state"),
        _NONE.label("error_kind"),
        sa.func.sum(row_counts.c.number).label("number"),
    )
    .where(*_here(row_counts))
    .group_by(row_counts.c.environment),
)
_UNLINKED: Final = counts(assets, sa.func.count().label("unlinked")).where(IS_UNLINKED)
_FAILING: Final = counts(assets, sa.func.count().label("failing")).where(IS_FAILING)
_NAMED: Final = once(sa.select(json_field(_NAMES, assets.c.environment).label("name")), "named")
# the end of an index, in each environment
_LAST_CHECKED: Final = (
    sa.select(assets.c.checked_at)
    .where(assets.c.provider_name == sa.bindparam("provider"))
    .where(assets.c.environment == _NAMED.c.name, assets.c.checked_at <= _BY_NOW)
    .order_by(assets.c.checked_at.desc())
    .limit(1)
    .scalar_subquery()
)
_CHECKED: Final = sa.select(_NAMED.c.name.label("environment"), _LAST_CHECKED.label("last_checked"))
_DUE: Final = counts(
    assets, sa.func.count().label("due"), sa.func.min(assets.c.check_at).label("oldest_due")
).where(assets.c.check_at <= sa.bindparam("now", type_=UtcTime()))
_OLDEST: Final = sa.func.min(webhook_events.c.next_attempt_at)
_PENDING: Final = counts(
    webhook_events,
    sa.func.count().label("pending"),
    _OLDEST.filter(~webhook_events.c.for_app).label("oldest_pending"),
    _OLDEST.filter(webhook_events.c.for_app).label("oldest_for_app"),
).where(webhook_events.c.next_attempt_at.is_not(None))
_HAS_FAILED: Final = (webhook_events.c.received_at > _SINCE) & (
    webhook_events.c.received_at <= _BY_NOW
)
# SQLite would read all events, by the index of when they were received
_DEAD: Final = (
    counts(
        webhook_events,
        sa.func.count().label("dead"),
        sa.func.count().filter(_HAS_FAILED).label("failed"),
    )
    .where(webhook_events.c.status == sa.literal_column(f"'{EventStatus.DEAD.value}'"))
    .with_hint(webhook_events, f"INDEXED BY {DEAD_INDEX}", "sqlite")
)
_CIRCUITS: Final = sa.select(
    environments.c.environment, environments.c.circuit_reason, environments.c.circuit_opened_at
).where(*_here(environments))
_SINGLE: Final = (_UNLINKED, _FAILING, _CHECKED, _DUE, _PENDING, _DEAD, _CIRCUITS)
"""One line for each environment, with the names of its figures."""
_AUDITS: Final = sa.select(
    job_runs.c.environment, job_runs.c.began_at, job_runs.c.ended_at, job_runs.c.progress
).where(*_here(job_runs), job_runs.c.kind == sa.bindparam("audit"))
IS_MISSED: Final = changes.c.webhook_at.is_(None) & (changes.c.trigger != Trigger.WEBHOOK.value)
# a webhook may still come for the newest changes that a check found
IS_AWAITED: Final = IS_MISSED & (changes.c.at > sa.bindparam("settled_by", type_=UtcTime()))
_IS_STATE: Final = changes.c.kind == ChangeKind.STATE.value
IS_REPORTED: Final = sa.or_(
    sa.and_(
        _IS_STATE,
        changes.c.to_state.in_(_FINAL_STATES),
        changes.c.to_state.is_distinct_from(sa.bindparam("never_reported", type_=sa.Text())),
        changes.c.from_state != changes.c.to_state,
        sa.or_(changes.c.error_kind.is_(None), changes.c.error_kind == ErrorKind.PROVIDER.value),
    ),
    changes.c.outputs.is_not(None),
)
"""Whether a webhook should report a change."""
_WEBHOOKED: Final = counts(
    changes,
    sa.func.count().label("found"),
    sa.func.count().filter(IS_MISSED).label("missed"),
    by=["trigger"],
).where(
    changes.c.at > _SINCE,
    changes.c.at <= _BY_NOW,
    IS_REPORTED,
    ~IS_AWAITED,
    changes.c.trigger.in_(FOUND_BY),
)


class Statistics(Repository):
    """Reads figures."""

    table = assets

    async def of(
        self, names: Sequence[str], audit: str, *, now: datetime, since: datetime
    ) -> dict[str, Figures]:
        """The figures of these environments; `audit` is the kind of the job runs of audits.

        Events that died count since `since`. Changes are counted by `webhooked` alone.
        """
        found = {name: Figures() for name in names}
        here = self._among(names)
        window = here | {"now": now, "since": since, "ahead": now + TOLERANCE}
        async with self.reading() as connection:
            _add_rows(found, (await connection.execute(_ROWS, window)).all())
            for statement in _SINGLE:
                for line in await connection.execute(statement, window):
                    # the columns have the names of the figures
                    for name in line._fields[1:]:
                        setattr(found[line.environment], name, getattr(line, name))
            for line in await connection.execute(_AUDITS, here | {"audit": audit}):
                found[line.environment].audit = JobRun(
                    began_at=line.began_at, ended_at=line.ended_at, progress=line.progress
                )
        return found

    async def webhooked(
        self,
        names: Sequence[str],
        *,
        now: datetime,
        since: datetime,
        final_before: datetime,
        never_reported: State | None = None,
    ) -> dict[str, WebhookCounts]:
        """The changes since `since` of these environments; a scan of them.

        Those that a check found after `final_before` count only if a webhook reported them too.
        Changes to `never_reported` do not count: no webhook reports them.
        """
        found = {name: WebhookCounts() for name in names}
        window = self._among(names) | {"since": since, "ahead": now + TOLERANCE}
        window |= {"settled_by": final_before, "never_reported": never_reported}
        for line in await self.read(_WEBHOOKED, window):
            counts, trigger = found[line.environment], Trigger(line.trigger)
            counts.found[trigger] = line.found
            if trigger is not Trigger.WEBHOOK:
                counts.missed[trigger] = line.missed
        return found

    def _among(self, names: Sequence[str]) -> dict[str, Any]:
        given = json_parameter([{"environment": name} for name in names], assets)
        return {"provider": self.provider, "environments": given}

    async def rows(self) -> dict[str, int]:
        """The number of rows of each environment that has any."""
        number = sa.func.sum(row_counts.c.number)
        counted = sa.select(row_counts.c.environment, number.label("number"))
        ours = counted.where(row_counts.c.provider_name == self.provider)
        found = await self.read(ours.group_by(row_counts.c.environment).having(number > 0))
        return {line.environment: int(line.number) for line in found}

    @retried
    async def merge_counts(self) -> None:
        """Make one line of those that writers have added to the number of rows."""
        gone = sa.delete(row_counts).where(*self.here_in(row_counts)).returning(row_counts.c.number)
        async with self.writing() as connection:
            lines = (await connection.execute(gone)).scalars().all()
            if lines:
                merged = self.key | {"number": sum(lines)}
                await connection.execute(sa.insert(row_counts), merged)

    async def webhook_events(self) -> Mapping[str, int]:
        """The number of webhook events by status; a scan of the environment."""
        status = webhook_events.c.status
        counted = sa.select(status, sa.func.count().label("number")).group_by(status)
        found = await self.read(counted.where(*self.here_in(webhook_events)))
        return {line.status: line.number for line in found}

    async def lateness(
        self, since: datetime, *, now: datetime, limit: int
    ) -> list[tuple[Trigger, int]]:
        """The triggers and lateness, in milliseconds, of the newest `limit` changes of state."""
        wanted = (
            sa.select(changes.c.trigger, changes.c.late_ms)
            .where(*self.here_in(changes), _IS_STATE)
            .where(changes.c.at > since, changes.c.at <= now + TOLERANCE)
            .order_by(changes.c.at.desc())
            .limit(limit)
        )
        return [(Trigger(line.trigger), line.late_ms) for line in await self.read(wanted)]


def _add_rows(found: Mapping[str, Figures], lines: Sequence[sa.Row[Any]]) -> None:
    """Add the rows by state; those that are ready are what is left of all of them."""
    for line in lines:
        figures, number = found[line.environment], int(line.number)
        if line.state is None:
            figures.by_state[State.READY] += number
            continue
        figures.by_state[line.state] += number
        figures.by_state[State.READY] -= number
        if line.error_kind:
            figures.by_error_kind[line.error_kind] += number
    for figures in found.values():
        if not figures.by_state[State.READY]:
            del figures.by_state[State.READY]
