"""What the app has of its own."""

from typing import Any

from django.db import models

from rindle_sync.integrations.django.models import VideoField


class Lesson(models.Model):
    """A lesson, with a video or without."""

    title: Any = models.TextField()
    video: Any = VideoField()


class Notice(models.Model):
    """What a receiver has done: one for each change."""

    signal: Any = models.TextField()
    reference: Any = models.TextField()
    version: Any = models.IntegerField()
    state: Any = models.TextField(null=True)
