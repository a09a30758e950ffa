"""Database URLs: what is not understood is refused by name, and no password is ever shown."""

from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from rindle_sync.errors import ConfigurationError, InvalidValue
from rindle_sync.store import Database
from rindle_sync.store.schema import conninfo, open_engine
from rindle_sync.store.schema.urls import engine_url
from tests.support.processes import Shell

AT = "postgresql://app:{}@db.internal:5432/app"
HIDDEN = "hunter2"


def refusal(url: str) -> str:
    """The text with which every engine refuses `url`."""
    texts = set()
    for use in (engine_url, conninfo, open_engine):
        with pytest.raises(ConfigurationError) as refused:
            use(url)
        assert refused.value.setting == "database_url"
        texts.add(str(refused.value))
    (text,) = texts
    return text


def at(option: str) -> str:
    return f"postgresql://app@db.internal/app?{option}"


@pytest.mark.parametrize(
    ("option", "name", "form"),
    [
        ("prepare_threshold=0", "prepare_threshold", "leave it out"),
        ("pgbouncer=true", "pgbouncer", "leave it out"),
        ("prepared_statement_cache_size=0", "prepared_statement_cache_size", "leave it out"),
        ("connection_limit=1", "connection_limit", "leave it out"),
        ("ssl=true", "ssl", "sslmode=require"),
        ("ssl=require", "ssl", "sslmode=require"),
        ("schema=video", "schema", "set database_schema"),
        ("currentSchema=video", "currentSchema", "set database_schema"),
        ("sslmod=require", "sslmod", "did you mean sslmode?"),
        ("charset=utf8", "charset", "leave it out"),
        ("surprise=1", "surprise", "leave it out"),
        ("sslmode=no-verify", "sslmode", "disable or allow or prefer or require"),
        ("connect_timeout=10s", "connect_timeout", "write a number"),
        ("target_session_attrs=master", "target_session_attrs", "any or read-write"),
        ("sslmode=require&sslmode=prefer", "sslmode", "write it once"),
        ("host=a:5432&host=b:5432", "hosts", "?host=a,b&port=5432,5432"),
        ("host=a:5432", "host", "?host=a,b&port=5432,5432"),
    ],
)
def test_an_option_that_is_not_understood_is_named_with_the_form_that_works(
    option: str, name: str, form: str
) -> None:
    told = refusal(at(option))

    assert name in told
    assert form in told


@pytest.mark.parametrize("hosts", ["a:5432,b:5432", "a,b", "a,b:5432"])
def test_several_hosts_have_a_form_that_works(hosts: str, postgres_url: str) -> None:
    told = refusal(f"postgresql://app:{HIDDEN}@{hosts}/app")

    assert "?host=a,b&port=5432,5432" in told
    assert HIDDEN not in told


async def test_the_form_for_several_hosts_reaches_the_one_that_is_there(postgres_url: str) -> None:
    port = psycopg.conninfo.conninfo_to_dict(postgres_url)["port"]
    name = postgres_url.rpartition("/")[2]
    url = f"postgresql://postgres@/{name}?host=127.0.0.1,127.0.0.1&port=1,{port}"
    database = Database(open_engine(url))

    async with database.reading() as connection:
        found = (await connection.exec_driver_sql("SELECT current_database()")).scalar_one()
    with psycopg.connect(conninfo(url)) as other:
        assert other.info.dbname == found == name
    await database.close()


@pytest.mark.parametrize("sign", "@#/?%&[]: '\\\"")
@pytest.mark.parametrize("where", ["{}hunter2", "hunter2{}tail-of-it", "12{}hunter2=3"])
def test_a_password_is_taken_whole_or_refused_without_a_piece_of_it(where: str, sign: str) -> None:
    password = where.format(sign)
    try:
        taken = engine_url(AT.format(password))
    except ConfigurationError as refused:
        told = str(refused)
        assert "%40" in told or "postgresql://user:password@host" in told
        assert [piece for piece in (HIDDEN, "tail-of-it") if piece in told] == []
    else:
        assert (taken.password, taken.host) == (password, "db.internal")


@pytest.mark.parametrize("sign", "@#/?%&[]: '\\\"ü")
async def test_an_encoded_password_arrives_as_it_is(sign: str, postgres_url: str) -> None:
    password = f"hunter2{sign}tail"
    url = AT.format(quote(password, safe=""))

    assert engine_url(url).password == password
    assert psycopg.conninfo.conninfo_to_dict(conninfo(url))["password"] == password
    database = Database(open_engine(url))
    assert "hunter2" not in database.place + repr(database.engine)
    await database.close()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{HIDDEN}",
        f"postgresql://{HIDDEN}@x@host/app",
        f"postgresql://app:pa@{HIDDEN}@host/app",
        f"postgresql://app@host/app?password=x#{HIDDEN}",
        f"postgresql://app@host/app?{HIDDEN}%zz=1",
        f"postgresql://app@host:{HIDDEN}/app",
        f"postgresql://app@host:99999/{HIDDEN}",
        f"postgresql:/app:{HIDDEN}@host/app",
        f"postgresql://app:%00{HIDDEN}@host/app",
        f"postgresql://app:\0{HIDDEN}@host/app",
        f"postgresql://app@host/app?password=x&{HIDDEN}=1",
        f"postgresql://app@host/app?password=x&{HIDDEN}",
        f"postgresql://app@host/app?sslpassword=x&{HIDDEN}",
        f"postgresql://app:{HIDDEN}@host..internal/app",
        f"postgresql://app:{HIDDEN}@{'a' * 64}/app",
    ],
)
def test_what_is_no_url_is_refused_without_being_shown(url: str) -> None:
    assert HIDDEN not in refusal(url)


@pytest.mark.parametrize("path", ["what?.sqlite3", "x.sqlite3?mode=ro", "x.sqlite3?"])
def test_sqlite_has_no_options_and_a_question_mark_in_a_path_is_encoded(
    path: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="write %3F for a"):
        open_engine(f"sqlite:///{tmp_path}/{path}")


async def test_a_path_of_sqlite_may_hold_an_encoded_question_mark(tmp_path: Path) -> None:
    ended = await Shell(
        tmp_path, {"database_url": f"sqlite:///{tmp_path}/what%3F now.sqlite3"}
    ).run("migrate")

    assert ended.code == 0
    assert (tmp_path / "what? now.sqlite3").is_file()


@pytest.mark.parametrize("path", ["a%00b.sqlite3", "a\0b.sqlite3", "file:a%00b?uri=true"])
def test_no_path_of_sqlite_has_a_zero(path: str) -> None:
    assert "code zero" in str(refused_by_sqlite(f"sqlite:///{path}"))


def test_a_path_of_sqlite_that_cannot_be_looked_for_is_refused_with_the_reason() -> None:
    """Here the name is too long; a folder that this user may not enter is told so as well."""
    assert "cannot be looked for (" in str(refused_by_sqlite(f"sqlite:///{'a' * 300}"))


@pytest.mark.parametrize("options", ["", "?mode=ro", "?mode=ro&uri=false", "?uri=maybe"])
def test_a_uri_of_sqlite_has_a_form_that_works(options: str) -> None:
    """Without its option it would be the name of a new file."""
    assert "mode=ro&uri=true" in str(refused_by_sqlite(f"sqlite:///file:a.sqlite3{options}"))


def refused_by_sqlite(url: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refused:
        open_engine(url)
    return refused.value


@pytest.mark.parametrize("option", ["host=a..b", "host=a,b..c&port=1,2"])
def test_a_host_that_no_network_has_is_refused(option: str) -> None:
    assert "between two dots" in refusal(at(option))


@pytest.mark.parametrize(
    "option",
    [
        "load_balance_hosts=all",
        "require_auth=token",
        "sslnegotiation=auto",
        "ssl_min_protocol_version=TLSv9",
        "hostaddr=db.internal",
        "service=nobody",
    ],
)
async def test_a_value_that_postgresql_refuses_is_a_wrong_setting(
    option: str, tmp_path: Path
) -> None:
    url = f"postgresql://app:{HIDDEN}@127.0.0.1:1/app?{option}"

    ended = await Shell(tmp_path, {"database_url": url}).run("status")

    assert ended.code == 2
    assert "error database_url: " in ended.err
    assert HIDDEN not in ended.err


async def test_a_host_of_the_environment_that_no_network_has_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGHOST", "a..b")
    database = Database(open_engine("postgresql:///app"))

    with pytest.raises((ConfigurationError, InvalidValue)):
        async with database.reading():
            pass
    await database.close()


def test_sqlite_has_no_host(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="write sqlite:///path"):
        open_engine("sqlite://rindle.sqlite3")


@pytest.mark.parametrize("command", ["migrate", "status"])
async def test_a_file_that_is_no_database_is_told_as_such(command: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database" * 1000)

    ended = await Shell(tmp_path, {"database_url": f"sqlite:///{tmp_path}/notes.txt"}).run(command)

    assert ended.code == 1
    assert "the file of database_url is no SQLite database" in ended.err


@pytest.mark.parametrize("engine", ["embedded", "procrastinate"])
async def test_commands_end_with_2_whichever_engine_runs(engine: str, tmp_path: Path) -> None:
    settings = {"database_url": at("pgbouncer=true"), "engine": engine}

    ended = await Shell(tmp_path, settings).run("migrate")

    assert ended.code == 2
    assert "pgbouncer" in ended.err
