"""Kept notices, each to its row, and to settle: at least once, with an effect exactly once."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final, TypeVar
from uuid import uuid4

from rindle_sync.asset import FINAL, By, ProviderAsset, Seen, Silence
from rindle_sync.decide import Verdict
from rindle_sync.errors import BadNotice, StoreUnavailable
from rindle_sync.notice import NO_ROW, WAITS_AFTER_FAILURE, WAITS_FOR_ROW, Kept, Notice, Status, next_wait
from rindle_sync.settle import Finding, Settled, settle
from rindle_sync.telemetry import Event, WebhookException, WebhookProcessed, milliseconds, nanoseconds
from rindle_sync.tools import Tools

N = TypeVar("N", bound=Kept)

_NAMED_BY: Final = ("provider_asset_id", "provider_upload_id", "passthrough")

BATCH: Final = 50
"""How many notices are taken up at once."""

NO_NEWS: Final = frozenset({Verdict.UNCHANGED, Verdict.STALE})
"""What a webhook comes to that tells what the row has known before."""

_log: Final = logging.getLogger("rindle_sync")


@dataclass(frozen=True, slots=True)
class _Ended:
    notice: Notice
    event: Event


async def ingest(tools: Tools) -> int:
    """Take up the pending notices whose time has come, in the order of their events; how many.

    A notice that fails never keeps others back. Raises `StoreUnavailable`; what was not written down is taken up again.
    """
    token, now = str(uuid4()), tools.now()
    notices = await tools.inbox.claim(
        tools.provider.name, tools.environment, now=now, token=token, until=now + tools.lease, limit=BATCH
    )
    if not notices:
        return 0
    try:
        ended = await _apply(tools, notices)
        await tools.inbox.end([one.notice for one in ended], token)
    except BaseException:
        await tools.inbox.release(token)
        raise
    for one in ended:
        tools.telemetry.tell(one.event)
    return len(notices)


async def _apply(tools: Tools, notices: Sequence[Notice]) -> list[_Ended]:
    """Settle the notices, of each row in their order, and of many rows in few statements."""
    about = await rows_about(tools, notices)
    rows = {row.id: row for _, row in about if row}
    ended = [_without_row(tools, notice) for notice, row in about if row is None]
    for turn in _turns([(notice, row.id) for notice, row in about if row]):
        ended += await _settle_turn(tools, turn, rows)
    return ended


def _without_row(tools: Tools, notice: Notice) -> _Ended:
    """Its row may be there in a moment; one that names nothing at all will never have any."""
    if any(getattr(notice, name) for name in _NAMED_BY):
        return _put_off(tools, notice, NO_ROW, WAITS_FOR_ROW)
    return _put_off(tools, notice, "unreadable_data", ())


def _turns(about: Sequence[tuple[Notice, str]]) -> Iterator[list[tuple[Notice, str]]]:
    """The notices and their rows, in turns that hold each row once."""
    queues: dict[str, list[tuple[Notice, str]]] = {}
    for notice, row_id in about:
        queues.setdefault(row_id, []).append((notice, row_id))
    for turn in zip_longest(*queues.values()):
        yield [one for one in turn if one]


async def _settle_turn(
    tools: Tools, turn: Sequence[tuple[Notice, str]], rows: dict[str, ProviderAsset]
) -> list[_Ended]:
    read = [(notice, row_id, _read(tools, notice)) for notice, row_id in turn]
    ended = [result for *_, result in read if isinstance(result, _Ended)]
    findings = {row_id: Finding(rows[row_id], seen) for _, row_id, seen in read if isinstance(seen, Seen)}
    settled = await _settle_all(tools, findings)
    await _note_late(tools, [one for one in settled.values() if isinstance(one, Settled)])
    rows.update((one.row.id, one.row) for one in settled.values() if isinstance(one, Settled))
    return ended + [_ended(tools, notice, settled.get(row_id)) for notice, row_id, _ in read if row_id in findings]


def _read(tools: Tools, notice: Notice) -> Seen | _Ended:
    try:
        return tools.provider.read_seen(notice.body, notice.received_at)
    except BadNotice as error:
        return _put_off(tools, notice, error.reason, ())
    except Exception as error:  # noqa: BLE001  one notice must not keep the others back, whatever it meets
        return _failed(tools, notice, error)


async def _note_late(tools: Tools, settled: Sequence[Settled]) -> None:
    """What a look had found before its webhook came was not missed, but late."""
    told = [
        (one.row.id, one.seen.state)
        for one in settled
        if one.decision.verdict in NO_NEWS and isinstance(one.seen, Seen) and one.seen.state in FINAL
    ]
    if told:
        await tools.history.note_webhooks(told, tools.now())


async def _settle_all(tools: Tools, findings: Mapping[str, Finding]) -> dict[str, Settled | Exception]:
    """All at once; where that fails, each for itself, so that only the one at fault fails."""
    try:
        return {one.row.id: one for one in await settle(tools, list(findings.values()), By.WEBHOOK)}
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  one notice must not keep the others back, whatever it meets
        if len(findings) == 1:
            return dict.fromkeys(findings, error)
    apart = [await _settle_all(tools, {row_id: finding}) for row_id, finding in findings.items()]
    return {row_id: one for some in apart for row_id, one in some.items()}


def _ended(tools: Tools, notice: Notice, settled: Settled | Exception | None) -> _Ended:
    if settled is None:
        return _put_off(tools, notice, NO_ROW, WAITS_FOR_ROW)
    if isinstance(settled, Exception):
        return _failed(tools, notice, settled)
    if isinstance(settled.seen, Silence):
        return _put_off(tools, notice, settled.seen.lack.value, WAITS_AFTER_FAILURE)
    now, decision = tools.now(), settled.decision
    applied = replace(notice, status=Status.APPLIED, next_attempt_at=None, reason=decision.reason)
    return _Ended(
        replace(applied, attempts=notice.attempts + 1),
        WebhookProcessed(
            system_time=nanoseconds(now),
            row_id=settled.row.id,
            provider=notice.provider_name,
            type=notice.type,
            verdict=decision.verdict.value,
            lag_ms=max(0, milliseconds(now - (notice.occurred_at or notice.received_at))),
        ),
    )


def _failed(tools: Tools, notice: Notice, error: Exception) -> _Ended:
    _log.warning("notice %s could not be applied: %s", notice.id, type(error).__name__)
    return _put_off(tools, notice, type(error).__name__, WAITS_AFTER_FAILURE)


async def rows_about(tools: Tools, notices: Sequence[N]) -> list[tuple[N, ProviderAsset | None]]:
    """Each of these notices with the row that it is about, where there is one."""

    def all_of(name: str) -> set[str]:
        return {value for notice in notices if (value := getattr(notice, name))}

    rows = await tools.store.match(
        tools.provider.name, tools.environment, **{f"{name}s": all_of(name) for name in _NAMED_BY}
    )
    return [(notice, _row_of(notice, rows)) for notice in notices]


def _row_of(notice: Kept, rows: Sequence[ProviderAsset]) -> ProviderAsset | None:
    """The row that a notice is about: by asset, by upload, by passthrough; never one that holds another asset."""
    for name in _NAMED_BY:
        for row in rows:
            if getattr(row, name) == getattr(notice, name) and getattr(row, name) and _may_be(row, notice):
                return row
    return None


def _may_be(row: ProviderAsset, notice: Kept) -> bool:
    return notice.provider_asset_id is None or row.provider_asset_id in {None, notice.provider_asset_id}


def _put_off(tools: Tools, notice: Notice, reason: str, waits: tuple[timedelta, ...]) -> _Ended:
    """Try again later, or no more: then the notice is dead, not lost."""
    now, attempts = tools.now(), notice.attempts + 1
    wait = next_wait(attempts, waits)
    status = Status.DEAD if wait is None else Status.PENDING
    return _Ended(
        replace(
            notice,
            status=status,
            attempts=attempts,
            next_attempt_at=None if wait is None else now + wait,
            reason=reason,
        ),
        _exception(notice, reason, now, attempts, dead=wait is None),
    )


def _exception(notice: Notice, reason: str, now: datetime, attempt: int, *, dead: bool) -> WebhookException:
    return WebhookException(
        system_time=nanoseconds(now),
        provider=notice.provider_name,
        type=notice.type,
        reason=reason,
        attempt=attempt,
        dead=dead,
    )
