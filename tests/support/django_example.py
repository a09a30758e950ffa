"""The example's Django project in processes of its own: settings are for a whole process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
APP = ROOT / "examples" / "django_app"
SITE = ROOT / "tests" / "django_site"
COVERAGE = Path(__file__).parent / "processes.coveragerc"

HOSTILE = {
    "RINDLE_ENVIRONMENT": "production",
    "RINDLE_MUX_TOKEN_ID": "the-developers-token",
    "RINDLE_MUX_TOKEN_SECRET": "the-developers-secret",
    "RINDLE_MUX_WEBHOOK_SECRETS": "the-developers-webhook-secret",
    "RINDLE_MUX_BASE_URL": "http://127.0.0.1:9",
    "RINDLE_STUCK_POLICY": "ask-first",
}
"""What a developer may have in the shell; none of it may matter to tests."""


def environment(database_url: str, **more: str) -> dict[str, str]:
    """The variables of a process of the project, on this database."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RINDLE_")}
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), str(APP), own.get("PYTHONPATH", "")])
    return own | measured() | {"PYTHONPATH": path, "DATABASE_URL": database_url} | more


def measured() -> dict[str, str]:
    """What has a process measure its coverage, if this one does: the code runs only there."""
    coverage = sys.modules.get("coverage")
    if not coverage or not coverage.Coverage.current():
        return {}
    return {"COVERAGE_PROCESS_START": str(COVERAGE), "COVERAGE_FOLDER": str(ROOT)}


def run(*command: str, env: Mapping[str, str], folder: Path = APP) -> str:
    """What a Python program prints, which ends well."""
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def manage(*arguments: str, env: Mapping[str, str]) -> str:
    """What `manage.py` prints."""
    return run("manage.py", *arguments, env=env)
