"""The API on each kind of database in turn."""

from collections.abc import AsyncIterator

import pytest

from tests.support.api import ApiWorld, an_api


@pytest.fixture
async def api(tables_url: str) -> AsyncIterator[ApiWorld]:
    async with an_api(tables_url) as api:
        yield api
