"""Signs outgoing webhooks as the Standard Webhooks specification has it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rindle_sync.domain import SECRET_PREFIX, signing_key

_NEW_KEY: Final = 32
"""Bytes."""


def new_secret() -> str:
    """A secret for an endpoint: `whsec_` and the base64 of 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_NEW_KEY)).decode()


def signed_headers(
    message_id: str, body: bytes, signing_secrets: Sequence[str], now: datetime
) -> dict[str, str]:
    """The headers of one attempt to send `body`: its id, the time, and a signature by each secret.

    Raises `ValueError` for a secret that cannot sign, and where there is none.
    """
    if not signing_secrets:
        raise ValueError("no secret signs")
    timestamp = int(now.timestamp())
    content = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(content, secret) for secret in signing_secrets),
    }


def _signature(content: bytes, secret: str) -> str:
    signed = hmac.digest(signing_key(secret), content, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"
