"""The feed of changes, for apps that follow them."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import AfterValidator, WithJsonSchema
from starlette.responses import Response

from rindle_sync.runtime.outgoing.payload import change_payload
from rindle_sync.web.api.calls import Reading, ok, problems
from rindle_sync.web.api.models import ChangeMessage, ChangePage
from rindle_sync.web.api.problems import wrong

LONGEST_WAIT: Final = 30
"""Seconds that a client may wait for a change."""

NEWEST: Final = "newest"
MOST_CHANGES: Final = 500
_LARGEST_ID: Final = 2**63 - 1

router = APIRouter(tags=["changes"])

_POSITION: Final = r"^([0-9]{1,19}|newest)$"
_POSITION_SCHEMA: Final = {"type": "string", "pattern": _POSITION}
_NO_POSITION: Final = "must be the `next` of an answer before, or newest"


def _position(after: str) -> str:
    if not re.fullmatch(_POSITION, after, re.ASCII):
        raise ValueError(_NO_POSITION)
    return after


@router.get(
    "/changes", operation_id="listChanges", responses=problems(410), response_model=ChangePage
)
async def list_changes(
    call: Reading,
    *,
    after: Annotated[
        Annotated[str, AfterValidator(_position), WithJsonSchema(_POSITION_SCHEMA)] | None,
        Query(
            description="The `next` of the answer before, to go on behind it; left out, the oldest "
            "change that is kept comes first. `newest`: only what comes from now on."
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_CHANGES)] = 100,
    wait: Annotated[
        float,
        Query(
            ge=0,
            le=LONGEST_WAIT,
            allow_inf_nan=False,
            description="Seconds to wait where there is no change yet.",
        ),
    ] = 0,
) -> Response:
    """List the changes behind one, and wait for the next one where there is none yet.

    Keep `next` once you have handled the changes, and ask again with it. No change is skipped, and
    each has its id for good, so that one that comes twice is known.
    """
    feed, store = call.api.feeds[call.environment], call.service.store
    begins = await feed.newest() if after == NEWEST else _number(after)
    found = await feed.behind(begins, limit=limit, wait=wait, left=call.left)
    async with call.api.reading():
        rows = await store.assets.get_many({known.change.row_id for known in found})
    data = []
    for known in found:
        payload = change_payload(known, rows.get(known.change.row_id))
        data.append(ChangeMessage.model_validate(payload))
    return ok(ChangePage(data=data, next=found[-1].id if found else begins))


def _number(after: str | None) -> int | None:
    if after is None:
        return None
    number = int(after)
    if number > _LARGEST_ID:
        raise wrong("after", _NO_POSITION)
    return number
