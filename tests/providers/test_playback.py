"""Signed playback: what a URL and its token hold, which keys sign, and which rows are refused.

Public playback, captions, files and whole players are in `test_player.py`.
"""

import base64
import functools
import gc
import json
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.domain import PlaybackId, ProviderAsset, State, replace
from rindle_sync.errors import ConfigurationError, NotPlayable
from rindle_sync.providers import PlaybackKind, PlaybackRequest, PlaybackUrl
from rindle_sync.providers.mux import Audience, MuxPlayback, Signer
from rindle_sync.providers.mux.playback import audience_of, url_of
from tests.support.rows import NOW, PUBLIC, SIGNED, a_row

ROOT = Path(__file__).parents[2]
VECTORS = ROOT.parent / "shared" / "mux" / "vectors.json"

DRM = PlaybackId("playback-0003", "drm")
KEY_ID = "signing-key-0001"
HOUR = NOW + timedelta(hours=1)
LICENCES = [kind for kind in PlaybackKind if audience_of(kind) is Audience.DRM_LICENSE]
PARTS = {"captions", "rendition", "audio"}
OTHERS = [
    kind for kind in PlaybackKind if kind not in LICENCES and kind.partition(".")[0] not in PARTS
]


@functools.cache
def a_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def pem(key: PrivateKeyTypes, form: PrivateFormat = PrivateFormat.TraditionalOpenSSL) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


@functools.cache
def a_signer(key_id: str = KEY_ID) -> Signer:
    return Signer(key_id, pem(a_key()))


def a_ready_row(*playback_ids: PlaybackId, **values: Any) -> ProviderAsset:
    return a_row(State.READY, playback_ids=playback_ids or (PUBLIC, SIGNED), **values)


def signed(
    row: ProviderAsset | None = None,
    kind: PlaybackKind = PlaybackKind.VIDEO,
    now: datetime = NOW,
    **values: Any,
) -> PlaybackUrl:
    values = {"expires_at": HOUR, "policy": "signed", **values}
    request = PlaybackRequest(**values)
    return MuxPlayback(a_signer()).url(row or a_ready_row(), kind, request, now=now)


def token_of(url: PlaybackUrl) -> str:
    assert url.token
    return url.token


def claims(token: str, audience: str = "v", key: Any = None) -> dict[str, Any]:
    """The claims of a token whose signature holds."""
    public = key or a_key().public_key()
    return jwt.decode(
        token, public, algorithms=["RS256"], audience=audience, options={"verify_exp": False}
    )


# the URL and its token


@pytest.mark.parametrize("kind", OTHERS)
def test_a_url_is_of_the_first_signed_id_and_has_nothing_but_a_token(kind: PlaybackKind) -> None:
    url = urlsplit(signed(kind=kind, modifiers={"width": 600}).url)

    assert f"{url.scheme}://{url.netloc}{url.path}" == url_of(kind, SIGNED.id)
    assert list(parse_qs(url.query)) == ["token"]


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        (PlaybackKind.VIDEO, "https://stream.mux.com/abc.m3u8"),
        (PlaybackKind.THUMBNAIL_JPG, "https://image.mux.com/abc/thumbnail.jpg"),
        (PlaybackKind.ANIMATED_WEBP, "https://image.mux.com/abc/animated.webp"),
        (PlaybackKind.STORYBOARD_VTT, "https://image.mux.com/abc/storyboard.vtt"),
        (PlaybackKind.LICENSE_FAIRPLAY, "https://license.mux.com/license/fairplay/abc"),
    ],
)
def test_each_kind_has_its_address(kind: PlaybackKind, url: str) -> None:
    assert url_of(kind, "abc") == url


def test_an_id_cannot_lead_to_another_address() -> None:
    assert url_of(PlaybackKind.VIDEO, "../a?b#c") == "https://stream.mux.com/..%2Fa%3Fb%23c.m3u8"


@pytest.mark.parametrize(
    ("family", "audience"),
    [("video", "v"), ("thumbnail", "t"), ("animated", "g"), ("storyboard", "s")],
)
def test_each_kind_has_its_audience(family: str, audience: str) -> None:
    for kind in (kind for kind in PlaybackKind if kind.startswith(family)):
        token = token_of(signed(kind=kind))
        assert claims(token, audience)["aud"] == audience


def test_the_key_id_is_in_header_and_claims() -> None:
    token = token_of(signed())

    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": KEY_ID, "typ": "JWT"}
    assert claims(token) == {
        "sub": SIGNED.id,
        "aud": "v",
        "exp": int(HOUR.timestamp()),
        "kid": KEY_ID,
    }


def test_modifiers_and_the_apps_own_data_stand_in_the_claims() -> None:
    modifiers, custom = {"time": 2.5, "fit_mode": "crop"}, {"session": "s-1"}
    token = token_of(signed(modifiers=modifiers, custom=custom))

    told = claims(token)
    assert (told["time"], told["fit_mode"], told["custom"]) == (2.5, "crop", {"session": "s-1"})


def test_the_expiry_is_told_as_the_token_says_it() -> None:
    east = timezone(timedelta(hours=5, minutes=30))

    url = signed(expires_at=HOUR.astimezone(east))

    assert url.expires_at
    assert url.expires_at == HOUR.replace(microsecond=0)
    assert url.expires_at.tzinfo is UTC
    assert url.expires_at.timestamp() == claims(token_of(url))["exp"]


def test_the_token_stands_alone_for_players_that_ask_for_it() -> None:
    url = signed()

    assert url.url == f"{url_of(PlaybackKind.VIDEO, SIGNED.id)}?token={url.token}"


@pytest.mark.parametrize("audience", Audience)
def test_a_token_can_be_made_for_any_audience(audience: Audience) -> None:
    token = a_signer().token("abc", audience=audience, expires_at=HOUR, now=NOW)

    assert claims(token, audience.value)["sub"] == "abc"


names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: name not in {"sub", "aud", "exp", "kid", "iat", "iss", "jti", "nbf", "custom"}
)
values = (
    st.text()
    | st.integers(-(2**53), 2**53)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
)
trees = st.recursive(
    st.none() | values,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    modifiers=st.dictionaries(names, values, max_size=5),
    custom=st.none() | st.dictionaries(st.text(), trees, max_size=5),
    subject=st.text(min_size=1),
    life=st.timedeltas(timedelta(seconds=1), timedelta(days=3650)),
)
def test_claims_come_back_as_they_were_given(
    modifiers: Mapping[str, Any], custom: Mapping[str, Any] | None, subject: str, life: timedelta
) -> None:
    now = NOW.replace(microsecond=0)
    token = a_signer().token(
        subject,
        audience=Audience.GIF,
        expires_at=now + life,
        now=now,
        modifiers=modifiers,
        custom=custom,
    )

    own = {"sub": subject, "aud": "g", "exp": int((now + life).timestamp()), "kid": KEY_ID}
    assert claims(token, "g") == {
        **modifiers,
        **({} if custom is None else {"custom": custom}),
        **own,
    }


# the expiry and the claims that are refused


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=1), timedelta(days=-1)])
def test_an_expiry_that_is_past_is_refused(late: timedelta) -> None:
    with pytest.raises(ConfigurationError, match="later than now") as refused:
        signed(expires_at=NOW + late)

    assert refused.value.setting == "expires_at"


@pytest.mark.parametrize("name", ["expires_at", "now"])
def test_a_time_without_a_zone_is_refused(name: str) -> None:
    values: dict[str, Any] = {name: HOUR.replace(tzinfo=None)}

    with pytest.raises(ConfigurationError, match="time zone") as refused:
        signed(None, **values)

    assert refused.value.setting == name


def test_there_is_no_default_expiry() -> None:
    with pytest.raises(ConfigurationError, match=r"^expires_at: is needed"):
        signed(expires_at=None)


@pytest.mark.parametrize("name", ["sub", "aud", "exp", "kid", "iat", "nbf", "iss", "jti", "custom"])
def test_a_claim_of_ours_cannot_be_set(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"modifiers: cannot set {name}"):
        signed(modifiers={name: "planted"})


@pytest.mark.parametrize(
    "modifiers", [{"Width": 1}, {"a b": 1}, {"": 1}, {"time": float("nan")}, {"time": None}]
)
def test_modifiers_that_mux_cannot_read_are_refused(modifiers: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"^modifiers: must be"):
        signed(modifiers=modifiers)


@pytest.mark.parametrize("custom", [{"at": NOW}, {"x": float("inf")}, ["no mapping"]])
def test_data_that_is_no_json_is_refused(custom: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^custom: "):
        signed(custom=custom)


def test_a_token_for_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^subject: "):
        a_signer().token("", audience=Audience.VIDEO, expires_at=HOUR, now=NOW)


# rows and playback ids that are refused


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
def test_a_row_that_is_not_ready_is_refused(state: State) -> None:
    row = a_row(state, playback_ids=(SIGNED,))

    with pytest.raises(NotPlayable, match=f"row {row.id} is {state}, not ready") as refused:
        signed(row)

    assert (refused.value.row_id, refused.value.reason) == (row.id, "not_ready")


VIDEO, WIDEVINE = PlaybackKind.VIDEO, PlaybackKind.LICENSE_WIDEVINE
QUANTUM = PlaybackId("new", "quantum")
ANY: dict[str, Any] = {"policy": None}
REFUSED: list[tuple[str, tuple[PlaybackId, ...], dict[str, Any], PlaybackKind]] = [
    ("no_signed_id", (PUBLIC,), {"policy": "signed"}, VIDEO),
    ("no_signed_id", (DRM,), {"policy": "signed"}, VIDEO),
    ("no_public_id", (SIGNED, DRM), {"policy": "public"}, VIDEO),
    ("no_drm_id", (PUBLIC, SIGNED), {"policy": "drm"}, VIDEO),
    ("no_drm_id", (SIGNED,), ANY, WIDEVINE),
    ("no_drm_id", (SIGNED, DRM), {"playback_id": SIGNED}, WIDEVINE),
    ("no_drm_id", (PUBLIC, DRM), {"playback_id": PUBLIC}, WIDEVINE),
    ("foreign_id", (SIGNED,), {"playback_id": PlaybackId("another", "signed")}, VIDEO),
    ("unknown_policy", (QUANTUM,), {"playback_id": QUANTUM}, VIDEO),
    ("unknown_policy", (QUANTUM,), ANY, VIDEO),
]


@pytest.mark.parametrize(("reason", "own", "options", "kind"), REFUSED)
def test_what_does_not_play_is_refused(
    reason: str, own: tuple[PlaybackId, ...], options: dict[str, Any], kind: PlaybackKind
) -> None:
    with pytest.raises(NotPlayable) as refused:
        signed(a_ready_row(*own), kind=kind, **options)

    assert refused.value.reason == reason


def test_a_row_without_playback_ids_is_refused() -> None:
    with pytest.raises(NotPlayable, match="no playback id") as refused:
        signed(replace(a_ready_row(), playback_ids=()), policy=None)

    assert refused.value.reason == "no_playback_id"


def test_a_policy_that_is_none_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigurationError, match=r"^policy: must be one of public, signed, drm"):
        signed(policy="secret")


def test_another_providers_row_is_refused() -> None:
    with pytest.raises(NotPlayable, match="not of Mux"):
        signed(replace(a_ready_row(), provider_name="bunny"))


@pytest.mark.parametrize("kind", LICENCES)
def test_a_license_is_for_the_first_drm_id(kind: PlaybackKind) -> None:
    url = signed(a_ready_row(SIGNED, DRM), kind=kind)

    assert url.url.startswith(f"{url_of(kind, DRM.id)}?token=")
    assert claims(token_of(url), "d")["sub"] == DRM.id


def test_a_drm_id_is_signed_for_when_it_is_named() -> None:
    assert claims(token_of(signed(a_ready_row(SIGNED, DRM), playback_id=DRM)))["sub"] == DRM.id


# keys


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "white space around it": lambda text: f"\n  {text}\t\n",
    "blanks for line breaks": lambda text: text.replace("\n", " "),
    "indented": lambda text: text.replace("\n", "\n    "),
    "windows": lambda text: text.replace("\n", "\r\n"),
    "base64": in_base64,
    "base64 in lines": lambda text: "\n".join(re.findall(".{1,76}", in_base64(text))) + "\n",
}


@pytest.mark.parametrize(
    "form", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8], ids=["pkcs1", "pkcs8"]
)
@pytest.mark.parametrize("written", FORMS)
def test_a_key_is_read_however_it_was_pasted(written: str, form: PrivateFormat) -> None:
    signer = Signer(KEY_ID, FORMS[written](pem(a_key(), form)))

    assert (
        claims(signer.token("abc", audience=Audience.VIDEO, expires_at=HOUR, now=NOW))["sub"]
        == "abc"
    )


def public_pem() -> str:
    return (
        a_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )


def locked_pem() -> str:
    return (
        a_key()
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
        .decode()
    )


BAD_KEYS: dict[str, tuple[Callable[[], str], str]] = {
    "nothing": (str, "no private key"),
    "text": (lambda: "PLANTED-SECRET", "no private key"),
    "base64 of text": (lambda: in_base64("PLANTED-SECRET"), "no private key"),
    "base64 of bytes": (lambda: base64.b64encode(b"\xff\xfe" * 20).decode(), "no private key"),
    "not even ascii": (lambda: "schlüssel", "no private key"),
    "escaped line breaks": (lambda: pem(a_key()).replace("\n", "\\n"), "with its line breaks"),
    "escaped and quoted": (
        lambda: '"' + pem(a_key()).replace("\n", "\\r\\n") + '"',
        "with its line breaks",
    ),
    "base64 with escaped line breaks": (
        lambda: "\\n".join(re.findall(".{1,76}", in_base64(pem(a_key())))) + "\\n",
        "no private key",
    ),
    "base64 of escaped line breaks": (
        lambda: in_base64(pem(a_key()).replace("\n", "\\n")),
        "with its line breaks",
    ),
    "half": (lambda: pem(a_key())[:600], "no private key"),
    "spoilt": (lambda: pem(a_key()).replace("\nMII", "\nXXX"), "no private key"),
    "public": (public_pem, "no private key"),
    "with a password": (locked_pem, "without a password"),
    "not rsa": (lambda: pem(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
    "too small": (lambda: pem(a_key(1024)), "has 1024 bits"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_a_key_that_cannot_sign_is_refused_and_never_shown(name: str) -> None:
    made, told = BAD_KEYS[name]
    text = made()

    with pytest.raises(ConfigurationError, match=told) as refused:
        Signer(KEY_ID, text)

    assert refused.value.setting == "mux_signing_private_key"
    shown = "".join(traceback.format_exception(refused.value))
    assert [line for line in text.splitlines() if line and line in shown] == []


@pytest.mark.parametrize("key_id", ["", "  ", "a\nb"])
def test_a_key_without_an_id_is_refused(key_id: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Signer(key_id, pem(a_key()))

    assert refused.value.setting == "mux_signing_key_id"


def test_white_space_around_the_key_id_does_not_count() -> None:
    assert Signer(f" {KEY_ID}\n", pem(a_key())).key_id == KEY_ID


def held_by(signer: Signer) -> list[Any]:
    return [thing for thing in gc.get_referents(signer) if not isinstance(thing, type)]


def test_a_signer_holds_one_parsed_key_and_no_text_to_parse_again() -> None:
    signer = Signer(KEY_ID, pem(a_key()))
    before = [thing for thing in held_by(signer) if isinstance(thing, rsa.RSAPrivateKey)]

    for _ in range(2):
        signer.token("abc", audience=Audience.VIDEO, expires_at=HOUR, now=NOW)

    after = [thing for thing in held_by(signer) if isinstance(thing, rsa.RSAPrivateKey)]
    assert len(before) == 1
    assert after[0] is before[0]
    assert [thing for thing in held_by(signer) if isinstance(thing, str)] == [KEY_ID]


def test_a_signer_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        a_signer("frozen").key_id = "another"  # type: ignore[misc]


# secrets


def test_neither_a_signer_nor_a_url_shows_what_it_holds() -> None:
    url = signed()
    shown = f"{a_signer()!r} {a_signer()} {url!r} {url}"

    assert shown.startswith("Signer() Signer() PlaybackUrl(expires_at=")
    assert [
        secret for secret in (KEY_ID, SIGNED.id, token_of(url), "mux.com") if secret in shown
    ] == []


@pytest.mark.parametrize(("reason", "own", "options", "kind"), REFUSED)
def test_a_refusal_shows_no_id_but_the_rows(
    reason: str, own: tuple[PlaybackId, ...], options: dict[str, Any], kind: PlaybackKind
) -> None:
    row = a_ready_row(*own)

    with pytest.raises(NotPlayable) as refused:
        signed(row, kind=kind, **options)

    shown = f"{refused.value} {refused.value!r}"
    ids = [row.provider_asset_id, *(p.id for p in own), "another"]
    assert row.id in shown
    assert [secret for secret in ids if secret and f" {secret} " in shown] == []


def test_a_refused_modifier_does_not_show_its_value() -> None:
    with pytest.raises(ConfigurationError) as refused:
        signed(modifiers={"sub": "planted"}, custom={"x": "planted"})

    assert "planted" not in str(refused.value)


# without the extra


def run(program: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def test_nothing_of_the_extra_is_imported_before_a_key_is_read() -> None:
    program = (
        "import sys, rindle_sync.providers.mux.playback; "
        "print({'jwt', 'cryptography'} & set(sys.modules))"
    )

    assert run(program) == "set()"


@pytest.mark.parametrize("lacking", ["jwt", "cryptography"])
def test_without_the_extra_a_key_is_refused_with_the_extras_name(lacking: str) -> None:
    program = f"""
import sys
sys.modules[{lacking!r}] = None
from rindle_sync.errors import ConfigurationError
from rindle_sync.providers.mux import Signer
try:
    Signer("id", "key")
except ConfigurationError as error:
    print(error)
"""

    assert (
        run(program)
        == "mux_signing_private_key: needs an extra: pip install 'rindle-sync[playback]'"
    )


# Mux's own examples, and our page


@pytest.fixture(scope="session")
def examples() -> dict[str, Any]:
    if not VECTORS.is_file():
        pytest.skip(f"Mux's own examples are missing: there is no {VECTORS}")
    content: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))["jwt"]
    return content


def test_muxs_tokens_hold_what_is_said_of_them(examples: dict[str, Any]) -> None:
    assert examples["vectors"]
    for example in examples["vectors"]:
        aud = example["claims"]["aud"]
        assert claims(example["token"], aud, examples["public_key_pem"]) == example["claims"]
        assert jwt.get_unverified_header(example["token"]) == example["header"]


def test_our_tokens_say_what_muxs_say_with_the_key_id_in_both_places(
    examples: dict[str, Any],
) -> None:
    signer = Signer(examples["key_id"], pem(a_key()))
    kid = {"kid": examples["key_id"]}
    for example in examples["vectors"]:
        given = dict(example["claims"])
        subject, audience, expiry = (given.pop(name) for name in ("sub", "aud", "exp"))
        custom, _ = given.pop("custom", None), given.pop("kid", None)
        expires_at = datetime.fromtimestamp(expiry, UTC)

        token = signer.token(
            subject,
            audience=Audience(audience),
            expires_at=expires_at,
            now=expires_at - timedelta(hours=1),
            modifiers=given,
            custom=custom,
        )

        assert claims(token, audience) == example["claims"] | kid
        assert jwt.get_unverified_header(token) == example["header"] | kid


def test_every_type_of_mux_has_an_audience(examples: dict[str, Any]) -> None:
    assert set(examples["audience_by_type"].values()) == {audience.value for audience in Audience}


def test_every_address_of_mux_is_ours(examples: dict[str, Any]) -> None:
    patterns = []
    for name, url in examples["urls"].items():
        if name != "stats":
            plain = re.escape(url.partition("?")[0].replace("{playback_id}", "abc"))
            patterns.append(
                re.sub(r"\\{(.*?)\\}", lambda found: f"({found[1]})".replace("\\|", "|"), plain)
            )

    untracked = [
        kind
        for kind in (*OTHERS, *LICENCES)
        if not any(re.fullmatch(pattern, url_of(kind, "abc")) for pattern in patterns)
    ]
    assert untracked == []


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (
        (ROOT / "docs" / "playback.md")
        .read_text(encoding="utf-8")
        .partition("## Without the service")[2]
    )
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)

    exec(compile("\n".join(blocks), "docs/playback.md", "exec"), {})

    assert capsys.readouterr().out.splitlines() == [
        "https://stream.mux.com/a-signed-id.m3u8?token=…",
        "https://image.mux.com/a-public-id/thumbnail.webp?time=12.5&width=640",
        "no_drm_id",
    ]


REASONS = (
    *("no_captions", "no_drm_id", "no_playback_id", "no_public_id", "no_rendition"),
    *("no_signed_id", "not_ready", "foreign_id", "other_provider", "unknown_policy"),
)


@pytest.mark.parametrize("word", [*PlaybackKind, *Audience, *REASONS])
def test_every_word_is_on_the_page(word: str) -> None:
    assert f"`{word}`" in (ROOT / "docs" / "playback.md").read_text(encoding="utf-8")
