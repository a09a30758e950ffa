"""What the pages are made of: tables, headings, and the text that stands in the code."""

import ast
import inspect
from collections.abc import Iterable, Sequence
from textwrap import dedent, fill

GENERATED = "<!-- Generated from the code by `make reference`: change it there. -->"


def page(title: str, *parts: str) -> str:
    """A page, with the notice that nobody should edit it."""
    return "\n\n".join([f"# {title}", GENERATED, *filter(None, parts)]) + "\n"


def table(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table; the empty text where it has no line."""
    rows = [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    ]
    if not rows:
        return ""
    return "\n".join([f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *rows])


def paragraphs(text: str | None) -> str:
    """The paragraphs of a docstring, as the pages wrap them; lists and code stay as they are."""
    found = []
    for block in dedent(inspect.cleandoc(text or "")).split("\n\n"):
        is_plain = not block.lstrip().startswith(("- ", "* ", "|", "```", "    ", "1. "))
        found.append(
            fill(" ".join(block.split()), 100, break_long_words=False, break_on_hyphens=False)
            if is_plain
            else block
        )
    return "\n\n".join(found).strip()


def sentence(text: str | None) -> str:
    """A docstring in one line."""
    return " ".join(inspect.cleandoc(text or "").split())


def attribute_docs(owner: type) -> dict[str, str]:
    """The docstrings below the attributes of a class and its bases, each in one line."""
    found: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):
            continue
        [body] = ast.parse(dedent(source)).body
        if isinstance(body, ast.ClassDef):
            found |= _docs_in(body)
    return found


def _docs_in(body: ast.ClassDef) -> dict[str, str]:
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = sentence(text)
    return found
