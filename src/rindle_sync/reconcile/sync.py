"""One row: fetch, decide, write, emit. The contract of the per-row sync."""

import dataclasses
from datetime import timedelta

from rindle_sync.domain import (
    Action,
    FailureKind,
    FetchFailure,
    Observation,
    ProviderAsset,
    StuckPolicy,
    Trigger,
    needs_fetch,
    replace,
    retry_gap,
)
from rindle_sync.errors import AuthenticationFailed, RateLimited
from rindle_sync.gateway import CALLER_WAIT, Attempts
from rindle_sync.reconcile.acting import act_outside
from rindle_sync.reconcile.apply import Applied, Observed, apply
from rindle_sync.reconcile.context import Context


async def sync(
    context: Context,
    provider_asset_id: str,
    *,
    trigger: Trigger = Trigger.SYNC,
    ask_first: bool = False,
) -> Applied | None:
    """Bring the row with this provider id in sync; None where there is no such row any more.

    `ask_first` is that of `sync_row`. Raises `AuthenticationFailed` (no other row will fare
    better), `Conflict` and `DatabaseUnavailable`.
    """
    row = await context.store.assets.find_by_provider_asset_id(provider_asset_id)
    if row is None:
        return None
    return await sync_row(context, row, trigger=trigger, ask_first=ask_first)


async def sync_row(
    context: Context, row: ProviderAsset, *, trigger: Trigger, ask_first: bool = False
) -> Applied | None:
    """Bring `row` in sync; makes up to three calls, not counting those that were rate limited.

    With `ask_first` no verdict stands without a call: the row is stuck only if the answer leaves it
    in flight, whatever the stuck policy is.
    """

    async def work() -> Applied | None:
        return await _sync_row(context, row, trigger, ask_first=ask_first)

    return await act_outside(context, Action.SYNC, row, work, outcome=_outcome)


def _outcome(applied: Applied | None) -> str:
    return applied.decision.verdict.value if applied else "gone"


async def _sync_row(
    context: Context, row: ProviderAsset, trigger: Trigger, *, ask_first: bool
) -> Applied | None:
    if ask_first:
        policy = replace(context.policy, stuck_policy=StuckPolicy.ASK_FIRST)
        context = dataclasses.replace(context, policy=policy)
    attempts = Attempts()
    while True:
        applied = await _attempt(context, row, trigger)
        if applied is None or not isinstance(applied.observation, FetchFailure):
            return applied
        failure = applied.observation
        is_far = failure.wait is not None and failure.wait > CALLER_WAIT
        if attempts.count(failure) or not failure.called or is_far:
            return applied
        if failure.kind is not FailureKind.THROTTLED:
            gap = retry_gap(attempts.failures, context.schedule)
            await context.gateway.sleep(gap.total_seconds())
        row = applied.row


async def _attempt(context: Context, row: ProviderAsset, trigger: Trigger) -> Applied | None:
    at, gateway = context.now(), context.gateway
    observation: Observation | FetchFailure | None = None
    refusal: AuthenticationFailed | None = None
    if needs_fetch(row, at, context.policy):
        try:
            if gateway.circuit.room(1):
                await gateway.reads.take(trigger=trigger)
            observation = await gateway.fetch(row)
        except RateLimited as error:
            # postponed as by a 429 of its own; nobody waits here for as long
            wait = timedelta(seconds=error.retry_after or 0)
            observation = FetchFailure(
                kind=FailureKind.THROTTLED, at=at, text=str(error), wait=wait, called=False
            )
        except AuthenticationFailed as error:
            # the row that was asked for says why it was not answered; then the whole run ends
            refusal, text, called = error, str(error), error.was_called
            observation = FetchFailure(kind=FailureKind.REFUSED, at=at, text=text, called=called)
    applied = await apply(context, [Observed(row, observation)], trigger)
    if refusal:
        raise refusal
    return applied[0] if applied else None
