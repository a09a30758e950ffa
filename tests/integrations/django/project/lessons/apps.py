"""An app of the project."""

from django.apps import AppConfig


class LessonsConfig(AppConfig):
    """Lessons with a video."""

    name = "tests.integrations.django.project.lessons"
    label = "lessons"

    def ready(self) -> None:
        """Connect the receivers."""
        from tests.integrations.django.project.lessons import receivers  # noqa: F401, PLC0415
