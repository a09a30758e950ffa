"""Each road as a process that is killed with -9 between any two statements: nothing is lost.

A thinned set of points is run, all of them with RINDLE_CRASH_POINTS=all.
"""

import asyncio
import dataclasses
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import create_engine, select

from rindle_sync.demo import agrees
from rindle_sync.domain import (
    ErrorKind,
    EventStatus,
    Outcome,
    PlaybackId,
    ProviderAsset,
    State,
    replace,
)
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life, UploadState
from rindle_sync.errors import AlreadyTracked
from rindle_sync.providers.mux import sign
from rindle_sync.reconcile import ListIndex, sweep
from rindle_sync.store import ROW, Database, Store, read_row
from rindle_sync.store.migrations import upgrade
from rindle_sync.store.schema.engine import engine_url, open_engine
from tests.support.crash_points import (
    TABLES,
    Act,
    Databases,
    Ended,
    Forks,
    Living,
    Order,
    SqliteFiles,
    app_changes,
    forking,
    live,
    postgres_databases,
)
from tests.support.processes import FarEnd, serving
from tests.support.rows import NOW, a_row
from tests.support.webhooks import SECRET, an_event
from tests.support.world import ERRORED, READY, Clock

EVERY = 7
"""Of so many points one is in a thinned set; the first and the last always are."""

PREPARED = NOW - timedelta(minutes=30)
DEAD_FOR = timedelta(minutes=5)
"""Past the end of every lease, and before anything else has become due."""

STEP = timedelta(minutes=22)
"""Past the time to confirm a loss, and the time in which an upload is to be begun."""

LANES = 2

GONE = Life(ends="never", deleted_after=1)
LOST = Life(ends="ready", after=0, deleted_after=1)
PROGRAM = "token:backend"
APP_ASSETS = ("video-new", "video-failed")
ORIGIN = "https://app.example"


# what a process does


async def nothing(_: Living) -> None:
    pass


async def caught_up(living: Living) -> None:
    """What a service does that runs on, while time passes."""
    for _ in range(2):
        await living.rindle.process_webhook_events()
        await living.rindle.sweep()
        await living.rindle.dispatch()
        living.clock.move(STEP)


async def deliver(living: Living) -> None:
    """The provider sends what was not answered yet."""
    endpoint = httpx.ASGITransport(app=living.rindle.webhooks)
    async with httpx.AsyncClient(transport=endpoint, base_url=ORIGIN) as provider:
        for event in living.given["events"]:
            if event["id"] not in living.given.get("answered", ()):
                body = json.dumps(event).encode()
                headers = {"mux-signature": sign(body, SECRET, living.clock.now())}
                reply = await provider.post("/", content=body, headers=headers)
                assert reply.is_success, reply.text
                living.journal.note("answered", id=event["id"])
                living.points.reach(f"after the answer to {event['id']}")


async def deliver_again(living: Living) -> None:
    await deliver(living)
    await caught_up(living)


async def ingest_kept(living: Living) -> None:
    await living.rindle.process_webhook_events()


async def sync_one(living: Living) -> None:
    await living.rindle.sync(living.given["assets"][0])


async def sweep_pages(living: Living) -> None:
    await living.rindle.sweep()


async def sweep_ids(living: Living) -> None:
    await sweep(dataclasses.replace(living.rindle.context, list_index=ListIndex(trust=False)))


async def audit_and_confirm(living: Living) -> None:
    report = await living.rindle.audit()
    assert report.outcome is Outcome.DONE, report
    living.clock.move(STEP)
    await living.rindle.sweep()


async def audit_again(living: Living) -> None:
    await audit_and_confirm(living)
    await caught_up(living)


async def fill(living: Living) -> None:
    filled = await living.rindle.backfill()
    assert filled.outcome is Outcome.DONE, filled


async def fill_again(living: Living) -> None:
    await fill(living)
    await caught_up(living)


async def become_stuck_then_ready(living: Living) -> None:
    """Two changes of each row that are still to be announced."""
    for asset in living.given["assets"]:
        await living.rindle.sync(asset)
    living.clock.move(STEP)
    await living.rindle.sweep()


async def dispatch_changes(living: Living) -> None:
    assert await living.rindle.dispatch()


async def hand_over_changes(living: Living) -> None:
    """Dispatch to a callback that writes to the app's table, beside those that do not."""
    living.rindle.on_change(living.keep, transactional=True)
    living.rindle.on_change(living.hear, name="heard last")
    await living.rindle.dispatch()


async def hand_over_the_rest(living: Living) -> None:
    await hand_over_changes(living)
    await caught_up(living)


async def begin(living: Living) -> None:
    for reference in APP_ASSETS:
        await begin_one(living, reference)


async def begin_one(living: Living, reference: str) -> str:
    link = await living.rindle.begin_upload(reference=reference, cors_origin=ORIGIN)
    living.journal.note("link", reference=reference, url=link.url)
    living.points.reach(f"after the URL for {reference}")
    return link.url


async def begin_in_two_steps(living: Living) -> None:
    """The row in the app's transaction, the provider's call after its commit."""
    for reference in APP_ASSETS:
        async with living.rindle.store.database.engine.begin() as connection:
            prepared = await living.rindle.prepare_upload(
                reference=reference, cors_origin=ORIGIN, connection=connection.for_app()
            )
        link = await living.rindle.start_upload(prepared)
        living.journal.note("link", reference=reference, url=link.url)
        living.points.reach(f"after the URL for {reference}")


async def resume(living: Living) -> None:
    """Pages are loaded again: each gets its upload by one call, a new one where none waits."""
    for reference in APP_ASSETS:
        try:
            link = await living.rindle.begin_upload(
                reference=reference, cors_origin=ORIGIN, resume=True
            )
        except AlreadyTracked:
            continue  # its file has come
        living.journal.note("link", reference=reference, url=link.url)
        await send_file(link.url)
        living.points.reach(f"after the file for {reference}")


async def resume_again(living: Living) -> None:
    await resume(living)
    await caught_up(living)
    await caught_up(living)


async def create(living: Living) -> None:
    for reference in APP_ASSETS:
        await create_one(living, reference)


async def create_one(living: Living, reference: str) -> None:
    """An asset from a URL, one in two steps, the other in one."""
    film = "https://files.example/film.mp4"
    if reference == APP_ASSETS[0]:
        prepared = await living.rindle.prepare_asset(reference=reference, input=film)
        row = await living.rindle.start_asset(prepared)
    else:
        row = await living.rindle.create_asset(reference=reference, input=film)
    living.points.reach(f"after the asset for {reference}")
    living.journal.note("created", row_id=row.id)


async def create_again(living: Living) -> None:
    """What was made is found; what was not has ended, and is made now."""
    await caught_up(living)
    for reference in APP_ASSETS:
        with suppress(AlreadyTracked):
            await create_one(living, reference)
    await caught_up(living)
    await caught_up(living)


async def replace_all(living: Living) -> None:
    for row_id, other in zip(living.given["rows"], living.given["others"], strict=False):
        assert await living.rindle.replace(row_id, **other)
        living.points.reach("after a row was replaced")


async def replace_again(living: Living) -> None:
    await replace_all(living)
    await caught_up(living)
    await fill_again(living)


async def forget_all(living: Living) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"history": True, "webhook_bodies": True},
        {"delete_asset": True},
    ]
    for row_id, chosen in zip(living.given["rows"], options, strict=True):
        await living.rindle.untrack(row_id, **chosen)
        living.points.reach("after a row was forgotten")


async def forget_again(living: Living) -> None:
    await caught_up(living)
    await forget_all(living)
    await fill_again(living)
    # an event about what is not remembered waits for a row a few times
    await caught_up(living)


async def begin_again(living: Living) -> None:
    """Browsers use the URLs that they were given; for the others the app begins again."""
    links: dict[str, str] = living.given["links"]
    for url in links.values():
        await send_file(url)
    await living.rindle.process_webhook_events()
    await living.rindle.sweep()
    for reference in APP_ASSETS:
        if reference not in links:
            await send_file(await begin_in_spite(living, reference))
    await caught_up(living)
    await caught_up(living)


async def begin_in_spite(living: Living, reference: str) -> str:
    """As the documentation says: where the row is in the way, cancel first."""
    try:
        return await begin_one(living, reference)
    except AlreadyTracked:
        row = await living.rindle.store.assets.find_by_reference(reference, "default")
        assert row
        await living.rindle.cancel_upload(row.id)
        return await begin_one(living, reference)


async def send_file(url: str) -> None:
    async with httpx.AsyncClient(verify=False) as browser:
        assert (await browser.put(url, content=b"a film")).is_success


async def cancel(living: Living) -> None:
    for row_id in living.given["rows"]:
        row = await living.rindle.cancel_upload(row_id)
        assert row
        living.journal.note("cancelled", row_id=row_id, state=row.state)
        living.points.reach("after a row was said to be cancelled")


async def cancel_again(living: Living) -> None:
    """What the app was told stands.

    What it was not told is brought in sync; then it asks again.
    """
    for told in living.given["cancelled"]:
        row = await living.rindle.get(told["row_id"])
        assert row
        assert row.state == told["state"], "the app was told otherwise"
    await caught_up(living)
    for row_id in living.given["rows"]:
        row = await living.rindle.get(row_id)
        assert row
        there = living.given["uploads"].get(row.provider_upload_id or "", UploadState.CANCELLED)
        expected = {UploadState.WAITING: State.UPLOADING, UploadState.ASSET_CREATED: State.READY}
        assert row.state == expected.get(there, State.ERRORED), (
            f"the upload is {there}, the row {row.state}"
        )
    await cancel(living)
    await caught_up(living)


# a program, whose actions are recorded


def by_program(living: Living) -> Living:
    """The same service, whose acts are those of a program with a token of the HTTP API."""
    return dataclasses.replace(living, rindle=living.rindle.as_actor(PROGRAM))


async def begin_by_program(living: Living) -> None:
    await begin(by_program(living))


async def begin_again_by_program(living: Living) -> None:
    await begin_again(by_program(living))


async def forget_by_program(living: Living) -> None:
    await forget_all(by_program(living))


async def forget_again_by_program(living: Living) -> None:
    await forget_again(by_program(living))


# what stands at the far end, and in the table


@dataclass
class Stage:
    """What a road begins with.

    The rows, the webhooks that are to come, and how many rows there are in the end.
    """

    rows: list[ProviderAsset]
    events: list[dict[str, Any]] = field(default_factory=list)
    more_rows: int = 0
    is_kept: bool = False
    """Whether the app keeps each change in a table of its own."""
    others: list[dict[str, str]] = field(default_factory=list)
    """The asset, or upload, that each row is to get."""
    all_are_known: bool = False
    """Whether each asset at the far end is one of a row in the end."""
    is_recorded: bool = False
    """Whether all is done by a program, whose actions are recorded."""

    @property
    def given(self) -> dict[str, Any]:
        ids = [row.id for row in self.rows]
        return {
            "rows": ids,
            "assets": [row.provider_asset_id for row in self.rows],
            "events": self.events,
            "others": self.others,
        }


def rows_of(emulator: MuxEmulator, *lives: Life, **values: Any) -> list[ProviderAsset]:
    """A due row for each of some new assets, made a minute apart, oldest first."""
    began = NOW - timedelta(hours=2)
    ids = emulator.create_assets(
        len(lives), life=lambda i: lives[i], created_at=began.timestamp(), every=60
    )
    return [
        a_row(
            **{
                "id": str(UUID(int=place + 1)),
                "reference": f"video-{place + 1}",
                "provider_asset_id": asset_id,
                "provider_created_at": began + timedelta(minutes=place),
                "updated_at": NOW - timedelta(hours=1),
                "check_at": NOW - timedelta(hours=1),
                **values,
            }
        )
        for place, asset_id in enumerate(ids)
    ]


def at_rest(emulator: MuxEmulator, *rows: ProviderAsset) -> list[ProviderAsset]:
    """The rows as they are when they are in sync and ready."""
    return [
        replace(row, state=State.READY, playback_ids=playback(emulator, row), check_at=None)
        for row in rows
    ]


def playback(emulator: MuxEmulator, row: ProviderAsset) -> tuple[PlaybackId, ...]:
    return tuple(
        PlaybackId(p.id, p.policy) for p in emulator.truth(row.provider_asset_id or "").playback_ids
    )


def a_ready_event(emulator: MuxEmulator, row: ProviderAsset, id_: str) -> dict[str, Any]:
    ids = [{"id": p.id, "policy": p.policy} for p in playback(emulator, row)]
    return an_event(row, id=id_, playback_ids=ids)


def webhooks(emulator: MuxEmulator) -> Stage:
    """Two of a row, one twice, one not acted on, one ambiguous, one that no sweep would find."""
    first, second, third, *settled = rows_of(emulator, READY, ERRORED, READY, READY, LOST)
    ambiguous, lost = at_rest(emulator, *settled)
    ready = a_ready_event(emulator, first, "event-2")
    events = [
        an_event(first, "video.asset.created", id="event-1", at="2026-11-23T11:00:00.000000Z"),
        ready,
        ready,
        an_event(second, "video.asset.errored", id="event-3"),
        an_event(third, "video.asset.track.created", id="event-4"),
        a_ready_event(emulator, third, "event-5"),
        an_event(ambiguous, "video.asset.errored", id="event-6"),
        an_event(lost, "video.asset.deleted", id="event-7"),
    ]
    return Stage([first, second, third, ambiguous, lost], events)


def one_row(emulator: MuxEmulator) -> Stage:
    return Stage(rows_of(emulator, READY))


def due_rows(emulator: MuxEmulator) -> Stage:
    return Stage(rows_of(emulator, READY, ERRORED, READY, GONE, READY, READY, ERRORED, READY))


def due_few(emulator: MuxEmulator) -> Stage:
    return Stage(rows_of(emulator, READY, ERRORED, GONE))


def stuck_rows(emulator: MuxEmulator) -> Stage:
    return Stage(rows_of(emulator, READY, ERRORED, READY, updated_at=PREPARED - timedelta(hours=3)))


def kept_rows(emulator: MuxEmulator) -> Stage:
    return dataclasses.replace(stuck_rows(emulator), is_kept=True)


def library(emulator: MuxEmulator) -> Stage:
    """Settled rows, out of sync on each of three pages, one deleted, one misplaced.

    And an asset without a row.
    """
    lives = (READY, READY, READY, READY, LOST, ERRORED, READY, READY, READY, READY, READY)
    *rows, _orphan = at_rest(emulator, *rows_of(emulator, *lives))
    for unknown in (0, 8):
        rows[unknown] = replace(rows[unknown], playback_ids=())
    rows[3] = replace(rows[3], state=State.ERRORED, error_kind=ErrorKind.PROVIDER, playback_ids=())
    rows[7] = replace(
        rows[7], provider_created_at=rows[7].provider_created_at + timedelta(seconds=30)
    )
    return Stage(rows)


def strange_library(emulator: MuxEmulator) -> Stage:
    """Assets that no row knows, two of one passthrough, and one whose upload a row waits for."""
    emulator.life = READY
    [known] = at_rest(emulator, *rows_of(emulator, READY))
    named = ["video-9", "video-9", "video-10"]
    emulator.create_assets(3, life=READY, passthrough=lambda i: named[i])
    emulator.create_assets(
        3, life=lambda i: (READY, ERRORED, GONE)[i], created_at=NOW.timestamp() - 60
    )
    upload = emulator.create_upload(passthrough="passed-through")
    emulator.finish_upload(upload)
    awaiting = waiting_row(2, upload, passthrough="passed-through")
    return Stage([known, awaiting], more_rows=5)


def failed_row(emulator: MuxEmulator) -> Stage:
    emulator.life = READY
    failed = a_row(
        State.ERRORED,
        id=str(UUID(int=1)),
        reference=APP_ASSETS[1],
        error_kind=ErrorKind.UPLOAD,
        provider_asset_id=None,
        passthrough="passed-through",
    )
    return Stage([failed], more_rows=1)


def failed_asset(emulator: MuxEmulator) -> Stage:
    stage = failed_row(emulator)
    return dataclasses.replace(stage, all_are_known=True)


def failed_row_of_program(emulator: MuxEmulator) -> Stage:
    return dataclasses.replace(failed_row(emulator), is_recorded=True)


def to_replace(emulator: MuxEmulator) -> Stage:
    """One that is ready, one that failed, and one that is being made, and what each is to get.

    An asset, one that a backfill has adopted, and an upload.
    """
    emulator.life = READY
    ready, failed, begun, adopted = rows_of(emulator, READY, ERRORED, READY, READY)
    [ready] = at_rest(emulator, ready)
    failed = replace(failed, state=State.ERRORED, error_kind=ErrorKind.PROVIDER, check_at=None)
    adopted = replace(adopted, ingest_mode="adopted", reference="adopted:1")
    upload = emulator.create_upload()
    emulator.finish_upload(upload)
    return Stage(
        [ready, failed, begun, adopted],
        more_rows=-1,
        others=[
            {"provider_asset_id": emulator.create_asset(life=READY)},
            {"provider_asset_id": adopted.provider_asset_id or ""},
            {"provider_upload_id": upload},
        ],
    )


def to_forget(emulator: MuxEmulator) -> Stage:
    rows = rows_of(emulator, READY, READY, READY)
    events = [a_ready_event(emulator, row, f"event-{row.reference}") for row in rows]
    return Stage(rows, events, more_rows=-3)


def to_forget_by_program(emulator: MuxEmulator) -> Stage:
    return dataclasses.replace(to_forget(emulator), is_recorded=True)


def uploads(emulator: MuxEmulator) -> Stage:
    """One that waits for its file, one whose file has come, and a row whose upload was not made."""
    emulator.life = READY
    waiting, come = emulator.create_upload(), emulator.create_upload()
    emulator.finish_upload(come)
    just_now = {"updated_at": NOW - timedelta(minutes=1), "check_at": NOW + timedelta(minutes=9)}
    pending = replace(waiting_row(3, None, **just_now), state=State.PENDING)
    return Stage([waiting_row(1, waiting), waiting_row(2, come), pending])


def waiting_row(number: int, upload: str | None, **values: Any) -> ProviderAsset:
    ids = {"id": str(UUID(int=number)), "reference": f"video-{number}", "provider_asset_id": None}
    values.setdefault("check_at", NOW - timedelta(hours=1))
    return a_row(State.UPLOADING, provider_upload_id=upload, **ids, **values)


@dataclass(frozen=True)
class Road:
    """How a process sets out, where it is killed, and what a restarted one does."""

    act: Act
    stage: Callable[[MuxEmulator], Stage]
    before: Act = nothing
    again: Act = caught_up


ROADS = {
    "receive": Road(deliver, webhooks, again=deliver_again),
    "ingest": Road(ingest_kept, webhooks, before=deliver),
    "sync": Road(sync_one, one_row),
    "sweep by page": Road(sweep_pages, due_rows),
    "sweep by id": Road(sweep_ids, due_few),
    "audit": Road(audit_and_confirm, library, again=audit_again),
    "backfill": Road(fill, strange_library, again=fill_again),
    "begin_upload": Road(begin, failed_row, again=begin_again),
    "two steps": Road(begin_in_two_steps, failed_row, again=begin_again),
    "resume": Road(resume, failed_row, again=resume_again),
    "create_asset": Road(create, failed_asset, again=create_again),
    "replace": Road(replace_all, to_replace, again=replace_again),
    "untrack": Road(forget_all, to_forget, before=deliver, again=forget_again),
    "begin_upload by a program": Road(
        begin_by_program, failed_row_of_program, again=begin_again_by_program
    ),
    "untrack by a program": Road(
        forget_by_program, to_forget_by_program, before=deliver, again=forget_again_by_program
    ),
    "cancel_upload": Road(cancel, uploads, again=cancel_again),
    "announce": Road(dispatch_changes, stuck_rows, before=become_stuck_then_ready),
    "hand over": Road(
        hand_over_changes, kept_rows, before=become_stuck_then_ready, again=hand_over_the_rest
    ),
}


# what must hold afterwards


@dataclass(frozen=True)
class Aftermath:
    """What the dead have left behind, and the living have made of it."""

    stage: Stage
    emulator: MuxEmulator
    dead: Ended
    living: Ended
    tables: dict[str, list[Any]]

    @property
    def rows(self) -> list[ProviderAsset]:
        return [read_row(document) for document in self.tables["rows"]]

    def all(self, kind: str) -> list[dict[str, Any]]:
        """What was noted before the death and after it."""
        return self.dead.all(kind) + self.living.all(kind)

    def check(self) -> None:
        self.every_row_is_in_sync()
        self.every_webhook_is_kept_and_applied()
        self.every_change_was_announced_in_order()
        self.the_app_has_each_change_exactly_once()
        self.every_link_has_led_to_its_row()
        self.every_act_of_a_program_is_recorded_once()
        self.nothing_is_left_to_do()

    def every_row_is_in_sync(self) -> None:
        assert len(self.rows) == len(self.stage.rows) + self.stage.more_rows
        assert len({row.reference for row in self.rows}) == len(self.rows)
        for row in self.rows:
            if row.provider_asset_id:
                assert agrees(row, self.emulator.truth(row.provider_asset_id)), row
            else:
                assert row.error_kind is ErrorKind.UPLOAD, row
        if self.stage.all_are_known:
            there = self.emulator.environment.assets
            assert set(there) == {row.provider_asset_id for row in self.rows}

    def every_webhook_is_kept_and_applied(self) -> None:
        kept = [line.event_id for line in self.tables["provider_webhook_events"]]
        assert sorted(kept) == sorted({event["id"] for event in self.stage.events})
        assert {line.status for line in self.tables["provider_webhook_events"]} <= {
            EventStatus.APPLIED,
            EventStatus.IGNORED,
        }

    def every_change_was_announced_in_order(self) -> None:
        for row in self.rows:
            lines = [
                line for line in self.tables["provider_asset_changes"] if line.row_id == row.id
            ]
            lines.sort(key=lambda line: line.version)
            told = [note["version"] for note in self.all("announced") if note["row_id"] == row.id]
            assert told == sorted(told)
            assert set(told) == {line.version for line in lines}
            self.changes_lead_to(row, lines)

    def the_app_has_each_change_exactly_once(self) -> None:
        changes = self.tables["provider_asset_changes"] if self.stage.is_kept else []
        kept = [(line.row_id, line.version) for line in self.tables["app_changes"]]
        assert sorted(kept) == sorted((line.row_id, line.version) for line in changes)

    def changes_lead_to(self, row: ProviderAsset, lines: list[Any]) -> None:
        """Each change leads on from the one before it, and the last one to where the row is."""
        began = {row.id: row.state for row in self.stage.rows}
        first = began.get(row.id, lines[0].from_state if lines else row.state)
        states = [first, *(line.to_state for line in lines)]
        assert [line.from_state for line in lines] == states[:-1]
        assert states[-1] == row.state

    def every_link_has_led_to_its_row(self) -> None:
        rows = {row.reference: row for row in self.rows}
        for note in self.all("link"):
            row = rows[note["reference"]]
            assert row.state is State.READY
            assert f"/_upload/{row.provider_upload_id}?" in note["url"]

    def every_act_of_a_program_is_recorded_once(self) -> None:
        acts = self.tables["provider_row_actions"]
        assert bool(acts) == self.stage.is_recorded
        if not self.stage.is_recorded:
            return
        assert {line.actor for line in acts} <= {PROGRAM}
        there = {row.id for row in self.rows}
        begun = Counter(line.row_id for line in acts if line.outcome == "begun")
        done = Counter(line.row_id for line in acts if line.outcome == "done")
        assert done == dict.fromkeys({row.id for row in self.stage.rows} - there, 1)
        if there:
            assert +Counter(begun) == +self.attempts

    @property
    def attempts(self) -> Counter[str]:
        """How often the upload of each row was begun, as rows and changes have it."""
        before = {row.id for row in self.stage.rows}
        attempts = Counter(row.id for row in self.rows if row.id not in before)
        again = [
            line.row_id
            for line in self.tables["provider_asset_changes"]
            if line.reason == "begun again"
        ]
        return attempts + Counter(again) if self.stage.is_recorded else Counter()

    def nothing_is_left_to_do(self) -> None:
        for name in (
            "media_provider_assets",
            "provider_webhook_events",
            "provider_asset_changes",
            "provider_job_runs",
        ):
            leases = [line.lease_until for line in self.tables[name] if line.lease_token]
            assert all(until < self.dead.at + DEAD_FOR for until in leases), (
                f"a lease in {name} is held"
            )
        assert [line for line in self.tables["provider_asset_changes"] if line.dispatch_at] == []
        assert self.tables["provider_change_deliveries"] == []
        assert [line for line in self.tables["provider_job_runs"] if line.began_at] == []
        assert self.tables["provider_deletion_candidates"] == []


def tables_of(url: str) -> dict[str, list[Any]]:
    parsed = engine_url(url)
    sync_driver = parsed.drivername.removesuffix("+aiosqlite").removesuffix("_async")
    engine = create_engine(parsed.set(drivername=sync_driver))
    try:
        with engine.connect() as connection:
            lines = {table.name: list(connection.execute(select(table))) for table in TABLES}
            return lines | {"rows": list(connection.execute(select(ROW)).scalars())}
    finally:
        engine.dispose()


# the killing


@dataclass(frozen=True)
class Lane:
    """All that it takes to kill one process after the other; there are a few, side by side."""

    forks: Forks
    databases: Databases
    migrated: str
    """A database with our tables and nothing in them."""
    far_end: FarEnd
    clock: Clock
    folder: Path


@dataclass
class Killing:
    """One road in one lane."""

    road: Road
    lane: Lane
    prepared: str = ""

    def prepare(self) -> None:
        """A database as the road finds it."""
        databases, stage = self.lane.databases, self.set_out()
        self.prepared = databases.new(like=self.lane.migrated)
        asyncio.run(self.fill(stage))
        databases.wait_until_left(self.prepared)
        databases.keep(self.prepared)

    async def fill(self, stage: Stage) -> None:
        database = Database(open_engine(self.prepared))
        store = Store(database, "mux", "default")
        assert (await store.assets.add_all(stage.rows)).rows == stage.rows
        await database.close()
        order = self.order(self.road.before, PREPARED, self.prepared, given=stage.given)
        await live(order, self.road.before)

    def set_out(self) -> Stage:
        """The far end as it is at the beginning, each time the same."""
        self.lane.clock.time = NOW
        self.lane.far_end.emulator.reset()
        return self.road.stage(self.lane.far_end.emulator)

    def order(self, act: Act, now: datetime, url: str, **values: Any) -> Order:
        return Order(
            act=act.__name__,
            now=now.isoformat(),
            database_url=url,
            mux_url=self.lane.far_end.url,
            journal=str(self.lane.folder / uuid4().hex),
            **values,
        )

    def count(self) -> list[str]:
        """Where a process can be killed; one that is not killed leaves nothing behind either."""
        return [note["where"] for note in self.kill_at(0).all("point")]

    def kill_at(self, point: int) -> Ended:
        """A process is killed at a point, not at all for 0, and another repairs what it left."""
        stage, databases, is_first = self.set_out(), self.lane.databases, point == 0
        url = databases.fresh(self.prepared)
        order = self.order(
            self.road.act, NOW, url, given=stage.given, kill_at=point, is_first=is_first
        )
        dead = self.lane.forks.run(order)
        assert dead.was_killed or (is_first and dead.code == 0), dead.trouble
        databases.wait_until_left(url)
        given = stage.given | self.told(dead)
        living = self.lane.forks.run(
            self.order(self.road.again, dead.at + DEAD_FOR, url, given=given, is_first=is_first)
        )
        assert living.code == 0, living.trouble
        Aftermath(stage, self.lane.far_end.emulator, dead, living, tables_of(url)).check()
        databases.done(url)
        return dead

    def told(self, dead: Ended) -> dict[str, Any]:
        """What others have heard of the dead, and what stands at the far end."""
        there = self.lane.far_end.emulator.environment.uploads(limit=100)
        return {
            "answered": [note["id"] for note in dead.all("answered")],
            "links": {note["reference"]: note["url"] for note in dead.all("link")},
            "cancelled": dead.all("cancelled"),
            "uploads": {upload.id: upload.state(NOW.timestamp()) for upload in there},
        }


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def open_databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], AbstractContextManager[Databases]]:
    if request.param == "postgresql":
        server: str = request.getfixturevalue("postgres_server")
        return lambda: postgres_databases(server)
    return lambda: nullcontext(SqliteFiles(tmp_path_factory.mktemp("databases")))


@pytest.fixture(scope="module")
def lanes(
    open_databases: Callable[[], AbstractContextManager[Databases]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Lane]]:
    with ExitStack() as stack:
        opened = []
        for _ in range(LANES):
            databases, clock = stack.enter_context(open_databases()), Clock()
            far_end = stack.enter_context(serving(MuxEmulator(now=clock.seconds)))
            forks, folder = (
                stack.enter_context(forking(__name__)),
                tmp_path_factory.mktemp("journals"),
            )
            opened.append(Lane(forks, databases, migrated(databases), far_end, clock, folder))
        yield opened


def migrated(databases: Databases) -> str:
    url = databases.new()

    async def migrate() -> None:
        engine = open_engine(url)
        await upgrade(engine)
        async with engine.begin() as connection:
            await connection.run_sync(app_changes.create)
        await engine.dispose()

    asyncio.run(migrate())
    return url


def chosen(points: int) -> list[int]:
    if os.environ.get("RINDLE_CRASH_POINTS") == "all":
        return list(range(1, points + 1))
    return sorted({1, *range(EVERY, points, EVERY), points})


@pytest.mark.parametrize("name", ROADS)
def test_a_process_that_is_killed_between_two_statements_leaves_nothing_behind(
    name: str, lanes: list[Lane]
) -> None:
    def kill_again_and_again(place: int) -> None:
        killing = Killing(ROADS[name], lanes[place])
        killing.prepare()
        places = killing.count()
        for point in chosen(len(places))[place :: len(lanes)]:
            try:
                killing.kill_at(point)
            except AssertionError as error:
                database, where = lanes[place].databases.name, places[point - 1]
                error.add_note(
                    f"{name} on {database}, killed at point {point} of {len(places)}: {where}"
                )
                raise

    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(kill_again_and_again, range(len(lanes))))
