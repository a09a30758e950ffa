"""The Django app."""

from django.apps import AppConfig


class RindleSyncConfig(AppConfig):
    """rindle-sync in a Django project; its label is `rindle_sync`."""

    name = "rindle_sync.integrations.django"
    label = "rindle_sync"
    verbose_name = "Videos (rindle-sync)"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and what keeps the service on the right database."""
        from rindle_sync.integrations.django import checks, events

        checks.register_all()
        events.connect(self)
