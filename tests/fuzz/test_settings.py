"""Settings under whatever is set: they keep every documented bound, or the wrong one is named.

`RINDLE_FUZZ_EXAMPLES` multiplies the number of examples, for a longer run.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from rindle_sync.app import lease_of
from rindle_sync.config import Settings, fields_of, load_settings, plain_settings
from rindle_sync.domain import Policy, Schedule, StuckPolicy, WebhookSettings
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers import PREFIX, Priority
from rindle_sync.providers.mux.account import MuxSettings
from tests.support.fuzz import fuzz

DOCUMENTED = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
PLANTED = "hunter2-lJ4bGGsp7ZlPf02nMg015W02iHQLN9X"
PIECE = 9
"""A piece of a secret that is this long gives it away."""

NAMES = tuple(fields_of())
SECRETS = ("mux_token_id", "mux_token_secret", "mux_webhook_secrets", "mux_signing_private_key")
HIDDEN = (*SECRETS, "database_url", "mux_environment_id", "mux_signing_key_id")
IN_FILES = tuple((name, f"{name}_file") for name in fields_of() if f"{name}_file" in fields_of())
"""What may stand in a file instead, but not as well."""

ORDERED = (
    ("provider_polling_floor_seconds", "provider_check_cap_seconds"),
    ("provider_watch_floor_seconds", "provider_watch_cap_seconds"),
)
CHOICES: dict[str, type[StuckPolicy | Priority]] = {
    "stuck_policy": StuckPolicy,
    "provider_token_priority": Priority,
}


def _bounds() -> dict[str, tuple[float, float, bool]]:
    """The documented least and most of each number, and whether it must be above the least."""
    row = re.compile(
        r"^\| `(\w+)` \|[^|]*\|[^|]*\| (above )?([\d.]+),? to ([\d,]+)[^|]*\|", re.MULTILINE
    )
    found = row.findall(DOCUMENTED.read_text(encoding="utf-8"))
    return {
        name: (float(low), float(high.replace(",", "")), bool(above))
        for name, above, low, high in found
    }


BOUNDS = _bounds()
INTEGERS = ("api_port", "listen_port", "console_port", "provider_read_burst", "sweep_batch")

# what anything may be

any_text = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["a\udcff", "\ud800", "\x00", "a\nb"]
)
huge = st.sampled_from([2**63, 10**30, -(10**30), 10**400, 10**4000])
fractions = st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.sampled_from(
    [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1e99999")]
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    huge,
    st.floats(),
    fractions,
    any_text,
    st.binary(max_size=12),
    st.dates(),
)
anything: st.SearchStrategy[Any] = st.recursive(
    leaves
    | st.timedeltas()
    | any_text.map(SecretStr)
    | any_text.map(Path)
    | st.sampled_from([*StuckPolicy, *Priority]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(any_text, inner, max_size=2)
        | st.tuples(inner)
    ),
    max_leaves=4,
)
number_texts = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        [
            "",
            " ",
            "nan",
            "inf",
            "-0",
            "1e400",
            "1_0",
            "0x10",
            " 7 ",
            "+7",
            "٧",
            "²",
            "9" * 5000,
            "none",
            "1.",
        ]
    ),
)
address_texts = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["https://", "http://", "HTTPS://", "ftp://", "https:/", "//", ""]),
    st.sampled_from(
        [
            "api.mux.com",
            "localhost",
            "127.0.0.1",
            "[::1]",
            "[::1",
            "a..b",
            "",
            "*",
            "user:pw@host",
            "ℂ.io",
        ]
    ),
    st.sampled_from(["", ":443", ":0", ":", ":99999", ":x", ":²"]),
    st.sampled_from(["", "/", "/path", "?x", "#x", " ", "\x00", "/%zz"]) | any_text,
)
secret_texts = st.lists(any_text | st.just(PLANTED), max_size=3).map(",".join) | st.sampled_from(
    [" ", ",", "a, b", "a,,b"]
)


def good(name: str) -> st.SearchStrategy[Any]:
    """Values of the setting's own kind, most of them within its bounds."""
    if name in CHOICES:
        return st.sampled_from([*CHOICES[name]]).flatmap(
            lambda word: st.sampled_from([word, str(word), word.upper()])
        )
    if name in BOUNDS:
        low, high, _ = BOUNDS[name]
        edges = st.sampled_from(
            [low, high, low - 1, high + 1, math.nextafter(low, -1), math.nextafter(high, math.inf)]
        )
        within = (
            st.integers(math.ceil(low), int(high)) if name in INTEGERS else st.floats(low, high)
        )
        return within | within | edges | number_texts
    if name == "mux_base_url":
        return address_texts
    return secret_texts if name in SECRETS else any_text


def some(
    names: tuple[str, ...], values: st.SearchStrategy[Any] | None = None
) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the settings, each good or anything at all."""
    one_of = {name: good(name) if values is None else good(name) | values for name in names}
    chosen = st.lists(st.sampled_from(names), max_size=4, unique=True)
    return chosen.flatmap(lambda few: st.fixed_dictionaries({name: one_of[name] for name in few}))


def leaks(*shown: str) -> set[str]:
    """The pieces of the planted secret that can be read."""
    pieces = {PLANTED[i : i + PIECE] for i in range(len(PLANTED) - PIECE + 1)}
    return {piece for piece in pieces for text in shown if piece in text}


def check_refusal(error: ConfigurationError, *may_be_wrong: str) -> None:
    """It names one of the settings that were set, in one line that can be written anywhere."""
    assert error.setting in {*may_be_wrong, "settings"}
    assert str(error).startswith(f"{error.setting}: ")
    assert len(str(error).splitlines()) == 1
    assert str(error).encode().decode() == str(error)
    assert error.__cause__ is None
    if error.setting == "settings":
        assert any(low in str(error) and high in str(error) for low, high in (*ORDERED, *IN_FILES))


def check_settings(found: Settings) -> None:
    for name, (low, high, is_above) in BOUNDS.items():
        value = getattr(found, name)
        if value is None:
            assert fields_of()[name].default is None, name
            continue
        assert isinstance(value, int if name in INTEGERS else float), name
        assert low <= value <= high, name
        assert value > low or not is_above, name
    for low_name, high_name in ORDERED:
        assert getattr(found, low_name) <= getattr(found, high_name)
    for name, kind in CHOICES.items():
        assert isinstance(getattr(found, name), kind)
    for name in ("environment", "listen_host", "console_host"):
        assert getattr(found, name), name
    account = found.account
    assert isinstance(account, MuxSettings)
    assert account.mux_environment_id is None or account.mux_environment_id
    assert account.mux_base_url is None or re.match(r"https?://[^?#\s]+\Z", account.mux_base_url)
    check_what_they_amount_to(found)
    check_secrets(found)


def check_what_they_amount_to(found: Settings) -> None:
    policy, schedule = found.policy, found.schedule
    assert isinstance(policy, Policy)
    assert isinstance(schedule, Schedule)
    assert min(
        policy.stuck_threshold, policy.confirm, schedule.floor, schedule.watch_floor
    ) >= timedelta(0)
    assert schedule.floor <= schedule.cap
    assert schedule.watch_floor <= schedule.watch_cap
    for bucket in (found.buckets.reads, found.buckets.creates):
        assert bucket.capacity >= 1
        assert 0 < bucket.per_second <= 1_000_000
    assert lease_of(found) > timedelta(seconds=found.provider_timeout_seconds + 45)


def check_secrets(found: Settings) -> None:
    """Each is a text that can be sent, or is missing."""
    webhooks, account = found.webhooks, found.account
    assert isinstance(account, MuxSettings)
    assert isinstance(webhooks, WebhookSettings)
    assert timedelta(seconds=1) <= webhooks.tolerance <= timedelta(days=1)
    assert all(secret.strip() and "," not in secret for secret in webhooks.secrets)
    assert (account.credentials is not None) == (
        account.mux_token_id is not None and account.mux_token_secret is not None
    )
    told = [*webhooks.secrets, *(account.credentials or ())]
    for secret in told:
        assert secret.strip()
        assert secret.encode().decode() == secret
    if account.mux_signing_key_id is not None and account.mux_signing_private_key is not None:
        assert account.signing_key() == (
            account.mux_signing_key_id,
            account.mux_signing_private_key.get_secret_value(),
        )


def shown_of(found: Settings | ConfigurationError) -> tuple[str, ...]:
    """All the ways in which it is printed."""
    if isinstance(found, ConfigurationError):
        return str(found), repr(found), str(vars(found))
    account = found.account
    dumped = found.model_dump() | account.model_dump(
        exclude={"mux_environment_id", "mux_signing_key_id"}
    )
    shown = (repr(found), str(found), f"{found}", repr(account), str(account), f"{account}")
    return *shown, str(found.webhooks), json.dumps(dumped, default=str)


# arguments


def test_every_number_has_its_bounds_in_the_documents() -> None:
    numbers = {name for name in NAMES if {int, float} & {_kind(name), *get_args(_kind(name))}}
    assert set(BOUNDS) == numbers


def _kind(name: str) -> Any:
    return fields_of()[name].annotation


def made(values: Mapping[str, Any]) -> Settings | ConfigurationError:
    """What comes of these values; an error that is none of ours goes on its way."""
    try:
        return plain_settings(**values)
    except ConfigurationError as error:
        return error


def check(came: Settings | ConfigurationError, *may_be_wrong: str) -> None:
    if isinstance(came, ConfigurationError):
        check_refusal(came, *may_be_wrong)
    else:
        check_settings(came)


@fuzz(150)
@given(some(NAMES, anything))
def test_whatever_the_values_are_they_make_settings_or_name_the_one_that_is_wrong(
    values: dict[str, Any],
) -> None:
    check(made(values), *values)


@fuzz(40)
@pytest.mark.parametrize("names", [NAMES[i::4] for i in range(4)])
@given(data=st.data())
def test_a_value_of_any_kind_is_taken_or_refused_by_its_name(
    names: tuple[str, ...], data: st.DataObject
) -> None:
    name, value = data.draw(st.sampled_from(names)), data.draw(anything)

    check(made({name: value}), name)


@fuzz(80)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20).filter(lambda text: not text.startswith("_")),
        leaves,
        max_size=2,
    )
)
def test_a_name_that_is_no_setting_is_refused_by_that_name(values: dict[str, Any]) -> None:
    came = made(values)

    assert (
        came.setting in values
        if isinstance(came, ConfigurationError)
        else set(values) <= set(NAMES)
    )


@fuzz(120)
@given(
    st.sampled_from(
        [name for name in BOUNDS if name not in {bound for pair in ORDERED for bound in pair}]
    ),
    st.data(),
)
def test_every_number_within_its_bounds_is_taken_as_it_is(name: str, data: st.DataObject) -> None:
    low, high, is_above = BOUNDS[name]
    numbers = (
        st.integers(math.ceil(low), int(high))
        if name in INTEGERS
        else st.floats(low, high, exclude_min=is_above)
    )
    number = data.draw(numbers)

    for value in (number, str(number), f" {number} "):
        assert getattr(plain_settings(**{name: value}), name) == number


@fuzz(80)
@given(st.sampled_from(list(BOUNDS)), st.data())
def test_no_number_beyond_its_bounds_is_taken(name: str, data: st.DataObject) -> None:
    low, high, is_above = BOUNDS[name]
    below, above = (
        st.floats(max_value=low, exclude_max=not is_above),
        st.floats(min_value=high, exclude_min=True),
    )
    number = data.draw(below | above | st.sampled_from([math.nan, 10**400, -(10**400)]))

    for value in (number, str(number)):
        with pytest.raises(ConfigurationError) as refused:
            plain_settings(**{name: value})
        check_refusal(refused.value, name)


# the environment and the file


@contextmanager
def surroundings(folder: Path, variables: Mapping[str, str], file: bytes | None) -> Iterator[None]:
    """A process that was started in `folder`, with these variables and this file alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        path = folder / "rindle-sync.toml"
        path.unlink(missing_ok=True)
        if file is not None:
            path.write_bytes(file)
        patch.chdir(folder)
        yield


def load(
    folder: Path, variables: Mapping[str, str], file: bytes | None = None
) -> Settings | ConfigurationError:
    """What comes of it; an error that is none of ours goes on its way."""
    with surroundings(folder, variables, file):
        try:
            return load_settings()
        except ConfigurationError as error:
            return error


variable_texts = st.one_of(
    number_texts,
    any_text.map(lambda text: os.fsdecode(text.encode("utf-8", "surrogatepass"))),
    st.binary(max_size=20).map(os.fsdecode),
).map(lambda text: text.replace("\x00", ""))
variables = st.lists(st.sampled_from(NAMES), max_size=4, unique=True).flatmap(
    lambda few: st.fixed_dictionaries(
        {
            name: good(name).map(lambda value: os.fsdecode(_text(value))) | variable_texts
            for name in few
        }
    )
)


def _text(value: Any) -> bytes:
    return str(value).replace("\x00", "").encode("utf-8", "surrogatepass")


@fuzz(80)
@given(values=variables, is_capital=st.booleans())
def test_whatever_the_environment_says_it_makes_settings_or_names_the_one_that_is_wrong(
    tmp_path: Path, values: dict[str, str], *, is_capital: bool
) -> None:
    named = {
        f"{PREFIX}{name}".upper() if is_capital else f"{PREFIX}{name}".lower(): v
        for name, v in values.items()
    }

    came = load(tmp_path, named)

    check(came, *values)
    if isinstance(came, ConfigurationError) and came.setting != "settings":
        assert f"{PREFIX}{came.setting.upper()}" in str(came)


@fuzz(40)
@given(
    name=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_é0", max_size=12)
    | st.sampled_from(NAMES).map(lambda name: f"{name}S"),
    value=variable_texts,
)
def test_a_variable_that_is_no_setting_is_left_alone_or_refused_by_its_name(
    tmp_path: Path, name: str, value: str
) -> None:
    variable = f"{PREFIX}{name}"
    if name.lower() in NAMES or name.lower() == "config":
        return

    came = load(tmp_path, {variable: value})

    assert isinstance(came, Settings) or came.setting == variable


toml_leaves = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.datetimes(),
    st.times(),
)
toml_values: st.SearchStrategy[Any] = st.recursive(
    toml_leaves,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value) if isinstance(value, bool) else str(value)


def a_file(values: Mapping[str, Any]) -> bytes:
    return "".join(f"{name} = {toml(value)}\n" for name, value in values.items()).encode(
        "utf-8", "replace"
    )


files = some(NAMES, toml_values).map(a_file)
literals = st.sampled_from(
    [
        "9" * 4000,
        "-" + "9" * 400,
        "0x" + "f" * 400,
        "1e400",
        "1_0",
        "+inf",
        "-nan",
        "25:00:00",
        "{}",
    ]
)
odd_files = st.one_of(
    st.binary(max_size=60),
    any_text.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text("[]{}=.,\"'#\n\r\t a1_-:\\", max_size=40).map(str.encode),
    st.builds(lambda name, text: f"{name} = {text}".encode(), st.sampled_from(NAMES), literals),
    st.builds(lambda file, cut: file[: cut % (len(file) + 1)], files, st.integers(0, 200)),
    st.builds(lambda file, end: file + end, files, st.binary(max_size=5)),
    st.builds(lambda start, other: start + other, files, files),
    st.builds(lambda table, file: f"[{toml(table)}]\n".encode() + file, st.text(max_size=8), files),
)


@fuzz(80)
@given(file=files)
def test_whatever_the_file_says_it_makes_settings_or_names_the_one_that_is_wrong(
    tmp_path: Path, file: bytes
) -> None:
    check(load(tmp_path, {}, file), *NAMES)


@fuzz(80)
@given(file=odd_files)
def test_whatever_the_file_is_it_makes_settings_or_is_refused_by_name(
    tmp_path: Path, file: bytes
) -> None:
    came = load(tmp_path, {}, file)

    if isinstance(came, Settings):
        check_settings(came)
    else:
        assert came.setting in {*NAMES, "settings", "rindle-sync.toml"} or "is no setting" in str(
            came
        )


@fuzz(40)
@given(values=st.fixed_dictionaries({}, optional={name: st.integers(0, 400) for name in BOUNDS}))
def test_the_environment_the_file_and_arguments_are_read_alike(
    tmp_path: Path, values: dict[str, int]
) -> None:
    told = {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}
    try:
        expected: object = plain_settings(**values)
    except ConfigurationError as error:
        expected = str(error)

    for came in (load(tmp_path, told), load(tmp_path, {}, a_file(values))):
        assert (str(came) if isinstance(came, ConfigurationError) else came) == expected


@fuzz(30)
@given(
    name=variable_texts
    | st.integers(1, 6000).map(lambda length: "x" * length)
    | st.sampled_from(["/", ".", "a/b"])
)
@example(name="x" * 256)
def test_whatever_names_the_file_it_is_found_or_refused(tmp_path: Path, name: str) -> None:
    came = load(tmp_path, {f"{PREFIX}CONFIG": name})

    assert isinstance(came, Settings) or came.setting == f"{PREFIX}CONFIG"


# secrets

around = any_text | st.sampled_from(
    ["https://user:", "https://host:", "https://[", "https://x.io/", "@host", "]", "℀@x", ""]
)
planted = st.builds("{}{}{}".format, around, st.just(PLANTED), around)
planted_anywhere = st.one_of(
    planted,
    planted.map(lambda text: text.encode("utf-8", "replace")),
    planted.map(SecretStr),
    planted.map(lambda text: [text]),
    planted.map(lambda text: {text: text}),
)


@fuzz(120)
@given(st.sampled_from(NAMES), planted_anywhere, some(NAMES))
def test_a_secret_that_is_refused_is_not_shown_whatever_setting_it_was_put_into(
    name: str, secret: Any, others: dict[str, Any]
) -> None:
    came = made({**others, name: secret})

    if isinstance(came, ConfigurationError):
        assert leaks(*shown_of(came)) == set()


@fuzz(80)
@given(
    st.fixed_dictionaries(
        dict.fromkeys(HIDDEN, st.text(max_size=5).map(lambda text: f"{text}{PLANTED}{text}"))
    )
)
def test_a_secret_that_is_taken_is_not_shown(values: dict[str, str]) -> None:
    assert leaks(*shown_of(made(values))) == set()


@fuzz(40)
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
    texts=st.lists(planted, min_size=3, max_size=3),
)
def test_a_secret_in_the_environment_or_the_file_is_not_shown_when_it_is_refused(
    tmp_path: Path, names: list[str], texts: list[str]
) -> None:
    values = dict(zip(names, texts, strict=False))
    told = {f"{PREFIX}{name.upper()}": os.fsdecode(_text(text)) for name, text in values.items()}

    for came in (load(tmp_path, told), load(tmp_path, {}, a_file(values))):
        if isinstance(came, ConfigurationError):
            assert leaks(*shown_of(came)) == set()


# found by fuzzing


@pytest.mark.parametrize("name", HIDDEN)
def test_a_secret_that_is_no_text_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        plain_settings(**{name: f"{PLANTED}\udcff"})

    check_refusal(refused.value, name)
    assert leaks(str(refused.value)) == set()


@pytest.mark.parametrize(
    "url",
    [
        f"https://host:{PLANTED}",
        f"https://user:{PLANTED}/x@host",
        f"https://user:{PLANTED}℀@host",
        f"https://[{PLANTED}]",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        plain_settings(mux_base_url=url)

    check_refusal(refused.value, "mux_base_url")
    assert leaks(str(refused.value)) == set()


def test_an_address_with_a_password_in_it_is_not_shown() -> None:
    assert leaks(*shown_of(made({"mux_base_url": f"https://user:{PLANTED}@host"}))) == set()


@pytest.mark.parametrize(
    "text",
    [
        "sweep_batch = " + "9" * 5000,
        "sweep_batch = " + "[" * 5000,
        "x = " + "[" * 5000 + "]" * 5000,
    ],
)
def test_a_file_that_no_parser_gets_through_is_refused_by_its_name(
    tmp_path: Path, text: str
) -> None:
    came = load(tmp_path, {}, text.encode())

    assert isinstance(came, ConfigurationError)
    assert came.setting == "rindle-sync.toml"


@pytest.mark.parametrize("name", ["x" * 256, "x" * 5000, "a\nb", "a\udcffb"])
def test_a_file_whose_name_is_none_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    came = load(tmp_path, {f"{PREFIX}CONFIG": name})

    assert isinstance(came, ConfigurationError)
    check_refusal(came, f"{PREFIX}CONFIG")


@pytest.mark.parametrize(
    "name", [name for name, (low, _, is_above) in BOUNDS.items() if is_above or low > 0]
)
@pytest.mark.parametrize("number", [5e-324, 1e-9])
def test_a_time_above_nothing_is_never_counted_as_nothing(name: str, number: float) -> None:
    came = made({name: number})

    if isinstance(came, ConfigurationError):
        check_refusal(came, name)
    else:
        unit = (
            "days" if name.endswith("_days") else "seconds"
        )  # a share or a rate counts like seconds
        assert timedelta(**{unit: getattr(came, name)}) > timedelta(0)
