"""docs/testing.md: its tests pass in a project that has nothing else, its tables are the code's."""

import ast
import inspect
import re
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from rindle_sync.emulator import MuxEmulator
from rindle_sync.testing import FakeMux, plugin

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()


def section(heading: str) -> str:
    found = re.search(
        rf"^## {re.escape(heading)}$\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    assert found, heading
    return found[1]


def blocks(heading: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", section(heading), re.MULTILINE | re.DOTALL)


def first_sentence_of(docstring: str) -> str:
    text = re.sub(r"\s+", " ", docstring)
    sentence, stop, _ = text.partition(". ")
    return sentence + "." if stop else text


def call_of(method: Any) -> str:
    """A method with the names of what it takes."""
    named = list(inspect.signature(method).parameters)[1:]
    return f"`{method.__name__}({', '.join(named)})`"


def rows(table: str) -> list[tuple[str, str]]:
    return re.findall(r"^\| (`.*?`) \| (.*) \|$", table, re.MULTILINE)


def fixtures() -> list[tuple[str, str]]:
    """The fixtures and the first sentences of their docstrings, in the order of the plugin."""
    found = []
    for node in ast.parse(inspect.getsource(plugin)).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            decorated = [ast.unparse(decorator) for decorator in node.decorator_list]
            if any(text.startswith("pytest.fixture") for text in decorated):
                found.append((f"`{node.name}`", first_sentence_of(ast.get_docstring(node) or "")))
    return found


def verbs() -> list[str]:
    """What FakeMux has beyond the emulator, and how it sends webhooks."""
    return [
        call_of(member)
        for name, member in vars(FakeMux).items()
        if inspect.isfunction(member) and not name.startswith("_") and name != "delivering_to"
    ]


def about_webhooks() -> list[str]:
    return [
        call_of(member)
        for name, member in vars(MuxEmulator).items()
        if re.fullmatch(r"(lose|repeat|reverse|forge)_webhooks?", name)
    ]


@pytest.mark.parametrize(
    "heading",
    ["Three tests in plain asyncio", "In FastAPI and Starlette", "In Flask and other WSGI hosts"],
)
def test_the_three_tests_pass(pytester: pytest.Pytester, heading: str) -> None:
    for needed in ("fastapi", "flask"):
        if needed in heading.lower():
            pytest.importorskip(needed)
    app, tests, *_ = blocks(heading)
    pytester.makeini("""
        [pytest]
        asyncio_mode = auto
        asyncio_default_fixture_loop_scope = function
        filterwarnings = error
    """)
    pytester.makepyfile(app=app, test_app=tests)

    ended = pytester.runpytest_subprocess("-p", plugin.__name__, timeout=300)

    ended.assert_outcomes(passed=3)


def test_the_sync_test_of_a_fastapi_app_passes(pytester: pytest.Pytester) -> None:
    pytest.importorskip("fastapi")
    app, _, block = blocks("In FastAPI and Starlette")
    test = """
from app import create_app
from rindle_sync.testing import run_jobs

def test_it(rindle_settings, rindle_mux, rindle_clock):
    options = {"transport": rindle_mux.transport, "clock": rindle_clock.now}
    app = create_app(rindle_settings, **options, run_jobs=False)
"""
    ending = "    assert rindle_mux.deliveries.answers == {202: 1}\n"
    pytester.makepyfile(app=app, test_app=test + indent(block, "    ") + ending)

    ended = pytester.runpytest_subprocess("-p", plugin.__name__, timeout=300)

    ended.assert_outcomes(passed=1)


def test_the_tests_of_the_flask_page_pass_and_leave_the_app_s_own_database_alone(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("flask")
    page = (Path(__file__).parents[2] / "docs" / "flask.md").read_text()
    app, *others = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    [tests] = [block for block in others if "import create_app" in block]
    pytester.makeini("[pytest]\nfilterwarnings = error")
    pytester.makepyfile(app=app, test_app=tests)
    # the developer's own account, as the shell and a file have it
    monkeypatch.setenv("FLASK_RINDLE_MUX_TOKEN_ID", "the-developer-s")
    monkeypatch.setenv("FLASK_RINDLE_MUX_TOKEN_SECRET_FILE", "the-developer-s.txt")

    ended = pytester.runpytest_subprocess("-p", plugin.__name__, "-p", "no:asyncio", timeout=300)

    ended.assert_outcomes(passed=3)
    assert not Path(pytester.path, "videos.sqlite3").exists()
    assert "webhook events wait" not in ended.stdout.str() + ended.stderr.str()


def test_the_test_without_pytest_passes(pytester: pytest.Pytester) -> None:
    [block] = blocks("Without pytest")

    ended = pytester.runpython_c(block + "\nunittest.main()")

    ended.stderr.fnmatch_lines(["Ran 1 test*", "OK"])


def test_every_fixture_is_on_the_page_as_it_says_itself() -> None:
    assert rows(section("The fixtures")) == fixtures()


def test_every_verb_is_on_the_page_with_what_it_takes() -> None:
    calls = re.findall(r"`\w+\([^`]*\)`", section("What Mux does"))

    assert verbs()
    assert sorted(calls) == sorted([*verbs(), *about_webhooks()])
