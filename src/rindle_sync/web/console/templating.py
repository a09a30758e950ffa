"""How values become HTML: the templates, and what they may do with a value."""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from rindle_sync.diagnostics import ago, moment_of, seconds_of

HERE: Final = Path(__file__).parent


def templates() -> Environment:
    """The templates; what they show is text, unless they say otherwise."""
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["moment"] = moment_of
    found.filters["ago"] = ago
    found.filters["seconds"] = seconds_of
    found.filters["code"] = code
    return found


def code(text: str) -> Markup:
    """What stands between backticks as code; all else is text."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup(f"<code>{part}</code>") if place % 2 else part for place, part in enumerate(parts)
    )  # noqa: S704
