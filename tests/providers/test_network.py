"""The way to the provider: proxies and trusted certificates, as the usual variables name them."""

import asyncio
import base64
import datetime
import ipaddress
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rindle_sync.emulator.emulator import MuxEmulator
from rindle_sync.errors import ConfigurationError, ProviderUnavailable
from rindle_sync.providers import knock
from rindle_sync.providers.base import Delivery
from rindle_sync.providers.http import open_client
from rindle_sync.providers.mux import Credentials, Mux
from rindle_sync.providers.network import proxy_for
from tests.support.processes import serving
from tests.support.rows import NOW

PASSWORD = "a-Pr0xy-Passw0rd"
FAR = "mux.example"
"""A name that only the proxy knows: what gets there has gone through it."""
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@dataclass
class ForwardProxy:
    """A proxy for HTTP and CONNECT that leads every name to one port of this machine."""

    target: int
    password: str = ""
    heads: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        wanted = base64.b64encode(f"user:{self.password}".encode()).decode()
        if self.password and f"Basic {wanted}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            await _closed(writer)
        else:
            await self._forward(head, reader, writer)

    async def _forward(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        if head.startswith("CONNECT "):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            method, url, rest = head.split(" ", 2)
            back.write(f"{method} {httpx.URL(url).raw_path.decode()} {rest}".encode())
        await asyncio.gather(_copied(reader, back), _copied(there, writer))


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(65_536):
        writer.write(some)
    await _closed(writer)


@asynccontextmanager
async def a_proxy(target: int, password: str = "") -> AsyncIterator[tuple[ForwardProxy, int]]:
    proxy = ForwardProxy(target, password)
    async with a_server(proxy.handle) as port:
        yield proxy, port


@asynccontextmanager
async def a_server(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server at a free port, whose connections have all ended at the end."""
    connections: set[asyncio.Future[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.ensure_future(handle(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*connections)


@pytest.fixture
def emulator() -> MuxEmulator:
    return MuxEmulator()


@asynccontextmanager
async def reachable(emulator: MuxEmulator) -> AsyncIterator[int]:
    """The emulator at a port of this machine."""
    with serving(emulator) as far_end:
        yield urlsplit(far_end.url).port or 0


def mux_at(emulator: MuxEmulator, base_url: str) -> Mux:
    credentials = Credentials(emulator.token_id, emulator.token_secret)
    return Mux(credentials, base_url=base_url)


# through a proxy


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_calls_go_through_the_proxy_that_a_variable_names(
    emulator: MuxEmulator, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    asset_id = emulator.create_asset()
    async with reachable(emulator) as port, a_proxy(port, PASSWORD) as (proxy, at):
        monkeypatch.setenv(variable, f"http://user:{PASSWORD}@127.0.0.1:{at}")
        mux = mux_at(emulator, f"http://{FAR}")
        seen = await mux.get_asset(asset_id, NOW)
        await mux.close()

    assert seen.provider_asset_id == asset_id
    assert proxy.heads[0].startswith(f"GET http://{FAR}/")


async def test_a_host_that_no_proxy_names_is_reached_without_one(
    emulator: MuxEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset_id = emulator.create_asset()
    async with reachable(emulator) as port, a_proxy(port) as (proxy, at):
        monkeypatch.setenv("ALL_PROXY", f"http://proxy.example:{at}")
        mux = mux_at(emulator, f"http://127.0.0.1:{port}")
        await mux.get_asset(asset_id, NOW)
        await mux.close()

    assert proxy.heads == []


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_direct"),
    [
        ("", "https://api.mux.com", False),
        ("*", "https://api.mux.com", True),
        ("mux.com", "https://api.mux.com", True),
        (".mux.com", "https://api.mux.com", True),
        ("*.mux.com", "https://api.mux.com", True),
        ("other.com, API.mux.com", "https://api.mux.com", True),
        ("api.mux.com:8443", "https://api.mux.com:8443", True),
        ("api.mux.com:8443", "https://api.mux.com", False),
        ("api.mux.com:443", "https://api.mux.com", True),
        ("api.mux.com:80", "https://api.mux.com", False),
        ("ux.com", "https://api.mux.com", False),
        ("10.0.0.0/8", "http://10.1.2.3:8010", True),
        ("10.0.0.0/8,mux.com", "http://11.1.2.3:8010", False),
        ("10.1.2.3", "http://10.1.2.3:8010", True),
        ("", "http://localhost:8010", True),
        ("", "http://127.0.0.1:8010", True),
        ("", "http://[::1]:8010", True),
    ],
)
def test_no_proxy_names_hosts_domains_ports_and_networks_and_this_machine_needs_none(
    *, monkeypatch: pytest.MonkeyPatch, no_proxy: str, url: str, is_direct: bool
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)

    assert (proxy_for(url) is None) is is_direct


def test_the_proxy_of_a_scheme_wins_over_that_of_all_and_may_lack_its_own_scheme(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.example:3128")
    monkeypatch.setenv("HTTPS_PROXY", " https.example:3128\n")

    proxy = proxy_for("https://api.mux.com")

    assert proxy
    assert (proxy.variable, proxy.url) == ("HTTPS_PROXY", "http://https.example:3128")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_its_password_is_named_and_the_password_is_shown_nowhere(
    emulator: MuxEmulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with a_proxy(1, "another") as (_, at):
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{at}")
        mux = mux_at(emulator, f"{scheme}://{FAR}")
        with pytest.raises(ProviderUnavailable) as failed:
            await mux.whoami()
        await mux.close()

    assert "proxy" in str(failed.value)
    assert "407" in str(failed.value)
    assert f"{scheme.upper()}_PROXY" in str(failed.value) or scheme == "http"
    shown = caplog.text + str(failed.value) + repr(proxy_for(f"{scheme}://{FAR}"))
    encoded = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    assert PASSWORD not in shown
    assert encoded not in shown


async def test_a_proxy_that_is_not_there_is_named(
    emulator: MuxEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:1")
    mux = mux_at(emulator, f"https://{FAR}")

    with pytest.raises(ProviderUnavailable, match="through the proxy that HTTPS_PROXY names"):
        await mux.whoami()
    await mux.close()


@pytest.mark.parametrize(
    "address",
    [
        f"ftp://user:{PASSWORD}@proxy:1",
        f"http://user:{PASSWORD}@proxy:none",
        f"http://user:{PASSWORD}@proxy:99999",
        f"http://user:{PASSWORD}@proxy:0",
        "http://",
        "://x",
    ],
)
def test_a_proxy_that_is_none_is_a_configuration_error_without_its_password(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)

    with pytest.raises(ConfigurationError, match="no address of a proxy") as refused:
        open_client(f"https://{FAR}", 1)

    assert refused.value.setting == "HTTPS_PROXY"
    assert PASSWORD not in str(refused.value)


def test_a_socks_proxy_without_its_package_says_which_one_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    monkeypatch.setenv("ALL_PROXY", f"socks5://user:{PASSWORD}@proxy:1080")

    with pytest.raises(ConfigurationError, match=r"rindle-sync\[socks\]") as refused:
        open_client(f"https://{FAR}", 1)

    assert refused.value.setting == "ALL_PROXY"
    assert PASSWORD not in str(refused.value)


@dataclass
class SocksProxy:
    """A SOCKS5 proxy (RFC 1928, 1929) that leads every name to one port of this machine."""

    target: int
    seen: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        await self._text(reader, before=1)  # the ways to say who one is
        writer.write(b"\x05\x02")
        user, password = await self._text(reader, before=1), await self._text(reader)
        writer.write(b"\x01\x00")
        name, port = await self._text(reader, before=4), await reader.readexactly(2)
        self.seen.append(f"{user}:{password}@{name}:{int.from_bytes(port)}")
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(_copied(reader, back), _copied(there, writer))

    async def _text(self, reader: asyncio.StreamReader, before: int = 0) -> str:
        await reader.readexactly(before)
        [length] = await reader.readexactly(1)
        return (await reader.readexactly(length)).decode()


async def test_calls_go_through_a_socks_proxy_which_finds_the_host_by_its_name(
    emulator: MuxEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset_id = emulator.create_asset()
    async with reachable(emulator) as port:
        proxy = SocksProxy(port)
        async with a_server(proxy.handle) as at:
            monkeypatch.setenv("ALL_PROXY", f"socks5h://user:{PASSWORD}@127.0.0.1:{at}")
            mux = mux_at(emulator, f"http://{FAR}")
            seen = await mux.get_asset(asset_id, NOW)
            await mux.close()

    assert seen.provider_asset_id == asset_id
    assert proxy.seen == [f"user:{PASSWORD}@{FAR}:80"]


async def test_the_probe_of_an_endpoint_goes_through_the_proxy_too(
    monkeypatch: pytest.MonkeyPatch, emulator: MuxEmulator
) -> None:
    async with reachable(emulator) as port, a_proxy(port) as (proxy, at):
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{at}")
        answer = await knock(f"http://{FAR}/webhooks/mux", Delivery({}, b"{}"))

    assert answer.status == 401
    assert proxy.heads[0].startswith(f"POST http://{FAR}/webhooks/mux ")


# by TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `FAR` that signs itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, FAR)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(FAR), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    plain = serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@asynccontextmanager
async def whoami_by_tls(certificate: Path) -> AsyncIterator[int]:
    """A server that answers as Mux does to one call, by TLS; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    body = b'{"data": {"environment_id": "env-1"}}'
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await _closed(writer)

    async with a_server(handle, context) as port:
        yield port


async def test_a_call_by_tls_goes_through_connect_and_the_proxy_sees_nothing_of_it(
    emulator: MuxEmulator, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with whoami_by_tls(certificate) as port, a_proxy(port, PASSWORD) as (proxy, at):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{at}")
        mux = mux_at(emulator, f"https://{FAR}")
        environment = await mux.whoami()
        await mux.close()

    assert environment == "env-1"
    [head] = proxy.heads
    assert head.startswith(f"CONNECT {FAR}:443 ")
    assert "whoami" not in head


async def test_a_certificate_that_is_not_trusted_is_named_with_the_way_to_trust_it(
    emulator: MuxEmulator, certificate: Path
) -> None:
    async with whoami_by_tls(certificate) as port:
        mux = mux_at(emulator, f"https://127.0.0.1:{port}")
        with pytest.raises(ProviderUnavailable, match="not trusted; SSL_CERT_FILE"):
            await mux.whoami()
        await mux.close()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("name", ["missing", "too-long" * 1000])
def test_certificates_that_are_not_there_are_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, name: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / name))

    with pytest.raises(ConfigurationError, match="not there") as refused:
        open_client(f"https://{FAR}", 1)

    assert refused.value.setting == variable


def test_a_file_without_certificates_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))

    with pytest.raises(ConfigurationError, match="certificates in PEM"):
        open_client(f"https://{FAR}", 1)


def test_a_log_of_keys_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: Path
) -> None:
    """The library opens it together with the certificates."""
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(certificate.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys"))

    with pytest.raises(ConfigurationError, match="cannot be written") as refused:
        open_client(f"https://{FAR}", 1)

    assert refused.value.setting == "SSLKEYLOGFILE"
