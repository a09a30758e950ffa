"""The assets and uploads of one Mux environment; knows no HTTP and is given the time."""

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar

from rindle_sync.emulator.history import History
from rindle_sync.emulator.ids import Ids
from rindle_sync.emulator.lifecycle import (
    TEST_ASSET_SECONDS,
    Asset,
    AssetState,
    AssetVersion,
    Ending,
    Life,
    Part,
    PartState,
    PlaybackId,
    RenditionLife,
    Settings,
    Upload,
    UploadState,
)
from rindle_sync.emulator.parts import (
    MASTER_SECONDS,
    SOURCE_HEIGHT,
    Master,
    Resolution,
    StaticRendition,
    Track,
    TrackDetails,
)
from rindle_sync.emulator.timeline import EventType, LifeEvent, Timeline

P = TypeVar("P", bound=Part)

_key = attrgetter("key")


@dataclass(frozen=True, slots=True)
class Output:
    """The true state of a track, a static rendition or a master; a deleted one is left out."""

    id: str
    kind: str
    """`text`, `audio`, `static_rendition` or `master`."""
    state: PartState
    name: str | None = None
    """The name of its file, of a static rendition."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The true state of one asset, whatever faulty responses say."""

    asset_id: str
    state: AssetState
    playback_ids: tuple[PlaybackId, ...]
    upload_id: str | None
    passthrough: str | None
    is_live: bool = False
    seconds: float | None = None
    """How long its video is; None while it is not ready."""
    outputs: tuple[Output, ...] = ()


class Environment:
    """The assets in order of creation calls, the uploads, and the timeline of both."""

    def __init__(self, ids: Ids) -> None:
        self.timeline = Timeline()
        self._ids = ids
        self.assets: dict[str, Asset] = {}
        self._assets_by_age: list[Asset] = []
        self._uploads: dict[str, Upload] = {}
        self.by_playback_id: dict[str, tuple[Asset, PlaybackId]] = {}
        self.parts: dict[str, Part] = {}

    def create_asset(
        self, settings: Settings, life: Life, created_at: float, upload_id: str | None = None
    ) -> Asset:
        """A new asset with the lifecycle `life`; `created_at` may lie in the past."""
        playback_ids = tuple(PlaybackId(self._ids.new(), policy) for policy in settings.policies)
        serial = len(self.assets)
        versions = History(AssetVersion(settings, playback_ids))
        asset = Asset(self._ids.new(), serial, created_at, life, versions)
        asset.upload_id = upload_id
        if life.deleted_after is not None:
            asset.deleted_at = created_at + life.deleted_after
        if settings.test:
            asset.deleted_at = min(asset.deleted_at, created_at + TEST_ASSET_SECONDS)
        self.assets[asset.id] = asset
        # not appended: an asset may be created in the past
        insort(self._assets_by_age, asset, key=_key)
        for playback_id in playback_ids:
            self.by_playback_id[playback_id.id] = asset, playback_id
        self.timeline.add_lifecycle(asset)
        if asset.deleted_at != math.inf:
            self.timeline.add(asset.deleted_at, EventType.ASSET_DELETED, asset)
        return asset

    def asset(self, asset_id: str, now: float) -> Asset | None:
        """The asset with this id, unless it is deleted."""
        asset = self.assets.get(asset_id)
        return asset if asset is not None and now < asset.deleted_at else None

    def delete_asset(self, asset: Asset, now: float) -> None:
        """Delete an asset now, whatever its lifecycle says."""
        if now < asset.deleted_at:
            asset.deleted_at = now
            self.timeline.add(now, EventType.ASSET_DELETED, asset)

    def end_asset(self, asset: Asset, now: float, **ending: Any) -> None:
        """End the preparation of an asset now, with these fields of `Life`, and not as planned."""
        asset.life = replace(asset.life, after=now - asset.created_at, **ending)
        self.timeline.add_ending(asset)
        for part in asset.parts:
            # it begins when its asset has ended
            self.timeline.add_part_ending(part)

    def update_asset(self, asset: Asset, now: float, changes: Mapping[str, Any]) -> None:
        """Change the `passthrough`, `meta` or `thumbnail_time` of an asset."""
        version = asset.versions.latest
        names = changes.keys() - {"thumbnail_time"}
        settings = replace(version.settings, **{name: changes[name] for name in names})
        time = changes.get("thumbnail_time", version.thumbnail_time)
        self._change(asset, now, replace(version, settings=settings, thumbnail_time=time))

    def _change(self, asset: Asset, now: float, version: AssetVersion) -> None:
        asset.versions.change(now, version)
        self.timeline.add(now, EventType.ASSET_UPDATED, asset)

    def create_playback_id(self, asset: Asset, policy: str, now: float) -> PlaybackId:
        """One more playback id of an asset."""
        playback_id = PlaybackId(self._ids.new(), policy)
        self.by_playback_id[playback_id.id] = asset, playback_id
        playback_ids = (*asset.playback_ids, playback_id)
        self._change(asset, now, replace(asset.versions.latest, playback_ids=playback_ids))
        return playback_id

    def playback_id(self, playback_id: str, now: float) -> tuple[Asset, PlaybackId] | None:
        """The asset and the playback id with this id, unless one of the two is deleted."""
        found = self.by_playback_id.get(playback_id)
        if found is None or found[0].deleted_at <= now or found[1] not in found[0].playback_ids:
            return None
        return found

    def delete_playback_id(self, asset: Asset, playback_id: PlaybackId, now: float) -> None:
        """Remove a playback id of an asset."""
        rest = tuple(other for other in asset.playback_ids if other != playback_id)
        self._change(asset, now, replace(asset.versions.latest, playback_ids=rest))

    def create_track(
        self,
        asset: Asset,
        now: float,
        *,
        kind: str,
        details: TrackDetails,
        life: Life,
        is_generated: bool = False,
    ) -> Track:
        """One more text or audio track of an asset."""
        return self._add_part(
            Track(
                id=self._ids.new(),
                asset=asset,
                created_at=now,
                life=life,
                type=kind,
                details=History(details),
                is_generated=is_generated,
            )
        )

    def create_rendition(
        self,
        asset: Asset,
        now: float,
        *,
        resolution: Resolution,
        life: Life,
        passthrough: str | None = None,
    ) -> StaticRendition:
        """One more static rendition of an asset; skipped if it is higher than the source."""
        if life.ends == Ending.READY and (resolution.height or 0) > SOURCE_HEIGHT:
            life = RenditionLife(Ending.SKIPPED, life.after, life.deleted_after)
        return self._add_part(
            StaticRendition(
                id=self._ids.new(),
                asset=asset,
                created_at=now,
                life=life,
                resolution=resolution,
                passthrough=passthrough,
            )
        )

    def create_master(self, asset: Asset, now: float, life: Life) -> None:
        """Prepare the master of an asset for download; it is removed a day after it is ready."""
        master = Master(id=self._ids.new(), asset=asset, created_at=now, life=life)
        self._add_part(master)
        if life.deleted_after is None and master.ending is Ending.READY:
            self.delete_part(master, master.ends_at + MASTER_SECONDS)

    def delete_part(self, part: Part, at: float) -> None:
        """Delete a part of an asset at a time, if it is not deleted by then."""
        if at < part.deleted_at:
            part.deleted_at = at
            self.timeline.enter(part, PartState.DELETED, at)

    def _add_part(self, part: P) -> P:
        part.asset.parts += (part,)
        self.parts[part.id] = part
        self.timeline.add_part(part)
        if part.life.deleted_after is not None:
            self.delete_part(part, part.created_at + part.life.deleted_after)
        return part

    def page(
        self,
        now: float,
        *,
        limit: int,
        before: tuple[float, int] | None = None,
        skip: int = 0,
        fits: Callable[[Asset], bool] = lambda _: True,
    ) -> tuple[list[Asset], bool]:
        """Up to `limit` assets older than the key `before`, newest first; whether more follow.

        Only assets for which `fits` is true.
        """
        start = len(self._assets_by_age)
        if before is not None:
            start = bisect_left(self._assets_by_age, before, key=_key)
        found: list[Asset] = []
        for place in range(start - 1, -1, -1):
            asset = self._assets_by_age[place]
            is_there = asset.created_at <= now < asset.deleted_at
            if not is_there or not fits(asset):
                continue
            if skip:
                skip -= 1
            elif len(found) < limit:
                found.append(asset)
            else:
                return found, True
        return found, False

    def create_upload(
        self,
        now: float,
        *,
        settings: Settings,
        requested: Mapping[str, object],
        timeout: int,
        cors_origin: str,
        life: Life | None = None,
    ) -> Upload:
        """A new upload that waits for its file; `requested` are the settings as Mux shows them."""
        upload = Upload(
            id=self._ids.new(),
            created_at=now,
            signature=self._ids.new(),
            timeout=timeout,
            cors_origin=cors_origin,
            settings=settings,
            requested=requested,
            life=life,
        )
        self._uploads[upload.id] = upload
        self.timeline.add(now, EventType.UPLOAD_CREATED, None, upload.id)
        return upload

    def upload(self, upload_id: str) -> Upload | None:
        """The upload with this id."""
        return self._uploads.get(upload_id)

    def uploads(self, *, limit: int, skip: int = 0) -> list[Upload]:
        """Up to `limit` uploads, newest first."""
        return list(islice(reversed(self._uploads.values()), skip, skip + limit))

    def finish_upload(self, upload: Upload, life: Life, now: float) -> Asset | None:
        """The asset created from the uploaded file; None if the upload is no longer waiting."""
        if upload.state(now) is not UploadState.WAITING:
            return None
        upload.asset = self.create_asset(upload.settings, upload.life or life, now, upload.id)
        return upload.asset

    def cancel_upload(self, upload: Upload, now: float) -> bool:
        """Cancel an upload; False if it is no longer waiting."""
        if upload.state(now) is not UploadState.WAITING:
            return False
        upload.is_cancelled = True
        self.timeline.add(now, EventType.UPLOAD_CANCELLED, None, upload.id)
        return True

    def truth(self, asset_id: str, now: float) -> Truth:
        """The true state of one asset; KeyError if it never existed."""
        asset = self.assets[asset_id]
        state = asset.state(now)
        is_ready = state is AssetState.READY
        return Truth(
            asset.id,
            state,
            asset.playback_ids,
            asset.upload_id,
            asset.settings.passthrough,
            asset.is_live(now),
            asset.seconds(now) if is_ready else None,
            tuple(
                Output(part.id, part.kind, part.state(now), part.name)
                for part in asset.parts_of(Part, now)
            ),
        )

    def subject(self, event: LifeEvent) -> Asset | Upload | Part:
        """The asset, the upload or the part that an event is about, deleted or not."""
        if event.part_id is not None:
            return self.parts[event.part_id]
        if event.type.startswith("video.upload.") and event.upload_id is not None:
            return self._uploads[event.upload_id]
        assert event.asset_id is not None
        return self.assets[event.asset_id]
