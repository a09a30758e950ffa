"""The description of the API: it is valid, it is the one in the docs, and the API keeps to it."""

import asyncio
import base64
import json
import re
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import schemathesis
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from openapi_schema_validator import OAS31Validator

from rindle_sync.emulator import MuxEmulator
from rindle_sync.store.api_tokens import ApiTokens
from tests.support.api import PREFIX, ApiWorld, an_api
from tests.support.processes import Shell, a_store, add_due, free_port, serving, settings_for

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


def a_key() -> str:
    """A signing key, as Mux shows one."""
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key = rsa.generate_private_key(65537, 2048)
    return base64.b64encode(key.private_bytes(serialization.Encoding.PEM, kind, plain)).decode()


CHECKS = "positive_data_acceptance"
"""The check that is left out: no schema can say which keys, cursors and assets there are."""


async def conforms(url: str, folder: Path, *, examples: int, seed: int) -> int:
    """Have schemathesis try a running service; the number of its cases."""
    with serving(MuxEmulator()) as far_end:
        port = free_port()
        settings = settings_for(
            url, far_end, api_port=port, mux_signing_key_id="key-1", mux_signing_private_key=a_key()
        )
        async with a_store(url) as store:
            tokens, now = ApiTokens(store.database), datetime.now(UTC)
            _, token = await tokens.create("all", may_write=True, sees_provider_ids=True, now=now)
            await add_due(store, far_end.emulator.create_asset(policies=("public", "signed")))
        async with Shell(folder, settings).started("run") as running:
            await running.says(f"HTTP API at http://127.0.0.1:{port}/api/v1")
            said = await tried(f"http://127.0.0.1:{port}{PREFIX}", token, folder, examples, seed)
            running.send(signal.SIGTERM)
            ended = await running.ended()
        assert ended.code == 0, ended.err
        assert "an unexpected error" not in ended.err, ended.err
        assert token not in ended.err + ended.out
    found = re.search(r"^  (\d+) generated", said, re.MULTILINE)
    assert found, said
    return int(found[1])


async def tried(url: str, token: str, folder: Path, examples: int, seed: int) -> str:
    """What schemathesis says of the API at `url`, in which it must find no failure."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--url", url),
        *("--header", f"Authorization: Bearer {token}", "--checks", "all"),
        *("--exclude-checks", CHECKS, "--max-examples", str(examples), "--seed", str(seed)),
        # who follows the changes may wait for half a minute
        *(
            "--request-timeout",
            "60",
            "--max-response-time",
            "35",
            "--generation-database",
            "none",
            "--warnings",
            "off",
        ),
        "--no-color",
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_no_request_breaks_the_api(sqlite_url: str, tmp_path: Path) -> None:
    assert await conforms(sqlite_url, tmp_path, examples=3, seed=1) >= 300


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", [1, 2])
async def test_none_of_thousands_of_requests_breaks_the_api(
    database_url: str, tmp_path: Path, seed: int, record_property: Callable[[str, object], None]
) -> None:
    cases = await conforms(database_url, tmp_path, examples=120, seed=seed)

    record_property("figures", f"schemathesis: {cases} cases of the API, no failure")
    assert cases >= 3000
