"""The pages and the API. Run it with `uvicorn videos.main:app`; README.md tells the settings."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.templating import Jinja2Templates

from rindle_sync import PlaybackKind, RindleSync, Settings, load_settings
from rindle_sync.errors import AlreadyTracked, NotPlayable, ProviderError
from rindle_sync.integrations.fastapi import FastAPIRindle
from videos.changes import apply_change
from videos.models import Video, open_engine

TEMPLATES = Jinja2Templates(Path(__file__).parent / "templates")
PLAYER = os.environ.get("PLAYER_URL", "")
"""Where the browser loads Mux's player from; without it the page shows a plain video element."""


class NewVideo(BaseModel):
    title: str


class ExistingVideo(NewVideo):
    provider_asset_id: str


async def session_of(request: Request) -> AsyncIterator[AsyncSession]:
    """A session whose transaction each endpoint commits itself."""
    async with AsyncSession(request.app.state.engine, expire_on_commit=False) as session:
        yield session


def rindle_of(request: Request) -> RindleSync:
    rindle: FastAPIRindle = request.app.state.rindle
    return rindle.running


Session = Annotated[AsyncSession, Depends(session_of)]
Rindle = Annotated[RindleSync, Depends(rindle_of)]


async def page_of_uploads(request: Request, session: Session) -> HTMLResponse:
    newest = await session.scalars(select(Video).order_by(Video.created_at.desc()).limit(50))
    return TEMPLATES.TemplateResponse(request, "upload.html", {"videos": newest.all()})


async def begin_upload(
    new: NewVideo, request: Request, session: Session, rindle: Rindle
) -> dict[str, Any]:
    video = Video(title=new.title)
    session.add(video)
    await session.flush()
    # both rows or neither; the provider is called after the commit
    prepared = await rindle.prepare_upload(
        reference=video.id, cors_origin=str(request.base_url).rstrip("/"), connection=session
    )
    await session.commit()
    upload = await rindle.start_upload(prepared)
    return {"id": video.id, "url": upload.url}


async def upload_again(video_id: str, request: Request, rindle: Rindle) -> dict[str, Any]:
    """The same upload while it waits for its file, else a new one: for a page that was reloaded."""
    upload = await rindle.begin_upload(
        reference=video_id, cors_origin=str(request.base_url).rstrip("/"), resume=True
    )
    return {"id": video_id, "url": upload.url}


async def add_existing(new: ExistingVideo, session: Session, rindle: Rindle) -> dict[str, Any]:
    video = Video(title=new.title, state="processing")
    session.add(video)
    await session.flush()
    await rindle.track(
        reference=video.id, provider_asset_id=new.provider_asset_id, connection=session
    )
    await session.commit()
    return {"id": video.id}


async def state_of(video_id: str, session: Session) -> dict[str, Any]:
    video = await session.get(Video, video_id)
    if video is None:
        raise HTTPException(404, "there is no such video")
    return {"state": video.state, "duration": video.duration, "changes": video.changes}


async def delete(video_id: str, session: Session, rindle: Rindle) -> None:
    video = await session.get(Video, video_id)
    if video is None:
        raise HTTPException(404, "there is no such video")
    for row in await rindle.find_by_reference(video_id):
        await rindle.untrack(row.id, connection=session)
    await session.delete(video)
    await session.commit()


async def page_of_video(
    video_id: str, request: Request, session: Session, rindle: Rindle
) -> HTMLResponse:
    video = await session.get(Video, video_id)
    rows = await rindle.find_by_reference(video_id)
    if video is None or not rows:
        raise HTTPException(404, "there is no such video")
    shown: dict[str, Any] = {"video": video, "row": rows[0], "player": PLAYER, "bundle": None}
    try:
        until = datetime.now(UTC) + timedelta(hours=6)
        shown["bundle"] = await rindle.playback_bundle(rows[0], expires_at=until)
        files = [file for file in rows[0].renditions if file.status == "ready"]
        kind = PlaybackKind.RENDITION
        shown["downloads"] = [
            await rindle.playback_url(rows[0], kind, of=file, expires_at=until) for file in files
        ]
    except NotPlayable as error:
        shown["why"] = str(error)
    return TEMPLATES.TemplateResponse(request, "player.html", shown)


async def provider_failed(_request: Request, error: Exception) -> JSONResponse:
    """The provider did not answer: what was committed stays, and ends by itself."""
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "30"})


async def tracked_already(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 409)


def create_app(database_url: str, settings: Settings | None = None, **for_tests: Any) -> FastAPI:
    """The app on a database, which is rindle-sync's as well.

    Tests pass on what `FastAPIRindle` takes: a transport, a clock, whether its jobs run.
    """
    used = settings or load_settings(database_url=database_url)
    rindle = FastAPIRindle(used, **for_tests)
    rindle.on_start(lambda service: service.on_change(apply_change, transactional=True))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = open_engine(database_url)
        try:
            yield
        finally:
            await app.state.engine.dispose()

    app = FastAPI(title="Videos", lifespan=rindle.around(lifespan))
    app.state.rindle = rindle
    app.include_router(rindle.router())
    app.add_exception_handler(ProviderError, provider_failed)
    app.add_exception_handler(AlreadyTracked, tracked_already)
    app.get("/", response_class=HTMLResponse)(page_of_uploads)
    app.post("/videos", status_code=201)(begin_upload)
    app.post("/videos/existing", status_code=201)(add_existing)
    app.post("/videos/{video_id}/upload")(upload_again)
    app.get("/videos/{video_id}")(state_of)
    app.delete("/videos/{video_id}", status_code=204)(delete)
    app.get("/videos/{video_id}/page", response_class=HTMLResponse)(page_of_video)
    return app


def __getattr__(name: str) -> FastAPI:
    """`app`, made when a server asks for it: an import alone needs no settings."""
    if name != "app":
        raise AttributeError(name)
    return create_app(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///videos.sqlite3"))
