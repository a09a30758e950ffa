"""How values become HTML: the templates and their filters."""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from rindle_sync.domain import ago, moment_of, seconds_of

HERE: Final = Path(__file__).parent


def templates() -> Environment:
    """The templates; values are escaped."""
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"moment": moment_of, "ago": ago, "seconds": seconds_of, "code": code}
    return found


def code(text: str) -> Markup:
    """The text, with each part between backticks as code."""
    html = Markup()
    for place, part in enumerate(text.split("`")):
        html += Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
    return html
