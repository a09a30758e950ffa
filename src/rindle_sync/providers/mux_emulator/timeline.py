"""Everything that happens to assets and uploads, in order of time: what webhooks would tell."""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from heapq import heapify, heappop, heappush

from rindle_sync.providers.mux_emulator.lives import Asset, Ending, Upload


class EventType(StrEnum):
    """Mux's names of the events of a life; there is none for an upload that timed out."""

    ASSET_CREATED = "video.asset.created"
    ASSET_READY = "video.asset.ready"
    ASSET_ERRORED = "video.asset.errored"
    ASSET_UPDATED = "video.asset.updated"
    ASSET_DELETED = "video.asset.deleted"
    UPLOAD_CREATED = "video.upload.created"
    UPLOAD_ASSET_CREATED = "video.upload.asset_created"
    UPLOAD_ERRORED = "video.upload.errored"
    UPLOAD_CANCELLED = "video.upload.cancelled"


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """Something that happened to an asset, to an upload, or to both; `at` is in unix seconds."""

    at: float
    type: EventType
    asset_id: str | None
    upload_id: str | None


_Mark = tuple[float, int, EventType, Asset | None, str | None]


class Feed:
    """What happens from some moment on, each thing once, however late it was planned."""

    def __init__(self, marks: list[_Mark]) -> None:
        heapify(marks)
        self._marks = marks

    def due(self, now: float) -> Iterator[tuple[int, LifeEvent]]:
        """What has happened by `now` and was not given out before, each with its number in the timeline."""
        while self._marks and self._marks[0][0] <= now:
            mark = heappop(self._marks)
            if _is_so(mark):
                yield mark[1], _event(mark)

    def add(self, mark: _Mark) -> None:
        """Something else that happens."""
        heappush(self._marks, mark)


class Timeline:
    """All planned and past events; those that a deletion has overtaken never show."""

    def __init__(self) -> None:
        self._marks: list[_Mark] = []
        self._made = 0
        self._is_sorted = True
        self._feeds: list[Feed] = []

    def asset_begins(self, asset: Asset) -> None:
        """Plan the whole life of a new asset, and what it means for the upload that it came from."""
        if asset.upload_id is not None:
            self._mark(asset.created_at, EventType.UPLOAD_ASSET_CREATED, asset, asset.upload_id)
        self._mark(asset.created_at, EventType.ASSET_CREATED, asset, asset.upload_id)
        if asset.life.ends == Ending.READY:
            self._mark(asset.ends_at, EventType.ASSET_READY, asset, asset.upload_id)
        elif asset.life.ends == Ending.ERRORED:
            self._asset_fails(asset)
        self.asset_goes(asset)

    def _asset_fails(self, asset: Asset) -> None:
        self._mark(asset.ends_at, EventType.ASSET_ERRORED, asset, asset.upload_id)
        if asset.upload_id is not None:
            self._mark(asset.ends_at, EventType.UPLOAD_ERRORED, asset, asset.upload_id)

    def asset_goes(self, asset: Asset) -> None:
        """Plan the deletion of an asset, if it has one."""
        if asset.deleted_at != math.inf:
            self._mark(asset.deleted_at, EventType.ASSET_DELETED, asset, asset.upload_id)

    def asset_changes(self, asset: Asset, at: float) -> None:
        """Note that something about an asset changed."""
        self._mark(at, EventType.ASSET_UPDATED, asset, asset.upload_id)

    def upload(self, at: float, what: EventType, upload: Upload) -> None:
        """Note what happened to an upload that has no asset."""
        self._mark(at, what, None, upload.id)

    def between(self, since: float, until: float) -> Iterator[LifeEvent]:
        """What happens from `since` on and before `until`, in order."""
        if not self._is_sorted:
            self._marks.sort(key=_when)
            self._is_sorted = True
        start, end = (bisect_left(self._marks, (moment, -1), key=_when) for moment in (since, until))
        return (_event(mark) for mark in self._marks[start:end] if _is_so(mark))

    def follow(self, since: float) -> Feed:
        """What happens from `since` on, and whatever is planned after this call, back-dated or not."""
        feed = Feed([mark for mark in self._marks if mark[0] >= since])
        self._feeds.append(feed)
        return feed

    def unfollow(self, feed: Feed) -> None:
        """Tell a feed nothing more."""
        self._feeds = [one for one in self._feeds if one is not feed]

    def _mark(self, at: float, what: EventType, asset: Asset | None, upload_id: str | None) -> None:
        self._made += 1
        self._is_sorted = False
        mark = (at, self._made, what, asset, upload_id)
        self._marks.append(mark)
        for feed in self._feeds:
            feed.add(mark)


def _is_so(mark: _Mark) -> bool:
    at, _, what, asset, _ = mark
    if asset is None or at < asset.deleted_at:
        return True
    return what is EventType.ASSET_DELETED and at == asset.deleted_at


def _event(mark: _Mark) -> LifeEvent:
    at, _, what, asset, upload_id = mark
    return LifeEvent(at, what, asset.id if asset else None, upload_id)


def _when(mark: _Mark) -> tuple[float, int]:
    return mark[0], mark[1]
