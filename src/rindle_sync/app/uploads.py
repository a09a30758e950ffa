"""The part of the public object that has the provider make something."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from rindle_sync.app.rows import Rows
from rindle_sync.domain import ProviderAsset
from rindle_sync.providers import UploadRequest
from rindle_sync.tracking import DirectUpload, begin_upload, cancel_upload, upload_row


class Uploads(Rows):
    """Direct uploads: begun and cancelled."""

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
    ) -> DirectUpload:
        """Create a direct upload: a row first, then the provider's upload.

        Its URL is for the browser, once, and waits for its file for `expires_in` (1 minute to 7
        days at Mux). Playback policies are one or several, by default those in the settings. A row
        for this reference and profile that has failed begins anew. Raises `AlreadyTracked`,
        `ConfigurationError`, `ProviderError` and its kinds (the row is errored then, and may begin
        anew), `Conflict`, `DatabaseUnavailable`.
        """
        request = UploadRequest(
            cors_origin=cors_origin,
            playback_policy=playback_policy,
            timeout=expires_in,
            test=test,
            settings=new_asset_settings or {},
        )
        self.settings.account.check_credentials()
        row = upload_row(self.context, reference, profile, request)
        return await begin_upload(self.context, row, request)

    async def cancel_upload(self, row_id: str) -> ProviderAsset | None:
        """Cancel the upload of a row that still waits for its file; the row as it then stands.

        None where no row has this id. Raises `ConfigurationError` without credentials,
        `ProviderError` and its kinds, `DatabaseUnavailable`.
        """
        self.settings.account.check_credentials()
        row = await self.get(row_id)
        return await cancel_upload(self.context, row) if row else None
