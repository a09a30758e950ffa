"""What the provider makes for a row: first the row, then one call, then their link.

The steps of a direct upload, and of an asset made from a URL, but for the call itself.
"""

import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from uuid import uuid4

from rindle_sync.domain import (
    FROM_URL,
    Action,
    Decision,
    ErrorKind,
    FailureKind,
    FetchFailure,
    Observation,
    ObservationSource,
    ProviderAsset,
    State,
    regular_check,
    replace,
    restart,
    scrub,
)
from rindle_sync.errors import (
    AlreadyBegun,
    AlreadyTracked,
    ConfigurationError,
    Conflict,
    ProviderUnavailable,
    RindleSyncError,
)
from rindle_sync.gateway import Operation
from rindle_sync.providers import NewAsset
from rindle_sync.reconcile import (
    DONE,
    Applied,
    Context,
    Observed,
    act,
    apply,
    commit,
    new_row,
    record_afterwards,
)
from rindle_sync.store import Store, Write
from rindle_sync.telemetry import HeldTelemetry

Created = TypeVar("Created")

BEGUN: Final = "begun"
"""The outcome of an action whose row says what came of it."""


def made_row(
    context: Context, reference: str, profile: str, request: NewAsset, ingest_mode: str
) -> ProviderAsset:
    """The row of what is not made yet; `ConfigurationError` for an invalid request."""
    policies = context.gateway.provider.playback_policies(request)
    return new_row(
        context,
        reference=reference,
        profile=profile,
        # a new one for each attempt: what is late about an earlier one matches no row
        passthrough=str(uuid4()),
        playback_policy=",".join(policies) or None,
        ingest_mode=ingest_mode,
        state=State.PENDING,
    )


def check_json(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless `value` can be sent as JSON."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError(name, "must be plain JSON values") from None


def begun(context: Context, row: ProviderAsset) -> ProviderAsset:
    """The pending row, marked: whoever writes it so may ask the provider, and nobody else."""
    return _planned(context, replace(row, begun_at=context.now()))


async def insert(context: Context, row: ProviderAsset, *, replacing: bool) -> ProviderAsset:
    """The new `row` as it is stored; an errored or deleted one of its reference begins again.

    With `replacing` a ready one does, too. Raises `AlreadyTracked`, `Conflict`.
    """
    row = _planned(context, row)
    try:
        await act(
            context, _action(row), row, lambda store: store.assets.add(row), outcome=lambda _: BEGUN
        )
    except AlreadyTracked:
        return await _begin_again(context, row, replacing=replacing)
    return row


async def _begin_again(context: Context, fresh: ProviderAsset, *, replacing: bool) -> ProviderAsset:
    old = await context.store.assets.find_by_reference(fresh.reference, fresh.profile)
    decision = None
    if old and old.environment == fresh.environment:
        decision = restart(old, fresh, context.now(), replacing=replacing)
    if old is None or decision is None:
        raise in_the_way(old)
    return await write_again(context, old, decision, _action(fresh), outcome=BEGUN)


def in_the_way(row: ProviderAsset | None) -> AlreadyTracked:
    """Why nothing is begun for the reference and profile of `row`."""
    if row is None:  # it was deleted at the same moment, or is newer than the app's transaction
        return AlreadyTracked(
            "another transaction has just tracked or forgotten this reference and profile: "
            "try again, in a new transaction"
        )
    if row.state is State.PENDING and row.begun_at:
        text = (
            "the provider was asked for this reference and profile, and what came of it is not "
            "known yet: wait until the row has left `pending`, ten minutes at most if the provider "
            "answers"
        )
        return AlreadyBegun(text, row.id, row.state)
    text = (
        "this reference and profile are tracked, and have not failed: "
        "cancel the upload, replace what is ready, or use another profile"
    )
    return AlreadyTracked(text, row.id, row.state)


async def take(context: Context, row_id: str, ingest_mode: str) -> ProviderAsset:
    """The prepared row, marked as begun; of several that try, one gets it.

    Raises `AlreadyBegun`, `Conflict`.
    """
    row = await context.store.assets.get(row_id)
    if row is None or row.environment != context.store.environment:
        raise Conflict("there is no such row: was the transaction that prepared it committed?")
    if row.begun_at or row.is_fetchable:
        raise AlreadyBegun("this row was begun before", row.id, row.state)
    if row.state is not State.PENDING or row.ingest_mode != ingest_mode:
        text = (
            "this row waits for nothing: it was cancelled, or not begun in time; prepare it again"
        )
        raise Conflict(text)
    marked = begun(context, replace(row, version=row.version + 1))
    written = await context.store.assets.write([Write(marked)])
    if row.id not in written.ids:
        raise AlreadyBegun("this row was begun, or ended, at the same moment", row.id, row.state)
    return marked


async def call(
    context: Context,
    row: ProviderAsset,
    operation: Operation,
    request: Callable[[], Awaitable[Created]],
) -> Created:
    """What the one call for a begun `row` makes. A call that made nothing ends the row.

    Of an asset that may exist all the same, the row stays pending: a webhook or a check finds it.
    """
    gateway = context.gateway
    try:
        return await gateway.call_within(gateway.creates, operation, request)
    except Exception as error:
        await _apply(context, row, _failed(context, row, error))
        await record_afterwards(context, _action(row), row, type(error).__name__)
        raise


def _failed(context: Context, row: ProviderAsset, error: Exception) -> Observation | FetchFailure:
    cause = scrub(str(error)) if isinstance(error, RindleSyncError) else type(error).__name__
    may_be_there = not isinstance(error, RindleSyncError)
    if isinstance(error, ProviderUnavailable):
        may_be_there = error.was_sent
    if row.is_unclear and may_be_there:
        text = f"whether the asset was made is not known: {cause}"
        return FetchFailure(kind=FailureKind.UNREACHABLE, at=context.now(), text=text)
    return Observation(
        source=ObservationSource.APP,
        at=context.now(),
        state=State.ERRORED,
        error_kind=ErrorKind.UPLOAD,
        error_text=f"{'asset' if row.is_unclear else 'upload'} was not made: {cause}",
    )


async def link(context: Context, row: ProviderAsset, observation: Observation) -> ProviderAsset:
    """The row with what was made for it, as `observation` says. Raises `Conflict`."""
    linked = await _apply(context, row, observation)
    if linked is None or not _has_ids_of(linked.row, observation):
        raise Conflict("the row was ended or untracked while the provider was asked; begin again")
    return linked.row


def _has_ids_of(row: ProviderAsset, made: Observation) -> bool:
    has_asset = made.provider_asset_id in {None, row.provider_asset_id}
    return has_asset and made.provider_upload_id in {None, row.provider_upload_id}


async def write_again(
    context: Context, row: ProviderAsset, decision: Decision, action: Action, *, outcome: str = DONE
) -> ProviderAsset:
    """The row with another attempt, or another asset. Raises `Conflict`."""
    held = HeldTelemetry(context.telemetry)

    async def work(store: Store) -> None:
        held.clear()
        within = dataclasses.replace(context, store=store, telemetry=held)
        if not await commit(within, row, decision, context.trigger):
            raise Conflict("the row was changed at the same moment; try again")

    await act(context, action, row, work, outcome=lambda _: outcome)
    held.release()
    return replace(decision.row, version=row.version + 1)


def _action(row: ProviderAsset) -> Action:
    return Action.CREATE_ASSET if row.ingest_mode == FROM_URL else Action.BEGIN_UPLOAD


def _planned(context: Context, row: ProviderAsset) -> ProviderAsset:
    check_at = regular_check(row, context.now(), context.policy, context.schedule)
    return replace(row, check_at=check_at)


async def _apply(
    context: Context, row: ProviderAsset, observation: Observation | FetchFailure
) -> Applied | None:
    applied = await apply(context, [Observed(row, observation)], context.trigger)
    return applied[0] if applied else None
