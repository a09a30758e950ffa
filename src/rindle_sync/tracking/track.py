"""Tracks assets and uploads that the provider has: the app's values become rows."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from rindle_sync.domain import (
    ADOPTED,
    LONGEST_TEXT,
    Action,
    ProviderAsset,
    State,
    contradiction,
    shown_text,
)
from rindle_sync.errors import AlreadyTracked, ConfigurationError, Conflict, InvalidValue
from rindle_sync.reconcile import TEXTS, Context, new_row, record
from rindle_sync.store import Store
from rindle_sync.tracking.replace import replace_row

TRACKABLE: Final = (State.PENDING, State.UPLOADING, State.PROCESSING, State.READY)
"""The states in which a row may begin; only the provider says the others."""

ARGUMENTS: Final = (*TEXTS, "state")
"""The arguments of `track` that say what a row is."""

AT_ONCE: Final = 500
"""How many rows are tracked in one transaction."""

_LOOKS: Final = 3
"""How often it is looked for what is in the way, where that is deleted meanwhile."""

_NAMES: Final = ("reference", "profile", "environment")
_FACTS: Final = (
    *("provider_asset_id", "provider_upload_id", "passthrough"),
    *("playback_policy", "ingest_mode"),
)
"""What is compared only where the app gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A row that was not tracked."""

    index: int
    """Its place among those that were given, from 0."""
    reason: str
    row_id: str | None = None
    """The row that has a key of it already; None where a value is wrong."""
    differs: tuple[str, ...] = ()
    """The fields in which that row is another."""


@dataclass(slots=True, kw_only=True)
class TrackedMany:
    """What became of many rows."""

    added: list[ProviderAsset] = field(default_factory=list)
    """New ones, and adopted ones that have become the app's."""
    present: list[ProviderAsset] = field(default_factory=list)
    """Those that were tracked already, and differ in nothing, as they stand."""
    refused: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    """What became of one row."""

    row: ProviderAsset
    is_new: bool


class _Undone(Exception):
    """Ends a dry run, and with it what it has written."""


_Outcome = _Found | AlreadyTracked | Conflict | InvalidValue


def tracked_row(context: Context, *, state: State | None = None, **values: Any) -> ProviderAsset:
    """A row for an asset or an upload, not stored; raises `ConfigurationError`.

    `state` is `processing` where there is a provider id, else `uploading`.
    """
    if not (values.get("provider_asset_id") or values.get("provider_upload_id")):
        text = "is needed, or provider_upload_id: without an id there is nothing to check"
        raise ConfigurationError("provider_asset_id", text)
    if state is not None and state not in TRACKABLE:
        raise ConfigurationError("state", f"must be one of {', '.join(TRACKABLE)}")
    default = State.PROCESSING if values.get("provider_asset_id") else State.UPLOADING
    return new_row(context, state=State(state or default), **values)


async def track(context: Context, *, connection: Any = None, **values: Any) -> ProviderAsset:
    """Insert a row for an asset or an upload; an adopted row of it becomes the app's own.

    A row that differs in nothing is returned as it stands; a deleted one begins anew about another
    asset. Raises `AlreadyTracked` where one differs, `ConfigurationError`.
    """
    context = context if connection is None else context.within(connection)
    row, now = tracked_row(context, **values), context.now()

    async def work(store: Store) -> dict[str, _Outcome]:
        outcomes = await _track(store, [row], now)
        await record(context, store, Action.TRACK, _new_rows(outcomes))
        return outcomes

    outcome = (await context.store.together(work))[row.id]
    if isinstance(outcome, AlreadyTracked):
        return await _begin_tombstone_again(context, row, outcome)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome.row


async def _begin_tombstone_again(
    context: Context, row: ProviderAsset, blocked: AlreadyTracked
) -> ProviderAsset:
    """The deleted row of this reference, about the new asset; else raises what blocks it."""
    found = await context.store.assets.get(blocked.row_id) if blocked.row_id else None
    is_deleted = found is not None and found.state is State.DELETED
    if found is None or not is_deleted or "provider_asset_id" not in blocked.differs:
        raise blocked
    if any(getattr(found, name) != getattr(row, name) for name in _NAMES):
        raise blocked
    return await replace_row(context, found, row, Action.TRACK)


async def track_many(
    context: Context,
    rows: Iterable[Mapping[str, Any]],
    *,
    connection: Any = None,
    dry_run: bool = False,
) -> TrackedMany:
    """Track many rows, a few statements for each `AT_ONCE` of them; what became of them.

    Without a connection so many are one transaction.
    """
    context = context if connection is None else context.within(connection)
    result, batch = TrackedMany(), dict[int, ProviderAsset]()
    for index, values in enumerate(rows):
        try:
            batch[index] = _row_of(context, values)
        except ConfigurationError as error:
            result.refused.append(Refusal(index=index, reason=str(error)))
        if len(batch) == AT_ONCE:
            await _track_batch(context, batch, result, dry_run=dry_run)
            batch = {}
    await _track_batch(context, batch, result, dry_run=dry_run)
    result.refused.sort(key=lambda refusal: refusal.index)
    return result


def _row_of(context: Context, values: object) -> ProviderAsset:
    """A row of values whose names nobody has checked."""
    if not isinstance(values, Mapping):
        text = f"must each be a mapping of the arguments of track, not {type(values).__name__}"
        raise ConfigurationError("rows", text)
    for name in values:
        if name not in ARGUMENTS:
            shown = shown_text(str(name))[:LONGEST_TEXT]
            raise ConfigurationError(shown, f"is unknown; there are {', '.join(ARGUMENTS)}")
    if values.get("reference") is None:
        raise ConfigurationError("reference", "is missing: it is the app's own id of the video")
    given = dict(values)
    if given.get("profile") is None:
        given["profile"] = "default"
    return tracked_row(context, **given)


async def _track_batch(
    context: Context, batch: Mapping[int, ProviderAsset], result: TrackedMany, *, dry_run: bool
) -> None:
    rows, now = list(batch.values()), context.now()
    outcomes: dict[str, _Outcome] = {}

    async def work(store: Store) -> None:
        async with _undone(store) if dry_run else nullcontext():
            outcomes.update(await _track(store, rows, now))
            await record(context, store, Action.TRACK, _new_rows(outcomes))

    if rows:
        await context.store.together(work)
    for index, row in batch.items():
        match outcomes[row.id]:
            case _Found() as found:
                (result.added if found.is_new else result.present).append(found.row)
            case AlreadyTracked(row_id=row_id, differs=differs) as error:
                refusal = Refusal(index=index, reason=str(error), row_id=row_id, differs=differs)
                result.refused.append(refusal)
            case error:
                result.refused.append(Refusal(index=index, reason=str(error)))


@asynccontextmanager
async def _undone(store: Store) -> AsyncIterator[None]:
    """What is written inside is not kept."""
    with suppress(_Undone):
        async with store.database.writing():
            yield
            raise _Undone


async def _track(store: Store, rows: Sequence[ProviderAsset], now: datetime) -> dict[str, _Outcome]:
    """Track rows in the transaction of `store`; what became of each, by its id."""
    outcomes: dict[str, _Outcome] = {}
    left = list(rows)
    for _ in range(_LOOKS):
        added = await store.new_rows.add(left)
        outcomes |= {row.id: _Found(row, is_new=True) for row in added.rows}
        outcomes |= {row_id: InvalidValue(text) for row_id, text in added.refused.items()}
        left = [row for row in left if row.id not in outcomes]
        outcomes |= await _compare(store, left)
        left = [row for row in left if row.id not in outcomes]
    for row in left:
        outcomes[row.id] = Conflict("the rows with its keys come and go; try again")
    found = [(row, outcomes[row.id]) for row in rows]
    new = [row for row, outcome in found if _is_new(outcome)]
    if new:
        await store.superseded.forget(new)
        await store.inbox.revive_untracked(new, now)
    return outcomes


def _is_new(outcome: _Outcome) -> bool:
    return isinstance(outcome, _Found) and outcome.is_new


def _new_rows(outcomes: Mapping[str, _Outcome]) -> list[ProviderAsset]:
    """The rows that are new, or have become the app's, as they are stored."""
    found = [outcome for outcome in outcomes.values() if isinstance(outcome, _Found)]
    return [outcome.row for outcome in found if outcome.is_new]


async def _compare(store: Store, rows: Sequence[ProviderAsset]) -> dict[str, _Outcome]:
    """What becomes of rows with a key that is taken."""
    stored, outcomes = await store.new_rows.sharing(rows), dict[str, _Outcome]()
    adopted: dict[str, ProviderAsset] = {}
    for row in rows:
        blocking = [found for found in stored if _shared(found, row)]
        if not blocking:
            continue
        found = blocking[0]
        if len(blocking) == 1 and _may_take_over(found, row) and found.id not in adopted:
            adopted[found.id] = row
        elif differs := _differs(found, row):
            outcomes[row.id] = _already_tracked(found, row, differs)
        else:
            outcomes[row.id] = _Found(found, is_new=False)
    taken = await store.new_rows.take_over(adopted)
    for row_id, row in adopted.items():
        if row_id in taken:
            outcomes[row.id] = _Found(taken[row_id], is_new=True)
    return outcomes


def _shared(found: ProviderAsset, row: ProviderAsset) -> list[str]:
    """The keys that two rows have in common."""
    keys = []
    if (found.reference, found.profile) == (row.reference, row.profile):
        keys.append("reference and profile")
    if found.environment != row.environment:
        return keys
    ids = [name for name in ("provider_asset_id", "provider_upload_id") if getattr(row, name)]
    return keys + [name for name in ids if getattr(found, name) == getattr(row, name)]


def _may_take_over(found: ProviderAsset, row: ProviderAsset) -> bool:
    """Whether an adopted row is about the asset or the upload of the new one."""
    is_same = set(_shared(found, row)) - {"reference and profile"}
    return found.ingest_mode == ADOPTED and bool(is_same) and not contradiction(found, row)


def _differs(found: ProviderAsset, row: ProviderAsset) -> tuple[str, ...]:
    """The fields in which a stored row is another than the app says."""
    given = [name for name in _FACTS if getattr(row, name) is not None]
    return tuple(n for n in (*_NAMES, *given) if getattr(found, n) != getattr(row, n))


def _already_tracked(
    found: ProviderAsset, row: ProviderAsset, differs: tuple[str, ...]
) -> AlreadyTracked:
    keys = " and this ".join(_shared(found, row))
    text = f"row {found.id} has this {keys}, and another {', '.join(differs)}"
    return AlreadyTracked(text, found.id, found.state, differs=differs)
