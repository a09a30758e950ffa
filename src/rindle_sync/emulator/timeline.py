"""Every event of assets and uploads in order of time: what webhooks report."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import Final, NamedTuple

from rindle_sync.emulator.lifecycle import Asset, Ending, Part, PartState
from rindle_sync.emulator.parts import Master, StaticRendition, Track


class EventType(StrEnum):
    """Mux's names of lifecycle events; there is none for an upload that timed out."""

    ASSET_CREATED = "video.asset.created"
    ASSET_READY = "video.asset.ready"
    ASSET_ERRORED = "video.asset.errored"
    ASSET_UPDATED = "video.asset.updated"
    ASSET_DELETED = "video.asset.deleted"
    LIVE_STREAM_COMPLETED = "video.asset.live_stream_completed"
    TRACK_CREATED = "video.asset.track.created"
    TRACK_READY = "video.asset.track.ready"
    TRACK_ERRORED = "video.asset.track.errored"
    TRACK_DELETED = "video.asset.track.deleted"
    RENDITION_CREATED = "video.asset.static_rendition.created"
    RENDITION_READY = "video.asset.static_rendition.ready"
    RENDITION_ERRORED = "video.asset.static_rendition.errored"
    RENDITION_SKIPPED = "video.asset.static_rendition.skipped"
    RENDITION_DELETED = "video.asset.static_rendition.deleted"
    MASTER_PREPARING = "video.asset.master.preparing"
    MASTER_READY = "video.asset.master.ready"
    MASTER_ERRORED = "video.asset.master.errored"
    MASTER_DELETED = "video.asset.master.deleted"
    UPLOAD_CREATED = "video.upload.created"
    UPLOAD_ASSET_CREATED = "video.upload.asset_created"
    UPLOAD_ERRORED = "video.upload.errored"
    UPLOAD_CANCELLED = "video.upload.cancelled"


PART_EVENTS: Final[Mapping[type[Part], Mapping[PartState, EventType]]] = {
    Track: {
        PartState.PREPARING: EventType.TRACK_CREATED,
        PartState.READY: EventType.TRACK_READY,
        PartState.ERRORED: EventType.TRACK_ERRORED,
        PartState.DELETED: EventType.TRACK_DELETED,
    },
    StaticRendition: {
        PartState.PREPARING: EventType.RENDITION_CREATED,
        PartState.READY: EventType.RENDITION_READY,
        PartState.ERRORED: EventType.RENDITION_ERRORED,
        PartState.SKIPPED: EventType.RENDITION_SKIPPED,
        PartState.DELETED: EventType.RENDITION_DELETED,
    },
    Master: {
        PartState.PREPARING: EventType.MASTER_PREPARING,
        PartState.READY: EventType.MASTER_READY,
        PartState.ERRORED: EventType.MASTER_ERRORED,
        PartState.DELETED: EventType.MASTER_DELETED,
    },
}
"""The event with which each kind of part enters each state."""

_ASSET_ENDS: Final = {
    EventType.ASSET_READY: Ending.READY,
    EventType.ASSET_ERRORED: Ending.ERRORED,
    EventType.UPLOAD_ERRORED: Ending.ERRORED,
}


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """An event of an asset, of an upload, or of both; `at` is in Unix seconds.

    `part_id` is the track, the static rendition or the master that it is about.
    """

    at: float
    type: EventType
    asset_id: str | None
    upload_id: str | None
    part_id: str | None = None


class PlannedEvent(NamedTuple):
    """An event that a later call may still cancel; ordered by time, then by `number`."""

    at: float
    number: int
    type: EventType
    asset: Asset | None
    upload_id: str | None
    part: Part | None = None

    def life_event(self) -> LifeEvent | None:
        """The event as users see it; None if its subject ends otherwise, or is deleted before."""
        if self.asset is None:
            return LifeEvent(self.at, self.type, None, self.upload_id)
        if self._is_outdated():
            return None
        is_deletion = self.type is EventType.ASSET_DELETED and self.at == self.asset.deleted_at
        if self.at >= self.asset.deleted_at and not is_deletion:
            return None
        if self.part is None:
            return LifeEvent(self.at, self.type, self.asset.id, self.upload_id)
        is_last = self.type is PART_EVENTS[type(self.part)][PartState.DELETED]
        if self.at >= self.part.deleted_at and not (is_last and self.at == self.part.deleted_at):
            return None
        return LifeEvent(self.at, self.type, self.asset.id, self.upload_id, self.part.id)

    def _is_outdated(self) -> bool:
        """Whether it is the end of a lifecycle that was changed after the event was planned."""
        asset, part = self.asset, self.part
        assert asset
        if part is not None:
            events = PART_EVENTS[type(part)]
            if self.type in {events[PartState.PREPARING], events[PartState.DELETED]}:
                return False
            is_its_end = part.ends_at == self.at
            return not is_its_end or self.type is not events[PartState(part.ending)]
        if self.type is EventType.LIVE_STREAM_COMPLETED:
            return self.at != asset.completed_at or asset.life.ends != Ending.READY
        ending = _ASSET_ENDS.get(self.type)
        return ending is not None and (self.at != asset.ends_at or ending != asset.life.ends)


_when = itemgetter(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """The events from some moment on, each reported once, even if it was planned late."""

    planned: list[PlannedEvent]
    """A heap of the events not reported yet."""

    def due(self, now: float) -> Iterator[tuple[int, LifeEvent]]:
        """The events up to `now` not returned before, each with its number in the timeline."""
        while self.planned and self.planned[0].at <= now:
            planned = heappop(self.planned)
            event = planned.life_event()
            if event:
                yield planned.number, event


class Timeline:
    """All planned and past events; those after a deletion are left out."""

    def __init__(self) -> None:
        self._planned: list[PlannedEvent] = []
        self._created = 0
        self._is_sorted = True
        self.feeds: list[Feed] = []
        """Every feed to which new events are added."""

    def add(
        self,
        at: float,
        what: EventType,
        asset: Asset | None,
        upload_id: str | None = None,
        part: Part | None = None,
    ) -> None:
        """Plan an event; one of an asset from an upload names the upload too."""
        if asset is not None:
            upload_id = asset.upload_id
        self._created += 1
        self._is_sorted = False
        planned = PlannedEvent(at, self._created, what, asset, upload_id, part)
        self._planned.append(planned)
        for feed in self.feeds:
            heappush(feed.planned, planned)

    def add_lifecycle(self, asset: Asset) -> None:
        """Plan all events of a new asset but its deletion, and those of its upload."""
        if asset.upload_id is not None:
            self.add(asset.created_at, EventType.UPLOAD_ASSET_CREATED, asset)
        self.add(asset.created_at, EventType.ASSET_CREATED, asset)
        self.add_ending(asset)

    def add_ending(self, asset: Asset) -> None:
        """Plan the end of the preparation of an asset; one that was planned before is void."""
        if asset.life.ends == Ending.READY:
            self.add(asset.ends_at, EventType.ASSET_READY, asset)
            if asset.settings.live_seconds is not None:
                self.add(asset.completed_at, EventType.LIVE_STREAM_COMPLETED, asset)
        elif asset.life.ends == Ending.ERRORED:
            self.add(asset.ends_at, EventType.ASSET_ERRORED, asset)
            if asset.upload_id is not None:
                self.add(asset.ends_at, EventType.UPLOAD_ERRORED, asset)

    def add_part(self, part: Part) -> None:
        """Plan all events of a new part of an asset but its deletion."""
        self.enter(part, PartState.PREPARING, part.created_at)
        self.add_part_ending(part)

    def add_part_ending(self, part: Part) -> None:
        """Plan the end of the preparation of a part; one that was planned before is void."""
        if part.ends_at != math.inf:
            self.enter(part, PartState(part.ending), part.ends_at)

    def enter(self, part: Part, state: PartState, at: float) -> None:
        """Plan the event with which a part of an asset enters a state."""
        self.add(at, PART_EVENTS[type(part)][state], part.asset, part=part)

    def between(self, since: float, until: float) -> Iterator[LifeEvent]:
        """The events from `since` on and before `until`, in order."""
        if not self._is_sorted:
            self._planned.sort(key=_when)
            self._is_sorted = True
        start = bisect_left(self._planned, (since, -1), key=_when)
        end = bisect_left(self._planned, (until, -1), key=_when)
        events = (planned.life_event() for planned in self._planned[start:end])
        return (event for event in events if event)

    def follow(self, since: float) -> Feed:
        """The events from `since` on, and every event planned after this call, even a past one."""
        planned_since = [planned for planned in self._planned if planned.at >= since]
        heapify(planned_since)
        feed = Feed(planned_since)
        self.feeds.append(feed)
        return feed
