"""The addresses of the films."""

from django.urls import path

from films import views

urlpatterns = [
    path("", views.index, name="index"),
    path("films/", views.upload, name="upload"),
    path("films/existing/", views.add_existing, name="add-existing"),
    path("films/<int:pk>/", views.film, name="film"),
    path("films/<int:pk>/upload/", views.upload_again, name="upload-again"),
    path("films/<int:pk>/delete/", views.delete, name="delete"),
]
