"""The app."""

from django.apps import AppConfig


class FilmsConfig(AppConfig):
    """Films; its receivers are connected once all apps are there."""

    name = "films"

    def ready(self) -> None:
        from films import receivers  # noqa: F401
