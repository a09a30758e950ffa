"""Forgets a row, and on request deletes its asset at the provider first."""

from rindle_sync.domain import Action, ProviderAsset, State
from rindle_sync.errors import AlreadyBegun, NotFound, RindleSyncError
from rindle_sync.gateway import Operation
from rindle_sync.reconcile import Context, record, record_afterwards
from rindle_sync.store import Store
from rindle_sync.tracking.creation import BEGUN
from rindle_sync.tracking.direct_upload import cancel_upload


async def untrack(
    context: Context,
    row: ProviderAsset,
    *,
    history: bool = False,
    webhook_bodies: bool = False,
    delete_asset: bool = False,
) -> ProviderAsset:
    """Delete `row`; returns it as it was. Nothing makes a row of its asset again but `track`.

    With `history` its changes go, too, those that were not dispatched among them, and its reference
    in what was recorded of actions on it; with
    `webhook_bodies` the bodies of the webhook events about it. With `delete_asset` its asset at the
    provider, or the upload that waits for its file, goes first: where the provider does not do
    that, nothing is forgotten. Raises `ProviderError` and its kinds, `AlreadyBegun`.
    """
    if delete_asset:
        # before what cannot be undone: a process that dies in between leaves who asked for it
        await record(context, context.store, Action.UNTRACK, [row], BEGUN)
        try:
            row = await _delete_at_provider(context, row)
        except RindleSyncError as error:
            await record_afterwards(context, Action.UNTRACK, row, type(error).__name__)
            raise

    async def remove(store: Store) -> None:
        # also what was deleted: a list that lags may show it for a while
        if await store.removal.remove(
            row.id, context.now(), history=history, webhook_bodies=webhook_bodies
        ):
            await record(context, store, Action.UNTRACK, [row], names_it=not history)

    if context.actor:
        await context.store.together(remove)
    else:
        await remove(context.store)
    return row


async def _delete_at_provider(context: Context, row: ProviderAsset) -> ProviderAsset:
    if row.is_unclear or (row.state is State.PENDING and row.begun_at and not row.is_fetchable):
        text = "the provider was asked for its asset, and nobody knows yet which it is: try again"
        raise AlreadyBegun(text, row.id, row.state)
    gateway = context.gateway
    if row.provider_upload_id and not row.provider_asset_id:
        row = await cancel_upload(context, row)
    provider_asset_id = row.provider_asset_id
    if provider_asset_id:
        try:
            await gateway.call_within(
                gateway.reads,
                Operation.DELETE_ASSET,
                lambda: gateway.provider.delete_asset(provider_asset_id),
            )
        except NotFound:
            # with a token of another environment every asset is not found
            await gateway.identity.check()
    return row
