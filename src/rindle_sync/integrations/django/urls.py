"""The webhook endpoint: `path("", include("rindle_sync.integrations.django.urls"))`.

It is at /webhooks/mux, and where the settings have several environments at /webhooks/mux/<name>.
"""

from typing import Final

from django.urls import path

from rindle_sync.integrations.django.views import webhook

app_name: Final = "rindle_sync"

# with a slash at the end as well: nobody redirects a POST
urlpatterns: Final = [
    path("webhooks/<slug:provider>", webhook, name="webhook"),
    path("webhooks/<slug:provider>/", webhook),
    path("webhooks/<slug:provider>/<slug:environment>", webhook, name="environment_webhook"),
    path("webhooks/<slug:provider>/<slug:environment>/", webhook),
]
