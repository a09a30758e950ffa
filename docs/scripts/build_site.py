"""Builds the documentation site: `python docs/scripts/build_site.py [folder]`, by default `build`.

The pages of `docs/` are copied into the folder, and with them each file outside of `docs/` that a
page links to (the README, an example), as a page below `source/`. So the links that work in a
checkout and on a code host work on the site, too. Then Zensical builds `folder/site`, strictly.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
THEME: Final = "docs/scripts/theme"
LINK: Final = re.compile(r"(?<=\]\()(?!https?://|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
LANGUAGES: Final = {".py": "python", ".yml": "yaml", ".yaml": "yaml", ".json": "json"}
BUILD_SECONDS: Final = 120
COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Pages:
    """The copy of the pages; `waiting` are the files outside of `docs/` that links lead to."""

    folder: Path
    waiting: list[Path] = field(default_factory=list)
    written: set[Path] = field(default_factory=set)

    def copy_docs(self) -> None:
        """Copy `docs/`, but for its scripts, and the files that its pages lead to."""
        for path in sorted(DOCS.rglob("*")):
            if path.is_file() and "scripts" not in path.relative_to(DOCS).parts:
                self._copy(path)
        while self.waiting:
            path = self.waiting.pop()
            if path not in self.written:
                self._copy(path)

    def _copy(self, path: Path) -> None:
        self.written.add(path)
        target = self.folder / self.place_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            target.write_text(self._with_links_from(path), encoding="utf-8")
        elif path.is_relative_to(DOCS):
            shutil.copyfile(path, target)
        else:
            target.write_text(as_page(path), encoding="utf-8")

    def _with_links_from(self, page: Path) -> str:
        def moved(link: re.Match[str]) -> str:
            target = (page.parent / link[1]).resolve()
            if target.is_dir() and (target / "README.md").is_file():
                target /= "README.md"
            if not target.exists() or not target.is_relative_to(ROOT):
                return link[0]  # a dead link, which Zensical or the test of links reports
            if not target.is_relative_to(DOCS):
                self.waiting.append(target)
            here = self.place_of(page).parent
            return Path(os.path.relpath(self.place_of(target), here)).as_posix() + (link[2] or "")

        return LINK.sub(moved, page.read_text(encoding="utf-8"))

    def place_of(self, path: Path) -> Path:
        """Where the copy of this file stands, relative to the folder of all copies."""
        if path.is_relative_to(DOCS):
            return path.relative_to(DOCS)
        place = Path("source") / path.relative_to(ROOT)
        return place if path.suffix == ".md" else place.with_name(f"{place.name}.md")


def as_page(path: Path) -> str:
    """A page that shows this file, or what this folder contains."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        files = (file for file in sorted(path.rglob("*")) if file.is_file())
        listed = "".join(f"- `{file.relative_to(ROOT).as_posix()}`\n" for file in files)
        return f"# {name}\n\nThe files of this folder in a checkout:\n\n{listed}"
    text = path.read_text(encoding="utf-8")
    return f"# {name}\n\n````{LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n````\n"


def build(folder: Path) -> int:
    """Build the site into `folder/site`; the exit code of Zensical."""
    for part in ("docs", "site"):
        shutil.rmtree(folder / part, ignore_errors=True)
    Pages(folder / "docs").copy_docs()
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    absolute = config.replace(f": {THEME}", f": {(ROOT / THEME).as_posix()}")
    (folder / "mkdocs.yml").write_text(absolute, encoding="utf-8")
    # griffe reads the docstrings of the package that it finds on the path
    source = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": source},
        stderr=subprocess.PIPE,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    sys.stderr.write(readable(built.stderr))
    return built.returncode


def readable(complaints: str) -> str:
    """What Zensical says of the pages: no colours, and of its traceback the last line."""
    told, traceback, rest = COLOURS.sub("", complaints).partition("Traceback ")
    return told + rest.splitlines()[-1] + "\n" if traceback else told


if __name__ == "__main__":
    if not find_spec("zensical"):
        sys.exit(
            "zensical is not installed: pip install -r requirements-dev.txt -c constraints.txt"
        )
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build").resolve()))
