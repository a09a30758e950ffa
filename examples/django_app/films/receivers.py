"""What the app does when a video changes: written once for each change, or not at all."""

from typing import Any

from django.db.models import F
from django.dispatch import receiver
from django.utils import timezone

from films.models import Film
from rindle_sync.integrations.django.signals import video_changed, video_ready


@receiver(video_changed)
def count(change: Any, **_: object) -> None:
    Film.objects.filter(video=change.row_id).update(changes=F("changes") + 1)


@receiver(video_ready)
def publish(change: Any, **_: object) -> None:
    waiting = Film.objects.filter(video=change.row_id, published_at=None)
    waiting.update(published_at=timezone.now())
