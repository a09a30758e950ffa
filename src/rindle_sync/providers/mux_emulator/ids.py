"""Ids that look like Mux's, all drawn from one seed."""

from base64 import b64encode
from functools import lru_cache
from hashlib import blake2b
from random import Random
from typing import Final
from uuid import UUID

_ID_BYTES: Final = 33
_REMEMBERED: Final = 2**18
"""How many derived ids are kept, so that to list an asset again costs no hashes; some 300 bytes each."""


class Ids:
    """A stream of ids that depends on nothing but the seed."""

    def __init__(self, seed: int) -> None:
        self._objects = Random(f"{seed}:objects")
        self._requests = Random(f"{seed}:requests")

    def new(self) -> str:
        """The next id: 44 or more letters and digits."""
        return _as_text(self._objects.randbytes(_ID_BYTES))

    def request(self) -> str:
        """The next `x-request-id`."""
        return str(UUID(int=self._requests.getrandbits(128), version=4))


@lru_cache(_REMEMBERED)
def derive(*parts: str) -> str:
    """The id that always belongs to `parts`."""
    return _as_text(blake2b("\0".join(parts).encode(), digest_size=_ID_BYTES).digest())


def derive_uuid(*parts: object) -> str:
    """The UUID that always belongs to `parts`."""
    return str(UUID(bytes=blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest(), version=4))


def _as_text(raw: bytes) -> str:
    return b64encode(raw).decode().replace("0", "00").replace("+", "01").replace("/", "02")
