"""Draws `docs/assets/demo-light.svg` and `demo-dark.svg` from what `rindle-sync demo` prints.

The pictures name no font of another host, so that a page with them makes no other request.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

ASSETS: Final = Path(__file__).parents[1] / "assets"
COLUMNS: Final = 84
DEMO_SECONDS: Final = 120
REDRAWN: Final = re.compile(r"(?:\r|\x1b\[2K|\x1b\[1A|\x1b\[\?25[lh])+")
"""What a live table writes before it is drawn again: lines are cleared, the cursor goes up."""

IN_SYNC: Final = re.compile(r"(\d+) of (\d+) in sync, ")
FONT_FACES: Final = re.compile(r"\s*@font-face \{.*?\n    \}", re.DOTALL)
LIGHT: Final = TerminalTheme(
    (246, 248, 250),
    (31, 35, 40),
    [
        (36, 41, 47), (207, 34, 46), (17, 99, 41), (77, 45, 0),
        (9, 105, 218), (130, 80, 223), (27, 124, 131), (110, 119, 129),
    ],
    [
        (87, 96, 106), (164, 14, 38), (26, 127, 55), (99, 60, 1),
        (33, 139, 255), (164, 117, 249), (49, 146, 170), (140, 149, 159),
    ],
)  # fmt: skip


def printed() -> str:
    """What the demo prints on a terminal: its live table when half is in sync, then its report."""
    ran = subprocess.run(
        [sys.executable, "-m", "rindle_sync", "demo"],
        env=os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)},
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
        check=True,
    )
    frames = [frame for frame in REDRAWN.split(ran.stdout) if frame.strip()]
    halfway = min(frames[:-1], key=lambda frame: abs(share_in_sync(frame) - 0.5))
    return "\n".join([halfway, frames[-1]])


def share_in_sync(frame: str) -> float:
    """The share of rows in sync that a live table shows; 0 where it shows none."""
    found = IN_SYNC.search(frame)
    return int(found[1]) / int(found[2]) if found else 0.0


def picture(text: str, theme: TerminalTheme, name: str) -> str:
    """The text as a terminal of this theme shows it."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(
            record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor"
        )
        console.print(Text.assemble(("$ ", "dim"), ("make demo", "bold")))
        console.print(Text.from_ansi(text))
        svg = console.export_svg(title="rindle-sync demo", theme=theme, unique_id=name)
    return FONT_FACES.sub("", svg).replace("Fira Code", "ui-monospace, Menlo, Consolas")


if __name__ == "__main__":
    output = printed()
    ASSETS.mkdir(exist_ok=True)
    for scheme, colours in (("light", LIGHT), ("dark", SVG_EXPORT_THEME)):
        drawn = picture(output, colours, f"demo-{scheme}")
        (ASSETS / f"demo-{scheme}.svg").write_text(drawn, encoding="utf-8")
