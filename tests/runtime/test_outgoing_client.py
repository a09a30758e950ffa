"""Which addresses outgoing webhooks are sent to, and whose certificates are believed."""

import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rindle_sync.domain import OutgoingEndpoint, newest_first
from rindle_sync.runtime.outgoing.addresses import is_public
from rindle_sync.runtime.outgoing.client import OutgoingClient
from rindle_sync.runtime.outgoing.signature import new_secret
from tests.providers.test_network import certificate  # noqa: F401  a fixture
from tests.support.app_endpoint import an_endpoint
from tests.support.fuzz import fuzz
from tests.support.rows import NOW

REFUSED = (
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2001::1",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "100::1",
    "not an address",
)
ALLOWED = ("1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::1")


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_what_is_public_is_allowed(address: str) -> None:
    assert is_public(address)


@fuzz(300)
@given(inner=st.ip_addresses(v=4))
def test_no_address_of_version_4_gets_through_in_the_clothes_of_version_6(inner: object) -> None:
    packed = f"{int(inner):08x}"  # type: ignore[call-overload]
    halves = f"{packed[:4]}:{packed[4:]}"
    assert is_public(f"::ffff:{halves}") <= is_public(str(inner))
    for dressed in (f"64:ff9b::{halves}", f"2002:{halves}::1", f"::{halves}"):
        assert not is_public(dressed)


def endpoint_at(url: str, *, allow_private: bool = True) -> OutgoingEndpoint:
    return OutgoingEndpoint(
        id="1",
        name="app",
        url=url,
        secrets=newest_first([new_secret()]),
        allow_private=allow_private,
        created_at=NOW,
    )


async def reason_of(endpoint: OutgoingEndpoint) -> str | None:
    client = OutgoingClient()
    answer = await client.send(endpoint, b"{}", {}, NOW)
    await client.close()
    return answer.attempt.text


async def test_a_certificate_that_nobody_trusts_is_refused(
    certificate: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with an_endpoint(tls=context) as app:
        endpoint = endpoint_at(app.url)
        assert await reason_of(endpoint) == "its certificate is not trusted"
        assert app.received == []

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await reason_of(endpoint) is None
    assert len(app.received) == 1


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with an_endpoint() as proxy, an_endpoint() as app:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert await reason_of(endpoint_at(app.url)) is None

    assert len(app.received) == 1
    assert proxy.received == []


async def test_a_connection_for_who_may_is_not_used_for_who_may_not() -> None:
    async with an_endpoint() as app:
        client = OutgoingClient()
        first = await client.send(endpoint_at(app.url), b"{}", {}, NOW)
        closed = endpoint_at(app.url, allow_private=False)
        second = await client.send(closed, b"{}", {}, NOW)
        await client.close()

    assert first.attempt.status == 204
    assert "allow_private" in (second.attempt.reason or "")
    assert len(app.received) == 1
