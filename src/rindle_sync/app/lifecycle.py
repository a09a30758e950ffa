"""The part of the public object that makes assets, replaces them, and forgets rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rindle_sync.app.rows import Rows
from rindle_sync.domain import ProviderAsset
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import AssetRequest
from rindle_sync.store import AnyConnection

if TYPE_CHECKING:
    from rindle_sync.tracking import PreparedAsset


class Lifecycle(Rows):
    """Assets made from a URL, other assets for a row, and rows that end."""

    async def create_asset(
        self,
        *,
        reference: str,
        input: str | Sequence[Mapping[str, Any]],  # noqa: A002  the provider's word
        profile: str = "default",
        playback_policy: str | Sequence[str] | None = None,
        test: bool = False,
        new_asset_settings: Mapping[str, Any] | None = None,
        replace: bool = False,
    ) -> ProviderAsset:
        """Have the provider make an asset of the file at a URL: a row first, then the asset.

        `input` is the URL, or a list of the provider's own inputs; it is stored nowhere. The other
        arguments are those of `begin_upload`. An asset is never made twice: where the answer was
        lost (`ProviderUnavailable`), the row stays pending until it is known whether the asset is
        there, and another call raises `AlreadyBegun`. Raises `AlreadyTracked` (with `row_id` and
        `state`), `ConfigurationError`, `ProviderError` and its kinds, `Conflict`,
        `DatabaseUnavailable`.
        """
        from rindle_sync.tracking import asset_row, create_asset

        request = _request(input, playback_policy, new_asset_settings, test=test)
        self.settings.account.check_credentials()
        row = asset_row(self.context, reference, profile, request)
        return await create_asset(self.context, row, request, replacing=replace)

    async def prepare_asset(
        self,
        *,
        reference: str,
        input: str | Sequence[Mapping[str, Any]],  # noqa: A002  the provider's word
        profile: str = "default",
        playback_policy: str | Sequence[str] | None = None,
        test: bool = False,
        new_asset_settings: Mapping[str, Any] | None = None,
        replace: bool = False,
        connection: AnyConnection | None = None,
    ) -> PreparedAsset:
        """Write the row of an asset; `start_asset` has the provider make the asset.

        The arguments are those of `create_asset`, and your app's own `connection`, in whose
        transaction the row is written. A row that nobody starts within ten minutes is errored, and
        may begin anew. What is prepared can be pickled, and then holds `input`. Raises
        `AlreadyTracked`, `ConfigurationError`, `Conflict`, `DatabaseUnavailable`.
        """
        from rindle_sync.tracking import asset_row, prepare_asset

        request = _request(input, playback_policy, new_asset_settings, test=test)
        row = asset_row(self.context, reference, profile, request)
        context = self._context_in(connection)
        return await prepare_asset(context, row, request, replacing=replace)

    async def start_asset(self, prepared: PreparedAsset) -> ProviderAsset:
        """Have the asset of a prepared row made, once its transaction is committed.

        Of several calls for one row, in any process, one makes the asset; the others raise
        `AlreadyBegun`. Raises also what `create_asset` does.
        """
        from rindle_sync.tracking import start_asset

        self.settings.account.check_credentials()
        return await start_asset(self.context, prepared)

    async def replace(
        self,
        row_id: str,
        *,
        provider_asset_id: str | None = None,
        provider_upload_id: str | None = None,
        playback_policy: str | None = None,
        connection: AnyConnection | None = None,
    ) -> ProviderAsset | None:
        """Give a row another asset, or upload, that the provider has; the row as it then stands.

        None where there is no such row. The row is due, and becomes what the provider says of the
        new asset; what it had before matches no row any more. The provider is not asked, and keeps
        the old asset. With your app's own `connection` it is written in its transaction. Raises
        `AlreadyTracked` where another row has it, `ConfigurationError`, `Conflict`,
        `DatabaseUnavailable`.
        """
        from rindle_sync.tracking import replace_asset

        context = self._context_in(connection)
        row = await self._row_of(context, row_id)
        if row is None:
            return None
        given = {} if playback_policy is None else {"playback_policy": playback_policy}
        return await replace_asset(
            context,
            row,
            provider_asset_id=provider_asset_id,
            provider_upload_id=provider_upload_id,
            **given,
        )

    async def untrack(
        self,
        row_id: str,
        *,
        history: bool = False,
        webhook_bodies: bool = False,
        delete_asset: bool = False,
        connection: AnyConnection | None = None,
    ) -> ProviderAsset | None:
        """Forget a row; returns it as it was, None where there is no such row.

        Nothing makes a row of its asset again, but a `track` of it. With `history` its changes are
        deleted, those not dispatched among them; with `webhook_bodies` the bodies of the webhook
        events about it. With `delete_asset` the provider deletes the asset first: if it does not,
        nothing is forgotten. With your app's own `connection` the row is deleted in its
        transaction; `delete_asset` takes none. Raises `ConfigurationError`,
        `ProviderError` and its kinds, `AlreadyBegun`, `DatabaseUnavailable`.
        """
        from rindle_sync.tracking import untrack

        if delete_asset:
            if connection is not None:
                text = "cannot take back what `delete_asset` deletes at the provider: give only one"
                raise ConfigurationError("connection", text)
            self.settings.account.check_credentials()
        context = self._context_in(connection)
        row = await self._row_of(context, row_id)
        if row is None:
            return None
        return await untrack(
            context, row, history=history, webhook_bodies=webhook_bodies, delete_asset=delete_asset
        )


def _request(
    given: object,
    playback_policy: str | Sequence[str] | None,
    settings: Mapping[str, Any] | None,
    *,
    test: bool,
) -> AssetRequest:
    from rindle_sync.tracking import inputs_of

    return AssetRequest(
        inputs=inputs_of(given), playback_policy=playback_policy, test=test, settings=settings or {}
    )
