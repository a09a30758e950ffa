"""The generated pages are as the code is, and the code leaves no meaning out."""

import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from reference.pages import PAGES

FOLDER = Path(__file__).parents[1] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_the_code_is(name: str) -> None:
    assert (FOLDER / f"{name}.md").read_text("utf-8") == PAGES[name](), "run make reference"


@pytest.mark.parametrize("name", PAGES)
def test_everything_has_a_meaning(name: str) -> None:
    lines = re.findall(r"^\| `.*\|$", PAGES[name](), re.MULTILINE)

    assert lines
    assert [line for line in lines if line.endswith("|  |")] == []


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_line_of_its_own(name: str) -> None:
    assert "make reference" in PAGES[name]().split("\n\n")[1]
