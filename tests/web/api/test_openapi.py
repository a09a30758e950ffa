"""The description of the API: it is valid, it is the one in the docs, and the API keeps to it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import schemathesis
from openapi_schema_validator import OAS31Validator

from rindle_sync.store.api_tokens import ApiTokens
from tests.support.api import PREFIX, TOKEN, ApiWorld, an_api
from tests.support.processes import (
    PATIENCE,
    Shell,
    a_store,
    add_due,
    eventually,
    free_port,
    serving,
    settings_for,
)

PROJECT = Path(__file__).parents[3]
DOCUMENT = PROJECT / "docs" / "openapi.json"


async def described(api: ApiWorld) -> str:
    answer = await api.client.get("/openapi.json")
    return json.dumps(answer.json(), indent=2) + "\n"


async def test_the_description_in_the_docs_is_current(sqlite_tables_url: str) -> None:
    """Where it is not: `python -m tests.web.api.describe`."""
    async with an_api(sqlite_tables_url) as api:
        assert DOCUMENT.read_text() == await described(api)


def test_the_description_is_valid() -> None:
    document = json.loads(DOCUMENT.read_text())

    schemathesis.openapi.from_dict(document).validate()
    for schema in document["components"]["schemas"].values():
        OAS31Validator.check_schema(schema)
    assert document["openapi"].startswith("3.1.")


def test_each_operation_says_what_it_may_answer() -> None:
    document = json.loads(DOCUMENT.read_text())
    found = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            found.add(operation["operationId"])
            assert operation["description"], (path, method)
            assert {"401", "403", "422", "429", "503"} <= operation["responses"].keys()
            for status, answered in operation["responses"].items():
                kind = "application/json" if status < "300" else "application/problem+json"
                name = answered.get("$ref", "").rpartition("/")[2]
                answer = document["components"]["responses"].get(name, answered)
                assert list(answer["content"]) == [kind], (path, method, status)
    assert len(found) == 18
    assert document["security"] == [{"token": []}]
