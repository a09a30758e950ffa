"""What each fault does to an answer."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Final

from rindle_sync.providers.mux_emulator.answers import (
    Answer,
    not_found,
    problem,
    too_many_requests,
    unauthorized,
    web_page,
)
from rindle_sync.providers.mux_emulator.faults import DATA_CHANGES, TEXT_CHANGES, Fault, FaultKind, Faults
from rindle_sync.providers.mux_emulator.rest import Operation

UNKNOWN_STATUS: Final = "transmogrifying"


_REFUSALS: Final = {
    FaultKind.SILENCE: web_page(504, "Gateway Time-out"),
    FaultKind.NOT_FOUND: not_found(),
    FaultKind.NOT_FOUND_ONCE: not_found(),
    FaultKind.UNAUTHORIZED: unauthorized(),
    FaultKind.FORBIDDEN: problem(403, "forbidden", "This access token does not have the permission for this call."),
    FaultKind.SERVER_ERROR: problem(500, "internal_error", "An internal error occurred."),
    FaultKind.BAD_GATEWAY: web_page(502, "Bad Gateway"),
}


def refusal(fault: Fault) -> Answer:
    """The answer instead of which nothing was processed."""
    if fault.kind == FaultKind.RATE_LIMITED:
        return too_many_requests({} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)})
    return _REFUSALS[FaultKind(fault.kind)]


def spoil(answer: Answer, faults: Faults, operation: Operation) -> Answer:
    """The answer after every fault that happens to what was processed."""
    if not (answer.is_success and isinstance(answer.body, dict)):
        return answer
    data = answer.body["data"]
    ids = {one["id"] for one in _entries(data) if "id" in one}
    for rule in faults.firing(DATA_CHANGES, operation, ids) if ids else ():
        data = _changed(data, rule.fault, rule.chance)
    answer = replace(answer, body=answer.body | {"data": data})
    for rule in faults.firing(TEXT_CHANGES, operation, ids):
        answer = replace(answer, body=_broken(answer.raw(), rule.fault.kind))
    return answer


def _changed(data: Any, fault: Fault, chance: Random) -> Any:
    match fault.kind:
        case FaultKind.UNKNOWN_STATUS:
            return _rewritten(data, fault, lambda one: one | {"status": UNKNOWN_STATUS})
        case FaultKind.MISSING_PLAYBACK_IDS:
            return _rewritten(data, fault, lambda one: {key: one[key] for key in one if key != "playback_ids"})
        case FaultKind.REPEATED_ENTRIES:
            return [*data, *_drawn(data, fault, chance)]
        case FaultKind.DROPPED_ENTRIES:
            gone = _drawn(data, fault, chance)
            return [one for one in data if one not in gone]
        case _:
            return _shuffled(data, chance)


def _rewritten(data: Any, fault: Fault, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if isinstance(data, list):
        return [_rewritten(one, fault, change) for one in data]
    return change(data) if fault.object_id in {None, data["id"]} else data


def _entries(data: Any) -> list[dict[str, Any]]:
    return data if isinstance(data, list) else [data]


def _drawn(data: list[dict[str, Any]], fault: Fault, chance: Random) -> list[dict[str, Any]]:
    chosen = [one for one in data if fault.object_id in {None, one["id"]}]
    return chance.sample(chosen, min(1, len(chosen)))


def _shuffled(data: list[dict[str, Any]], chance: Random) -> list[dict[str, Any]]:
    mixed = chance.sample(data, len(data))
    return mixed if mixed != data else data[::-1]


def _broken(raw: bytes, kind: str) -> bytes:
    return raw[: len(raw) // 2] if kind == FaultKind.TRUNCATED else b'{"data": {"id": oops'
