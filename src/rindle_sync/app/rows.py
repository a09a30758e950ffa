"""The part of the public object that tracks, finds and syncs rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rindle_sync.app.core import Core
from rindle_sync.domain import ProviderAsset, State, Trigger, as_row_id, check_is_text, is_text
from rindle_sync.reconcile import Applied, sync, sync_row
from rindle_sync.store import AnyConnection

if TYPE_CHECKING:
    from rindle_sync.diagnostics import Explanation
    from rindle_sync.store import Tracking
    from rindle_sync.tracking import TrackedMany


class Rows(Core):
    """Rows: how they come to be, and how one is found and brought in sync."""

    async def track(
        self,
        *,
        reference: str,
        profile: str = "default",
        provider_asset_id: str | None = None,
        provider_upload_id: str | None = None,
        passthrough: str | None = None,
        state: State | None = None,
        playback_policy: str | None = None,
        ingest_mode: str | None = None,
        connection: AnyConnection | None = None,
    ) -> ProviderAsset:
        """Register a row, to be kept in sync from now on; or the row that differs in nothing.

        `reference` is the app's own id of it. `state` is `processing` where there is a provider id,
        else `uploading`. A row that was adopted from the provider's list keeps its state, and gets
        the app's reference. With the app's own `connection` the row is part of the transaction that
        is open there, which the app commits. Raises `AlreadyTracked` where a row has one of these
        ids and differs, `ConfigurationError`, `DatabaseUnavailable`, `InvalidValue`.
        """
        from rindle_sync.tracking import track

        return await track(
            self.context,
            connection=connection,
            reference=reference,
            profile=profile,
            provider_asset_id=provider_asset_id,
            provider_upload_id=provider_upload_id,
            passthrough=passthrough,
            playback_policy=playback_policy,
            ingest_mode=ingest_mode,
            state=state,
        )

    def tracking(
        self,
        *,
        reference: str,
        profile: str = "default",
        provider_asset_id: str | None = None,
        provider_upload_id: str | None = None,
        passthrough: str | None = None,
        state: State | None = None,
        playback_policy: str | None = None,
        ingest_mode: str | None = None,
        paramstyle: str | None = None,
    ) -> Tracking:
        """The row that `track` would insert, and its statement, for the app to run itself.

        Calls and stores nothing. `paramstyle` is that of the app's driver: `pyformat`, `format`,
        `named`, `qmark` or `numeric_dollar`; by default the first, or on SQLite `named`. The
        statement inserts nothing where a key is taken. Raises `ConfigurationError`.
        """
        from rindle_sync.tracking import tracked_row

        row = tracked_row(
            self.context,
            reference=reference,
            profile=profile,
            provider_asset_id=provider_asset_id,
            provider_upload_id=provider_upload_id,
            passthrough=passthrough,
            playback_policy=playback_policy,
            ingest_mode=ingest_mode,
            state=state,
        )
        return self.store.new_rows.tracking(row, paramstyle)

    async def track_many(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        connection: AnyConnection | None = None,
        dry_run: bool = False,
    ) -> TrackedMany:
        """Track many rows, each given by the arguments of `track`, in a few statements.

        What is wrong with one of them is told in the result, and stops no other. Without a
        `connection` every 500 rows are one transaction: what has ended is tracked, and calling it
        again does the rest. A dry run writes nothing. Raises `ConfigurationError` for the
        connection, `DatabaseUnavailable`.
        """
        from rindle_sync.tracking import track_many

        return await track_many(self.context, rows, connection=connection, dry_run=dry_run)

    async def get(self, row_id: str) -> ProviderAsset | None:
        """The row with this id of ours. Raises `ConfigurationError`, `DatabaseUnavailable`."""
        check_is_text("row_id", row_id)
        known = as_row_id(row_id)
        return await self.store.assets.get(known) if known else None

    async def find_by_reference(self, reference: str) -> list[ProviderAsset]:
        """The rows of this environment with the app's own reference, of every profile.

        A row is found by its id of ours, too. Raises `ConfigurationError`, `DatabaseUnavailable`.
        """
        check_is_text("reference", reference)
        return await self.store.assets.find_by_id_or_reference(reference)

    async def find_by_provider_id(self, provider_id: str) -> list[ProviderAsset]:
        """The rows of this environment whose asset or upload has this id at the provider.

        Raises `ConfigurationError`, `DatabaseUnavailable`.
        """
        check_is_text("provider_id", provider_id)
        return await self.store.assets.find_by_provider_id(provider_id)

    async def sync(
        self,
        provider_asset_id: str | ProviderAsset,
        *,
        ask_first: bool = False,
        trigger: Trigger | None = None,
    ) -> Applied | None:
        """Bring one row in sync now, asked about first or not; None where none has this id.

        It takes the provider's id of the asset, or the row itself: one that waits for its file has
        no asset id. For an id that no row of this environment has, as a reference or the id of a
        row, nothing is asked. Raises `ConfigurationError` without credentials,
        `AuthenticationFailed`, `DatabaseUnavailable`; no answer of the provider is a verdict of the
        result. `trigger` is what its change is said to be caused by, by default `sync`.
        """
        trigger = trigger or (self._actor.trigger if self._actor else Trigger.SYNC)
        self.settings.account.check_credentials()
        if isinstance(provider_asset_id, ProviderAsset):
            row = provider_asset_id
            return await sync_row(self.context, row, trigger=trigger, ask_first=ask_first)
        check_is_text("provider_asset_id", provider_asset_id)
        # no provider has such ids, and PostgreSQL refuses a NUL in a text
        if not is_text(provider_asset_id):
            return None
        return await sync(self.context, provider_asset_id, trigger=trigger, ask_first=ask_first)

    async def explain(self, row: ProviderAsset) -> Explanation:
        """Why a row stands as it does, and what comes next; reads the database only.

        Raises `DatabaseUnavailable`.
        """
        from rindle_sync.diagnostics import explain

        return await explain(self.context, row)
