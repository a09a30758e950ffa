"""The dict RINDLE, and the database that Django's settings name."""

import json
from pathlib import Path
from typing import Any

import pytest

from rindle_sync.store.schema.engine import parameters
from rindle_sync.store.schema.urls import engine_url
from tests.support.django_project import RINDLE, Migrate, a_project, database_of

ASK = """
from django.test import override_settings
from rindle_sync.errors import RindleSyncError
from rindle_sync.integrations.django import conf

found = []
for given in json.loads({cases!r}):
    with override_settings(RINDLE=given):
        try:
            settings = conf.load()
            found.append(sorted(e.account.mux_token_id.get_secret_value()
                                for e in settings.each().values()))
        except RindleSyncError as error:
            found.append(str(error))
print(json.dumps(found))
"""


def asked(folder: Path, *cases: Any) -> Any:
    project = a_project(folder, f"sqlite:///{folder / 'db.sqlite3'}")
    return project.python(ASK.format(cases=json.dumps(cases)))


def test_keys_are_in_capitals_or_in_small_letters(tmp_path: Path) -> None:
    environment = {"MUX_TOKEN_ID": "c", "MUX_TOKEN_SECRET": "d"}
    assert asked(
        tmp_path,
        {"MUX_TOKEN_ID": "a"},
        {"mux_token_id": "b", "database": "default"},
        {"ENVIRONMENTS": {"one": environment, "two": environment | {"MUX_TOKEN_ID": "e"}}},
    ) == [["a"], ["b"], ["c", "e"]]


def test_a_wrong_key_is_named_with_the_one_that_is_meant(tmp_path: Path) -> None:
    misspelt, unknown, url, schema, twice, alias, aliases, mixed, tables, value, no_dict = asked(
        tmp_path,
        {"MUX_TOKEN_IDS": "a"},
        {"COLOUR": "a"},
        {"DATABASE_URL": "postgresql://user:hidden-word@host/name"},
        {"DATABASE_SCHEMA": "videos"},
        {"MUX_TOKEN_ID": "a", "mux_token_id": "b"},
        {"DATABASE": "video"},
        {"DATABASE": ["default"]},
        {"Database": "video"},
        {"ENVIRONMENTS": ["live"]},
        {"SWEEP_INTERVAL_SECONDS": "soon"},
        ["MUX_TOKEN_ID"],
    )

    assert (
        misspelt == "RINDLE['MUX_TOKEN_IDS']: is no setting; did you mean RINDLE['MUX_TOKEN_ID']?"
    )
    assert unknown.startswith("RINDLE['COLOUR']: is no setting; see docs/settings.md")
    assert "is not for Django" in url
    assert "hidden-word" not in url
    assert "search_path" in schema
    assert "twice" in twice
    assert (
        alias == "RINDLE['DATABASE']: names 'video', which is not in DATABASES; there are default"
    )
    assert aliases == (
        "RINDLE['DATABASE']: must be the name of a database in DATABASES; there are default"
    )
    assert mixed == alias
    assert tables.startswith("RINDLE['ENVIRONMENTS']: ")
    assert "TOML" not in tables
    assert value.startswith("RINDLE['SWEEP_INTERVAL_SECONDS']: input should be a valid number")
    assert "TOML" not in value
    assert no_dict.startswith("RINDLE: must be a dict")


def test_the_dict_wins_over_variables_and_these_over_defaults(tmp_path: Path) -> None:
    project = a_project(tmp_path, f"sqlite:///{tmp_path / 'db.sqlite3'}")
    assert project.python("""
        import os
        from rindle_sync.integrations.django import conf
        os.environ |= {"RINDLE_MUX_TOKEN_ID": "of a variable", "RINDLE_LISTEN_PORT": "1234",
                       "RINDLE_DATABASE_URL": "sqlite:///elsewhere.sqlite3"}
        settings = conf.load(listen_host="of an option")
        print(json.dumps([settings.account.mux_token_id.get_secret_value(), settings.listen_port,
                          settings.listen_host, settings.database_url]))
    """) == [RINDLE["MUX_TOKEN_ID"], 1234, "of an option", f"sqlite:///{tmp_path / 'db.sqlite3'}"]


def test_a_process_of_the_project_waits_for_nothing_that_only_migrations_need(
    tmp_path: Path,
) -> None:
    project = a_project(tmp_path, f"sqlite:///{tmp_path / 'db.sqlite3'}")
    assert (
        project.python("""
        import sys
        from rindle_sync.integrations.django import rindle
        print(json.dumps([name for name in ("aiohttp", "alembic", "mako") if name in sys.modules]))
    """)
        == []
    )


POSTGRESQL: dict[str, Any] = {"ENGINE": "django.db.backends.postgresql", "NAME": "videos"}
URLS = [
    (POSTGRESQL, "postgresql:///videos"),
    (
        POSTGRESQL | {"USER": "a@b", "PASSWORD": "p:/?#[]@%&", "HOST": "db", "PORT": 5433},
        "postgresql://a%40b:p%3A%2F%3F%23%5B%5D%40%25%26@db:5433/videos",
    ),
    (POSTGRESQL | {"HOST": "/var/run"}, "postgresql://%2Fvar%2Frun/videos"),
    (POSTGRESQL | {"HOST": "a,b", "PORT": "1,2"}, "postgresql:///videos?host=a%2Cb&port=1%2C2"),
    (
        POSTGRESQL
        | {
            "OPTIONS": {
                "sslmode": "require",
                "service": "mine",
                "options": "-c search_path=videos",
                "pool": True,
                "isolation_level": 4,
                "assume_role": "an owner",
            }
        },
        "postgresql:///videos?sslmode=require&service=mine"
        "&options=-c%20search_path%3Dvideos%20-c%20role%3Dan%5C%20owner",
    ),
]


def test_every_way_to_name_postgresql_is_read(tmp_path: Path) -> None:
    project = a_project(tmp_path, "sqlite://", DATABASES={"default": POSTGRESQL})
    cases = json.dumps([database for database, _ in URLS])
    found = project.python(f"""
        from django.db import connections
        from rindle_sync.integrations.django import conf
        settings, found = connections["default"].settings_dict, []
        plain = dict(settings)
        for case in json.loads({cases!r}):
            settings.clear()
            settings.update({{**plain, **case}})
            found.append(conf.database_url())
        print(json.dumps(found))
    """)

    assert found == [url for _, url in URLS]
    assert all(parameters(engine_url(url))["dbname"] == "videos" for url in found)


def test_another_database_is_refused_in_a_sentence(tmp_path: Path) -> None:
    other = {"ENGINE": "django.db.backends.dummy", "NAME": "x", "PASSWORD": "hidden-word"}
    project = a_project(tmp_path, "sqlite://", DATABASES={"default": other})
    found = project.python("""
        from rindle_sync.errors import ConfigurationError
        from rindle_sync.integrations.django import conf
        try:
            conf.database_url()
        except ConfigurationError as error:
            print(json.dumps(str(error)))
    """)

    assert found.startswith("DATABASES['default']: has the engine")
    assert "hidden-word" not in found


def test_the_service_follows_the_settings(tmp_path: Path, migrated: Migrate) -> None:
    project = a_project(tmp_path, f"sqlite:///{tmp_path / 'db.sqlite3'}")
    migrated(project)
    assert project.python("""
        from django.db import connections
        from django.test import override_settings
        from rindle_sync.integrations.django import rindle
        rindle.track(reference="one", provider_asset_id="asset-1")
        found = [rindle.count()]
        with override_settings(RINDLE={"ENVIRONMENT": "another"}):
            found.append(rindle.count())
        found.append(rindle.count())
        import shutil
        shutil.copy("db.sqlite3", "copy.sqlite3")
        connections["default"].settings_dict["NAME"] = "copy.sqlite3"
        rindle.track(reference="two", provider_asset_id="asset-2")
        found.append(rindle.count())
        connections["default"].settings_dict["NAME"] = "db.sqlite3"
        found.append(rindle.count())
        rindle.close()
        found.append(rindle.count())
        print(json.dumps(found))
    """) == [1, 0, 1, 2, 1, 1]


def test_a_forked_process_connects_by_itself(
    tmp_path: Path, postgres_url: str, migrated: Migrate
) -> None:
    project = a_project(tmp_path, postgres_url)
    migrated(project)
    assert project.python("""
        import os
        from django.db import connections
        from rindle_sync.integrations.django import rindle
        rindle.track(reference="one", provider_asset_id="asset-1")
        connections.close_all()
        child = os.fork()
        if child == 0:
            rindle.track(reference="two", provider_asset_id="asset-2")
            os._exit(0 if rindle.count() == 2 else 1)
        _, status = os.waitpid(child, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), rindle.count()]))
    """) == [0, 2]


@pytest.mark.parametrize("options", [{"server_side_binding": True}, {"pool": True}])
def test_whatever_django_s_connection_is_like_rows_and_times_are_the_same(
    tmp_path: Path, postgres_url: str, options: dict[str, bool], migrated: Migrate
) -> None:
    database = database_of(postgres_url) | {"OPTIONS": options}
    databases = {"default": database}
    project = a_project(
        tmp_path, postgres_url, DATABASES=databases, USE_TZ=False, TIME_ZONE="Asia/Tokyo"
    )
    migrated(project)
    assert project.python("""
        from datetime import timedelta
        from django.db import connection, transaction
        from rindle_sync.integrations.django import rindle
        from rindle_sync.integrations.django.models import ProviderAsset
        with transaction.atomic():
            row = rindle.track(reference="one", provider_asset_id="asset-1")
            found = [ProviderAsset.objects.get().row == row, rindle.get(row.id) == row]
        found += [rindle.get(row.id) == row, ProviderAsset.objects.get().updated_at.isoformat()]
        later = row.updated_at + timedelta(microseconds=1)
        found.append(ProviderAsset.objects.filter(updated_at__lt=later).count())
        found.append(ProviderAsset.objects.filter(updated_at__lt=row.updated_at).count())
        found.append(found.pop(3) == row.updated_at.isoformat())
        print(json.dumps(found))
        connection.close()
        if connection.settings_dict["OPTIONS"].get("pool"):
            connection.close_pool()
    """) == [True, True, True, 1, 0, True]


def test_what_is_wrong_with_the_database_is_said_of_databases(tmp_path: Path) -> None:
    nowhere = database_of(f"sqlite:///{tmp_path / 'no folder' / 'db.sqlite3'}")
    project = a_project(tmp_path, "sqlite://", DATABASES={"default": nowhere})
    by_call = project.python("""
        from rindle_sync.errors import RindleSyncError
        from rindle_sync.integrations.django import rindle
        try:
            rindle.count()
        except RindleSyncError as error:
            print(json.dumps(str(error)))
    """)
    by_command = project.manage("rindle", "status").stderr
    here = a_project(tmp_path, f"sqlite:///{tmp_path / 'db.sqlite3'}")
    by_worker = here.but(RINDLE={**RINDLE, "ENGINE": "procrastinate"}).manage("rindle", "worker")

    for said in (by_call, by_command, by_worker.stderr):
        assert "DATABASE" in said
        assert "database_url" not in said
        assert "Traceback" not in said
    assert "DATABASES['default']: names a SQLite file in a folder that is not there" in by_call


def test_the_command_that_makes_the_tables_names_the_database(tmp_path: Path) -> None:
    database = database_of(f"sqlite:///{tmp_path / 'db.sqlite3'}")
    other = database_of(f"sqlite:///{tmp_path / 'videos.sqlite3'}")
    databases = {"default": database, "videos": other}
    project = a_project(
        tmp_path, "sqlite://", DATABASES=databases, RINDLE={**RINDLE, "DATABASE": "videos"}
    )
    told = [
        project.manage("check", "--database", "videos"),
        project.manage("rindle", "status"),
        project.manage("rindle", "migrate"),
    ]

    for ended in told:
        assert "`manage.py migrate rindle_sync --database videos`" in ended.stdout + ended.stderr


def test_no_secret_is_on_the_debug_page_of_a_wrong_setting(tmp_path: Path) -> None:
    database = POSTGRESQL | {"USER": "u", "PASSWORD": "planted-1", "HOST": "127.0.0.1", "PORT": "1"}
    secrets = {"MUX_TOKEN_ID": "planted-2", "MUX_TOKEN_SECRET": "planted-3"}
    wrong = [
        {**secrets, "SWEEP_INTERVAL_SECONDS": "soon"},
        {**secrets, "MUX_TOKENS": "planted-4"},
        {**secrets, "mux_token_id": "planted-4"},
        {**secrets, "DATABASE_URL": "postgresql://u:planted-4@host/name"},
        {**secrets, "DATABASE": "nowhere"},
        {"ENVIRONMENTS": {"live": {**secrets, "SWEEP_INTERVAL_SECONDS": "soon"}}},
    ]
    project = a_project(tmp_path, "sqlite://", DATABASES={"default": database}, DEBUG=True)
    pages = project.python(f"""
        import sys
        from django.test import override_settings
        from django.views.debug import ExceptionReporter
        from rindle_sync.errors import RindleSyncError
        from rindle_sync.integrations.django import conf, rindle
        pages = []
        for given in json.loads({json.dumps(wrong)!r}):
            with override_settings(RINDLE=given):
                given = None
                for act in (conf.load, conf.environments, rindle.count):
                    try:
                        act()
                    except RindleSyncError:
                        reporter = ExceptionReporter(None, *sys.exc_info())
                        frames = [[name for _, name in frame["vars"]] for frame in
                                  reporter.get_traceback_data()["frames"]
                                  if "rindle_sync" in frame["filename"]]
                        pages.append(str(frames))
        print(json.dumps(pages))
    """)

    assert len(pages) == 3 * len(wrong)
    assert [page for page in pages if "planted" in page] == []
