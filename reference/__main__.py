"""Writes docs/reference/, or with `--check` names the pages that are not as the code is."""

import sys
from pathlib import Path

from reference.pages import PAGES

FOLDER = Path(__file__).parents[1] / "docs" / "reference"


def main() -> int:
    """Write every page, or compare; the exit code."""
    FOLDER.mkdir(exist_ok=True)
    is_check, old = "--check" in sys.argv[1:], []
    for name, render in PAGES.items():
        path, text = FOLDER / f"{name}.md", render()
        if path.exists() and path.read_text("utf-8") == text:
            continue
        old.append(f"docs/reference/{name}.md")
        if not is_check:
            path.write_text(text, "utf-8")
    verb = "is not as the code is: run make reference" if is_check else "is written"
    for page in old:
        sys.stdout.write(f"{page} {verb}\n")
    return int(is_check and bool(old))


sys.exit(main())
