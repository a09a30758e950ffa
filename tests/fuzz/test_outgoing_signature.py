"""Our signer against the specification's own library, and its vectors."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from rindle_sync.domain import secret_fault, signing_key
from rindle_sync.runtime.outgoing.signature import new_secret, signed_headers
from tests.support.fuzz import fuzz

# of the library's own tests, and of its JavaScript, Ruby, Go and PHP siblings
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_TIME = datetime.fromtimestamp(1614265330, UTC)
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

_keys = st.binary(min_size=24, max_size=64)
_secrets = _keys.map(lambda key: "whsec_" + base64.b64encode(key).decode())
_ids = st.builds("msg_{:032x}_{}".format, st.integers(0, 2**128 - 1), st.integers(1, 2**63))
_texts = st.text(st.characters(codec="utf-8"))
_bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=8,
)


def test_the_vector_of_the_specification_is_signed_as_it_is_there() -> None:
    headers = signed_headers(VECTOR_ID, VECTOR_BODY, [VECTOR_SECRET], VECTOR_TIME)

    assert headers == {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": VECTOR_SIGNATURE,
    }


@fuzz(300)
@given(
    message_id=_ids,
    content=_bodies,
    secrets=st.lists(_secrets, min_size=1, max_size=3, unique=True),
    stranger=_secrets,
    off=st.floats(-290, 290),
)
def test_whoever_has_one_of_the_secrets_verifies_it_and_nobody_else(
    message_id: str, content: object, secrets: list[str], stranger: str, off: float
) -> None:
    body = json.dumps(content, ensure_ascii=False).encode()
    sent_at = datetime.now(UTC) + timedelta(seconds=off)

    headers = signed_headers(message_id, body, secrets, sent_at)

    for secret in secrets:
        assert Webhook(secret).verify(body, headers) == content
        signature = Webhook(secret).sign(message_id, sent_at, body.decode())
        assert signature in headers["webhook-signature"].split(" ")
    if stranger not in secrets:
        with pytest.raises(WebhookVerificationError):
            Webhook(stranger).verify(body, headers)


@fuzz(200)
@given(secret=_secrets, content=_bodies, at=st.data())
def test_a_body_that_was_touched_is_not_verified(
    secret: str, content: object, at: st.DataObject
) -> None:
    body = json.dumps(content).encode()
    headers = signed_headers("msg_1_1", body, [secret], datetime.now(UTC))
    place = at.draw(st.integers(0, len(body) - 1))
    touched = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]

    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(touched, headers)


@fuzz(200)
@given(text=st.text(max_size=120) | _secrets | _secrets.map(lambda secret: secret[:-1]))
def test_a_secret_is_refused_or_signs_as_the_library_signs(text: str) -> None:
    if fault := secret_fault(text):
        assert fault.startswith("must be whsec_")
        assert len(text) < 20 or text not in fault
        with pytest.raises(ValueError, match="must be whsec_"):
            signing_key(text)
        return
    headers = signed_headers("msg_1_1", b"{}", [text], VECTOR_TIME)
    assert headers["webhook-signature"] == Webhook(text).sign("msg_1_1", VECTOR_TIME, "{}")


def test_new_secrets_can_sign_and_differ() -> None:
    made = {new_secret() for _ in range(100)}

    assert len(made) == 100
    assert {len(signing_key(secret)) for secret in made} == {32}


@pytest.mark.parametrize(
    ("secret", "fault"),
    [
        ("", "begins otherwise"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins otherwise"),
        ("whsec_", "it has 0"),
        ("whsec_" + base64.b64encode(b"k" * 23).decode(), "it has 23"),
        ("whsec_" + base64.b64encode(b"k" * 65).decode(), "it has 65"),
        ("whsec_not base64", "no base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwé", "no base64"),
    ],
)
def test_what_no_secret_is_is_said(secret: str, fault: str) -> None:
    assert fault in (secret_fault(secret) or "")
