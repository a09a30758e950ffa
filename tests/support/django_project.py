"""A Django project in processes of its own: its commands, and code that runs in it."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url

from tests.support.app_connections import driver_url
from tests.support.processes import PATIENCE, UNWANTED
from tests.support.webhooks import SECRET

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "tests" / "integrations" / "django" / "project"
RINDLE = {"MUX_TOKEN_ID": "id", "MUX_TOKEN_SECRET": "secret", "MUX_WEBHOOK_SECRETS": SECRET}


def database_of(url: str) -> dict[str, Any]:
    """An entry of DATABASES for a URL of ours."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parsed.database}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parsed.database,
        "USER": parsed.username,
        "PASSWORD": parsed.password,
        "HOST": parsed.host,
        "PORT": str(parsed.port or ""),
        "OPTIONS": dict(parsed.query),
    }


@dataclass(frozen=True)
class DjangoProject:
    """The project of `tests/integrations/django/project`, with settings that differ."""

    folder: Path
    url: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **settings: Any) -> "DjangoProject":
        """The same with other settings."""
        return replace(self, settings={**self.settings, **settings})

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its processes; none of the tests' own settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
        return kept | {
            "DJANGO_SETTINGS_MODULE": "tests.integrations.django.project.settings",
            "PROJECT_SETTINGS": json.dumps(self.settings),
            "PROJECT_ORDERS": str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            "COLUMNS": "200",
        }

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `manage.py` to its end."""
        return self._run(str(PROJECT / "manage.py"), *arguments)

    def managed(self, *arguments: str) -> str:
        """What a command of `manage.py` prints, which ends well."""
        ended = self.manage(*arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def python(self, code: str) -> Any:
        """What `code` prints as JSON, run in the project."""
        setup = "import django, json\ndjango.setup()\n"
        ended = self._run("-c", setup + textwrap.dedent(code))
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return json.loads(ended.stdout) if ended.stdout else None

    def query(self, sql: str) -> list[list[Any]]:
        """What a statement finds in its database, asked without a process of the project."""
        engine = create_engine(driver_url(self.url, is_async=False), poolclass=NullPool)
        with engine.connect() as connection:
            return [list(line) for line in connection.execute(text(sql))]

    def started(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """A process of Python's in the project, which a test ends."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


Migrate = Callable[[DjangoProject], DjangoProject]
"""Makes the tables of a project."""


def a_project(folder: Path, url: str, **settings: Any) -> DjangoProject:
    """The project on a database."""
    given = {"DATABASES": {"default": database_of(url)}, "RINDLE": RINDLE}
    return DjangoProject(folder, url, {**given, **settings})
