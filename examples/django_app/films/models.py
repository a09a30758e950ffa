"""The app's own table."""

from django.db import models

from rindle_sync.integrations.django.models import VideoField


class Film(models.Model):
    """A film; its video is a row of rindle-sync."""

    title = models.CharField(max_length=200)
    video = VideoField()
    published_at = models.DateTimeField(null=True, blank=True)
    changes = models.PositiveIntegerField(default=0)
    """How many changes rindle-sync has reported: each counts once."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.title
