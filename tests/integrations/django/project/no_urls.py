"""Pages without the webhook endpoint."""

from typing import Any

urlpatterns: list[Any] = []
