"""The pages of the project."""

from django.urls import include, path

from tests.integrations.django.project.lessons import views

urlpatterns = [
    path("", include("rindle_sync.integrations.django.urls")),
    path("lessons/<str:title>", views.begin),
]
