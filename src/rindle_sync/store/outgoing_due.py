"""Which outgoing webhooks are due: what their statements, and that of due jobs, have in common."""

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from rindle_sync.domain import LONGEST_ASKED_PAUSE, LONGEST_RETRY_WAIT, TOLERANCE
from rindle_sync.store.repository import clock, has_come, is_free
from rindle_sync.store.schema.outgoing_tables import outgoing_endpoints, outgoing_webhooks


def outgoing_clock(now: datetime) -> dict[str, Any]:
    """`clock`, and the parameters of the conditions below."""
    return clock(now) | {
        "latest_attempt": now + LONGEST_RETRY_WAIT + TOLERANCE,
        "latest_pause": now + LONGEST_ASKED_PAUSE + TOLERANCE,
    }


IS_ENABLED: Final = outgoing_endpoints.c.disabled_at.is_(None)

_UNTIL: Final = outgoing_endpoints.c.paused_until


def _is_paused(until: sa.Column[datetime]) -> sa.ColumnElement[bool]:
    is_ahead = until > sa.bindparam("now")
    return until.is_not(None) & is_ahead & (until <= sa.bindparam("latest_pause"))


IS_PAUSED: Final = _is_paused(_UNTIL)
"""A pause that ends later than any can was written by a wrong clock, and is none."""

_AT: Final = outgoing_webhooks.c.next_attempt_at
HAS_COME: Final = has_come(_AT, "latest_attempt")

_OF_ENDPOINT: Final = outgoing_webhooks.c.endpoint_id == outgoing_endpoints.c.id
HAS_DUE: Final = sa.exists().where(_OF_ENDPOINT, HAS_COME, is_free(outgoing_webhooks))
"""Whether an endpoint has a webhook to send now, or one that waits for one that is being sent."""

_FIRST: Final = (
    sa.select(_AT).where(_OF_ENDPOINT, _AT.is_not(None)).order_by(_AT).limit(1).scalar_subquery()
)
NEXT_AT: Final = sa.case((IS_PAUSED, _UNTIL), else_=_FIRST)
"""When something of an endpoint is due next."""


def earlier_of_row(name: str) -> tuple[sa.FromClause, sa.ColumnElement[bool]]:
    """The webhooks that another one of its row waits for: until they are delivered, or dead."""
    earlier = outgoing_webhooks.alias(name)
    return earlier, sa.and_(
        earlier.c.endpoint_id == outgoing_webhooks.c.endpoint_id,
        earlier.c.row_id == outgoing_webhooks.c.row_id,
        earlier.c.version < outgoing_webhooks.c.version,
        earlier.c.next_attempt_at.is_not(None),
    )


def is_any(table: sa.FromClause, which: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Whether `table` has such a row, looked up by index for each row of the statement.

    With EXISTS PostgreSQL would join. Where its statistics are from a time when nothing was due, it
    would compare each webhook that is due with each other one.
    """
    return sa.select(table.c.id).where(which).limit(1).scalar_subquery().is_not(None)
