"""Kept notices, each to its row, and to settle: at least once, with an effect exactly once."""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from rindle_sync.asset import By, ProviderAsset, Silence
from rindle_sync.errors import BadNotice, StoreUnavailable
from rindle_sync.notice import WAITS_AFTER_FAILURE, WAITS_FOR_ROW, Notice, Status, next_wait
from rindle_sync.settle import Finding, settle
from rindle_sync.telemetry import Event, WebhookException, WebhookProcessed, milliseconds, nanoseconds
from rindle_sync.tools import Tools

BATCH: Final = 50
"""How many notices are taken up at once."""

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
        ended = [await _take_up(tools, notice) for notice in notices]
        await tools.inbox.end([one.notice for one in ended], token)
    except BaseException:
        await tools.inbox.release(token)
        raise
    for one in ended:
        tools.telemetry.tell(one.event)
    return len(notices)


async def _take_up(tools: Tools, notice: Notice) -> _Ended:
    try:
        return await _apply(tools, notice)
    except StoreUnavailable:
        raise
    except BadNotice as error:
        return _put_off(tools, notice, error.reason, ())
    except Exception as error:  # noqa: BLE001  one notice must not keep the others back, whatever it meets
        _log.warning("notice %s could not be applied: %s", notice.id, type(error).__name__)
        return _put_off(tools, notice, type(error).__name__, WAITS_AFTER_FAILURE)


async def _apply(tools: Tools, notice: Notice) -> _Ended:
    row = await _row_of(tools, notice)
    if row is None:
        return _put_off(tools, notice, "no_row", WAITS_FOR_ROW)
    seen = tools.provider.read_seen(notice.body, notice.received_at)
    settled = await settle(tools, [Finding(row, seen)], By.WEBHOOK)
    if not settled:
        return _put_off(tools, notice, "no_row", WAITS_FOR_ROW)
    [one] = settled
    if isinstance(one.seen, Silence):
        return _put_off(tools, notice, one.seen.lack.value, WAITS_AFTER_FAILURE)
    now, decision = tools.now(), one.decision
    applied = replace(notice, status=Status.APPLIED, next_attempt_at=None, reason=decision.reason)
    return _Ended(
        replace(applied, attempts=notice.attempts + 1),
        WebhookProcessed(
            system_time=nanoseconds(now),
            row_id=row.id,
            provider=notice.provider_name,
            type=notice.type,
            verdict=decision.verdict.value,
            lag_ms=max(0, milliseconds(now - (notice.occurred_at or notice.received_at))),
        ),
    )


async def _row_of(tools: Tools, notice: Notice) -> ProviderAsset | None:
    """The row that a notice is about: by asset, by upload, by passthrough; never one that holds another asset."""
    found = await tools.store.match(
        notice.provider_name,
        notice.environment,
        provider_asset_id=notice.provider_asset_id,
        provider_upload_id=notice.provider_upload_id,
        passthrough=notice.passthrough,
    )
    for name in ("provider_asset_id", "provider_upload_id", "passthrough"):
        for row in found:
            if getattr(row, name) == getattr(notice, name) and _may_be(row, notice) and getattr(row, name):
                return row
    return None


def _may_be(row: ProviderAsset, notice: Notice) -> bool:
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
