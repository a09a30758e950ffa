"""All assets and uploads of one Mux environment; knows no HTTP and is told the time with every question."""

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter

from rindle_sync.providers.mux_emulator.ids import Ids
from rindle_sync.providers.mux_emulator.lives import (
    TEST_ASSET_SECONDS,
    Asset,
    AssetState,
    Life,
    PlaybackId,
    Settings,
    Upload,
    UploadState,
)
from rindle_sync.providers.mux_emulator.timeline import EventType, Feed, LifeEvent, Timeline

_key = attrgetter("key")


@dataclass(frozen=True, slots=True)
class Truth:
    """What is really so about one asset, whatever the answers say."""

    asset_id: str
    state: AssetState
    playback_ids: tuple[PlaybackId, ...]
    upload_id: str | None
    passthrough: str | None


class World:
    """The assets in order of creation, the uploads, and the timeline of both."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._assets: dict[str, Asset] = {}
        self._order: list[Asset] = []
        self._uploads: dict[str, Upload] = {}
        self._upload_order: list[Upload] = []
        self._played: dict[str, tuple[Asset, PlaybackId]] = {}
        self._timeline = Timeline()

    def create_asset(self, settings: Settings, life: Life, created_at: float, upload_id: str | None = None) -> Asset:
        """A new asset that lives as `life` says."""
        playback_ids = tuple(PlaybackId(self._ids.new(), policy) for policy in settings.policies)
        asset = Asset(self._ids.new(), len(self._assets), created_at, life, settings, playback_ids)
        asset.deleted_at = _deletion(settings, life, created_at)
        asset.upload_id = upload_id
        self._keep(asset)
        self._timeline.asset_begins(asset)
        return asset

    def _keep(self, asset: Asset) -> None:
        self._assets[asset.id] = asset
        if not self._order or self._order[-1].created_at <= asset.created_at:
            self._order.append(asset)
        else:
            insort(self._order, asset, key=_key)
        self._played.update((one.id, (asset, one)) for one in asset.playback_ids)

    def asset(self, asset_id: str, now: float) -> Asset | None:
        """The asset with this id, unless it is deleted."""
        return _if_alive(self._assets.get(asset_id), now)

    def delete_asset(self, asset: Asset, now: float) -> None:
        """Delete an asset at once, whatever its life says."""
        if now < asset.deleted_at:
            asset.deleted_at = now
            self._timeline.asset_goes(asset)

    def update_asset(self, asset: Asset, now: float) -> None:
        """Let it be known that something about an asset changed."""
        self._timeline.asset_changes(asset, now)

    def page(
        self, now: float, *, limit: int, before: tuple[float, int] | None = None, skip: int = 0
    ) -> tuple[list[Asset], bool]:
        """Up to `limit` assets older than the key `before`, newest first, and whether there are more."""
        start = len(self._order) if before is None else bisect_left(self._order, before, key=_key)
        older = (self._order[place] for place in range(start - 1, -1, -1))
        alive = (asset for asset in older if now < asset.deleted_at)
        found = list(islice(alive, skip, skip + limit + 1))
        return found[:limit], len(found) > limit

    def played(self, playback_id: str, now: float) -> tuple[Asset, PlaybackId] | None:
        """The asset that a playback id plays, unless it is deleted."""
        found = self._played.get(playback_id)
        return found if found and now < found[0].deleted_at else None

    def create_upload(
        self,
        now: float,
        *,
        settings: Settings,
        given: Mapping[str, object],
        timeout: int,
        cors_origin: str,
        life: Life | None = None,
    ) -> Upload:
        """A new upload that waits for its bytes."""
        upload = Upload(
            id=self._ids.new(),
            created_at=now,
            signature=self._ids.new(),
            timeout=timeout,
            cors_origin=cors_origin,
            settings=settings,
            given=given,
            life=life,
        )
        self._uploads[upload.id] = upload
        self._upload_order.append(upload)
        self._timeline.upload(now, EventType.UPLOAD_CREATED, upload)
        return upload

    def upload(self, upload_id: str) -> Upload | None:
        """The upload with this id."""
        return self._uploads.get(upload_id)

    def uploads(self, *, limit: int, skip: int = 0) -> list[Upload]:
        """Up to `limit` uploads, newest first."""
        return list(islice(reversed(self._upload_order), skip, skip + limit))

    def finish_upload(self, upload: Upload, life: Life, now: float) -> Asset | None:
        """The asset made of the upload's bytes; None if the upload no longer waits for them."""
        if upload.state(now) is not UploadState.WAITING:
            return None
        upload.asset = self.create_asset(upload.settings, upload.life or life, now, upload.id)
        return upload.asset

    def cancel_upload(self, upload: Upload, now: float) -> bool:
        """Whether the upload was still waiting, and so is cancelled now."""
        if upload.state(now) is not UploadState.WAITING:
            return False
        upload.is_cancelled = True
        self._timeline.upload(now, EventType.UPLOAD_CANCELLED, upload)
        return True

    def truth(self, asset_id: str, now: float) -> Truth:
        """What is really so about one asset; KeyError if there never was one."""
        asset = self._assets[asset_id]
        return Truth(asset.id, asset.state(now), asset.playback_ids, asset.upload_id, asset.settings.passthrough)

    def truths(self, now: float) -> Iterable[Truth]:
        """What is really so about every asset there ever was, in order of making."""
        return (self.truth(asset_id, now) for asset_id in tuple(self._assets))

    def events(self, since: float, until: float) -> Iterator[LifeEvent]:
        """What happens from `since` on and before `until`, in order."""
        return self._timeline.between(since, until)

    def follow(self, since: float) -> Feed:
        """What happens from `since` on, each thing once, and whatever is planned after this call."""
        return self._timeline.follow(since)

    def unfollow(self, feed: Feed) -> None:
        """Tell a feed nothing more."""
        self._timeline.unfollow(feed)

    def subject(self, event: LifeEvent) -> Asset | Upload:
        """The asset or the upload that an event is about, deleted or not."""
        if event.type.startswith("video.upload.") and event.upload_id is not None:
            return self._uploads[event.upload_id]
        assert event.asset_id is not None
        return self._assets[event.asset_id]


def _if_alive(asset: Asset | None, now: float) -> Asset | None:
    return asset if asset is not None and now < asset.deleted_at else None


def _deletion(settings: Settings, life: Life, created_at: float) -> float:
    planned = math.inf if life.deleted_after is None else life.deleted_after
    return created_at + min(planned, TEST_ASSET_SECONDS if settings.test else math.inf)
