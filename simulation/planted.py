"""Faults planted in the service on purpose, one at a time: a simulator that finds none of them proves nothing."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from unittest.mock import patch

from sqlalchemy import bindparam, select

from rindle_sync.config import Settings
from rindle_sync.domain import asset, decide
from rindle_sync.domain import schedule as plan
from rindle_sync.errors import AuthenticationFailed
from rindle_sync.providers.mux import Mux
from rindle_sync.providers.mux import responses as shapes
from rindle_sync.reconcile import apply as settle
from rindle_sync.reconcile import fetch as look
from rindle_sync.reconcile import list_pages as browse
from rindle_sync.store import AssetStore, Grant, Inbox, Outbox, RateLimits, database, inbox, outbox
from rindle_sync.store import assets as rows
from rindle_sync.store.schema import assets, changes, json_field, json_parameter, webhook_events
from rindle_sync.telemetry import milliseconds

Patches = Sequence[Any]


def _overwrite() -> Patches:
    """Rows are written whoever wrote them meanwhile."""
    with patch.object(
        rows, "_unread", lambda sent: (assets.c.id == json_field(sent, assets.c.id),)
    ):
        return [patch.object(rows, "_WRITE", rows._write_statement())]


def _emit_first() -> Patches:
    """Events are told before the write that they are about."""

    async def write_and_emit(context: Any, applied: Any, trigger: Any, now: Any) -> Any:
        writes = [rows.Write(one.row, settle._change(one, trigger, now)) for one in applied]
        for one, write in zip(applied, writes, strict=True):
            for event in (*settle._events(one, now), *settle._state_change(write, now)):
                context.telemetry.emit(event)
        return await context.store.write(writes)

    return [patch.object(settle, "_write_and_emit", write_and_emit)]


def _changes_apart() -> Patches:
    """A row and its change are written in two transactions."""
    original = AssetStore._write

    async def write(self: AssetStore, writes: Any) -> Any:
        ids = await original(self, [rows.Write(one.row, None) for one in writes])
        kept = [rows._change(one.change) for one in writes if one.change and one.row.id in ids]
        if kept:
            async with self.writing() as connection:
                await connection.execute(
                    rows._KEEP_CHANGES, {"rows": json_parameter(kept, changes)}
                )
        return ids

    return [patch.object(AssetStore, "_write", write)]


def _trust_absence() -> Patches:
    """What a list page lacks is taken to be gone."""
    original = browse._findings

    async def findings(context: Any, page: Any) -> Any:
        found, due, listed = await original(context, page)
        made = [observation.created_at for observation in page.entries if observation.created_at]
        if made:
            now = context.now()
            async with context.store.reading() as connection:
                every = [
                    rows.read_row(line) for line in await connection.execute(select(*assets.c))
                ]
            for row in every:
                is_in_it = (
                    min(made) <= row.provider_created_at <= max(made) and row.provider_asset_id
                )
                if is_in_it and row.id not in listed:
                    gone = asset.Observation(
                        source=asset.ObservationSource.LIST,
                        at=now,
                        gone=True,
                        state=asset.State.DELETED,
                    )
                    found.append(
                        settle.Observed(replace(row, missing_since=now - timedelta(days=1)), gone)
                    )
        return found, due, listed

    return [patch.object(browse, "_findings", findings)]


def _forget_floor() -> Patches:
    """Rows are looked at however lately they changed."""
    original: Any = vars(Settings)["schedule"].fget
    return [
        patch.object(
            Settings, "schedule", property(lambda self: replace(original(self), floor=timedelta(0)))
        )
    ]


def _skip_environment() -> Patches:
    """A 404 is believed in whichever environment."""

    async def believe(context: Any) -> None:
        context.identity.expected = "whichever"

    return [
        patch.object(look, "check_identity", believe),
        patch.object(look, "note_identity", believe),
    ]


def _stale_events() -> Patches:
    """Webhooks are applied in the order in which they come."""
    return [
        patch.object(decide, "_stale_event", lambda *_: None),
        patch.object(decide, "_rank", lambda _: -1),
    ]


def _stale_looks() -> Patches:
    """A slow answer is applied over newer news."""
    original = decide._stale

    def stale(row: Any, observation: Any) -> Any:
        return original(replace(row, observed_at=None), observation)

    return [
        patch.object(decide, "_stale", stale),
        patch.object(settle, "_observed", lambda settled, _: settled.observation),
    ]


def _revive() -> Patches:
    """Tombstones are like other rows."""
    original = decide._stale

    def stale(row: Any, observation: Any) -> Any:
        if row.state is asset.State.DELETED:
            row = replace(row, state=asset.State.PENDING, last_event_at=None)
        return original(row, observation)

    return [patch.object(decide, "_stale", stale), patch.object(decide, "_rank", lambda _: 0)]


def _unsigned() -> Patches:
    """Signatures are not looked at."""
    return [patch.object(Mux, "verify", lambda *_: 0)]


def _answer_first() -> Patches:
    """Deliveries are acknowledged, and kept a little later."""
    original, pending = Inbox.keep, set[Any]()

    async def keep(self: Inbox, webhook_event: Any) -> bool:
        async def later() -> None:
            await asyncio.sleep(5)
            await original(self, webhook_event)

        task = asyncio.ensure_future(later())
        pending.add(task)
        task.add_done_callback(pending.discard)
        return True

    return [patch.object(Inbox, "keep", keep)]


def _one_404() -> Patches:
    """One 404 ends a row at rest."""
    original = decide._missing

    def missing(row: Any, observation: Any, now: Any, policy: Any) -> Any:
        return original(
            replace(row, missing_since=now - timedelta(days=1)), observation, now, policy
        )

    return [patch.object(decide, "_missing", missing)]


def _wipe_playback_ids() -> Patches:
    """An answer that does not speak of playback ids takes them away."""
    original = shapes._playback_ids
    return [patch.object(shapes, "_playback_ids", lambda told: original(told) or ())]


def _dispatch_at_most_once() -> Patches:
    """Changes count as announced before the callbacks are called."""
    original = Outbox.claim

    async def claim(self: Outbox, *here: Any, **values: Any) -> Any:
        claimed = await original(self, *here, **values)
        await self.end([(one, None) for one in claimed], values["token"])
        return claimed

    return [patch.object(Outbox, "claim", claim)]


def _dispatch_in_any_order() -> Patches:
    """A change is announced whether or not the one before it was."""
    statement = database.claim_statement(
        changes,
        changes.c.provider_name == bindparam("provider"),
        changes.c.environment == bindparam("in_environment"),
        changes.c.dispatch_at <= bindparam("now"),
        first=[changes.c.dispatch_at, changes.c.id],
    )
    return [patch.object(outbox, "_CLAIM", statement)]


def _lease_for_ever() -> Patches:
    """What a killed process held is never free again."""
    with patch.object(database, "is_free", lambda table: table.c.lease_until.is_(None)):
        here = (
            webhook_events.c.provider_name == bindparam("provider"),
            webhook_events.c.environment == bindparam("in_environment"),
        )
        claim = database.claim_statement(
            webhook_events,
            *here,
            webhook_events.c.next_attempt_at <= bindparam("now"),
            first=[webhook_events.c.next_attempt_at],
        )
        return [
            patch.object(inbox, "_CLAIM", claim),
            patch.object(outbox, "_CLAIM", outbox._claim_statement()),
        ]


def _untagged() -> Patches:
    """Events tell whole ids."""
    return [patch.object(asset.ProviderAsset, "tag", property(lambda self: self.provider_asset_id))]


def _unscrubbed() -> Patches:
    """Texts are kept as they come."""
    return [patch.object(shapes, "scrub", _as_it_is), patch.object(look, "scrub", _as_it_is)]


def _as_it_is(text: str, *secrets: str | None) -> str:
    return " ".join([text, *filter(None, secrets)])


def _free_calls() -> Patches:
    """The bucket always says yes."""

    async def take(*_: Any, most: int, **__: Any) -> Grant:
        return Grant(most, timedelta(0))

    return [patch.object(RateLimits, "take", take)]


def _hidden_call() -> Patches:
    """A refused cancel is followed by a call that nobody has granted, and that is not told."""
    original = Mux.cancel_upload

    async def cancel_upload(self: Mux, provider_upload_id: str, at: Any) -> Any:
        try:
            return await original(self, provider_upload_id, at)
        except AuthenticationFailed:
            return await self.get_upload(provider_upload_id, at)

    return [patch.object(Mux, "cancel_upload", cancel_upload)]


def _stuck_for_ever() -> Patches:
    """Rows that were declared stuck are not looked at again."""
    return [patch.object(plan, "WATCHED", frozenset())]


def _age_after() -> Patches:
    """The age is read after the write."""
    original = settle._synced

    def synced(kind: Any, settled: Any, now: Any) -> Any:
        return replace(original(kind, settled, now), age_ms=milliseconds(settled.row.age(now)))

    return [patch.object(settle, "_synced", synced)]


def _give_up() -> Patches:
    """A row that was not answered about is not looked at again."""
    return [patch.object(plan, "_after_failure", lambda *_: None)]


def _unlinked() -> Patches:
    """The asset of an upload is not noted in its row."""
    original = decide._become

    def become(row: Any, observation: Any, **looked: Any) -> Any:
        return replace(
            original(row, observation, **looked), provider_asset_id=row.provider_asset_id
        )

    return [patch.object(decide, "_become", become)]


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
        _stale_looks,
        _revive,
        _unsigned,
        _answer_first,
        _one_404,
        _wipe_playback_ids,
        _dispatch_at_most_once,
        _dispatch_in_any_order,
        _lease_for_ever,
        _untagged,
        _unscrubbed,
        _free_calls,
        _hidden_call,
        _stuck_for_ever,
        _age_after,
        _give_up,
        _unlinked,
    )
}
"""Every planted fault by its name."""


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """The service with this fault in it; None for the service as it is."""
    patches = PLANTED[name]() if name else ()
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()
