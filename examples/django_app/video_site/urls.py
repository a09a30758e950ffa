"""The addresses: the films, the admin, and where the provider's webhooks come in."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("films.urls")),
    path("admin/", admin.site.urls),
    path("", include("rindle_sync.integrations.django.urls")),
]
