"""The same with pytest-django: `python -m pytest`."""

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import reverse

from films.models import Film
from rindle_sync.testing.django import AppMux, app_mux


@pytest.fixture
def mux(transactional_db: None) -> Iterator[AppMux]:
    with app_mux() as mux:
        yield mux


def test_an_uploaded_film_is_published_once_it_is_ready(client: Client, mux: AppMux) -> None:
    begun = client.post(reverse("upload"), {"title": "Holidays"}).json()
    mux.receive_file(begun["url"])
    mux.deliver()
    film = Film.objects.get()
    published_before = film.published_at
    mux.finish(film.video)
    mux.deliver()
    film.refresh_from_db()

    assert published_before is None
    assert film.published_at
    assert "https://stream.mux.com/" in client.get(begun["page"]).content.decode()
