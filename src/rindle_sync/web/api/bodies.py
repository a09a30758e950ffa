"""Reads the body of a request, within bounds, and checks that it is JSON."""

import asyncio
import json
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

from rindle_sync.web.api.problems import Declined
from rindle_sync.webhooks import Receive

LARGEST_BODY: Final = 256 * 1024
"""Bytes."""

READ_WITHIN: Final = 10.0
"""Seconds in which a whole body must arrive."""

DEEPEST: Final = 32
"""How many lists and objects of a body may stand in each other."""


async def read_body(method: str, headers: Mapping[str, str], receive: Receive) -> bytes:
    """The body of a request, which is plain JSON, or empty. Raises `Declined`."""
    try:
        async with asyncio.timeout(READ_WITHIN):
            body = await _read(receive)
    except TimeoutError:
        text = f"the body did not arrive within {READ_WITHIN:g} s"
        raise Declined(408, text, headers={"connection": "close"}) from None
    if body and method in {"POST", "PUT", "PATCH"}:
        _check_type(headers)
        _check_json(body)
    return body


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Declined(400, "the connection ended before the body")
        body += message.get("body", b"")
        # counted as it comes: a request need not tell its length
        if len(body) > LARGEST_BODY:
            text = f"the body may have up to {LARGEST_BODY} bytes"
            raise Declined(413, text, headers={"connection": "close"})
        if not message.get("more_body", False):
            return bytes(body)


def replayed(body: bytes, receive: Receive) -> Receive:
    """What gives the body again that was read, and then what comes after it."""
    is_given = False

    async def receiving() -> MutableMapping[str, Any]:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


def _check_type(headers: Mapping[str, str]) -> None:
    kind, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != "application/json" or charset not in {"", "utf-8"}:
        raise Declined(415, "send the body as `content-type: application/json`, in UTF-8")


def _check_json(body: bytes) -> None:
    try:
        value = json.loads(body.decode(), parse_constant=_refuse)
    except UnicodeDecodeError:
        raise Declined(400, "the body is not in UTF-8") from None
    except RecursionError:
        raise Declined(400, _TOO_DEEP) from None
    except json.JSONDecodeError as error:
        text = f"the body is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        raise Declined(400, text) from None
    except ValueError:  # of Python itself, about a number that is far too long
        raise Declined(400, "the body has a number with too many digits") from None
    _check_depth(value)


_TOO_DEEP: Final = f"the body has more than {DEEPEST} lists and objects within each other"


def _check_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for known in level:
            inner += _parts(known)
        if not inner:
            return
        level = inner
    raise Declined(400, _TOO_DEEP)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse(constant: str) -> Any:
    raise Declined(400, f"the body is not JSON: {constant} is no number of JSON")
