"""The pages and the API."""

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, abort, current_app, render_template, request
from sqlalchemy import select

from rindle_sync import PlaybackKind
from rindle_sync.errors import AlreadyTracked, NotPlayable, ProviderError
from videosite.database import session
from videosite.extensions import rindle
from videosite.models import Video

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def uploads() -> str:
    newest = session().scalars(select(Video).order_by(Video.created_at.desc()).limit(50))
    return render_template("upload.html", videos=newest.all())


@blueprint.post("/videos")
def begin_upload() -> Any:
    video = Video(title=title())
    session().add(video)
    session().flush()
    # both rows or neither; the provider is called after the commit
    prepared = rindle.prepare_upload(reference=video.id, cors_origin=origin(), connection=session())
    session().commit()
    upload = rindle.start_upload(prepared)
    return {"id": video.id, "url": upload.url}, 201


@blueprint.post("/videos/<video_id>/upload")
def upload_again(video_id: str) -> Any:
    """The same upload while it waits for its file, else a new one: for a page that was reloaded."""
    upload = rindle.begin_upload(reference=video_id, cors_origin=origin(), resume=True)
    return {"id": video_id, "url": upload.url}


@blueprint.post("/videos/existing")
def add_existing() -> Any:
    video = Video(title=title(), state="processing")
    session().add(video)
    session().flush()
    asset_id = request.get_json().get("provider_asset_id")
    rindle.track(reference=video.id, provider_asset_id=asset_id, connection=session())
    session().commit()
    return {"id": video.id}, 201


@blueprint.get("/videos/<video_id>")
def state_of(video_id: str) -> Any:
    video = found(video_id)
    return {"state": video.state, "duration": video.duration, "changes": video.changes}


@blueprint.delete("/videos/<video_id>")
def delete(video_id: str) -> Any:
    video = found(video_id)
    for row in rindle.find_by_reference(video_id):
        rindle.untrack(row.id, connection=session())
    session().delete(video)
    session().commit()
    return "", 204


@blueprint.get("/videos/<video_id>/page")
def player(video_id: str) -> str:
    video, rows = found(video_id), rindle.find_by_reference(video_id)
    if not rows:
        abort(404)
    shown: dict[str, Any] = {"video": video, "row": rows[0], "bundle": None}
    shown["player"] = current_app.config["PLAYER_URL"]
    try:
        until = datetime.now(UTC) + timedelta(hours=6)
        shown["bundle"] = rindle.playback_bundle(rows[0], expires_at=until)
        files = [file for file in rows[0].renditions if file.status == "ready"]
        kind = PlaybackKind.RENDITION
        shown["downloads"] = [
            rindle.playback_url(rows[0], kind, of=file, expires_at=until) for file in files
        ]
    except NotPlayable as error:
        shown["why"] = str(error)
    return render_template("player.html", **shown)


@blueprint.errorhandler(ProviderError)
def provider_failed(error: ProviderError) -> Any:
    """The provider did not answer: what was committed stays, and ends by itself."""
    return {"detail": str(error)}, 503, {"Retry-After": "30"}


@blueprint.errorhandler(AlreadyTracked)
def tracked_already(error: AlreadyTracked) -> Any:
    return {"detail": str(error)}, 409


def title() -> str:
    given = request.get_json().get("title")
    return given if isinstance(given, str) and given else abort(400, "a video has a title")


def found(video_id: str) -> Video:
    return session().get(Video, video_id) or abort(404)


def origin() -> str:
    return request.host_url.rstrip("/")
