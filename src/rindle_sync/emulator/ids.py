"""Ids that look like Mux's, all derived from one seed."""

from base64 import b64encode
from functools import lru_cache
from hashlib import blake2b
from random import Random
from string import ascii_lowercase, digits
from typing import Final
from uuid import UUID

_ID_BYTES: Final = 33
_CACHED_IDS: Final = 2**18
"""Derived ids to cache, so that listing an asset again computes no hashes; about 300 bytes each."""


class Ids:
    """A sequence of ids that depends only on the seed."""

    def __init__(self, seed: int) -> None:
        self._objects = Random(f"{seed}:objects")
        self._requests = Random(f"{seed}:requests")

    def new(self) -> str:
        """The next id: 44 or more letters and digits."""
        return _as_text(self._objects.randbytes(_ID_BYTES))

    def request(self) -> str:
        """The next `x-request-id`."""
        return str(UUID(int=self._requests.getrandbits(128), version=4))


@lru_cache(_CACHED_IDS)
def derive(*parts: str) -> str:
    """The same id for the same parts."""
    return _as_text(blake2b("\0".join(parts).encode(), digest_size=_ID_BYTES).digest())


def derive_uuid(*parts: object) -> str:
    """The same UUID for the same parts."""
    digest = blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest()
    return str(UUID(bytes=digest, version=4))


def derive_text(*parts: object, length: int) -> str:
    """The same small letters and digits for the same parts."""
    chance = Random(":".join(map(str, parts)))
    return "".join(chance.choices(ascii_lowercase + digits, k=length))


def _as_text(raw: bytes) -> str:
    return b64encode(raw).decode().replace("0", "00").replace("+", "01").replace("/", "02")
