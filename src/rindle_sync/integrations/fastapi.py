"""The service in a FastAPI app: lifespan, webhook endpoint, dependencies and models of answers.

rindle = FastAPIRindle()
app = FastAPI(lifespan=rindle.lifespan)
app.include_router(rindle.router())

@app.get("/videos/{reference}")
async def video(row: Annotated[ProviderAsset, Depends(rindle.row)]) -> RowModel:
    return RowModel.of(row)
"""

from datetime import datetime
from typing import Self

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

from rindle_sync.app import RindleSync
from rindle_sync.domain import ProviderAsset, State
from rindle_sync.integrations.starlette import StarletteRindle
from rindle_sync.runtime import ChangeEvent
from rindle_sync.tracking import DirectUpload
from rindle_sync.web.api.models import RowFields, row_fields


class FastAPIRindle(StarletteRindle):
    """`StarletteRindle` with dependencies: itself, `row` and `row_by_id`."""

    def __call__(self) -> RindleSync:
        """The service, for `Depends(rindle)`; raises `NotStarted` outside the lifespan."""
        return self.running

    async def row(self, reference: str, profile: str = "default") -> ProviderAsset:
        """The row with the parameter `reference`, and `profile` if there is one; else a 404."""
        for row in await self.running.find_by_reference(reference):
            if row.profile == profile and row.reference == reference:
                return row
        raise HTTPException(404, "there is no such video")

    async def row_by_id(self, row_id: str) -> ProviderAsset:
        """The row with the parameter `row_id`, an id of rindle-sync; else a 404."""
        row = await self.running.get(row_id)
        if row is None:
            raise HTTPException(404, "there is no such video")
        return row

    def router(self, path: str = "/webhooks/{provider}") -> APIRouter:
        """The webhook endpoint at exactly `path`, for `include_router`."""
        return APIRouter(routes=[self.route(path)])


class RowModel(RowFields):
    """A row, as an answer of your API: none of the ids by which the provider can be called."""

    row_id: str

    @classmethod
    def of(cls, row: ProviderAsset) -> Self:
        """What of a row is shown."""
        return cls(row_id=row.id, **row_fields(row))


class UploadModel(BaseModel):
    """A direct upload: the browser sends the file to `url` by PUT, before `expires_at`."""

    row_id: str
    url: str
    expires_at: datetime

    @classmethod
    def of(cls, upload: DirectUpload) -> Self:
        """What the browser gets of an upload."""
        return cls(row_id=upload.row_id, url=upload.url, expires_at=upload.expires_at)


class ChangeModel(BaseModel):
    """One change of a row, as for a stream of changes; `row` is the row as it is now."""

    id: int
    reference: str
    version: int
    kind: str
    from_state: State
    to_state: State
    at: datetime
    row: RowModel | None

    @classmethod
    def of(cls, event: ChangeEvent) -> Self:
        """What of a change is shown."""
        change = event.change
        return cls(
            id=event.id,
            reference=event.reference,
            version=event.version,
            kind=event.kind.value,
            from_state=change.from_state,
            to_state=change.to_state,
            at=change.at,
            row=RowModel.of(event.row) if event.row else None,
        )
