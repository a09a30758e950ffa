"""Which kind of line may stand in which package, and how the code reads: what the source shows.

What may import what is held by the import contracts in pyproject.toml, complexity and the width of
lines by ruff.
"""

import ast
import io
import re
import statistics
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

SOURCE = Path(__file__).parents[1] / "src" / "rindle_sync"

PURE = ("domain",)
DATABASE = ("store",)
SCREEN = ("cli", "demo", "__main__")
VENDOR = ("providers.mux", "emulator")

CLOCK = (
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
)

# Names that stand only in these packages or modules; a name stands for what it contains, too.
NAMES = {
    "the clock is read in app, the emulator and testing": (CLOCK, ("app", "emulator", "testing")),
    "settings are read in config, and the way out of the process in one module": (
        ("os.environ", "os.environb", "os.getenv", "dotenv"),
        ("config", "providers.network"),
    ),
    "databases are spoken to in store": (
        ("sqlalchemy", "alembic", "sqlite3", "aiosqlite", "psycopg"),
        DATABASE,
    ),
    # a lock of SQLite tells nobody when it is free, nor does a file when it was written to
    # a pipeline lets what it has begun send its request, a group commit what has come in be added
    "sleeps stand in app, engines, the emulator, a test's clock, and where the store waits": (
        ("asyncio.sleep", "time.sleep"),
        (
            *("app", "runtime.engines", "emulator", "reconcile.pipeline", "store.group_commit"),
            *("store.listening", "store.new_work", "store.write_queue", "testing.clock"),
        ),
    ),
    "printing stands in cli and demo": (
        ("builtins.print", "sys.stdout", "sys.stderr", "rich", "typer"),
        SCREEN,
    ),
}

# Texts (docstrings excepted) that stand only in these packages or modules.
TEXTS = {
    "SQL stands in store": (
        r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM"
        r"|CREATE\s+(TABLE|INDEX)|ALTER\s+TABLE|PRAGMA\s+\w+|FOR\s+UPDATE)\b",
        DATABASE,
    ),
    "the words of Mux's API stand in its providers": (
        r"(?i)mux\.com|mux-signature|x-ratelimit|/video/v1"
        r"|\bpreparing\b|\basset_created\b|\bvideo\.(asset|upload)\.",
        VENDOR,
    ),
    "only providers, settings and the edges name a vendor": (
        r"(?i)mux",
        (*VENDOR, "config", "app", "diagnostics.doctor", "testing", *SCREEN),
    ),
}

# Texts of the contract, which are promised to the letter and may stand anywhere.
PROMISED = ("mux", "mux asset not found")

FORBIDDEN_NAMES = {"manager", "handler", "service", "util", "utils", "helper", "helpers"}
ALLOWED_NAMES = {"ServiceSettings", "any_service"}

LONGEST_MODULE = 400
LONGEST_FUNCTION = 50
P95_FUNCTION = 30
MEDIAN_FUNCTION = 9
MOST_PUBLIC_NAMES = 16


@dataclass(frozen=True)
class Function:
    """One function, and how many lines of code it holds."""

    name: str
    where: str
    size: int


@dataclass(frozen=True)
class Module:
    """One file of the package, read once."""

    path: Path

    @cached_property
    def name(self) -> str:
        parts = self.path.relative_to(SOURCE).with_suffix("").parts
        return ".".join(part for part in parts if part != "__init__") or "__init__"

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=str(self.path))

    @cached_property
    def imported(self) -> dict[str, str]:
        """Local name -> full dotted name, for everything imported anywhere in the file."""
        names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names |= {
                    a.asname or _root(a.name): a.name if a.asname else _root(a.name)
                    for a in node.names
                }
            elif isinstance(node, ast.ImportFrom):
                names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        return names

    @cached_property
    def docstrings(self) -> set[ast.expr]:
        """Texts that are statements by themselves: docstrings, and those below an attribute."""
        return {
            node.value
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Expr) and _text(node.value)
        }

    @cached_property
    def functions(self) -> list[Function]:
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_stub(node):
                size = len(self.code_lines & set(range(node.lineno, (node.end_lineno or 0) + 1)))
                found.append(Function(node.name, self.at(node), size))
        return found

    @cached_property
    def code_lines(self) -> set[int]:
        """Lines that hold more than blanks, comments and docstrings."""
        nothing = {
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
        }
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in nothing:
                lines |= set(range(token.start[0], token.end[0] + 1))
        for node in self.docstrings:
            lines -= set(range(node.lineno, (node.end_lineno or 0) + 1))
        return lines

    def stands_in(self, homes: Iterable[str]) -> bool:
        return any(f"{self.name}.".startswith(f"{home}.") for home in homes)

    def called(self, name: str) -> Iterator[str]:
        """Where a variable or an argument gets this name."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Name(id=found, ctx=ast.Store()) | ast.arg(arg=found) if found == name:
                    yield f"{self.name}:{node.lineno}"

    def at(self, node: ast.stmt | ast.expr) -> str:
        return f"src/rindle_sync/{self.path.relative_to(SOURCE).as_posix()}:{node.lineno}"

    def names_used(self) -> Iterator[tuple[str, str]]:
        """(where, full dotted name) of each import and each use of an imported or built-in name."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names=names):
                    yield from ((self.at(node), alias.name) for alias in names)
                case ast.ImportFrom(module=str(module), names=names):
                    yield from ((self.at(node), f"{module}.{alias.name}") for alias in names)
                case ast.Name() | ast.Attribute() if name := self._dotted(node):
                    yield self.at(node), name

    def texts(self) -> Iterator[tuple[str, str]]:
        """(where, text) of each string that is no docstring."""
        for node in ast.walk(self.tree):
            if (text := _text(node)) and node not in self.docstrings:
                assert isinstance(node, ast.Constant)
                yield self.at(node), text

    def _dotted(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Name):
            return self.imported.get(node.id, f"builtins.{node.id}")
        if isinstance(node, ast.Attribute) and (start := self._dotted(node.value)):
            return f"{start}.{node.attr}"
        return None


MODULES = [Module(path) for path in sorted(SOURCE.rglob("*.py"))]


PURE_MODULES = [module for module in MODULES if module.stands_in(PURE)]
"""Modules that neither wait nor know of anything outside."""


def test_every_package_that_is_named_here_is_there() -> None:
    named = set(PURE)
    for _, homes in (*NAMES.values(), *TEXTS.values()):
        named |= {*homes}
    absent = {home for home in named if not any(m.stands_in((home,)) for m in MODULES)}
    assert absent == set()


@pytest.mark.parametrize("law", NAMES)
def test_names_stand_in_their_packages(law: str) -> None:
    names, homes = NAMES[law]
    _expect_none(law, homes, _uses_outside(names, homes))


@pytest.mark.parametrize("law", TEXTS)
def test_texts_stand_in_their_packages(law: str) -> None:
    pattern, homes = TEXTS[law]
    found = []
    for module in MODULES:
        if not module.stands_in(homes):
            for where, text in module.texts():
                if text not in PROMISED and re.search(pattern, text):
                    found.append(f"{where} says {text!r}")
    _expect_none(law, homes, found)


@pytest.mark.parametrize("module", PURE_MODULES, ids=lambda module: module.name)
def test_a_pure_module_does_not_wait(module: Module) -> None:
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    found = (
        f"{module.at(node)} waits" for node in ast.walk(module.tree) if isinstance(node, waits)
    )
    _expect_none(f"{module.name} is pure: no async", ("gateway", "reconcile"), found)


@pytest.mark.parametrize("module", PURE_MODULES, ids=lambda module: module.name)
def test_a_pure_module_reads_no_clock_and_keeps_no_log(module: Module) -> None:
    names = (
        *CLOCK,
        "asyncio",
        "logging",
        "os",
        "random",
        "secrets",
        "socket",
        "subprocess",
        "threading",
        "uuid.uuid4",
    )
    found = (
        f"{where} uses {used}" for where, used in module.names_used() if _is_one_of(used, names)
    )
    law = f"{module.name} is pure: no clock, log, chance or outside world"
    _expect_none(law, ("an argument",), found)


def test_no_import_cycles() -> None:
    graph = grimp.build_graph("rindle_sync", cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    _expect_none("modules do not import each other", ("one way only",), _cycle(imports))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_no_module_is_too_long(module: Module) -> None:
    assert len(module.text.splitlines()) <= LONGEST_MODULE


def test_no_function_is_too_long() -> None:
    long = [
        f"{f.where} {f.name} has {f.size} lines" for f in _functions() if f.size > LONGEST_FUNCTION
    ]
    _expect_none(
        f"a function has at most {LONGEST_FUNCTION} lines of code", ("several functions",), long
    )


def test_functions_are_short_as_a_rule(record_property: Callable[[str, object], None]) -> None:
    functions = _functions()
    sizes = [function.size for function in functions]
    median, p95 = statistics.median(sizes), statistics.quantiles(sizes, n=20)[-1]
    record_property(
        "figures",
        f"lines of code in a function: median {median:g} (at most {MEDIAN_FUNCTION}), "
        f"p95 {p95:g} (at most {P95_FUNCTION}), longest {max(sizes)} (at most {LONGEST_FUNCTION})",
    )
    longest = sorted(functions, key=lambda function: -function.size)[:10]
    report = "\n".join(f"{f.where} {f.name} has {f.size} lines" for f in longest)
    assert median <= MEDIAN_FUNCTION, report
    assert p95 <= P95_FUNCTION, report


def test_a_variable_is_named_after_what_it_holds() -> None:
    found = [where for module in MODULES for where in module.called("one")]
    assert found == []


def test_few_names_are_public() -> None:
    path = SOURCE / "__init__.py"
    names = _assigned(path, "__all__") if path.exists() else None
    if names is None:
        pytest.skip("rindle_sync has no __all__")
    assert len(names) <= MOST_PUBLIC_NAMES


def test_names_are_plain_words() -> None:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    named = [
        (f"src/rindle_sync/{m.path.relative_to(SOURCE).as_posix()}:1", part)
        for m in MODULES
        for part in m.name.split(".")
    ]
    named += [
        (m.at(node), node.name)
        for m in MODULES
        for node in ast.walk(m.tree)
        if isinstance(node, kinds)
    ]
    found = []
    for where, name in named:
        if _words(name) & FORBIDDEN_NAMES and name not in ALLOWED_NAMES:
            found.append(f"{where} is called {name}")
    _expect_none("names say what a thing does", ("plain words",), found)


def _cycle(imports: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return [" <- ".join(error.args[1])]
    return []


def _functions() -> list[Function]:
    return [function for module in MODULES for function in module.functions]


def _uses_outside(names: tuple[str, ...], homes: tuple[str, ...]) -> Iterator[str]:
    for module in MODULES:
        if not module.stands_in(homes):
            yield from (
                f"{where} uses {used}"
                for where, used in module.names_used()
                if _is_one_of(used, names)
            )


def _expect_none(law: str, homes: Iterable[str], outside: Iterable[str]) -> None:
    found = sorted(set(outside))
    if found:
        lines = "\n  ".join(found)
        may = ", ".join(homes)
        pytest.fail(f"{law}. It may stand in: {may}. It stands in:\n  {lines}", pytrace=False)


def _is_one_of(used: str, names: Iterable[str]) -> bool:
    return any(f"{used}.".startswith(f"{name}.") for name in names)


def _root(name: str) -> str:
    return name.partition(".")[0]


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Only a docstring or dots: what a protocol asks for, no code."""
    return all(
        isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) for part in node.body
    )


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def _assigned(path: Path, name: str) -> list[str] | None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in node.targets
        ):
            return list(ast.literal_eval(node.value))
    return None
