"""The part of the public object that has the provider make something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rindle_sync.app.rows import Rows
from rindle_sync.domain import ProviderAsset
from rindle_sync.providers import UploadRequest
from rindle_sync.store import AnyConnection

if TYPE_CHECKING:
    from rindle_sync.tracking import DirectUpload, PreparedUpload


class Uploads(Rows):
    """Direct uploads: begun, resumed and cancelled."""

    async def begin_upload(
        self,
        *,
        reference: str,
        cors_origin: str,
        profile: str = "default",
        playback_policy: str | Sequence[str] | None = None,
        expires_in: timedelta = timedelta(hours=1),
        test: bool = False,
        new_asset_settings: Mapping[str, Any] | None = None,
        resume: bool = False,
        replace: bool = False,
    ) -> DirectUpload:
        """Create a direct upload: a row first, then the provider's upload.

        Its URL is for the browser, once, and waits for its file for `expires_in` (1 minute to 7
        days at Mux). Playback policies are one or several, by default those in the settings. A row
        for this reference and profile that has failed, or was deleted, begins anew; with `replace`
        one that is ready, too. With `resume` an upload that still waits for its file is returned
        again, as it was first asked for. Raises `AlreadyTracked` (with `row_id` and `state`),
        `ConfigurationError`, `ProviderError` and its kinds (the row is errored then, and may begin
        anew), `Conflict`, `DatabaseUnavailable`.
        """
        from rindle_sync.tracking import begin_upload, resume_upload, upload_row

        request = UploadRequest(
            cors_origin=cors_origin,
            playback_policy=playback_policy,
            timeout=expires_in,
            test=test,
            settings=new_asset_settings or {},
        )
        self.settings.account.check_credentials()
        row = upload_row(self.context, reference, profile, request)
        begin = resume_upload if resume else begin_upload
        return await begin(self.context, row, request, replacing=replace)

    async def prepare_upload(
        self,
        *,
        reference: str,
        cors_origin: str,
        profile: str = "default",
        playback_policy: str | Sequence[str] | None = None,
        expires_in: timedelta = timedelta(hours=1),
        test: bool = False,
        new_asset_settings: Mapping[str, Any] | None = None,
        replace: bool = False,
        connection: AnyConnection | None = None,
    ) -> PreparedUpload:
        """Write the row of a direct upload; `start_upload` has the provider create the upload.

        The arguments are those of `begin_upload` (`expires_in` begins with the start), and your
        app's own `connection`, in whose transaction the row is written. A row that nobody starts
        within ten minutes is errored, and may begin anew. What is prepared can be pickled. Raises
        `AlreadyTracked`, `ConfigurationError`, `Conflict`, `DatabaseUnavailable`.
        """
        from rindle_sync.tracking import prepare_upload, upload_row

        request = UploadRequest(
            cors_origin=cors_origin,
            playback_policy=playback_policy,
            timeout=expires_in,
            test=test,
            settings=new_asset_settings or {},
        )
        row = upload_row(self.context, reference, profile, request)
        context = self._context_in(connection)
        return await prepare_upload(context, row, request, replacing=replace)

    async def start_upload(self, prepared: PreparedUpload) -> DirectUpload:
        """Create the upload of a prepared row, once its transaction is committed.

        Of several calls for one row, in any process, one creates the upload; the others raise
        `AlreadyBegun`. Raises also what `begin_upload` does.
        """
        from rindle_sync.tracking import start_upload

        self.settings.account.check_credentials()
        return await start_upload(self.context, prepared)

    async def cancel_upload(self, row_id: str) -> ProviderAsset | None:
        """Cancel the upload of a row that still waits for its file; the row as it then stands.

        None where no row has this id. Raises `ConfigurationError` without credentials,
        `ProviderError` and its kinds, `DatabaseUnavailable`.
        """
        from rindle_sync.tracking import cancel_upload

        self.settings.account.check_credentials()
        row = await self._row_of(self.context, row_id)
        return await cancel_upload(self.context, row) if row else None
