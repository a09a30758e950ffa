"""What builds, publishes and deploys: it names what is there, and nothing else."""

import ast
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from typer.main import get_command

import rindle_sync
from rindle_sync.cli import app
from rindle_sync.config import fields_of
from rindle_sync.emulator.emulator import MuxEmulator
from tests.support.postgres import OLDEST
from tests.support.processes import Shell, free_port, serving, settings_for

ROOT: Final = Path(__file__).parents[1]
GITHUB: Final = ROOT / ".github"
MANIFESTS: Final = ROOT / "ops" / "kubernetes"
DOCKERFILE: Final = (ROOT / "ops" / "Dockerfile").read_text()
MAKEFILE: Final = (ROOT / "Makefile").read_text()
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMANDS: Final = set(get_command(app).commands)  # type: ignore[attr-defined]
PYTHONS: Final = [
    line.rpartition(" ")[2]
    for line in PROJECT["classifiers"]
    if line.startswith("Programming Language :: Python :: 3.")
]
TARGETS: Final = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
STARTED: Final = {"Deployment", "Job"}


def workflow(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((GITHUB / "workflows" / name).read_text())
    return read


WORKFLOWS: Final = {path.name: workflow(path.name) for path in (GITHUB / "workflows").iterdir()}
JOBS: Final = {
    f"{name}: {key}": job for name, flow in WORKFLOWS.items() for key, job in flow["jobs"].items()
}
MATRICES: Final = {
    name: job["strategy"]["matrix"] for name, job in JOBS.items() if "strategy" in job
}


def steps() -> Iterator[dict[str, Any]]:
    for job in JOBS.values():
        yield from job.get("steps", ())


def manifests() -> list[dict[str, Any]]:
    files = sorted(MANIFESTS.glob("*.yaml"))
    read = [part for file in files for part in yaml.safe_load_all(file.read_text())]
    return [manifest for manifest in read if manifest["kind"] != "Kustomization"]


def pods() -> dict[str, dict[str, Any]]:
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
        for manifest in manifests()
        if manifest["kind"] in STARTED
    }


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods().values() for container in pod["containers"]]


def test_what_a_workflow_runs_is_there() -> None:
    scripts = "\n".join(str(step.get("run", "")) for step in steps())
    made = set(re.findall(r"\bmake ([a-z-]+)", scripts))
    called = set(re.findall(r"(?m)^\.ci/\S+", scripts))

    assert made == {"acceptance", "bounds", "check", "dist", "lint-ops", "test"}
    assert made <= TARGETS
    assert called
    assert [name for name in called if not os.access(ROOT / name, os.X_OK)] == []


def test_ci_runs_what_ci_runs_elsewhere() -> None:
    of_script = set(
        re.findall(r"^make ([a-z-]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    )
    of_workflow = {step["run"].removeprefix("make ") for step in steps() if "run" in step}

    assert of_script <= of_workflow


def test_every_action_is_named_by_a_commit_and_its_version() -> None:
    for path in (GITHUB / "workflows").iterdir():
        used = re.findall(r"uses: (\S+)(.*)$", path.read_text(), re.MULTILINE)
        loose = [
            name
            for name, beside in used
            if not (re.search(r"@[0-9a-f]{40}$", name) and re.match(r"  # v\d+\.\d+\.\d+$", beside))
        ]
        assert [name for name in loose if not name.startswith("./")] == []


def test_a_job_ends_in_time_and_may_do_no_more_than_it_says() -> None:
    assert [
        n for n, job in JOBS.items() if "timeout-minutes" not in job and "uses" not in job
    ] == []
    assert WORKFLOWS["ci.yml"]["permissions"] == {"contents": "read"}
    assert WORKFLOWS["release.yml"]["permissions"] == {}
    writes = {
        name for name, job in JOBS.items() if "write" in {*job.get("permissions", {}).values()}
    }
    assert writes == {f"release.yml: {name}" for name in ("attest", "pypi", "image", "notes")}


def test_ci_has_every_python_database_and_bound_of_dependencies() -> None:
    (dist,) = (job for name, job in JOBS.items() if name.endswith(": dist"))
    (pythons,) = (
        step["with"]["python-version"].split()
        for step in dist["steps"]
        if "with" in step and "\n" in step["with"].get("python-version", "")
    )
    bounds = re.findall(r"^BOUNDS \?= (.*)$", MAKEFILE, re.MULTILINE)

    assert [matrix["python"] for matrix in MATRICES.values()] == [PYTHONS] * len(MATRICES)
    assert sorted(pythons) == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    databases = MATRICES["ci.yml: test"]["database"]
    assert databases[:2] == ["sqlite", f"postgres:{OLDEST}"]
    assert " ".join(MATRICES["ci.yml: bounds"]["versions"]) == bounds[0]


def test_dependabot_looks_where_versions_are() -> None:
    files = {
        "pip": {"constraints.txt", "requirements.txt"},
        "github-actions": {".github"},
        "docker": {"Dockerfile"},
        "docker-compose": {"compose.yaml"},
    }
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]

    assert {update["package-ecosystem"] for update in updates} == set(files)
    for update in updates:
        folder = ROOT / update["directory"].strip("/")
        assert files[update["package-ecosystem"]] & {path.name for path in folder.iterdir()}
        assert update["cooldown"]["default-days"] >= 7


def test_a_commit_is_checked_by_what_make_check_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    check = (
        MAKEFILE.partition("\ncheck:")[2]
        .partition("\n\n")[0]
        .replace("$(RUN)", ".venv/bin/python -m")
    )

    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert len(hooks) == len(check.strip().splitlines()) - 1
    for hook in hooks:
        assert hook["entry"].removesuffix(" --force-exclude") in check


def notes_of(version: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What `.ci/release-notes` says in a checkout with this changelog and these packages."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "release-notes", folder / ".ci")
    (folder / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n- later\n\n"
        "## [1.2.0] - 2026-12-01\n\n### Added\n\n- this\n\n## [1.1.0] - 2026-11-01\n\n- before\n"
    )
    for name in ("rindle_sync-1.2.0-py3-none-any.whl", "rindle_sync-1.2.0.tar.gz"):
        (folder / name).touch()
    return subprocess.run(
        [folder / ".ci" / "release-notes", version, folder],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_notes_of_a_release_are_its_section_of_the_changelog(tmp_path: Path) -> None:
    told = notes_of("1.2.0", tmp_path)

    assert told.stdout.split() == ["###", "Added", "-", "this"], told.stderr


@pytest.mark.parametrize("version", ["1.1.0", "1.3.0"])
def test_a_tag_of_another_version_than_the_packages_is_refused(
    version: str, tmp_path: Path
) -> None:
    told = notes_of(version, tmp_path)

    assert told.returncode == 1
    assert f"is the version in pyproject.toml {version}?" in told.stderr


def test_the_image_is_made_of_what_its_context_has() -> None:
    let_in = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for name in line.split()[:-1]
    }

    assert copied == let_in
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_image_has_extras_and_a_python_that_are_there_and_no_root() -> None:
    extras = re.findall(r"^ARG EXTRAS=(.*)$", DOCKERFILE, re.MULTILINE)
    bases = re.findall(r"^FROM python:(\d+\.\d+)-slim-\w+", DOCKERFILE, re.MULTILINE)
    variables = set(re.findall(r"\b(RINDLE_\w+)=", DOCKERFILE))

    assert set(extras[0].split(",")) <= set(PROJECT["optional-dependencies"])
    assert bases == [PYTHONS[-1]] * DOCKERFILE.count("\nFROM ")
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert variables <= {f"RINDLE_{name.upper()}" for name in fields_of()}


def test_kubernetes_is_told_settings_and_commands_that_are_there() -> None:
    named = [
        variable
        for manifest in manifests()
        for variable in {**manifest.get("data", {}), **manifest.get("stringData", {})}
    ]

    assert named
    assert set(named) <= {f"RINDLE_{name.upper()}" for name in fields_of()}
    assert [container["args"][0] for container in containers()] == ["run", "migrate"]
    assert {container["args"][0] for container in containers()} <= COMMANDS


def test_every_pod_has_few_rights_and_no_variables_of_services() -> None:
    assert sorted(pods()) == ["rindle-sync", "rindle-sync-migrate"]
    for pod in pods().values():
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert f"USER {pod['securityContext']['runAsUser']}:" in DOCKERFILE
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} == set(container["resources"])


def test_what_selects_pods_finds_those_that_run_and_their_ports() -> None:
    (deployment,) = (m for m in manifests() if m["kind"] == "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (ports,) = (
        {p["name"]: p["containerPort"] for p in c["ports"]} for c in containers() if "ports" in c
    )
    services = [m["spec"] for m in manifests() if m["kind"] == "Service"]
    (budget,) = (m["spec"] for m in manifests() if m["kind"] == "PodDisruptionBudget")
    (job,) = (m for m in manifests() if m["kind"] == "Job")

    assert [service["selector"] for service in services] == [labels] * 2
    assert budget["selector"]["matchLabels"] == labels
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert job["spec"]["template"]["metadata"]["labels"] != labels
    assert {port["targetPort"] for spec in services for port in spec["ports"]} == set(ports)
    assert f"EXPOSE {ports['webhooks']} {ports['console']}" in DOCKERFILE
    assert ports == {
        "webhooks": fields_of()["listen_port"].default,
        "console": fields_of()["console_port"].default,
    }


def test_a_pod_has_time_to_end() -> None:
    longest = fields_of()["provider_timeout_seconds"].default + 5 + 40

    assert pods()["rindle-sync"]["terminationGracePeriodSeconds"] >= longest


async def test_the_health_check_and_every_probe_are_answered(
    sqlite_tables_url: str, tmp_path: Path
) -> None:
    port = free_port()
    paths = {
        probe["httpGet"]["path"]
        for container in containers()
        for name, probe in container.items()
        if name.endswith("Probe")
    }
    assert paths == {"/healthz", "/readyz"}
    with serving(MuxEmulator()) as far_end:
        shell = Shell(tmp_path, settings_for(sqlite_tables_url, far_end, console_port=port))
        async with shell.started("run") as running, httpx.AsyncClient() as client:
            await running.says("console, metrics and probes at")
            answers = [await client.get(f"http://127.0.0.1:{port}{path}") for path in paths]
            healthy = await asyncio.to_thread(health_check, port)

    assert [answer.status_code for answer in answers] == [200] * len(paths)
    assert healthy == 0
    assert await asyncio.to_thread(health_check, port) == 1


def health_check(port: int) -> int:
    """The exit code of the image's own health check, for a console at this port."""
    command = DOCKERFILE.partition("\n  CMD ")[2].partition("\n")[0]
    python, *arguments = json.loads(command)
    assert python == "python"
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "RINDLE_CONSOLE_PORT": str(port)},
        stderr=subprocess.DEVNULL,
        timeout=30,
        check=False,
    ).returncode


def test_kustomize_has_every_manifest_but_the_example() -> None:
    kustomization = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
    files = {path.name for path in MANIFESTS.iterdir()} - {"kustomization.yaml"}

    assert set(kustomization["resources"]) == files - {"secret.example.yaml"}
    assert [image["newTag"] for image in kustomization["images"]] == [PROJECT["version"]]
    assert {image["name"] for image in kustomization["images"]} == {
        c["image"] for c in containers()
    }


def test_the_layout_for_contributors_is_what_the_packages_say() -> None:
    source = Path(rindle_sync.__file__).parent
    said = {}
    for path in source.iterdir():
        file = path / "__init__.py" if path.is_dir() else path
        if file.suffix == ".py" and file.exists() and not path.stem.startswith("__"):
            docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
            said[path.stem] = " ".join(docstring.partition("\n\n")[0].split())
    rows = re.findall(
        r"^\| `(\w+)` \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
    )

    assert dict(rows) == said


def test_what_contributors_are_told_to_touch_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`([\w./]+(?:/|\.py|\.md|\.yml|\.toml))`", text)
    places = (ROOT, ROOT / "src" / "rindle_sync")

    assert paths
    assert [p for p in paths if not any((place / p).exists() for place in places)] == [
        "counters.py",
        "gauges.py",
    ]
