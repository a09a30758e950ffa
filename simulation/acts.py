"""What the app does with its rows in their lives: replaces assets, untracks, begins anew.

Drawn apart from the rest of a history, as a function of the seed alone.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from rindle_sync.app import RindleSync
from rindle_sync.domain import ProviderAsset, State
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.errors import AlreadyTracked, Conflict, DatabaseUnavailable
from rindle_sync.tracking import DirectUpload, PreparedUpload

if TYPE_CHECKING:
    from simulation.world import World

ADD_VIDEO: Final = "INSERT INTO app_videos (reference) VALUES ('{}') ON CONFLICT DO NOTHING"
"""The app's own row of a video."""

FILE: Final = "https://files.example.com/video.mp4?signature=planted-in-the-url"
"""Where the provider fetches a file; a key to it, which nobody must tell."""

_GLANCE: Final = 15.0
"""Seconds between two looks whether a row has ended."""
_GLANCES: Final = 40


@dataclass(frozen=True, slots=True)
class Act:
    """What the app does with one video that it tracks, and when; times in seconds."""

    video: int
    name: str
    """`replace`, `untrack` or `anew`: once the row is deleted."""
    after: float
    """After the video was made."""
    ends: str
    ends_after: float
    """How and when the new asset ends."""
    is_kept: bool
    """Whether the provider keeps the asset that the row had."""
    with_history: bool
    is_repeated: bool
    """Whether the app tracks the asset again, or calls twice at once."""

    @property
    def life(self) -> Life:
        """How the new asset lives."""
        return Life(self.ends, self.ends_after)  # type: ignore[arg-type]


def draw_acts(chance: Random, videos: int, longest: float) -> Sequence[Act]:
    """At most one act for each of so many videos."""
    return [
        Act(
            video=video,
            name=chance.choice(("replace", "replace", "untrack", "anew")),
            after=chance.uniform(0.5, longest),
            ends=chance.choice(("ready", "ready", "ready", "errored", "never")),
            ends_after=chance.uniform(0.5, longest),
            is_kept=chance.random() < 0.5,
            with_history=chance.random() < 0.3,
            is_repeated=chance.random() < 0.4,
        )
        for video in range(videos)
        if chance.random() < 0.7
    ]


async def perform(world: "World", act: Act, reference: str, asset_id: str) -> None:
    """Do what `act` says with the row of a video that is tracked."""
    await asyncio.sleep(act.after)
    rows = await world.on_some_host(partial(RindleSync.find_by_reference, reference=reference))
    if not rows:
        return
    world.note("app", f"{act.name} {rows[0].id}")
    perform_it = {"replace": _replace, "untrack": _untrack, "anew": _anew}[act.name]
    await perform_it(world, act, reference, rows[0].id)
    if act.name != "untrack" and not act.is_kept and world.own.get(reference) != asset_id:
        await asyncio.sleep(act.ends_after)
        world.delete(asset_id)


async def _replace(world: "World", act: Act, reference: str, row_id: str) -> None:
    new = world.emulator.create_asset(life=act.life)
    replace = partial(RindleSync.replace, row_id=row_id, provider_asset_id=new)
    if await world.on_some_host(replace):
        world.superseded.add(world.own[reference])
        world.own[reference] = new
        world.known.append(new)


async def _untrack(world: "World", act: Act, reference: str, row_id: str) -> None:
    asset_id = world.own.pop(reference)
    world.known.remove(asset_id)
    if act.with_history:
        world.without_history.add(row_id)
    untrack = partial(
        RindleSync.untrack, row_id=row_id, history=act.with_history, delete_asset=not act.is_kept
    )
    await world.on_some_host(untrack)
    # what a faulty 404 has untracked without its deletion is there, and may be adopted
    if act.is_kept or world.gone_at(asset_id) is not None:
        world.superseded.add(asset_id)
    if not act.is_kept:
        return
    await asyncio.sleep(act.ends_after)
    if act.is_repeated:
        world.superseded.remove(asset_id)
        track = partial(RindleSync.track, reference=reference, provider_asset_id=asset_id)
        await world.on_some_host(track)
        world.own[reference] = asset_id
    else:
        await world.on_some_host(RindleSync.backfill)


async def _anew(world: "World", act: Act, reference: str, row_id: str) -> None:
    for _ in range(_GLANCES):
        row = await world.on_some_host(partial(RindleSync.get, row_id=row_id))
        if row is None or row.state is State.DELETED:
            break
        await asyncio.sleep(_GLANCE)
    else:
        return
    world.own.pop(reference)
    world.emulator.life = act.life
    create = partial(RindleSync.create_asset, reference=reference, input=FILE)
    calls = 1 + act.is_repeated
    await asyncio.gather(*(world.on_some_host(create) for _ in range(calls)))


async def begin_upload(world: "World", number: int) -> DirectUpload | None:
    """The upload of a page: begun at once, or in two steps by two hosts; then perhaps reloaded."""
    options: Any = {
        "reference": f"upload{number}",
        "cors_origin": "https://app.example.com",
        "expires_in": timedelta(seconds=240),
    }
    begin = partial(RindleSync.begin_upload, **options)
    if number in world.plan.in_steps:
        prepared = await world.on_some_host(partial(RindleSync.prepare_upload, **options))
        made = await _start(world, prepared) if prepared else None
    else:
        made = await world.on_some_host(begin)
    if number in world.plan.reloaded:
        made = await world.on_some_host(partial(begin, resume=True)) or made
    return made


async def _start(world: "World", prepared: PreparedUpload) -> DirectUpload | None:
    start = partial(RindleSync.start_upload, prepared=prepared)
    final = AlreadyTracked, Conflict
    both = await asyncio.gather(*(world.on_some_host(start, final) for _ in range(2)))
    return next(filter(None, both), None)


async def track_with_a_row(world: "World", reference: str, asset_id: str) -> None:
    """Track an asset in the transaction of a row of the app's own."""

    async def track(rindle: RindleSync) -> ProviderAsset:
        try:
            with closing(world.place.connect()) as connection:
                connection.execute(ADD_VIDEO.format(reference))
                row = await rindle.track(
                    reference=reference, provider_asset_id=asset_id, connection=connection
                )
                # others go on meanwhile
                await asyncio.sleep(0.01)
                connection.commit()
                return row
        except sqlite3.OperationalError as error:
            raise DatabaseUnavailable(str(error)) from None

    await world.on_some_host(track)
