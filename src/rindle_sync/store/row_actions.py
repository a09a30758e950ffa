"""What people and programs did to rows: kept as long as the row, and a year without one."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import Action, Actor, RowAction
from rindle_sync.store.repository import Repository, in_environment
from rindle_sync.store.schema.api_tables import row_actions
from rindle_sync.store.schema.json_rows import json_field, json_parameter, json_table, once
from rindle_sync.store.schema.tables import assets
from rindle_sync.store.schema.types import UtcTime

KEPT_FOR: Final = timedelta(days=365)
"""How long an action is kept once its row is gone, or that was about none, or made no change."""

PRUNED_AT_ONCE: Final = 1000
_MOST_BATCHES: Final = 100
_PASSING: Final = (Action.SYNC.value, Action.REPLAY.value)
"""The actions that decide nothing about a row: a program may do them every few seconds."""

_NAMES: Final = [column.name for column in row_actions.c if column.name != "id"]


def _add_statement() -> sa.Insert:
    sent = once(sa.select(json_table("rows", "sent").c.value), "r")
    fields = [json_field(sent, row_actions.c[name]) for name in _NAMES]
    return sa.insert(row_actions).from_select(_NAMES, sa.select(*fields))


_ADD: Final = _add_statement()
_OLD: Final = (
    sa.select(row_actions.c.id)
    .where(
        in_environment(row_actions),
        row_actions.c.at < sa.bindparam("acted_before", type_=UtcTime()),
        sa.or_(
            row_actions.c.action.in_(_PASSING),
            row_actions.c.row_id.is_(None),
            ~sa.exists().where(assets.c.id == row_actions.c.row_id),
        ),
    )
    .order_by(row_actions.c.at)
    .limit(PRUNED_AT_ONCE)
)


class RowActions(Repository):
    """The actions on the rows of one environment."""

    table = row_actions

    async def add(self, actions: Sequence[RowAction]) -> None:
        """Store any number of actions, in one statement."""
        rows = [self.key | _columns(action) for action in actions]
        if rows:
            await self.execute(_ADD, {"rows": json_parameter(rows, row_actions)})

    async def of_row(self, row_id: str, limit: int) -> list[RowAction]:
        """The newest `limit` actions on a row, also on one that is gone; the oldest first."""
        is_of_row = *self.here_by_another_index, row_actions.c.row_id == row_id
        wanted = sa.select(*row_actions.c).where(*is_of_row).order_by(row_actions.c.id.desc())
        return [_read(line) for line in reversed(await self.read(wanted.limit(limit)))]

    async def newest(self, limit: int) -> list[RowAction]:
        """The newest `limit` actions, the newest first."""
        newest = row_actions.c.at.desc(), row_actions.c.id.desc()
        wanted = sa.select(*row_actions.c).where(*self.here).order_by(*newest).limit(limit)
        return [_read(line) for line in await self.read(wanted)]

    async def prune(self, now: datetime) -> int:
        """Delete actions older than `KEPT_FOR`, but those that decided about a row that is there.

        Returns how many, a hundred thousand at most: what is left is for the next time.
        """
        values = self.parameters | {"acted_before": now - KEPT_FOR}
        pruned = 0
        for _ in range(_MOST_BATCHES):
            # read apart from the write, for which SQLite would hold up all others
            old = [line.id for line in await self.read(_OLD, values)]
            if old:
                is_old = row_actions.c.id.in_(old)
                pruned += await self.execute(sa.delete(row_actions).where(is_old))
            if len(old) < PRUNED_AT_ONCE:
                break
        return pruned


def _columns(action: RowAction) -> dict[str, Any]:
    return {
        "row_id": action.row_id,
        "reference": action.reference,
        "action": action.action.value,
        "actor": action.actor.text,
        "outcome": action.outcome,
        "at": action.at,
    }


def _read(line: sa.Row[Any]) -> RowAction:
    return RowAction(
        row_id=line.row_id,
        reference=line.reference,
        action=Action(line.action),
        actor=Actor(line.actor),
        outcome=line.outcome,
        at=line.at,
    )
