"""What the tests inside a Django project may ask for."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from rindle_sync.integrations.django import rindle
from rindle_sync.integrations.django.models import ProviderAsset
from rindle_sync.testing.django import AppMux, app_mux
from tests.django_site.people import ALL, a_user


@pytest.fixture
def mux(transactional_db: None) -> Iterator[AppMux]:
    """The provider, of which a test says what happens."""
    with app_mux() as mux:
        yield mux


@pytest.fixture
def signed_in(client: Client) -> Callable[..., Client]:
    """A browser of somebody with the permissions that are named; by default all that count."""

    def sign_in(*permissions: str) -> Client:
        client.force_login(a_user(*(permissions or ALL)))
        return client

    return sign_in


@pytest.fixture
def video(mux: AppMux) -> Callable[..., ProviderAsset]:
    """Makes a tracked video, which the provider still processes."""

    def make(reference: str = "film-1", **values: Any) -> ProviderAsset:
        asset_id = mux.create_asset(**values.pop("asset", {}))
        row = rindle.track(reference=reference, provider_asset_id=asset_id, **values)
        found = ProviderAsset.objects.get(pk=row.id)
        assert isinstance(found, ProviderAsset)
        return found

    return make
