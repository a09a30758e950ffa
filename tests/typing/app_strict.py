"""An app that uses everything public, for the type checkers; nothing of it is run."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from rindle_sync import (
    ChangeEvent,
    DirectUpload,
    ErrorKind,
    Event,
    Installation,
    PlaybackKind,
    ProviderAsset,
    RindleSync,
    RindleSyncError,
    Settings,
    State,
    connect,
    connect_all,
    load_settings,
    redact_id,
    webhook_app,
)
from rindle_sync.errors import AlreadyTracked, ConfigurationError, NotPlayable, RateLimited
from rindle_sync.integrations.blocking import BlockingRindle
from rindle_sync.integrations.blocking import connect as connect_blocking
from rindle_sync.providers.mux import MuxPlayback, Signer
from rindle_sync.types import (
    Applied,
    ChangeKind,
    Explanation,
    Filled,
    Listener,
    Master,
    OutputStatus,
    PlaybackBundle,
    PlaybackId,
    PlaybackRequest,
    PlaybackUrl,
    PreparedAsset,
    PreparedUpload,
    Rendition,
    Report,
    RowPage,
    Status,
    SweepResult,
    Track,
    TrackedMany,
    Tracking,
    TrackKind,
    WebhookEventSummary,
    WebhookReceived,
    WebhookResponse,
)

SETTINGS = Settings(
    database_url="postgresql://localhost/app",
    mux_token_id="an-id",
    mux_token_secret="a-secret",
    mux_webhook_secrets="one,two",
    stuck_policy="ask-first",
    provider_polling_floor_seconds=30,
    environments={"live": {"mux_token_id": "an-id"}},
)

# a name that no setting has, and a value of another type, are errors
Settings(mux_tokn_id="an-id")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
load_settings(sweep_batch="50")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def hear(event: Event) -> None:
    assert_type(event.name, str)
    assert_type(event.metadata(), dict[str, Any])


async def rows(rindle: RindleSync) -> None:
    row = await rindle.track(
        reference="video-1", profile="hls", provider_asset_id="asset-1", state=State.PROCESSING
    )
    assert_type(row, ProviderAsset)
    assert_type(await rindle.get(row.id), ProviderAsset | None)
    assert_type(await rindle.find_by_reference("video-1"), list[ProviderAsset])
    assert_type(await rindle.find_by_provider_id("asset-1"), list[ProviderAsset])
    assert_type(await rindle.explain(row), Explanation)
    assert_type(await rindle.sync("asset-1", ask_first=True), Applied | None)


def blocking(settings: Settings, session: Session) -> None:
    rindle = connect_blocking(settings)
    assert_type(rindle, BlockingRindle)
    row = rindle.track(reference="video-1", provider_asset_id="asset-1", connection=session)
    assert_type(row, ProviderAsset)
    assert_type(rindle.get(row.id), ProviderAsset | None)
    assert_type(rindle.list(limit=50, state="ready"), RowPage)
    assert_type(rindle.playback_bundle(row), PlaybackBundle)
    assert_type(rindle.playback_url(row.id, PlaybackKind.VIDEO), PlaybackUrl | None)
    assert_type(rindle.webhook_events.list(limit=5), list[WebhookEventSummary])
    assert_type(rindle.receive({}, b""), WebhookResponse)
    rindle.track(refrence="video-1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    @rindle.on_change(state="ready")
    def hear(event: ChangeEvent) -> None:
        assert_type(event.row, ProviderAsset | None)


def fields(row: ProviderAsset) -> None:
    assert_type(row.state, State)
    assert_type(row.error_kind, ErrorKind | None)
    assert_type(row.playback_ids, tuple[PlaybackId, ...])
    assert_type(row.duration, float | None)
    assert_type(row.aspect_ratio, str | None)
    assert_type(row.resolution, str | None)
    assert_type(row.max_frame_rate, float | None)
    assert_type(row.title, str | None)
    assert_type(row.is_live, bool)
    assert_type(row.is_test, bool)
    assert_type(row.tracks, tuple[Track, ...])
    assert_type(row.renditions, tuple[Rendition, ...])
    assert_type(row.master, Master | None)
    assert_type(row.media_updated_at, datetime | None)
    assert_type(row.updated_at, datetime)
    for track in row.tracks:
        assert_type((track.kind, track.status), tuple[TrackKind, OutputStatus])
    for file in row.renditions:
        assert_type((file.bitrate, file.size), tuple[int | None, int | None])


async def lists(rindle: RindleSync) -> None:
    page = await rindle.list(state=["ready", State.ERRORED], references=["video-1"], limit=10)
    assert_type(page, RowPage)
    assert_type(page.next, str | None)
    assert_type(await rindle.list(after=page.next, newest_first=False), RowPage)
    assert_type(await rindle.count(error_kind=ErrorKind.STUCK, since=datetime.now(UTC)), int)
    async for row in rindle.list_all(profile="hls"):
        assert_type(row, ProviderAsset)
    await rindle.list(stat="ready")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def playback(rindle: RindleSync, row: ProviderAsset) -> None:
    later = datetime.now(UTC) + timedelta(hours=4)
    url = await rindle.playback_url(row, PlaybackKind.CAPTIONS_VTT, of="en", expires_at=later)
    assert_type(url, PlaybackUrl)
    assert_type((url.url, url.token, url.expires_at), tuple[str, str | None, datetime | None])
    assert_type(await rindle.playback_url("an-id", PlaybackKind.VIDEO), PlaybackUrl | None)
    bundle = await rindle.playback_bundle(
        row,
        expires_at=later,
        policy="signed",
        modifiers={"max_resolution": "720p"},
        poster={"time": 3, "width": 640},
        custom={"session": "s-1"},
        restriction_id="a-restriction",
    )
    assert_type(bundle, PlaybackBundle)
    assert_type(bundle.poster_url, str | None)
    assert_type(await rindle.playback_bundle("an-id"), PlaybackBundle | None)
    # no default, and no other name
    await rindle.playback_url(row)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def playback_without_the_service(row: ProviderAsset) -> dict[str, object]:
    player = MuxPlayback(Signer("a-key", "its text"))
    request = PlaybackRequest(expires_at=datetime.now(UTC) + timedelta(hours=4))
    assert_type(player.url(row, PlaybackKind.VIDEO, request, now=datetime.now(UTC)), PlaybackUrl)
    return player.bundle(row, request, now=datetime.now(UTC)).as_dict()


async def uploads(rindle: RindleSync) -> str:
    upload = await rindle.begin_upload(
        reference="video-2",
        cors_origin="https://app.example",
        playback_policy=["signed"],
        expires_in=timedelta(hours=1),
        new_asset_settings={"video_quality": "plus"},
    )
    assert_type(upload, DirectUpload)
    assert_type(await rindle.cancel_upload(upload.row_id), ProviderAsset | None)
    return upload.url


async def assets(rindle: RindleSync) -> None:
    row = await rindle.create_asset(
        reference="video-3", input="https://app.example/film.mp4", playback_policy="signed"
    )
    assert_type(row, ProviderAsset)
    assert_type(await rindle.replace(row.id, provider_asset_id="asset-2"), ProviderAsset | None)
    assert_type(
        await rindle.untrack(row.id, history=True, webhook_bodies=True), ProviderAsset | None
    )


async def in_one_transaction(
    rindle: RindleSync,
    engine: AsyncEngine,
    session: Session,
    file: sqlite3.Connection,
    raw: psycopg.AsyncConnection[Any],
) -> None:
    async with engine.begin() as connection, AsyncSession(connection) as other:
        row = await rindle.track(reference="video-4", provider_asset_id="a", connection=connection)
        upload = await rindle.prepare_upload(
            reference="video-5", cors_origin="https://app.example", connection=other
        )
        asset = await rindle.prepare_asset(
            reference="video-6",
            input=[{"url": "https://app.example/film.mp4"}],
            connection=connection,
        )
        await rindle.replace(row.id, provider_upload_id="upload-2", connection=connection)
        assert_type(await rindle.within(connection).get(row.id), ProviderAsset | None)
        assert_type(await rindle.as_actor("token:backend").get(row.id), ProviderAsset | None)
        await rindle.untrack(row.id, connection=session)
    assert_type(upload, PreparedUpload)
    assert_type(asset, PreparedAsset)
    assert_type(await rindle.start_upload(upload), DirectUpload)
    assert_type(await rindle.start_asset(asset), ProviderAsset)
    many = await rindle.track_many([{"reference": "a", "provider_asset_id": "b"}], connection=file)
    assert_type(many, TrackedMany)
    assert_type(many.added, list[ProviderAsset])
    assert_type([refusal.reason for refusal in many.refused], list[str])
    tracking = rindle.tracking(reference="video-7", provider_upload_id="upload-3")
    assert_type(tracking, Tracking)
    await connection.execute(tracking.statement)
    await rindle.track(reference="video-8", provider_asset_id="c", connection=raw)
    # a cursor is no connection
    await rindle.track(reference="video-9", connection=raw.cursor())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def changed(event: ChangeEvent) -> None:
    assert_type((event.id, event.version, event.reference), tuple[int, int, str])
    assert_type(event.kind, ChangeKind)
    assert_type(event.row, ProviderAsset | None)
    assert_type(event.change.to_state, State)


async def changed_once(event: ChangeEvent, connection: AsyncConnection) -> None:
    async with AsyncSession(connection) as session:
        assert_type(session, AsyncSession)
        await changed(event)


async def stream_event(event: WebhookReceived) -> None:
    assert_type((event.id, event.type), tuple[str, str])
    assert_type(event.occurred_at, datetime | None)
    assert_type(event.data, Mapping[str, Any])


async def changes(rindle: RindleSync) -> None:
    rindle.on_change(changed)

    @rindle.on_change
    async def heard(event: ChangeEvent) -> None:
        await changed(event)

    rindle.on_change(heard, state="ready", adopted=False)
    rindle.on_change(changed_once, transactional=True, kind="media", name="once")

    @rindle.on_change(transactional=True, state=[State.READY, State.ERRORED])
    async def heard_once(event: ChangeEvent, connection: AsyncConnection) -> None:
        await changed_once(event, connection)

    @rindle.on_change(kind=ChangeKind.STATE)
    async def heard_too(event: ChangeEvent) -> None:
        await changed(event)

    rindle.on_change(heard_too)
    rindle.on_change(heard_once, transactional=True)
    # each form has a callback of its own
    rindle.on_change(changed_once)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    rindle.on_webhook("video.live_stream.*", stream_event)

    @rindle.on_webhook("video.live_stream.idle")
    async def idle(event: WebhookReceived) -> None:
        await stream_event(event)

    rindle.on_webhook("video.live_stream.idle", idle)
    assert_type(rindle.wants_webhook("video.live_stream.idle"), bool)
    assert_type(await rindle.dispatch(), int)
    assert_type(await rindle.deliver(), int)
    assert_type(await rindle.outgoing.enable("app"), bool)


async def webhooks(rindle: RindleSync) -> None:
    answer = await rindle.receive({"mux-signature": "t=1,v1=a"}, b"{}")
    assert_type(answer, WebhookResponse)
    assert_type((answer.status, answer.body), tuple[int, bytes])
    assert_type(await rindle.process_webhook_events(), int)
    assert_type(await rindle.webhook_events.list(limit=5), list[WebhookEventSummary])
    assert_type(await rindle.webhook_events.get("an-id"), WebhookEventSummary | None)
    assert_type(await rindle.webhook_events.replay(), int)
    assert_type(await rindle.webhook_events.prune(), int)
    webhook_app(lambda: rindle.webhooks)


async def passes(rindle: RindleSync) -> None:
    assert_type(await rindle.sweep(dry_run=True), SweepResult)
    assert_type(await rindle.audit(adopt=True), Report)
    assert_type(await rindle.backfill(), Filled)
    assert_type(await rindle.status(), Status)
    assert_type(await rindle.migrate(), tuple[str | None, str])
    await rindle.check_ready()


async def serve(listeners: Sequence[Listener] = (hear,)) -> None:
    stop = asyncio.Event()
    async with connect(SETTINGS, listeners=listeners) as rindle:
        assert_type(rindle, RindleSync)
        assert_type(rindle.settings, Settings)
        try:
            await rindle.run(stop)
        except RateLimited as error:
            assert_type(error.retry_after, float | None)
        except AlreadyTracked as error:
            assert_type(error.row_id, str | None)
        except NotPlayable as error:
            assert_type(error.reason, str)
        except ConfigurationError as error:
            assert_type(error.setting, str)
        except RindleSyncError as error:
            assert_type(error.args, tuple[Any, ...])
        await rindle.close()
    async with connect_all(load_settings(environment="live")) as installation:
        assert_type(installation, Installation)
        assert_type(installation["live"], RindleSync)
        await installation.run(stop)
    assert_type(redact_id("an-id"), str | None)
