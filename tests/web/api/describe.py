"""Writes docs/openapi.json anew."""

import asyncio
import json
import tempfile

from rindle_sync.app import connect
from rindle_sync.config import plain_settings
from rindle_sync.web.api.openapi import document
from tests.web.api.test_openapi import DOCUMENT, PREFIX


async def _main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with connect(plain_settings(database_url=f"sqlite:///{folder}/x.sqlite3")) as rindle:
            made = document(rindle.api.framework, PREFIX)
    DOCUMENT.write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    asyncio.run(_main())
