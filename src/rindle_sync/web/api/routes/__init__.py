"""The operations of the API, by what they are about."""

from fastapi import APIRouter

from rindle_sync.web.api.routes import assets, changes, making, playback, webhook_events

router = APIRouter()
for _part in (assets, making, playback, changes, webhook_events):
    router.include_router(_part.router)
