"""The pages say what the code says.

Nothing that a user can name is missing, no link is dead, every example runs.
"""

import ast
import asyncio
import os
import re
import tomllib
from enum import Enum
from importlib import util
from inspect import signature
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any, Final

import httpx
import pytest
from pydantic import SecretStr
from typer.main import get_command

from reference.pages import PAGES as GENERATED
from rindle_sync import ChangeEvent, ErrorKind, State, load_settings
from rindle_sync.cli import app
from rindle_sync.config import Settings
from rindle_sync.diagnostics import Check
from rindle_sync.diagnostics import Status as Health
from rindle_sync.domain import EventStatus, FailureKind, Outcome, Trigger, Verdict
from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.emulator.lifecycle import Life
from rindle_sync.errors import ConfigurationError
from rindle_sync.gateway import Reason
from rindle_sync.providers import Provider
from rindle_sync.reconcile import Drift, Filled, Report, SweepResult

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MOST_WORDS: Final = 25_000
"""What somebody reads in an afternoon. To add a page, say something on another one once less."""


def commands_of(group: Any, before: str = "") -> dict[str, Any]:
    """Every command by its full name, those of groups too."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= commands_of(command, f"{before}{name} ") if inner else {f"{before}{name}": command}
    return found


COMMANDS = commands_of(get_command(app))

ENVELOPE = {"system_time", "row_id", "reference", "environment"}


def page(name: str) -> str:
    return (ROOT / name).read_text()


def section(name: str, heading: str) -> str:
    """What stands under the heading that names `heading`, up to the next heading."""
    found = re.search(
        rf"^(#+) `?{re.escape(heading)}`?$\n(.*?)(?=^#{{1,}} |\Z)",
        page(name),
        re.MULTILINE | re.DOTALL,
    )
    assert found, f"{name} has no section about {heading}"
    return found[2]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def blocks_of(language: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{path.name}-{number}")
        for path in PAGES
        for number, block in enumerate(blocks(path.read_text(), language), start=1)
    ]


def lacks(text: str, words: list[str]) -> list[str]:
    return [word for word in words if f"`{word}`" not in text]


@pytest.fixture
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in os.environ:
        if variable.startswith("RINDLE_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def test_no_command_is_documented_that_is_not_there() -> None:
    headings = re.findall(r"^## `([a-z -]+)`$", page("docs/commands.md"), re.MULTILINE)

    assert set(headings) <= set(COMMANDS)


def written(value: object) -> str:
    """A setting as a file has it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return f"{value:g}" if isinstance(value, int | float) else str(value)


@pytest.mark.usefixtures("_no_settings")
@pytest.mark.parametrize("block", blocks_of("toml"))
def test_every_settings_file_is_accepted(
    block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "a.toml"
    file.write_text(block)
    monkeypatch.setenv("RINDLE_CONFIG", str(file))

    settings = load_settings()

    for name, value in tomllib.loads(block).items():
        holder = settings if name in type(settings).model_fields else settings.account
        assert written(getattr(holder, name)) == written(value)


@pytest.mark.usefixtures("_no_settings")
@pytest.mark.parametrize(
    ("variable", "value", "told"),
    re.findall(
        r"^\$ (RINDLE_\w+)=(\S+) rindle-sync status\nerror (.+)$",
        page("docs/settings.md"),
        re.MULTILINE,
    ),
)
def test_a_wrong_setting_is_told_as_documented(
    variable: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError, match=re.escape(told)):
        load_settings()


@pytest.mark.parametrize(
    ("words", "name", "heading"),
    [
        (FailureKind, "docs/reference/events.md", "rindle.provider.sync.failed"),
        (Outcome, "docs/reference/events.md", "rindle.provider.sweep.completed"),
        (Reason, "docs/reference/events.md", "rindle.provider.breaker.opened"),
        (Drift, "docs/reference/commands.md", "audit"),
        (Check, "docs/reference/commands.md", "doctor"),
        (State, "docs/reference/tables.md", "media_provider_assets"),
        (ErrorKind, "docs/reference/tables.md", "media_provider_assets"),
        (EventStatus, "docs/reference/tables.md", "provider_webhook_events"),
    ],
)
def test_every_word_of_a_field_is_documented(words: type[Enum], name: str, heading: str) -> None:
    assert lacks(section(name, heading), [word.value for word in words]) == []


def test_every_verdict_is_documented() -> None:
    table = section("docs/how-it-works.md", "What is decided")

    assert [verdict for verdict in Verdict if not re.search(rf"\| {verdict}\b", table)] == []


def test_every_road_that_brings_a_change_is_documented() -> None:
    roads = [by.value for by in Trigger]

    assert lacks(section("docs/reference/tables.md", "provider_asset_changes"), roads) == []


@pytest.mark.parametrize(
    ("report", "command"),
    [(Health, "status"), (SweepResult, "sweep"), (Report, "audit"), (Filled, "backfill")],
)
def test_every_figure_of_a_report_is_in_its_sample(report: type[Any], command: str) -> None:
    text = section("docs/commands.md", command)

    assert [name for name in signature(report).parameters if f'"{name}":' not in text] == []


@pytest.mark.parametrize("file", ["webhooks/receive.py", "providers/mux/webhooks.py"])
def test_every_reason_to_reject_a_delivery_is_documented(file: str) -> None:
    source = page(f"src/rindle_sync/{file}")
    reasons = re.findall(r"(?:InvalidWebhook\(|return )\"(\w+)\"", source)

    assert reasons
    assert lacks(page("docs/webhooks.md"), reasons) == []


def test_every_member_of_a_provider_is_documented() -> None:
    members = [name for name in vars(Provider) if not name.startswith("_")]

    assert f"\n::: {Provider.__module__}.Provider\n" in page("docs/providers.md")
    assert [name for name in members if not getattr(Provider, name).__doc__] == []


def slugs(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(
        r"^#+ (.+)$",
        re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL),
        re.MULTILINE,
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", path.read_text())

    dead = []
    for link in links:
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in slugs(target.read_text())):
            dead.append(link)
    assert dead == []


def words_of(text: str) -> int:
    """The words outside of code."""
    return len(re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL).split())


def test_the_pages_that_people_write_are_short_enough_to_be_read() -> None:
    generated = {f"docs/reference/{name}.md" for name in GENERATED}
    written = {
        name: words_of(path.read_text())
        for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        if (name := path.relative_to(ROOT).as_posix()) not in generated
    }

    longest = sorted(written, key=lambda name: -written[name])[:5]
    assert sum(written.values()) <= MOST_WORDS, f"the longest are {longest}"


@pytest.mark.parametrize("block", blocks_of("python"))
def test_every_example_on_a_page_is_python(block: str) -> None:
    compile(block, "<page>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", blocks(page("README.md"), "python"))
def test_the_examples_of_the_readme_stand_in_a_file_that_runs(block: str) -> None:
    # tests/test_tutorial.py runs the blocks of the tutorial
    assert any(
        indent(block.rstrip("\n"), before) in path.read_text()
        for path in (*EXAMPLES, ROOT / "docs" / "tutorial.md")
        for before in ("", " " * 4)
    )


def example(name: str) -> ModuleType:
    spec = util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec
    assert spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_can_be_imported(path: Path) -> None:
    assert example(path.stem).__doc__


def settings_for(emulator: MuxEmulator, database_url: str) -> Settings:
    return load_settings(
        database_url=database_url,
        mux_base_url="http://emulator",
        mux_token_id=emulator.token_id,
        mux_token_secret=emulator.token_secret,
        mux_webhook_secrets="the-old-secret,the-new-secret",
        provider_polling_floor_seconds=0.05,
        sweep_interval_seconds=0.05,
    )


@pytest.mark.usefixtures("_no_settings")
async def test_an_app_that_embeds_the_service_hears_of_a_video_that_is_ready(
    sqlite_url: str,
) -> None:
    emulator = MuxEmulator()
    settings = settings_for(emulator, sqlite_url)
    changed: asyncio.Queue[ChangeEvent] = asyncio.Queue()

    async with example("embed").syncing(
        changed, settings, httpx.ASGITransport(emulator.app)
    ) as rindle:
        video = emulator.create_asset(life=Life(after=0))
        tracked = await rindle.track(reference="video-1", provider_asset_id=video)
        async with asyncio.timeout(20):
            heard = await changed.get()
        [row] = await rindle.find_by_provider_id(video)

    assert heard.change.row_id == tracked.id
    assert row.state is State.READY
    assert row.playback_ids


@pytest.mark.usefixtures("_no_settings")
async def test_a_web_app_takes_an_upload_and_hears_by_webhook_that_it_is_ready(
    sqlite_url: str,
) -> None:
    emulator = MuxEmulator(prepare_seconds=0.3)
    settings = settings_for(emulator, sqlite_url)
    changed: asyncio.Queue[ChangeEvent] = asyncio.Queue()
    app = example("webhooks").create_app(changed.put, settings, httpx.ASGITransport(emulator.app))
    emulator.add_webhook(
        "http://app/webhooks/mux", "the-new-secret", transport=httpx.ASGITransport(app)
    )
    stop = asyncio.Event()

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as browser,
        httpx.AsyncClient(transport=httpx.ASGITransport(emulator.app)) as mux,
        asyncio.timeout(20),
        asyncio.TaskGroup() as group,
    ):
        group.create_task(emulator.run_webhooks(stop, every=0.02))
        begun = (await browser.post("/videos/video-1")).json()
        sent = await mux.put(begun["url"], content=b"a film")
        states = [(await changed.get()).change.to_state]
        while State.READY not in states:
            states.append((await changed.get()).change.to_state)
        told = (await browser.get(f"/rows/{begun['row_id']}")).json()
        stop.set()

    assert sent.is_success
    assert states[0] is State.UPLOADING
    assert told == {"state": "ready"}
    assert emulator.deliveries.answers[202] > 0
