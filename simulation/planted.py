"""Faults planted in the service on purpose, one at a time.

A simulator that finds none of them proves nothing.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

from sqlalchemy import select, true
from sqlalchemy.exc import IntegrityError

from rindle_sync.config import EnvironmentSettings
from rindle_sync.domain import (
    NO_ROW,
    WAITS_FOR_ROW,
    ChangeKind,
    Grant,
    Observation,
    ObservationSource,
    OutputStatus,
    ProviderAsset,
    State,
    Verdict,
    replace,
)
from rindle_sync.errors import AuthenticationFailed, ProviderUnavailable
from rindle_sync.gateway import IdentityCheck
from rindle_sync.providers import Page
from rindle_sync.providers.mux import Mux
from rindle_sync.reconcile import CallAllowance
from rindle_sync.reconcile.pipeline import FetchAhead
from rindle_sync.store import AssetStore, Inbox, Outbox, Outcomes, RateLimits, Write
from rindle_sync.store.group_commit import GroupCommit
from rindle_sync.store.intake import Intake
from rindle_sync.store.schema import assets, changes, webhook_events
from rindle_sync.telemetry import milliseconds
from simulation import planted_apps

# by name: the face of a package may give a function the name of its module
apply: Any = import_module("rindle_sync.reconcile.apply")
asset_store: Any = import_module("rindle_sync.store.assets")
creation: Any = import_module("rindle_sync.tracking.creation")
clocks: Any = import_module("rindle_sync.domain.clocks")
repository: Any = import_module("rindle_sync.store.repository")
decide: Any = import_module("rindle_sync.domain.decide")
fetch: Any = import_module("rindle_sync.gateway.fetch")
group_commit: Any = import_module("rindle_sync.store.group_commit")
inbox: Any = import_module("rindle_sync.store.inbox")
lenient_json: Any = import_module("rindle_sync.providers.mux.lenient_json")
list_pages: Any = import_module("rindle_sync.reconcile.list_pages")
process: Any = import_module("rindle_sync.webhooks.process")
reconcile_audit: Any = import_module("rindle_sync.reconcile.audit")
refresh: Any = import_module("rindle_sync.domain.refresh")
mux_media: Any = import_module("rindle_sync.providers.mux.media")
outputs: Any = import_module("rindle_sync.domain.outputs")
outbox: Any = import_module("rindle_sync.store.outbox")
fields: Any = import_module("rindle_sync.providers.mux.fields")
responses: Any = import_module("rindle_sync.providers.mux.responses")
schedule: Any = import_module("rindle_sync.domain.schedule")
removal: Any = import_module("rindle_sync.store.removal")
row_writes: Any = import_module("rindle_sync.store.row_writes")
superseded: Any = import_module("rindle_sync.store.superseded")
token_bucket: Any = import_module("rindle_sync.domain.token_bucket")

Patches = Sequence[Any]


def _overwrite() -> Patches:
    """Rows are written whoever wrote them meanwhile."""
    make = row_writes._write_rows.__wrapped__  # a statement is made once a process
    with patch.object(row_writes, "_is_unread", lambda *_: true()):
        made = {lines: make(lines) for lines in (row_writes._WHOLE_ROWS, row_writes._CHECKS)}
    return [patch.object(row_writes, "_write_rows", made.__getitem__)]


def _emit_first() -> Patches:
    """Events are emitted before the write that they are about."""

    async def write_and_emit(context: Any, decided: Any, trigger: Any, now: Any) -> Any:
        writes = [
            Write(applied.row, change=apply._change(applied, trigger, now)) for applied in decided
        ]
        for applied, write in zip(decided, writes, strict=True):
            for event in apply._events(applied, write.change, now):
                context.telemetry.emit(event, write.row, at=now)
        return await context.store.assets.write(writes)

    return [patch.object(apply, "_write_and_emit", write_and_emit)]


def _changes_apart() -> Patches:
    """A row and its change are written in two transactions."""
    original = AssetStore._write

    async def write(self: AssetStore, writes: Any) -> Any:
        ids = await original(self, [Write(write.row) for write in writes])
        written = [write.change for write in writes if write.change and write.row.id in ids]
        if written:
            values = {"rows": row_writes.changes_as_text(written)}
            async with self.writing() as connection:
                await connection.execute(row_writes.add_changes(), values)
        return ids

    return [patch.object(AssetStore, "_write", write)]


def _trust_absence() -> Patches:
    """What a list page lacks is taken to be gone."""
    original = list_pages._observe

    async def observe(context: Any, page: Any) -> Any:
        seen = await original(context, page)
        if made := page.created:
            async with context.store.database.reading() as connection:
                lines = await connection.execute(select(asset_store.ROW))
                rows = [asset_store.read_row(line.document) for line in lines]
            for row in rows:
                is_in_it = min(made) <= row.provider_created_at <= max(made)
                if is_in_it and row.provider_asset_id and row.id not in seen.listed:
                    seen.observed.append(_gone(row, context.now()))
        return seen

    return [patch.object(list_pages, "_observe", observe)]


def _gone(row: ProviderAsset, now: Any) -> Any:
    suspected = replace(row, missing_since=now - timedelta(days=1))
    source, state = ObservationSource.LIST, State.DELETED
    return apply.Observed(suspected, Observation(source=source, at=now, gone=True, state=state))


def _forget_floor() -> Patches:
    """Rows are checked however lately they changed."""
    original: Any = vars(EnvironmentSettings)["schedule"].fget
    return [
        patch.object(
            EnvironmentSettings,
            "schedule",
            property(lambda self: dataclasses.replace(original(self), floor=timedelta(0))),
        )
    ]


def _skip_environment() -> Patches:
    """A 404 is believed in whichever environment."""

    async def believe(self: IdentityCheck) -> None:
        self.expected = "whichever"

    return [
        patch.object(IdentityCheck, "check", believe),
        patch.object(IdentityCheck, "learn", believe),
    ]


def _stale_events() -> Patches:
    """Webhooks are applied in the order in which they come."""
    return [
        patch.object(decide, "_stale_event", lambda *_: None),
        patch.object(decide, "_rank", lambda _: -1),
    ]


def _stale_checks() -> Patches:
    """A slow answer is applied over newer news."""
    original = decide._stale

    def stale(row: Any, observation: Any) -> Any:
        return original(replace(row, observed_at=None), observation)

    return [
        patch.object(decide, "_stale", stale),
        patch.object(apply, "_observation_of", lambda applied, _: applied.observation),
    ]


def _revive() -> Patches:
    """Tombstones are like other rows."""
    original = decide._stale

    def stale(row: Any, observation: Any) -> Any:
        if row.state is State.DELETED:
            row = replace(row, state=State.PENDING, last_event_at=None)
        return original(row, observation)

    return [patch.object(decide, "_stale", stale), patch.object(decide, "_rank", lambda _: 0)]


def _unsigned() -> Patches:
    """Signatures are not checked."""
    return [patch.object(Mux, "verify", lambda *_: 0)]


def _answer_first() -> Patches:
    """Webhooks are acknowledged, and stored a little later."""
    original, pending = Inbox.storing, set[Any]()

    def storing(self: Inbox, webhook_event: Any) -> Any:
        async def later() -> None:
            await asyncio.sleep(5)
            await original(self, webhook_event)

        task = asyncio.ensure_future(later())
        pending.add(task)
        task.add_done_callback(pending.discard)
        acknowledged = asyncio.get_running_loop().create_future()
        acknowledged.set_result(True)
        return acknowledged

    return [patch.object(Inbox, "storing", storing)]


def _answer_before_the_commit() -> Patches:
    """Who waits for a commit is answered as it begins."""
    original = GroupCommit._write_all

    async def write_all(self: Any) -> None:
        for _, outcome in self._waiting:
            outcome.set_result(True)
        await original(self)

    return [patch.object(GroupCommit, "_write_all", write_all), _settled_once()]


def _settled_once() -> Any:
    """An outcome that is known already is left as it is."""
    original = group_commit._settle

    def settle(waiting: Any, outcome: object) -> None:
        original([(item, future) for item, future in waiting if not future.done()], outcome)

    return patch.object(group_commit, "_settle", settle)


def _one_bad_for_all() -> Patches:
    """An event that the database refuses fails all that are stored with it."""

    async def store(self: Intake, events: Any) -> Any:
        try:
            new = await self._insert(events)
        except IntegrityError as error:
            return [error] * len(events)
        return [event.id in new or await self._revived(event) for event in events]

    return [patch.object(Intake, "_store", store)]


def _lost_in_the_group() -> Patches:
    """Of events that are stored together the last is left out."""
    original = Intake._insert

    async def insert(self: Intake, events: Any) -> Any:
        kept = events[:-1] or events
        return {event.id for event in events} & (await original(self, kept) | _left(events))

    def _left(events: Any) -> Any:
        return {events[-1].id} if len(events) > 1 else set()

    return [patch.object(Intake, "_insert", insert)]


def _one_404() -> Patches:
    """One 404 ends a settled row."""
    original = decide._missing

    def missing(row: Any, observation: Any, now: Any, policy: Any) -> Any:
        return original(
            replace(row, missing_since=now - timedelta(days=1)), observation, now, policy
        )

    return [patch.object(decide, "_missing", missing)]


def _wipe_playback_ids() -> Patches:
    """An answer that does not speak of playback ids takes them away."""
    return [
        patch.object(decide, "joined_playback_ids", lambda _, answer: answer.playback_ids or ())
    ]


def _one_answer_without_playback_ids() -> Patches:
    """Playback ids that one whole answer lacks are removed."""
    original = decide.without_absent

    def without_absent(row: Any, after: Any, observation: Any, _: Any) -> Any:
        absent = refresh.absent_playback_ids(row, observation)
        since = observation.at - timedelta(days=1)
        row = replace(row, absent_playback_ids=absent, playback_absent_since=since)
        return original(row, after, observation, timedelta(0))

    return [patch.object(decide, "without_absent", without_absent)]


def _playback_ids_for_ever() -> Patches:
    """Playback ids that the provider has no more are kept."""
    return [patch.object(decide, "without_absent", lambda _, after, *__: after)]


def _only_news_is_stored() -> Patches:
    """What an answer says beside news is thrown away, and so is a snapshot."""
    return [
        patch.object(reconcile_audit, "is_refreshed", lambda *_: False),
        patch.object(list_pages, "is_refreshed", lambda *_: False),
        patch.object(decide, "newer_metadata", lambda row, _: row.raw_provider_metadata),
    ]


def _dispatch_at_most_once() -> Patches:
    """Changes count as dispatched before the callbacks are called."""
    original = Outbox.claim

    async def claim(self: Outbox, **values: Any) -> Any:
        claimed = await original(self, **values)
        await self.end(Outcomes(claimed.changes, calls=claimed.calls), values["token"])
        return claimed

    return [patch.object(Outbox, "claim", claim)]


def _dispatch_in_any_order() -> Patches:
    """A change is dispatched whether or not the one before it was."""
    statement = repository.claim_statement(
        changes,
        repository.has_come(changes.c.dispatch_at),
        first=[changes.c.dispatch_at, changes.c.id],
    )
    original = outbox._pending

    def pending(line: Any, standing: Any) -> Any:
        return dataclasses.replace(original(line, standing), behind=frozenset())

    return [patch.object(outbox, "_CLAIM", statement), patch.object(outbox, "_pending", pending)]


def _forget_failed_calls() -> Patches:
    """A callback that failed is not called again."""
    original = Outbox.end

    async def end(self: Outbox, outcomes: Outcomes, token: str) -> None:
        outcomes.new_calls.clear()
        await original(self, outcomes, token)

    return [patch.object(Outbox, "end", end)]


def _lease_for_ever() -> Patches:
    """What a killed process held is never free again."""
    with patch.object(repository, "is_free", lambda table: table.c.lease_until.is_(None)):
        claim = repository.claim_statement(
            webhook_events,
            repository.has_come(webhook_events.c.next_attempt_at),
            first=[webhook_events.c.next_attempt_at],
        )
        return [
            patch.object(inbox, "_CLAIM", claim),
            patch.object(outbox, "_CLAIM", outbox._claim_statement()),
            patch.object(outbox, "_CLAIM_CALLS", outbox._call_claim_statement()),
        ]


def _by_any_name() -> Patches:
    """An event is about the first row that shares a name with it; passthroughs count as unique."""

    def row_of(webhook_event: Any, rows: Any) -> Any:
        for name in ("provider_asset_id", "provider_upload_id", "passthrough"):
            value = getattr(webhook_event, name)
            for row in rows.get((name, value), ()):
                if value and not contradiction(row, webhook_event):
                    return row
        return None

    def contradiction(row: Any, other: Any) -> Any:
        both = row.provider_asset_id and other.provider_asset_id
        return "asset" if both and row.provider_asset_id != other.provider_asset_id else None

    return [
        *_awaited_by_any_name(),
        patch.object(process, "_row_of", row_of),
        patch.object(decide, "contradiction", contradiction),
    ]


def _awaited_by_any_name() -> Patches:
    """A row waits for every asset of its passthrough."""
    original = AssetStore.match

    async def match(self: AssetStore, *, passthroughs: Any, **ids: Any) -> Any:
        found = {row.id: row for row in await original(self, passthroughs=passthroughs, **ids)}
        named = assets.c.passthrough.in_(passthroughs)
        for line in await self.read(select(asset_store.ROW).where(*self.here, named)):
            row = asset_store.read_row(line.document)
            found[row.id] = row
        return [*found.values()]

    return [patch.object(AssetStore, "match", match)]


def _time_before_meaning() -> Patches:
    """An event that is older than the last one is stale, whatever it says."""
    original = decide._stale_event

    def stale_event(row: Any, observation: Any) -> Any:
        is_older = decide._is_older(row, observation)
        return "it is older" if is_older else original(row, observation)

    return [patch.object(decide, "_stale_event", stale_event)]


def _believe_any_time() -> Patches:
    """The time of an event is believed however far it is ahead."""
    return [patch.object(decide, "with_credible_time", lambda observation, _: observation)]


def _move_by_nothing() -> Patches:
    """An event that changed nothing becomes the last one all the same."""
    original = decide._from_webhook

    def from_webhook(row: Any, observation: Any, now: Any) -> Any:
        decision = original(row, observation, now)
        if decision.verdict is not Verdict.UNCHANGED:
            return decision
        after = replace(decision.row, last_event_at=observation.occurred_at)
        return replace(decision, row=after)

    return [patch.object(decide, "_from_webhook", from_webhook)]


def _foreign_dead() -> Patches:
    """An event of an asset that nobody tracks ends as a dead letter."""

    def without_row(context: Any, webhook_event: Any) -> Any:
        return process._put_off(context, webhook_event, NO_ROW, WAITS_FOR_ROW)

    return [patch.object(process, "_without_row", without_row)]


def _once_and_for_all() -> Patches:
    """An event that is sent again is left as it is, applied or not."""

    async def revived(*_: Any) -> bool:
        return False

    return [patch.object(Intake, "_revived", revived)]


def _untagged() -> Patches:
    """Events have whole ids."""
    return [patch.object(ProviderAsset, "tag", property(lambda self: self.provider_asset_id))]


def _unscrubbed() -> Patches:
    """Texts are kept as they come."""
    return [patch.object(module, "scrub", _as_it_is) for module in (fields, responses, fetch)]


def _as_it_is(text: str, *secrets: str | None) -> str:
    return " ".join([text, *filter(None, secrets)])


def _free_calls() -> Patches:
    """The bucket always says yes."""

    async def take(*_: Any, most: int, **__: Any) -> Grant:
        return Grant(most, timedelta(0))

    return [patch.object(RateLimits, "take", take)]


def _hidden_call() -> Patches:
    """A refused cancel is followed by a call that nobody has granted, and that is not emitted."""
    original = Mux.cancel_upload

    async def cancel_upload(self: Mux, provider_upload_id: str, at: Any) -> Any:
        try:
            return await original(self, provider_upload_id, at)
        except AuthenticationFailed:
            return await self.get_upload(provider_upload_id, at)

    return [patch.object(Mux, "cancel_upload", cancel_upload)]


def _stuck_for_ever() -> Patches:
    """Rows that were declared stuck are not checked again."""
    return [patch.object(schedule, "WATCHED", frozenset())]


def _age_after() -> Patches:
    """The age is read after the write."""
    original = apply._synced

    def synced(event: Any, applied: Any, now: Any) -> Any:
        return replace(original(event, applied, now), age_ms=milliseconds(applied.row.age(now)))

    return [patch.object(apply, "_synced", synced)]


def _page_puts_off() -> Patches:
    """What a page shows unchanged is checked next when the longest gap is over."""
    original = apply.next_check

    def next_check(decision: Any, observation: Any, now: Any, policy: Any, schedule: Any) -> Any:
        found = original(decision, observation, now, policy, schedule)
        is_listed = getattr(observation, "source", None) is ObservationSource.LIST
        return now + schedule.cap if found and is_listed else found

    return [patch.object(apply, "next_check", next_check)]


def _pages_at_any_price() -> Patches:
    """The next page is read whatever the pages before it have brought."""
    return [
        patch.object(list_pages, "pays", lambda *_: True),
        patch.object(CallAllowance, "to_spare", property(lambda _: 1000)),
    ]


def _told_by_page_and_by_call() -> Patches:
    """A check by page is told once more than it is written."""
    original = apply._events

    def events(applied: Any, *about: Any) -> Any:
        yield from original(applied, *about)
        if getattr(applied.observation, "source", None) is ObservationSource.LIST:
            yield apply._synced(apply.Resolved, applied, about[-1])

    return [patch.object(apply, "_events", events)]


def _page_dated_late() -> Patches:
    """A page that was asked for ahead is taken to be as it is when it is read."""
    original_begin, original_get = FetchAhead.begin, FetchAhead.get

    async def begin(self: Any, place: Any) -> None:
        self.began_at = asyncio.get_running_loop().time()
        await original_begin(self, place)

    async def get(self: Any, place: Any) -> Any:
        page, began_at = await original_get(self, place), vars(self).pop("began_at", None)
        if began_at is None or not isinstance(page, Page):
            return page
        # as much later as it has lain there
        lain = timedelta(seconds=asyncio.get_running_loop().time() - began_at)
        entries = [replace(entry, at=entry.at + lain) for entry in page.entries]
        return Page(entries, page.cursor)

    return [patch.object(FetchAhead, "begin", begin), patch.object(FetchAhead, "get", get)]


def _read_strictly() -> Patches:
    """An answer with one odd value in it is no answer."""
    return [
        patch.object(lenient_json, "_decode", _no_json),
        patch.object(lenient_json, "storable", lambda value: value),
    ]


def _no_json(_: str) -> Any:
    raise ValueError("odd")


def _hide_before_meaning() -> Patches:
    """URLs are hidden in what the app gave, too."""
    return [patch.object(responses, "without_file_urls", responses._with_hidden_urls)]


def _give_up() -> Patches:
    """A row that was not answered about is not checked again."""
    return [patch.object(schedule, "_after_failure", lambda *_: None)]


def _unlinked() -> Patches:
    """The asset of an upload is not noted in its row."""
    original = decide._become

    def become(row: Any, observation: Any, **checked: Any) -> Any:
        return replace(
            original(row, observation, **checked), provider_asset_id=row.provider_asset_id
        )

    return [patch.object(decide, "_become", become)]


def _believe_every_time() -> Patches:
    """A stored time is believed however far ahead it lies."""
    modules = clocks, token_bucket, repository, schedule
    return [patch.object(module, "TOLERANCE", timedelta(days=36_500)) for module in modules]


def _unwatched_outputs() -> Patches:
    """A ready row is not checked again for what is still made of its asset."""
    return [patch.object(schedule, "has_unfinished_outputs", lambda _: False)]


def _moved_by_media() -> Patches:
    """Media that differ move the time of the last change of state."""
    original = apply.decide

    def decide_and_move(row: Any, observation: Any, now: Any, policy: Any) -> Any:
        decision = original(row, observation, now, policy)
        if not decision.media:
            return decision
        return replace(decision, row=replace(decision.row, updated_at=now))

    return [patch.object(apply, "decide", decide_and_move)]


def _silent_media() -> Patches:
    """Media that differ are written, and no line of it."""
    original = apply._change

    def change(applied: Any, trigger: Any, now: Any) -> Any:
        found = original(applied, trigger, now)
        return found if found and found.kind is ChangeKind.STATE else None

    return [patch.object(apply, "_change", change)]


def _media_by_order_of_arrival() -> Patches:
    """A late event brings media back that a check has found outdated."""
    return [
        patch.object(decide, "is_newer", lambda *_: True),
        patch.object(outputs, "ends_output", lambda *_: True),
    ]


def _forget_reasons() -> Patches:
    """Why an output failed, which events alone say, is lost at the next check."""
    return [patch.object(outputs, "_with_reason", lambda output, _: output)]


def _one_kind_of_output() -> Patches:
    """Renditions are known once they are ready, and not before."""
    original = mux_media._renditions

    def renditions(data: Any) -> Any:
        return [file for file in original(data) if file.status is OutputStatus.READY]

    return [patch.object(mux_media, "_renditions", renditions)]


def _adopt_the_forgotten() -> Patches:
    """A scan makes rows of assets that were untracked or replaced."""

    async def known(*_: Any) -> Callable[[Any], bool]:
        return lambda _: False

    async def remove_superseded(*_: Any) -> int:
        return 0

    return [
        patch.object(superseded.Superseded, "known", known),
        patch.object(removal.Removal, "remove_superseded", remove_superseded),
    ]


def _make_twice() -> Patches:
    """Where the answer to the making of an asset is lost, it is made again."""
    original = Mux.create_asset

    async def create_asset(self: Mux, passthrough: str, request: Any, at: Any) -> Any:
        try:
            return await original(self, passthrough, request, at)
        except ProviderUnavailable:
            return await original(self, passthrough, request, at)

    return [patch.object(Mux, "create_asset", create_asset)]


def _lost_is_not_made() -> Patches:
    """Where the answer to the making of an asset is lost, it counts as not made."""
    unclear = property(lambda _: False)
    return [patch.object(ProviderAsset, "is_unclear", unclear)]


def _one_name_for_all_attempts() -> Patches:
    """A new attempt has the passthrough of the one before."""
    return [patch.object(creation, "uuid4", lambda: UUID(int=42))]


PLANTED: Final[Mapping[str, Callable[[], Patches]]] = {
    made.__name__.removeprefix("_").replace("_", "-"): made
    for made in (
        _overwrite,
        _emit_first,
        _changes_apart,
        _trust_absence,
        _forget_floor,
        _skip_environment,
        _stale_events,
        _stale_checks,
        _revive,
        _unsigned,
        _answer_first,
        _answer_before_the_commit,
        _one_bad_for_all,
        _lost_in_the_group,
        _one_404,
        _wipe_playback_ids,
        _one_answer_without_playback_ids,
        _playback_ids_for_ever,
        _only_news_is_stored,
        _dispatch_at_most_once,
        _dispatch_in_any_order,
        _forget_failed_calls,
        _lease_for_ever,
        _by_any_name,
        _awaited_by_any_name,
        _time_before_meaning,
        _believe_any_time,
        _move_by_nothing,
        _foreign_dead,
        _once_and_for_all,
        _untagged,
        _unscrubbed,
        _free_calls,
        _hidden_call,
        _stuck_for_ever,
        _age_after,
        _page_puts_off,
        _pages_at_any_price,
        _told_by_page_and_by_call,
        _page_dated_late,
        _read_strictly,
        _hide_before_meaning,
        _give_up,
        _unlinked,
        _believe_every_time,
        _unwatched_outputs,
        _moved_by_media,
        _silent_media,
        _media_by_order_of_arrival,
        _forget_reasons,
        _one_kind_of_output,
        _adopt_the_forgotten,
        _make_twice,
        _lost_is_not_made,
        _one_name_for_all_attempts,
        *planted_apps.FAULTS,
    )
}
"""Every planted fault by its name."""


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """The service with this fault in it; None for the service as it is."""
    patches = PLANTED[name]() if name else ()
    for patched in patches:
        patched.start()
    try:
        yield
    finally:
        for patched in patches:
            patched.stop()
