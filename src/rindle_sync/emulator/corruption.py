"""The effect of each fault on a response."""

import re
from dataclasses import replace
from random import Random
from typing import Any, Final

from rindle_sync.emulator.call import Operation
from rindle_sync.emulator.faults import DATA_CHANGES, TEXT_CHANGES, Fault, FaultKind, Faults, Rule
from rindle_sync.emulator.responses import (
    NOT_FOUND,
    UNAUTHORIZED,
    ApiResponse,
    problem,
    too_many_requests,
    web_page,
)

_REFUSALS: Final = {
    FaultKind.SILENCE: web_page(504, "Gateway Time-out"),
    FaultKind.NOT_FOUND: NOT_FOUND,
    FaultKind.NOT_FOUND_ONCE: NOT_FOUND,
    FaultKind.UNAUTHORIZED: UNAUTHORIZED,
    FaultKind.FORBIDDEN: problem(
        403, "forbidden", "This access token does not have the permission for this call."
    ),
    FaultKind.SERVER_ERROR: problem(500, "internal_error", "An internal error occurred."),
    FaultKind.BAD_GATEWAY: web_page(502, "Bad Gateway"),
}

_ODD: Final = (
    rb'"half an emoji: \ud83d"',
    b'"no UTF-8: \xff"',
    b'"raw: \x01\n"',
    rb'"\u0000"',
    b"1e400",
    b"[" * 3000 + b"]" * 3000,
)
"""What real answers hold now and then, and no strict reader takes."""


def refusal(fault: Fault) -> ApiResponse:
    """The response of a call that is not processed."""
    if fault.kind != FaultKind.RATE_LIMITED:
        return _REFUSALS[FaultKind(fault.kind)]
    if fault.retry_after is None:
        return too_many_requests({})
    return too_many_requests({"Retry-After": str(fault.retry_after)})


def corrupt(response: ApiResponse, faults: Faults, operation: Operation) -> ApiResponse:
    """The response of a processed call after every fault that fires for it."""
    if response.status >= 300 or not isinstance(response.body, dict):
        return response
    data = response.body["data"]
    entries = data if isinstance(data, list) else [data]
    ids = {entry["id"] for entry in entries if "id" in entry}
    if ids:
        for rule in faults.firing(DATA_CHANGES, operation, ids):
            data = _change_data(data, rule.fault, rule.chance)
    response = replace(response, body=response.body | {"data": data})
    for rule in faults.firing(TEXT_CHANGES, operation, ids):
        response = replace(response, body=_change_text(response.raw(), rule))
    return response


def _change_text(raw: bytes, rule: Rule) -> bytes:
    match rule.fault.kind:
        case FaultKind.TRUNCATED:
            return raw[: len(raw) // 2]
        case FaultKind.ODD_TEXT:
            # every object has a status: the odd field is put before that of one of them
            places = [found.start() for found in re.finditer(b'"status":', raw)]
            if not places:
                return raw
            place, odd = rule.chance.choice(places), rule.chance.choice(_ODD)
            return raw[:place] + b'"odd":' + odd + b"," + raw[place:]
        case _:
            return b'{"data": {"id": oops'


def _change_data(data: Any, fault: Fault, chance: Random) -> Any:
    entries = data if isinstance(data, list) else [data]
    targets = [entry for entry in entries if fault.object_id in {None, entry["id"]}]
    match fault.kind:
        case FaultKind.UNKNOWN_STATUS | FaultKind.MISSING_PLAYBACK_IDS:
            changed = [dict(entry) for entry in entries]
            for entry in changed:
                if fault.object_id not in {None, entry["id"]}:
                    continue
                if fault.kind == FaultKind.UNKNOWN_STATUS:
                    entry["status"] = "transmogrifying"
                else:
                    entry.pop("playback_ids", None)
            return changed if isinstance(data, list) else changed[0]
        case FaultKind.REPEATED_ENTRIES:
            return [*entries, *chance.sample(targets, min(1, len(targets)))]
        case FaultKind.DROPPED_ENTRIES:
            dropped = chance.sample(targets, min(1, len(targets)))
            return [entry for entry in entries if entry not in dropped]
        case _:
            shuffled = chance.sample(entries, len(entries))
            return shuffled if shuffled != entries else entries[::-1]
