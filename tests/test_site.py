"""The documentation site is built without a warning, has every page, and no dead link or anchor."""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
import yaml

import rindle_sync
from rindle_sync import errors, testing, types

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
BUILD: Final = ROOT / "docs" / "scripts" / "build_site.py"
BUILD_SECONDS: Final = 180
LINKS: Final = {"a": "href", "link": "href", "img": "src", "script": "src"}

needs_zensical = pytest.mark.skipif(
    find_spec("zensical") is None,
    reason="zensical is not installed: pip install -r requirements-dev.txt -c constraints.txt",
)


class Page(HTMLParser):
    """The links of a page, and what a link can lead to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if target := given.get(LINKS.get(tag, "")):
            self.links.append(target)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, str(BUILD), str(folder)],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Every page by its path, as in `/tutorial/`; 404.html names its files for any place."""
    return {
        f"/{path.parent.relative_to(site).as_posix()}/".replace("/./", "/"): Page(path.read_text())
        for path in site.rglob("index.html")
    }


def leads_nowhere(site: Path, pages: dict[str, Page], here: str, link: str) -> bool:
    target, anchor = urldefrag(urljoin(here, link))
    path = unquote(urlsplit(target).path)
    if path.endswith("/"):
        return path not in pages or bool(anchor and unquote(anchor) not in pages[path].anchors)
    return not (site / path.lstrip("/")).is_file()


@needs_zensical
def test_no_link_of_the_site_is_dead(site: Path, pages: dict[str, Page]) -> None:
    dead = [
        f"{here}: {link}"
        for here, page in pages.items()
        for link in page.links
        if not urlsplit(link).scheme and leads_nowhere(site, pages, here, link)
    ]

    assert len(pages) > len(list(DOCS.rglob("*.md")))
    assert dead == []


@needs_zensical
def test_a_dead_link_is_found(site: Path, pages: dict[str, Page]) -> None:
    assert leads_nowhere(site, pages, "/tutorial/", "../no-such-page/")
    assert leads_nowhere(site, pages, "/tutorial/", "#no-such-heading")
    assert leads_nowhere(site, pages, "/", "assets/no-such-picture.svg")
    assert not leads_nowhere(site, pages, "/tutorial/", "../faq/")


@needs_zensical
def test_the_site_asks_no_other_host_for_anything(pages: dict[str, Page], site: Path) -> None:
    sources = r'<(?:link|script|img)[^>]+(?:href|src)="(https?://[^"]+)"'
    asked = {
        url
        for path in site.rglob("*.html")
        for url in re.findall(sources, path.read_text())
        if not url.startswith("https://example.com")
    }

    assert pages
    assert asked == set()


@needs_zensical
@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("index.html", "Keep your database in sync with Mux - rindle-sync"),
        ("webhooks/index.html", "Receive Mux webhooks - rindle-sync"),
    ],
)
def test_the_title_is_what_people_search_for(site: Path, page: str, title: str) -> None:
    assert f"<title>{title}</title>" in (site / page).read_text()


@needs_zensical
@pytest.mark.parametrize("name", rindle_sync.__all__)
def test_every_public_name_is_in_the_reference(pages: dict[str, Page], name: str) -> None:
    assert f"rindle_sync.{name}" in pages["/reference/python-api/"].anchors


def public_methods(of: type[Any]) -> Iterator[str]:
    for name in dir(of):
        if not name.startswith("_"):
            yield name


INTERNAL: Final = {
    "context", "finish", "job_runner", "runtime", "waiting_events", "wants_webhook"
}  # fmt: skip
"""Members of the service that its own packages use, and an app does not."""


@needs_zensical
def test_every_method_of_the_service_is_in_the_reference(pages: dict[str, Page]) -> None:
    methods = {f"rindle_sync.RindleSync.{name}" for name in public_methods(rindle_sync.RindleSync)}
    internal = {f"rindle_sync.RindleSync.{name}" for name in INTERNAL}

    assert methods - internal - pages["/reference/python-api/"].anchors == set()


@needs_zensical
def test_every_type_and_every_error_is_in_the_reference(pages: dict[str, Page]) -> None:
    shown = pages["/reference/types-and-errors/"].anchors | pages["/reference/python-api/"].anchors
    raised = [name for name, value in vars(errors).items() if isinstance(value, type)]

    assert [name for name in types.__all__ if f"rindle_sync.types.{name}" not in shown] == []
    assert [name for name in raised if f"rindle_sync.errors.{name}" not in shown] == []


@needs_zensical
def test_what_an_app_tests_with_is_in_the_reference(pages: dict[str, Page]) -> None:
    shown = pages["/reference/python-api/"].anchors
    fixtures = re.findall(r"^def (rindle\w*)\(", page_of("testing/plugin.py"), re.MULTILINE)

    assert fixtures
    assert [f for f in fixtures if f"rindle_sync.testing.plugin.{f}" not in shown] == []
    assert [name for name in testing.__all__ if f"rindle_sync.testing.{name}" not in shown] == []


def page_of(name: str) -> str:
    return (ROOT / "src" / "rindle_sync" / name).read_text()


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags name functions of Python."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def pages_of(nav: Any) -> Iterator[str]:
    """The files that a menu names, those of its submenus too."""
    if isinstance(nav, str):
        yield nav
    else:
        for inner in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(inner)


def test_every_page_is_in_the_menu_once() -> None:
    menu = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"]
    there = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]

    assert sorted(pages_of(menu)) == sorted(there)


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_every_page_has_one_title(path: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)

    assert len(re.findall(r"^# .+$", prose, re.MULTILINE)) == 1
    assert prose.startswith("# ")
