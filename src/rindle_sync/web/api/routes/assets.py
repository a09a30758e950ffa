"""Rows: listed, explained, checked, tracked, replaced and forgotten."""

import asyncio
from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query
from pydantic import TypeAdapter
from starlette.responses import Response

from rindle_sync.diagnostics import SYNC_OUTCOMES, Explanation, Status
from rindle_sync.domain import MOST_LISTED, ErrorKind, State
from rindle_sync.web.api.calls import Reading, Writing, ok, problems
from rindle_sync.web.api.models import AssetModel, AssetPage, SyncAnswer
from rindle_sync.web.api.problems import HEADERS, Declined, wrong
from rindle_sync.web.api.request_models import ReplaceBody, Text, Time, TrackBody

LONGEST_SYNC: Final = 20.0
"""Seconds that a client waits for a check."""

MOST_REFERENCES: Final = 100
_LATE: Final = "the provider did not answer in time; the asset is checked again"

router = APIRouter(tags=["assets"])

RowId = Annotated[
    str, Path(description="The asset's id.", json_schema_extra={"format": "uuid"}, max_length=100)
]

_explanations: Final = TypeAdapter(Explanation)
_statuses: Final = TypeAdapter(Status)


@router.get("/assets", operation_id="listAssets", responses=problems(), response_model=AssetPage)
async def list_assets(
    call: Reading,
    *,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    after: Annotated[
        str | None, Query(max_length=200, description="The `next` of the page before.")
    ] = None,
    order: Annotated[
        Literal["newest", "oldest"], Query(description="By when their assets were made.")
    ] = "newest",
    state: Annotated[list[State] | None, Query()] = None,
    error_kind: Annotated[list[ErrorKind] | None, Query()] = None,
    reference: Annotated[list[Text] | None, Query(max_length=MOST_REFERENCES)] = None,
    profile: Annotated[Text | None, Query()] = None,
    since: Annotated[Time | None, Query(description="Assets that were made then or later.")] = None,
    provider_id: Annotated[
        Text | None,
        Query(
            description="The provider's id of an asset or upload: with no other filter, and for a "
            "token that sees provider ids."
        ),
    ] = None,
) -> Response:
    """List assets, page by page, in the order in which they were made.

    No page repeats or skips an asset while others are added.
    """
    service = call.service
    if provider_id is not None:
        call.needs_provider_ids("provider_id")
        if after or state or error_kind or reference or profile or since:
            raise wrong("provider_id", "takes no other filter beside it, and has one page")
        async with call.api.reading():
            found = await service.find_by_provider_id(provider_id)
        return ok(AssetPage(data=[call.shown(row) for row in found], next=None))
    async with call.api.reading():
        page = await service.list(
            limit=limit,
            after=after,
            newest_first=order == "newest",
            state=state,
            error_kind=error_kind,
            references=reference,
            profile=profile,
            since=since,
        )
    return ok(AssetPage(data=[call.shown(row) for row in page.rows], next=page.next))


@router.post(
    "/assets", operation_id="trackAsset", responses=problems(409, 415), response_model=AssetModel
)
async def track_asset(call: Writing, body: TrackBody) -> Response:
    """Track an asset, or an upload, that the provider has, from now on.

    Repeated, it answers the same row. 409 where a row has one of these ids and differs.
    """

    async def act(_: datetime | None) -> Response:
        async with call.api.reading():
            row = await call.service.track(**body.model_dump())
        return ok(call.shown(row))

    return await call.once(body, act)


@router.get(
    "/assets/{row_id}", operation_id="getAsset", responses=problems(404), response_model=AssetModel
)
async def get_asset(call: Reading, row_id: RowId) -> Response:
    """Get one asset."""
    return ok(call.shown(await call.row(row_id)))


@router.delete(
    "/assets/{row_id}",
    operation_id="untrackAsset",
    responses=problems(404, 409, 502, 504),
    response_model=AssetModel,
)
async def untrack_asset(
    call: Writing,
    row_id: RowId,
    *,
    history: Annotated[bool, Query(description="Delete its changes, too.")] = False,
    webhook_bodies: Annotated[
        bool, Query(description="Delete the bodies of the webhook events about it, too.")
    ] = False,
    delete_asset: Annotated[
        bool, Query(description="Have the provider delete the asset first.")
    ] = False,
) -> Response:
    """Forget an asset; the answer is the asset as it was."""
    work = call.service.untrack(
        row_id, history=history, webhook_bodies=webhook_bodies, delete_asset=delete_asset
    )
    return ok(call.shown(call.own(await call.finished(work))))


@router.get(
    "/assets/{row_id}/explanation",
    operation_id="explainAsset",
    responses=problems(404),
    response_model=Explanation,
)
async def explain_asset(call: Reading, row_id: RowId) -> Response:
    """Explain why an asset stands as it does: its history, its next check, and what to do."""
    row = await call.row(row_id)
    async with call.api.reading():
        explanation = await call.service.explain(row)
    content = _explanations.dump_json(explanation)
    return Response(content, 200, HEADERS, "application/json")


@router.post(
    "/assets/{row_id}/sync",
    operation_id="syncAsset",
    responses=problems(404, 409, 502, 504),
    response_model=SyncAnswer,
)
async def sync_asset(call: Writing, row_id: RowId) -> Response:
    """Ask the provider about an asset now; up to 20 seconds."""
    row = await call.row(row_id)
    try:
        async with asyncio.timeout(LONGEST_SYNC):
            applied = await call.service.sync(row, ask_first=True)
    except TimeoutError:
        raise Declined(504, _LATE, headers={"retry-after": "30"}) from None
    if applied is None:
        raise call.no_row()
    outcome = applied.decision.verdict.value
    detail = SYNC_OUTCOMES[outcome].text if outcome in SYNC_OUTCOMES else outcome
    return ok(SyncAnswer(outcome=outcome, detail=detail, asset=call.shown(applied.row)))


@router.post(
    "/assets/{row_id}/replace",
    operation_id="replaceAsset",
    responses=problems(404, 409, 415),
    response_model=AssetModel,
)
async def replace_asset(call: Writing, row_id: RowId, body: ReplaceBody) -> Response:
    """Give a row another asset, or upload, that the provider has; it is checked next.

    The provider keeps the asset that it had before.
    """
    if not (body.provider_asset_id or body.provider_upload_id):
        raise wrong("provider_asset_id", "is missing: name the new asset, or the new upload")

    async def act(_: datetime | None) -> Response:
        async with call.api.reading():
            replaced = await call.service.replace(row_id, **body.model_dump())
        return ok(call.shown(call.own(replaced)))

    return await call.once(body, act)


@router.get("/status", operation_id="getStatus", responses=problems(), response_model=Status)
async def get_status(call: Reading) -> Response:
    """Get how the assets of an environment stand, in figures; up to a few seconds old."""
    status = await call.api.status(call.environment)
    return Response(_statuses.dump_json(status), 200, HEADERS, "application/json")
