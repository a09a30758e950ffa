"""Has the provider make an asset of a file that it can fetch: never two for one attempt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rindle_sync.domain import ADOPTED, FROM_URL, Observation, ProviderAsset, is_same_attempt
from rindle_sync.errors import ConfigurationError, Conflict
from rindle_sync.gateway import Operation
from rindle_sync.providers import AssetRequest
from rindle_sync.reconcile import Context
from rindle_sync.store import FORGOTTEN, REPLACED, SupersededIds
from rindle_sync.tracking.creation import begun, call, check_json, insert, link, made_row, take


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedAsset:
    """A row that waits for its asset to be made, and of what; another process may start it."""

    row_id: str
    request: AssetRequest


def inputs_of(given: object) -> Sequence[Mapping[str, Any]]:
    """The inputs that the app gives as a URL, or as a list of the provider's own inputs.

    Raises `ConfigurationError`, which shows nothing of them.
    """
    inputs = [{"url": given}] if isinstance(given, str) else given
    if not isinstance(inputs, list | tuple) or not inputs:
        raise ConfigurationError("input", "must be the URL of a file, or a list of inputs")
    if not all(isinstance(entry, Mapping) for entry in inputs):
        raise ConfigurationError("input", "must be a list of objects, as the provider has them")
    url = inputs[0].get("url")
    if not isinstance(url, str) or "://" not in url:
        raise ConfigurationError("input", "must begin with the URL of a file, as in https://…")
    check_json("input", inputs)
    return inputs


def asset_row(
    context: Context, reference: str, profile: str, request: AssetRequest
) -> ProviderAsset:
    """The row of an asset that is not made yet; `ConfigurationError` for an invalid request."""
    check_json("new_asset_settings", request.settings)
    return made_row(context, reference, profile, request, FROM_URL)


async def prepare_asset(
    context: Context, row: ProviderAsset, request: AssetRequest, *, replacing: bool = False
) -> PreparedAsset:
    """Write the new `row`, for `start_asset`; the provider is not asked.

    A row that nobody starts is ended by the sweep. Raises as `insert` does.
    """
    inserted = await insert(context, row, replacing=replacing)
    return PreparedAsset(row_id=inserted.id, request=request)


async def start_asset(context: Context, prepared: PreparedAsset) -> ProviderAsset:
    """Have the asset of a prepared row made; of several that try, one does.

    Raises `AlreadyBegun`, `Conflict`, `ConfigurationError`, `ProviderError` and its kinds.
    """
    row = await take(context, prepared.row_id, FROM_URL)
    return await _create(context, row, prepared.request)


async def create_asset(
    context: Context, row: ProviderAsset, request: AssetRequest, *, replacing: bool = False
) -> ProviderAsset:
    """Have an asset made for the new `row`; a failed row of its reference begins again.

    After `ProviderUnavailable` or a crash the row stays pending until a webhook or a check has
    found the asset, or a whole look through the newest assets has not. Raises `AlreadyTracked`,
    `ProviderError` and its kinds, `Conflict`, `DatabaseUnavailable`.
    """
    row = await insert(context, begun(context, row), replacing=replacing)
    return await _create(context, row, request)


async def _create(context: Context, row: ProviderAsset, request: AssetRequest) -> ProviderAsset:
    provider, passthrough = context.gateway.provider, row.passthrough or row.id
    made = await call(
        context,
        row,
        Operation.CREATE_ASSET,
        lambda: provider.create_asset(passthrough, request, context.now()),
    )
    try:
        return await link(context, row, made)
    except Conflict:
        found = await context.store.assets.get(row.id)
        if found is None or not is_same_attempt(row, found):
            await _forget(context, row, made, FORGOTTEN if found is None else REPLACED)
        raise


async def _forget(context: Context, row: ProviderAsset, made: Observation, reason: str) -> None:
    """Have nothing adopt the asset that was made for a `row` which does not wait for it any more.

    A scan may have been faster.
    """
    ids = SupersededIds(
        row_id=row.id,
        provider_asset_id=made.provider_asset_id,
        provider_upload_id=None,
        reason=reason,
        at=context.now(),
    )
    await context.store.superseded.add(ids)
    await context.store.removal.remove_superseded([made.provider_asset_id or ""], ADOPTED)
