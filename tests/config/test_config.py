"""Settings: where values come from, what is refused in which words, and what nothing shows."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from pydantic import SecretStr

from rindle_sync.app import RindleSync
from rindle_sync.config import Settings, SettingsArguments, fields_of, load_settings
from rindle_sync.domain import Policy, Schedule, StuckPolicy
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import PREFIX, Priority
from rindle_sync.store import Database
from rindle_sync.store.schema import open_engine
from rindle_sync.store.schema.engine import engine_url

PLANTED = "hunter2-lJ4bGGsp7ZlPf02nMg015W02iHQLN9X"
HIDDEN = ("mux_token_id", "mux_token_secret", "database_url")
FREE_TEXT = (
    "database_url",
    "environment",
    "listen_host",
    "console_host",
    "api_host",
    "mux_environment_id",
    "mux_signing_key_id",
    "mux_signing_private_key",
    "mux_token_id",
    "mux_token_secret",
    "mux_webhook_secrets",
    "console_token",
    "api_token",
)
NO_NUMBERS = (
    "nonsense",
    "",
    " ",
    "nan",
    "inf",
    "-inf",
    "-1",
    "1e12",
    "1e400",
    "1,5",
    "0x10",
    "1 2",
    "none",
)
BAD_TEXTS = {
    "environment": ("",),
    "database_schema": ("Rindle", "pg_rindle", "1rindle", "rindle-own", 'a"b', "a" * 64),
    "provider": ("nonsense", "", "MUX"),
    "mux_base_url": (
        "nonsense",
        "",
        "ftp://api.mux.com",
        "https://",
        "https://a b",
        "https://x?y",
        "api.mux.com",
        "https://h:99999",
    ),
    "stuck_policy": ("nonsense", "", "DECLARE", "ask_first"),
    "provider_token_priority": ("nonsense", "", "HIGH", "5"),
    "engine": ("nonsense", "", "celery"),
    "opentelemetry": ("nonsense", "", "ON", "1"),
    "api_token_sees_provider_ids": ("nonsense", "", "ON", "1"),
    "log_format": ("nonsense", "", "JSON"),
    "log_level": ("nonsense", "", "INFO", "20"),
    "mux_token_id_file": ("/no/such/file", "/"),
    "mux_token_secret_file": ("/no/such/file", "/"),
    "webhook_types": ("live", "a.b,", "video.asset.*", "video.upload.created", "a b.c", "a.[bc]"),
    "mux_webhook_secrets_file": ("/no/such/file", "/"),
    "mux_signing_private_key_file": ("/no/such/file", "/"),
    "console_token": ("too short", " " * 20),
    "console_token_file": ("/no/such/file", "/"),
    "webhook_public_url": ("app.example.com", "https://a.example/?b=c", "http://h:99999"),
    "outgoing_webhook_url": ("https://app.example.com/", "http://app.example.com/", "app", "a b"),
    "outgoing_webhook_secret": ("whsec_", "whsec_c2hvcnQ=", "secret", "a,"),
    "outgoing_webhook_secret_file": ("/no/such/file", "/"),
    "outgoing_webhook_events": ("asset", "video.asset.ready", "asset.ready,", "asset.[r]*"),
    "outgoing_webhook_allow_private": ("nonsense", "", "ON", "1"),
    "api_token": ("x" * 31, " " * 40, "with blanks in it, however long it may be"),
    "api_token_file": ("/no/such/file", "/"),
    "console_base_url": ("ops.example.com", "https://ops.example.com/?a=b", "http://h:99999"),
}
TABLES = "environments"
"""The one setting that stands in the file alone."""
OVER_THE_TOP = {
    "audit_days": ("3651",),
    "provider_polling_floor_seconds": ("0", "86401"),
    "provider_stuck_threshold_seconds": ("0", "31536001"),
    "provider_confirm_seconds": ("31536001",),
    "provider_recovery_days": ("3651",),
    "provider_check_growth": ("11",),
    "provider_check_jitter": ("1.01",),
    "provider_check_cap_seconds": ("0", "31536001"),
    "provider_watch_floor_seconds": ("0", "31536001"),
    "provider_watch_cap_seconds": ("0", "31536001"),
    "provider_retry_seconds": ("0", "3601"),
    "provider_timeout_seconds": ("0", "301"),
    "provider_rate_limit_share": ("0", "1.01"),
    "provider_read_burst": ("0", "1000001", "1.5"),
    "provider_reads_per_second": ("0", "1000001"),
    "sweep_interval_seconds": ("0", "86401"),
    "sweep_batch": ("0", "201", "1.5"),
    "webhook_tolerance_seconds": ("0", "86401"),
    "webhook_event_retention_days": ("0", "3651"),
    "dead_webhook_event_retention_days": ("0", "3651"),
    "listen_port": ("0", "65536", "1.5"),
    "console_port": ("-1", "65536", "1.5"),
    "api_port": ("0", "65536", "1.5"),
}
NUMBERS = tuple(
    name
    for name, field in fields_of().items()
    if {int, float} & {field.annotation, *get_args(field.annotation)}
)

SetVariable = Callable[[str, str], None]
WriteFile = Callable[..., Path]


def variable_of(name: str) -> str:
    return PREFIX + name.upper()


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*fields_of(), "config"]:
        monkeypatch.delenv(variable_of(name), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def set_variable(monkeypatch: pytest.MonkeyPatch) -> SetVariable:
    return monkeypatch.setenv


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    def write(text: str, name: str = "rindle-sync.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(**overrides: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(**overrides)
    return refused.value


# where a value comes from


def test_without_anything_set_every_setting_has_its_default() -> None:
    settings = load_settings()
    assert (settings.provider_stuck_threshold_seconds, settings.stuck_policy) == (
        7200,
        StuckPolicy.DECLARE,
    )
    assert settings.policy == Policy()
    assert settings.schedule == Schedule()


def test_the_file_in_the_current_folder_is_read(write_file: WriteFile) -> None:
    write_file("sweep_batch = 7")
    assert load_settings().sweep_batch == 7


def test_the_environment_wins_over_the_file(
    write_file: WriteFile, set_variable: SetVariable
) -> None:
    write_file("sweep_batch = 7\nsweep_interval_seconds = 9")
    set_variable("RINDLE_SWEEP_BATCH", "8")

    settings = load_settings()

    assert (settings.sweep_batch, settings.sweep_interval_seconds) == (8, 9)


def test_an_argument_wins_over_the_environment_and_the_file(
    write_file: WriteFile, set_variable: SetVariable
) -> None:
    write_file("sweep_batch = 7")
    set_variable("RINDLE_SWEEP_BATCH", "8")
    assert load_settings(sweep_batch=9).sweep_batch == 9


def test_rindle_config_names_the_file_and_the_default_one_is_left_alone(
    tmp_path: Path, write_file: WriteFile, set_variable: SetVariable
) -> None:
    write_file("sweep_batch = 7")
    (tmp_path / "other.toml").write_text("sweep_interval_seconds = 9", encoding="utf-8")
    set_variable("RINDLE_CONFIG", str(tmp_path / "other.toml"))

    settings = load_settings()

    assert (settings.sweep_batch, settings.sweep_interval_seconds) == (20, 9)


def test_a_variable_may_be_written_in_lower_case(set_variable: SetVariable) -> None:
    set_variable("rindle_sweep_batch", "8")
    assert load_settings().sweep_batch == 8


def test_settings_do_not_change_once_read() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.sweep_batch = 1
    assert settings.sweep_batch == 20


def test_a_file_of_one_call_is_forgotten_in_the_next(write_file: WriteFile) -> None:
    path = write_file("sweep_batch = 7")
    assert load_settings().sweep_batch == 7
    path.unlink()
    assert load_settings().sweep_batch == 20


# a file that cannot be read


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_named_file_that_is_not_there_is_refused(set_variable: SetVariable, name: str) -> None:
    set_variable("RINDLE_CONFIG", name)

    error = refusal()

    assert error.setting == "RINDLE_CONFIG"
    assert name in str(error)


@pytest.mark.parametrize("name", NUMBERS)
def test_true_is_no_number(write_file: WriteFile, name: str) -> None:
    write_file(f"{name} = true")

    with pytest.raises(ConfigurationError, match=f"^{name}: must not be true or false"):
        load_settings()


def test_a_file_that_is_no_toml_is_refused_by_its_name_and_line(write_file: WriteFile) -> None:
    write_file(f"sweep_batch = 7\nmux_token_secret = {PLANTED}")

    error = refusal()

    assert error.setting == "rindle-sync.toml"
    assert "line 2" in str(error)
    assert PLANTED not in str(error)


def test_a_file_that_is_no_text_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "rindle-sync.toml").write_bytes(b'environment = "\xff\xfe"')
    assert refusal().setting == "rindle-sync.toml"


# names that are none


def test_an_unknown_key_in_the_file_is_refused_with_a_suggestion(write_file: WriteFile) -> None:
    write_file("sweep_batches = 7")

    error = refusal()

    assert error.setting == "sweep_batches"
    assert "did you mean sweep_batch?" in str(error)
    assert "rindle-sync.toml" in str(error)


@pytest.mark.parametrize("text", [f'wholly_else = "{PLANTED}"', f'[mux]\ntoken = "{PLANTED}"'])
def test_a_key_like_no_other_is_refused_with_a_pointer_to_the_list(
    write_file: WriteFile, text: str
) -> None:
    write_file(text)

    error = refusal()

    assert "docs/settings.md" in str(error)
    assert PLANTED not in str(error)


def test_an_unknown_argument_is_refused(write_file: WriteFile) -> None:
    assert "is no setting (in the arguments); did you mean sweep_batch?" in str(
        refusal(sweep_batc=1)
    )


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("RINDLE_SWEEP_BATCHES", "RINDLE_SWEEP_BATCH"),
        ("RINDLE_MUX_TOKEN", "RINDLE_MUX_TOKEN_ID"),
        ("RINDLE_MUX_TOKEN_SECRETS", "RINDLE_MUX_TOKEN_SECRET"),
        ("RINDLE_STUCK_THRESHOLD_SECONDS", "RINDLE_PROVIDER_STUCK_THRESHOLD_SECONDS"),
        ("RINDLE_DATABASEURL", "RINDLE_DATABASE_URL"),
        ("rindle_databse_url", "RINDLE_DATABASE_URL"),
        ("RINDLE_CONFIGS", "RINDLE_CONFIG"),
    ],
)
def test_a_typo_in_a_variable_is_refused_with_a_suggestion(
    set_variable: SetVariable, typo: str, meant: str
) -> None:
    set_variable(typo, PLANTED)

    error = refusal()

    assert error.setting == typo
    assert f"did you mean {meant}?" in str(error)
    assert PLANTED not in str(error)


@pytest.mark.parametrize(
    "variable", ["RINDLE_TEST_POSTGRES_URL", "RINDLEX", "PATH_RINDLE_SWEEP_BATCH"]
)
def test_other_peoples_variables_are_left_alone(set_variable: SetVariable, variable: str) -> None:
    set_variable(variable, "anything")
    assert load_settings().sweep_batch == 20


@pytest.mark.parametrize(
    "service", ["OPERATOR", "CONSOLE", "LISTEN", "MUX_TOKEN", "SYNC", "X_PORT"]
)
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "tcp://10.0.0.1:80"),
        ("PORT", "udp://10.0.0.1:80"),
        ("SERVICE_HOST", "10.0.0.1"),
        ("SERVICE_PORT", "80"),
        ("SERVICE_PORT_HTTP", "80"),
        ("PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("PORT_80_TCP_PROTO", "tcp"),
        ("PORT_80_TCP_PORT", "80"),
        ("PORT_80_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_what_kubernetes_says_of_a_service_is_no_setting_whatever_it_is_called(
    set_variable: SetVariable, service: str, variable: str, value: str
) -> None:
    set_variable(f"RINDLE_{service}_{variable}", value)

    settings = load_settings()

    assert (settings.console_port, settings.listen_port) == (8001, 8000)
    assert Settings().console_port == 8001


def test_the_port_of_a_service_called_rindle_is_no_setting(set_variable: SetVariable) -> None:
    set_variable("RINDLE_PORT", "tcp://10.0.0.1:80")
    set_variable("RINDLE_SERVICE_HOST", "10.0.0.1")
    set_variable("RINDLE_ENVIRONMENTS__LIVE_PORT", "tcp://10.0.0.1:80")

    assert load_settings().environments == {}


def test_a_port_that_is_mistyped_is_still_refused(set_variable: SetVariable) -> None:
    set_variable("RINDLE_CONSOLE_PORTS", "8001")
    assert refusal().setting == "RINDLE_CONSOLE_PORTS"


# what stands around a value

AROUND = ("{}\n", " {} ", "\ufeff{}\r\n", "\t{}\u00a0")
TRIMMED = {
    "database_url": "sqlite:///x.sqlite3",
    "database_schema": "rindle_own",
    "environment": "staging",
    "listen_host": "localhost",
    "engine": "procrastinate",
    "sweep_batch": "7",
    "provider": "mux",
    "mux_environment_id": "env-1",
    "mux_base_url": "https://mux.example",
    "mux_token_id": "an-id",
    "mux_token_secret": PLANTED,
    "mux_webhook_secrets": f"{PLANTED},other",
    "mux_signing_key_id": "key-1",
    "console_token": PLANTED,
    "api_token": PLANTED,
}


def values_of(settings: Settings) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in TRIMMED:
        value = getattr(settings, name, None) or getattr(settings.account, name, None)
        found[name] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return found


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("source", ["variables", "file", "arguments", "Settings"])
def test_each_setting_is_trimmed_wherever_it_comes_from(
    set_variable: SetVariable, write_file: WriteFile, source: str, around: str
) -> None:
    given: dict[str, Any] = {name: around.format(text) for name, text in TRIMMED.items()}
    if source == "variables":
        for name, text in given.items():
            set_variable(variable_of(name), text)
        settings = load_settings()
    elif source == "file":
        lines = [f"{name} = {json.dumps(text)}" for name, text in given.items()]
        write_file("\ufeff" + "\n".join(lines))
        settings = load_settings()
    elif source == "arguments":
        settings = load_settings(**given)
    else:
        settings = Settings(**given)

    assert values_of(settings) == TRIMMED


def test_what_stands_in_the_table_of_an_environment_is_trimmed_too(
    set_variable: SetVariable, write_file: WriteFile
) -> None:
    write_file('[environments.live]\nprovider = "mux\\n"\nmux_token_id = " an-id\\n"')
    set_variable("RINDLE_ENVIRONMENTS__LIVE__MUX_TOKEN_SECRET", f"{PLANTED}\n")

    assert load_settings().each()["live"].account.credentials == ("an-id", PLANTED)


def test_the_names_of_files_are_trimmed_and_so_is_what_stands_in_them(
    set_variable: SetVariable, write_file: WriteFile
) -> None:
    secret = write_file(f"\ufeff{PLANTED}\r\n", "token-secret")
    config = write_file(f'mux_token_id = "an-id"\nmux_token_secret_file = "{secret} "', "x.toml")
    set_variable("RINDLE_CONFIG", f"{config}\n")

    assert load_settings().account.credentials == ("an-id", PLANTED)


def test_a_setting_of_blanks_alone_is_as_an_empty_one() -> None:
    assert "environment" in str(refusal(environment=" \n"))


# values that are none


def bad_texts() -> list[tuple[str, str]]:
    numbers = [(name, text) for name in NUMBERS for text in NO_NUMBERS + OVER_THE_TOP[name]]
    return numbers + [(name, text) for name, texts in BAD_TEXTS.items() for text in texts]


def test_every_setting_has_a_bad_value_here() -> None:
    assert {name for name, _ in bad_texts()} | set(FREE_TEXT) == set(fields_of()) - {TABLES}


@pytest.mark.parametrize(("name", "text"), bad_texts())
def test_a_bad_value_is_refused_by_its_setting_and_its_variable(
    set_variable: SetVariable, name: str, text: str
) -> None:
    set_variable(variable_of(name), text)

    error = refusal()

    assert error.setting == name
    assert str(error).startswith(f"{name}: ")
    assert variable_of(name) in str(error)
    assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("name", fields_of())
@pytest.mark.parametrize("value", [[PLANTED], {"x": PLANTED}, math.nan, object()])
def test_a_value_of_another_kind_is_refused_without_being_shown(name: str, value: object) -> None:
    error = refusal(**{name: value})

    assert error.setting == name
    assert ("[environments.<name>]" if name == TABLES else variable_of(name)) in str(error)
    assert PLANTED not in str(error)


@pytest.mark.parametrize("name", fields_of())
def test_a_value_of_another_kind_in_the_file_is_refused_without_being_shown(
    write_file: WriteFile, name: str
) -> None:
    write_file(f'{name} = ["{PLANTED}"]')

    error = refusal()

    assert error.setting == name
    assert PLANTED not in str(error)


@pytest.mark.parametrize("name", [name for name in fields_of() if name not in FREE_TEXT])
def test_a_secret_that_was_put_into_the_wrong_variable_is_not_shown(
    set_variable: SetVariable, name: str
) -> None:
    set_variable(variable_of(name), PLANTED)
    assert PLANTED not in str(refusal())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        f"mysql://user:{PLANTED}@host/database",
        f"user:{PLANTED}@host/database",
        f"postgresql://user@host:{PLANTED}/database",
    ],
)
def test_a_database_url_that_is_none_is_refused_without_being_shown(
    set_variable: SetVariable, url: str
) -> None:
    set_variable("RINDLE_DATABASE_URL", url)

    with pytest.raises(ConfigurationError) as refused:
        engine_url(load_settings().database_url)

    assert refused.value.setting == "database_url"
    assert PLANTED not in str(refused.value)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("provider_polling_floor_seconds", "provider_check_cap_seconds"),
        ("provider_watch_floor_seconds", "provider_watch_cap_seconds"),
    ],
)
def test_a_floor_above_its_cap_is_refused(low: str, high: str) -> None:
    error = refusal(**{low: 61, high: 60})

    assert low in str(error)
    assert high in str(error)


def test_a_floor_may_be_as_high_as_its_cap() -> None:
    settings = load_settings(provider_polling_floor_seconds=60, provider_check_cap_seconds=60)
    assert settings.schedule.floor == settings.schedule.cap


# credentials


@pytest.mark.parametrize("name", ["mux_token_id", "mux_token_secret"])
@pytest.mark.parametrize("text", ["", " ", "\t\n", None])
def test_blank_credentials_are_missing_credentials(
    set_variable: SetVariable, name: Literal["mux_token_id", "mux_token_secret"], text: str | None
) -> None:
    for each in ("mux_token_id", "mux_token_secret"):
        set_variable(variable_of(each), "given")
    given: dict[str, Any] = {name: text}
    settings = load_settings(**given)

    with pytest.raises(ConfigurationError, match=variable_of(name)) as refused:
        settings.account.check_credentials()

    assert refused.value.setting == name


def test_an_operators_token_that_is_empty_is_none_and_one_of_blanks_is_too_short(
    set_variable: SetVariable,
) -> None:
    set_variable("RINDLE_CONSOLE_TOKEN", "")
    assert load_settings().console_token is None

    set_variable("RINDLE_CONSOLE_TOKEN", " " * 20)
    assert "console_token: must have at least 16 characters (set RINDLE_CONSOLE_TOKEN" in str(
        refusal()
    )


def test_credentials_are_given_to_who_asks(set_variable: SetVariable) -> None:
    set_variable("RINDLE_MUX_TOKEN_ID", "an-id")
    set_variable("RINDLE_MUX_TOKEN_SECRET", "a-secret")
    assert load_settings().account.credentials == ("an-id", "a-secret")


def test_neither_credentials_nor_the_database_url_are_shown() -> None:
    given: dict[str, Any] = dict.fromkeys(HIDDEN, f"sqlite:///{PLANTED}")
    settings = load_settings(**given)

    shown = (
        repr(settings),
        str(settings),
        f"{settings}",
        settings.model_dump_json(),
        json.dumps(settings.model_dump(), default=str),
    )

    assert [text for text in shown if PLANTED in text] == []


def test_credentials_are_secrets_whatever_they_were_given_as() -> None:
    assert (
        load_settings(mux_token_id=SecretStr("x")).account
        == load_settings(mux_token_id="x").account
    )


# what settings amount to


@pytest.mark.parametrize(
    ("values", "reads"),
    [
        ({}, (20, 1)),
        ({"provider_token_priority": "high"}, (100, 5)),
        ({"provider_read_burst": 7}, (7, 1)),
        ({"provider_token_priority": Priority.HIGH, "provider_reads_per_second": 0.5}, (100, 0.5)),
    ],
)
def test_reads_are_what_the_priority_allows_unless_they_are_set(
    values: dict[str, Any], reads: tuple[int, float]
) -> None:
    bucket = load_settings(**values).buckets.reads
    assert (bucket.capacity, bucket.per_second) == reads


@pytest.mark.parametrize("share", [0.01, 0.5, 1])
def test_a_share_of_the_rate_limit_is_more_than_nothing_and_at_most_all(share: float) -> None:
    assert load_settings(provider_rate_limit_share=share).provider_rate_limit_share == share


@pytest.mark.parametrize("timeout", [0.1, 10, 300])
def test_a_lease_outlives_every_time_limit_inside_it(timeout: float) -> None:
    settings = load_settings(provider_timeout_seconds=timeout, database_url="sqlite://")
    rindle = RindleSync(settings, Database(open_engine(settings.database_url)))
    assert rindle.context.lease >= timedelta(seconds=timeout + 45)


def test_the_policy_is_as_set() -> None:
    settings = load_settings(
        provider_stuck_threshold_seconds=60, stuck_policy="ask-first", provider_confirm_seconds=0
    )
    assert settings.policy == Policy(
        stuck_threshold=timedelta(minutes=1),
        stuck_policy=StuckPolicy.ASK_FIRST,
        confirm=timedelta(0),
    )


def test_the_schedule_is_as_set() -> None:
    settings = load_settings(
        provider_polling_floor_seconds=1,
        provider_check_cap_seconds=2,
        provider_check_growth=3,
        provider_check_jitter=0.5,
        provider_watch_floor_seconds=4,
        provider_watch_cap_seconds=5,
        provider_recovery_days=6,
        provider_retry_seconds=7,
    )
    assert settings.schedule == Schedule(
        floor=timedelta(seconds=1),
        cap=timedelta(seconds=2),
        growth=3,
        jitter=0.5,
        watch_floor=timedelta(seconds=4),
        watch_cap=timedelta(seconds=5),
        recovery=timedelta(days=6),
        retry=timedelta(seconds=7),
    )


# several environments


TWO = """
provider_token_priority = "high"
mux_token_id = "outside"

[environments.acme-eu]
mux_token_id = "acme"
mux_environment_id = "env-acme"
audit_days = 2

[environments.beta]
provider_token_priority = "low"
"""


def test_each_environment_has_its_own_settings_and_shares_the_others_but_for_what_is_secret(
    write_file: WriteFile, set_variable: SetVariable
) -> None:
    write_file(TWO)
    set_variable("RINDLE_ENVIRONMENTS__ACME_EU__MUX_TOKEN_SECRET", "hidden")

    acme, beta = load_settings().each().values()

    assert (acme.environment, beta.environment) == ("acme-eu", "beta")
    assert (acme.account.credentials, acme.account.environment_id, acme.audit_days) == (
        ("acme", "hidden"),
        "env-acme",
        2,
    )
    assert (acme.provider_token_priority, beta.provider_token_priority) == (
        Priority.HIGH,
        Priority.LOW,
    )
    assert (beta.account.credentials, beta.account.environment_id, beta.audit_days) == (
        None,
        None,
        1,
    )
    assert beta.account.model_dump()["mux_token_id"] is None


def test_a_token_that_an_environment_lacks_is_named_with_its_table(write_file: WriteFile) -> None:
    write_file(TWO)

    with pytest.raises(
        ConfigurationError, match="RINDLE_ENVIRONMENTS__ACME_EU__MUX_TOKEN_SECRET"
    ) as lacking:
        load_settings().each()["acme-eu"].account.check_credentials()

    assert lacking.value.setting == "environments.acme-eu.mux_token_secret"


def test_one_of_several_environments_can_be_named(
    write_file: WriteFile, set_variable: SetVariable
) -> None:
    write_file(TWO)
    set_variable("RINDLE_ENVIRONMENT", "beta")

    assert list(load_settings().each()) == ["beta"]
    assert "gamma has no table; there are acme-eu, beta" in str(refusal(environment="gamma"))


def test_without_tables_there_is_one_environment() -> None:
    settings = load_settings(environment="only")

    assert settings.each() == {"only": settings}


@pytest.mark.parametrize(
    ("table", "setting", "hint"),
    [
        (
            "[environments.acme]\naudit_days = -1",
            "environments.acme.audit_days",
            "RINDLE_ENVIRONMENTS__ACME__AUDIT_DAYS",
        ),
        (
            "[environments.acme]\naudit_day = 1",
            "environments.acme.audit_day",
            "did you mean audit_days?",
        ),
        (
            "[environments.acme]\nlisten_port = 1",
            "environments.acme.listen_port",
            "is no setting of an environment",
        ),
        (
            "[environments.acme]\ndatabase_url = 'x'",
            "environments.acme.database_url",
            "is no setting of an environment",
        ),
        ("[environments.'a b']", "environments", "use small letters"),
        ("[environments.'a b']", "environments", "(write [environments.<name>] into the TOML file"),
        (
            "[environments]\nacme = 1",
            "environments",
            "valid dictionary (write [environments.<name>]",
        ),
        ("environments = 'x'", "environments", "valid dictionary (write [environments.<name>]"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_its_name(
    write_file: WriteFile, table: str, setting: str, hint: str
) -> None:
    write_file(table)

    error = refusal()

    assert error.setting == setting
    assert hint in str(error)


def test_a_variable_about_an_environment_without_a_table_is_refused(
    write_file: WriteFile, set_variable: SetVariable
) -> None:
    write_file(TWO)
    set_variable("RINDLE_ENVIRONMENTS__GAMMA__MUX_TOKEN_ID", PLANTED)

    error = refusal()

    assert "there are acme-eu, beta" in str(error)
    assert PLANTED not in str(error)


def test_a_variable_about_two_environments_is_refused(
    write_file: WriteFile, set_variable: SetVariable
) -> None:
    write_file("[environments.a-b]\n[environments.a_b]")
    assert list(load_settings().each()) == ["a-b", "a_b"]
    set_variable("RINDLE_ENVIRONMENTS__A_B__MUX_TOKEN_SECRET", PLANTED)

    error = refusal()

    assert "RINDLE_ENVIRONMENTS__A_B__MUX_TOKEN_SECRET: is about a-b and a_b alike" in str(error)
    assert PLANTED not in str(error)


def test_celery_as_the_engine_is_refused_with_the_way_to_have_it() -> None:
    assert "call add_celery_tasks there" in str(refusal(engine="celery"))


def test_tables_as_a_variable_are_refused(set_variable: SetVariable) -> None:
    set_variable("RINDLE_ENVIRONMENTS", "{}")
    assert "stand in the TOML file" in str(refusal())


def test_a_secret_may_stand_in_a_file(tmp_path: Path, write_file: WriteFile) -> None:
    secret = write_file(f"{PLANTED}\n", "token-secret")

    settings = load_settings(mux_token_id="id", mux_token_secret_file=secret)

    assert settings.account.credentials == ("id", PLANTED)
    assert PLANTED not in repr(settings)
    assert "are both set" in str(refusal(mux_token_secret="other", mux_token_secret_file=secret))
    assert "nothing in it" in str(refusal(mux_token_secret_file=write_file("", "empty")))


@pytest.mark.parametrize("name", FREE_TEXT)
def test_no_setting_has_a_zero_which_ends_a_text_for_libraries_in_c(name: str) -> None:
    given: dict[str, Any] = {name: "postgresql://a\0b-c-d-e-f-g-h-i"}

    with pytest.raises(ConfigurationError, match="code zero") as refused:
        load_settings(**given)

    assert refused.value.setting == name


def members(annotation: Any) -> set[Any]:
    """The types of a union, or the type itself."""
    kinds = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
    return {get_origin(kind) or kind for kind in kinds}


@pytest.mark.parametrize("name", sorted({*fields_of(), *get_type_hints(SettingsArguments)}))
def test_a_setting_can_be_given_in_code_by_its_type(name: str) -> None:
    told = get_type_hints(SettingsArguments)[name]
    kinds = members(fields_of()[name].annotation)
    # secrets, paths and words are given as text, too, and what holds others as any of its kind
    text = {kind: {kind, str} for kind in (SecretStr, Path)}
    given: dict[Any, set[Any]] = {**text, tuple: {Sequence}, dict: {Mapping}}
    expected: set[Any] = set()
    for kind in kinds:
        expected |= {str} if issubclass(kind, StrEnum) else given.get(kind, {kind})
    assert members(told) == expected
