"""Tables filled fast, through bulk inserts: rows that are due, and rows at rest."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import islice
from uuid import uuid4

from sqlalchemy import delete, insert

from rindle_sync.app import now
from rindle_sync.asset import ProviderAsset, State
from rindle_sync.providers.mux import Mux
from rindle_sync.schema import assets, changes
from rindle_sync.store import Store

BULK = 5_000


def due_rows(ids: Iterable[str]) -> Iterator[ProviderAsset]:
    """Rows in `processing` for half an hour, due for a minute and more, in the order of `ids`."""
    moment = now()
    changed, due = moment - timedelta(minutes=30), moment - timedelta(minutes=10)
    for place, provider_asset_id in enumerate(ids):
        yield _row(provider_asset_id, State.PROCESSING, changed, due + timedelta(milliseconds=place))


def rows_at_rest(count: int) -> Iterator[ProviderAsset]:
    """Rows that have been `ready` for a month; nobody is to look at them."""
    changed = now() - timedelta(days=30)
    for _ in range(count):
        yield _row(f"rest{uuid4().hex}{uuid4().hex[:12]}", State.READY, changed, None)


def _row(provider_asset_id: str, state: State, changed: datetime, due: datetime | None) -> ProviderAsset:
    row_id = str(uuid4())
    return ProviderAsset(
        id=row_id,
        asset_id=f"video-{row_id}",
        profile="default",
        provider_name=Mux.name,
        environment="default",
        provider_asset_id=provider_asset_id,
        state=state,
        provider_created_at=changed,
        inserted_at=changed,
        updated_at=changed,
        check_at=due,
    )


async def fill(store: Store, rows: Iterator[ProviderAsset]) -> None:
    """Add `rows` to the table."""
    async with store.engine.begin() as connection:
        while bulk := [_values(row) for row in islice(rows, BULK)]:
            await connection.execute(insert(assets), bulk)


def _values(row: ProviderAsset) -> dict[str, object]:
    return asdict(row) | {"state": row.state.value}


async def begin_again(store: Store, ids: Sequence[str]) -> list[ProviderAsset]:
    """Empty the tables and fill in one due row for each of `ids`."""
    rows = list(due_rows(ids))
    async with store.engine.begin() as connection:
        await connection.execute(delete(changes))
        await connection.execute(delete(assets))
    await fill(store, iter(rows))
    return rows
