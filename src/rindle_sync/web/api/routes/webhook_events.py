"""The stored webhook events of the provider: listed, and applied again."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from rindle_sync.domain import EventStatus, JobKind, WebhookEventSummary
from rindle_sync.web.api.calls import Call, Reading, Writing, ok, problems
from rindle_sync.web.api.models import Replayed, WebhookEventList, WebhookEventModel
from rindle_sync.web.api.problems import Declined
from rindle_sync.webhooks import rows_about

router = APIRouter(tags=["webhook events"])

EventId = Annotated[
    str,
    Path(
        description="rindle-sync's own id of it.",
        json_schema_extra={"format": "uuid"},
        max_length=100,
    ),
]


@router.get(
    "/webhook-events",
    operation_id="listWebhookEvents",
    responses=problems(),
    response_model=WebhookEventList,
)
async def list_webhook_events(
    call: Reading,
    *,
    status: Annotated[EventStatus | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """List the newest webhook events of the provider, of one status or of all."""
    async with call.api.reading():
        events = await call.service.webhook_events.list(status=status, limit=limit)
        return ok(WebhookEventList(data=await _shown(call, events)))


@router.get(
    "/webhook-events/{webhook_event_id}",
    operation_id="getWebhookEvent",
    responses=problems(404),
    response_model=WebhookEventModel,
)
async def get_webhook_event(call: Reading, webhook_event_id: EventId) -> Response:
    """Get one webhook event."""
    event = await _event(call, webhook_event_id)
    async with call.api.reading():
        (shown,) = await _shown(call, [event])
    return ok(shown)


@router.post(
    "/webhook-events/replay-dead",
    operation_id="replayDeadWebhookEvents",
    responses=problems(),
    response_model=Replayed,
)
async def replay_dead(call: Writing) -> Response:
    """Apply all webhook events again that could not be applied."""
    return ok(await _replay(call, None))


@router.post(
    "/webhook-events/{webhook_event_id}/replay",
    operation_id="replayWebhookEvent",
    responses=problems(404, 409),
    response_model=Replayed,
)
async def replay(call: Writing, webhook_event_id: EventId) -> Response:
    """Apply one webhook event again. 409 where its body was deleted, or nothing acts on it."""
    event = await _event(call, webhook_event_id)
    replayed = await _replay(call, event.id)
    if not replayed.replayed:
        text = "this webhook event cannot be applied again: its body was deleted, or nothing acts"
        raise Declined(409, f"{text} on its type")
    return ok(replayed)


async def _event(call: Call, webhook_event_id: str) -> WebhookEventSummary:
    async with call.api.reading():
        event = await call.service.webhook_events.get(webhook_event_id)
    if event is None:
        raise Declined(404, "there is no webhook event with this id", kind="no-such-webhook-event")
    return event


async def _replay(call: Call, webhook_event_id: str | None) -> Replayed:
    async with call.api.reading():
        number = await call.service.webhook_events.replay(webhook_event_id)
    call.service.job_runner.wake(JobKind.PROCESS_WEBHOOK_EVENTS)
    return Replayed(replayed=number)


async def _shown(call: Call, events: list[WebhookEventSummary]) -> list[WebhookEventModel]:
    sees = call.token.sees_provider_ids
    about = await rows_about(call.service.store.assets, events)
    return [WebhookEventModel.of(event, row, sees_provider_ids=sees) for event, row in about]
