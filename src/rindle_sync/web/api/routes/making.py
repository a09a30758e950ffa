"""Uploads and assets that the provider makes for a row."""

from datetime import datetime, timedelta
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from rindle_sync.errors import ProviderUnavailable
from rindle_sync.web.api.calls import Call, Writing, ok, problems
from rindle_sync.web.api.models import AssetModel, UploadAnswer
from rindle_sync.web.api.problems import Declined
from rindle_sync.web.api.request_models import FromUrlBody, NewAssetBody, UploadBody
from rindle_sync.web.api.routes.assets import RowId

router = APIRouter(tags=["making assets"])

_INTERRUPTED: Final = (
    "an earlier attempt of this request was interrupted once it had begun: read the asset that is "
    "named here, since it is most likely what that attempt has made"
)


@router.post(
    "/uploads",
    operation_id="createUpload",
    status_code=201,
    responses=problems(409, 415, 502, 504),
    response_model=UploadAnswer,
)
async def create_upload(call: Writing, body: UploadBody) -> Response:
    """Create a direct upload, to which a browser sends its file.

    An asset of this reference and profile that has failed, or was deleted, begins anew.
    """

    async def act(earlier: datetime | None) -> Response:
        values = body.model_dump()
        values["expires_in"] = timedelta(seconds=body.expires_in)
        # what an interrupted attempt has made is answered again, and not made twice
        values["resume"] = body.resume or earlier is not None
        upload = await call.service.begin_upload(**values)
        # without a place of its own: the upload is made, and none may be free
        row = call.own(await call.service.get(upload.row_id))
        shown = UploadAnswer(
            asset=call.shown(row), upload_url=upload.url, expires_at=upload.expires_at
        )
        return ok(shown, 201)

    # the row has ended then, and an upload that nobody knows gets no file: another may be made
    return await call.once(body, act, frees=(ProviderUnavailable,))


@router.post(
    "/assets/from-url",
    operation_id="createAssetFromUrl",
    status_code=201,
    responses=problems(409, 415, 502, 504),
    response_model=AssetModel,
)
async def create_asset_from_url(call: Writing, body: FromUrlBody) -> Response:
    """Have the provider fetch a file from a URL, and make an asset of it; never twice.

    Where the provider's answer is lost, the asset stays `pending` until it is known.
    """

    async def act(earlier: datetime | None) -> Response:
        if earlier is not None:
            await _refuse_what_was_begun(call, body, earlier)
        row = await call.service.create_asset(**body.model_dump())
        return ok(call.shown(row), 201)

    return await call.once(body, act)


async def _refuse_what_was_begun(call: Call, body: NewAssetBody, earlier: datetime) -> None:
    """Raise `Declined` where the row was begun since: it may be by the attempt that was cut off."""
    async with call.api.reading():
        rows = await call.service.find_by_reference(body.reference)
    for row in rows:
        is_it = (row.reference, row.profile) == (body.reference, body.profile)
        if is_it and row.begun_at and row.begun_at >= earlier:
            state = row.state.value
            raise Declined(409, _INTERRUPTED, kind="interrupted", row_id=row.id, state=state)


@router.post(
    "/assets/{row_id}/cancel-upload",
    operation_id="cancelUpload",
    responses=problems(404, 409, 502, 504),
    response_model=AssetModel,
)
async def cancel_upload(call: Writing, row_id: RowId) -> Response:
    """Cancel an upload that waits for its file; the answer is the asset as it then stands.

    Once it has its file, nothing changes.
    """
    cancelled = await call.finished(call.service.cancel_upload(row_id))
    return ok(call.shown(call.own(cancelled)))
