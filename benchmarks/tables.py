"""Tables filled fast, through bulk inserts: rows that are due, and settled rows."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Final
from uuid import uuid4

from sqlalchemy import delete, insert

from rindle_sync.app import now
from rindle_sync.domain import ROW_FIELDS, ProviderAsset, State
from rindle_sync.providers.mux import Mux
from rindle_sync.store import Store
from rindle_sync.store.schema import assets, changes, job_runs

BULK: Final = 5_000
FLOOR: Final = timedelta(seconds=30)
WAITED: Final = timedelta(minutes=30)
"""How long a due row has been in `processing`, or since its asset was made if that is less."""


def a_due_row(provider_asset_id: str, created_at: datetime, moment: datetime) -> ProviderAsset:
    """A row in `processing` that is due at `moment` and was never looked at."""
    changed = max(created_at, moment - WAITED)
    return _row(provider_asset_id, State.PROCESSING, created_at, changed, changed + FLOOR)


def a_settled_row(provider_asset_id: str, created_at: datetime) -> ProviderAsset:
    """A row that has been `ready` ever since its asset was made; nobody is to look at it."""
    return _row(provider_asset_id, State.READY, created_at, created_at, None)


def settled_rows(count: int) -> Iterator[ProviderAsset]:
    """Rows settled whose assets were made in the course of a year, until a month ago."""
    newest = now() - timedelta(days=30)
    for place in range(count):
        asset_id = f"rest{uuid4().hex}{uuid4().hex[:12]}"
        yield a_settled_row(asset_id, newest - timedelta(days=365) * place / count)


def _row(
    provider_asset_id: str,
    state: State,
    created_at: datetime,
    changed: datetime,
    due: datetime | None,
) -> ProviderAsset:
    row_id = str(uuid4())
    return ProviderAsset(
        id=row_id,
        reference=f"video-{row_id}",
        profile="default",
        provider_name=Mux.name,
        environment="default",
        provider_asset_id=provider_asset_id,
        state=state,
        provider_created_at=created_at,
        inserted_at=changed,
        updated_at=changed,
        check_at=due,
    )


async def fill(store: Store, rows: Iterable[ProviderAsset]) -> None:
    """Add `rows` to the table."""
    left = iter(rows)
    async with store.database.engine.begin() as connection:
        while bulk := [_values(row) for row in islice(left, BULK)]:
            await connection.execute(insert(assets), bulk)


def _values(row: ProviderAsset) -> dict[str, object]:
    values = {name: getattr(row, name) for name in ROW_FIELDS}
    return {
        name: value.value if isinstance(value, StrEnum) else value for name, value in values.items()
    }


async def begin_again(store: Store, rows: Iterable[ProviderAsset]) -> None:
    """Empty the tables and fill in `rows`."""
    async with store.database.engine.begin() as connection:
        for table in (changes, assets, job_runs):
            await connection.execute(delete(table))
    await fill(store, rows)
