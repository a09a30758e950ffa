"""The same with pytest-django: `python -m pytest`."""

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import reverse

from films.models import Film
from rindle_sync.integrations.django.testing import EmulatedMux, emulated_mux


@pytest.fixture
def mux(transactional_db: None) -> Iterator[EmulatedMux]:
    with emulated_mux() as mux:
        yield mux


def test_an_uploaded_film_is_published_once_it_is_ready(client: Client, mux: EmulatedMux) -> None:
    begun = client.post(reverse("upload"), {"title": "Holidays"}).json()
    mux.send_file(begun["url"])
    film = Film.objects.get()
    published_before = film.published_at
    mux.finish(film.video)
    film.refresh_from_db()

    assert published_before is None
    assert film.published_at
    assert "https://stream.mux.com/" in client.get(begun["page"]).content.decode()
