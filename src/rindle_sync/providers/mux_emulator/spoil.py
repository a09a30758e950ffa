"""What each fault does to an answer."""

from dataclasses import replace
from random import Random
from typing import Any

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

UNKNOWN_STATUS = "transmogrifying"


def refusal(fault: Fault) -> Answer:
    """The answer instead of which nothing was processed."""
    match fault.kind:
        case FaultKind.NOT_FOUND | FaultKind.NOT_FOUND_ONCE:
            return not_found()
        case FaultKind.UNAUTHORIZED:
            return unauthorized()
        case FaultKind.FORBIDDEN:
            return problem(403, "forbidden", "This access token does not have the permission for this call.")
        case FaultKind.RATE_LIMITED:
            wait = fault.retry_after
            return too_many_requests({} if wait is None else {"Retry-After": str(wait)})
        case FaultKind.SERVER_ERROR:
            return problem(500, "internal_error", "An internal error occurred.")
        case FaultKind.BAD_GATEWAY:
            return web_page(502, "Bad Gateway")
        case _:
            return web_page(504, "Gateway Time-out")


def spoil(answer: Answer, faults: Faults, operation: Operation) -> Answer:
    """The answer after every fault that happens to what was processed."""
    if not (answer.is_success and isinstance(answer.body, dict)):
        return answer
    data = answer.body["data"]
    ids = {one["id"] for one in _entries(data) if "id" in one}
    for rule in faults.firing(DATA_CHANGES, operation, ids):
        data = _changed(data, rule.fault, rule.chance)
    answer = replace(answer, body=answer.body | {"data": data})
    for rule in faults.firing(TEXT_CHANGES, operation, ids):
        answer = replace(answer, body=_broken(answer.raw(), rule.fault.kind))
    return answer


def _changed(data: Any, fault: Fault, chance: Random) -> Any:
    match fault.kind:
        case FaultKind.UNKNOWN_STATUS:
            for one in _chosen(data, fault):
                one["status"] = UNKNOWN_STATUS
        case FaultKind.MISSING_PLAYBACK_IDS:
            for one in _chosen(data, fault):
                one.pop("playback_ids", None)
        case FaultKind.REPEATED_ENTRIES:
            return [*data, _drawn(data, fault, chance)] if data else data
        case FaultKind.DROPPED_ENTRIES:
            gone = _drawn(data, fault, chance) if data else None
            return [one for one in data if one is not gone]
        case FaultKind.OUT_OF_ORDER:
            return _shuffled(data, chance)
    return data


def _entries(data: Any) -> list[dict[str, Any]]:
    return data if isinstance(data, list) else [data]


def _chosen(data: Any, fault: Fault) -> list[dict[str, Any]]:
    return [one for one in _entries(data) if fault.object_id in {None, one["id"]}]


def _drawn(data: list[dict[str, Any]], fault: Fault, chance: Random) -> dict[str, Any]:
    return chance.choice(_chosen(data, fault))


def _shuffled(data: list[dict[str, Any]], chance: Random) -> list[dict[str, Any]]:
    mixed = chance.sample(data, len(data))
    return mixed if mixed != data else data[::-1]


def _broken(raw: bytes, kind: str) -> bytes:
    return raw[: len(raw) // 2] if kind == FaultKind.TRUNCATED else b'{"data": {"id": oops'
