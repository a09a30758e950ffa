"""The way out of this process: proxies and trusted certificates, by the usual variables.

They are no settings of rindle-sync: each HTTP client of the process knows them by these names.
"""

import os
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import httpx

from rindle_sync.errors import ConfigurationError
from rindle_sync.telemetry import keep_from_debug

_FILE: Final = "SSL_CERT_FILE"
_FOLDER: Final = "SSL_CERT_DIR"
_KEY_LOG: Final = "SSLKEYLOGFILE"
_PORTS: Final = {"http": 80, "https": 443}
_SOCKS: Final = ("socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP or SOCKS proxy, and the variable that names it."""

    variable: str
    url: str = field(repr=False)
    """May hold a password."""


def open_transport(url: str, *, connections: int = 1) -> httpx.AsyncHTTPTransport:
    """The network as it leads to `url`; raises `ConfigurationError` for a wrong variable."""
    # at DEBUG they log the headers of answers, and the user and password of a proxy
    keep_from_debug("httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
    trusted = _trusted(os.environ.get(_FILE), os.environ.get(_FOLDER))
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    proxy = proxy_for(url)
    if proxy is None:
        return httpx.AsyncHTTPTransport(limits=limits, verify=trusted)
    try:
        # only a proxy that is reached by TLS may have a context
        of_proxy = trusted if proxy.url.startswith("https:") else None
        address = urlsplit(proxy.url)
        if not address.hostname or address.port == 0:  # asking for a port raises for a wrong one
            raise ValueError("no host")  # noqa: TRY301  told below, as all that is no address
        through = httpx.Proxy(proxy.url, ssl_context=of_proxy)
        return httpx.AsyncHTTPTransport(limits=limits, verify=trusted, proxy=through)
    except ImportError:
        text = "names a SOCKS proxy, which needs a package; pip install 'httpx[socks]'"
        raise ConfigurationError(proxy.variable, text) from None
    except (ValueError, httpx.InvalidURL):  # its text would show the address and its password
        text = (
            "is no address of a proxy; write http://host:port, "
            f"or {_SOCKS[0]}://host:port with 'httpx[socks]' installed; "
            "a user and password before the host need percent-encoding"
        )
        raise ConfigurationError(proxy.variable, text) from None


def proxy_for(url: str) -> Proxy | None:
    """The proxy that leads to `url`; None where it is reached directly, as this machine is."""
    try:
        parts, proxies = urlsplit(url), getproxies_environment()
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # no address: the call says so
        return None
    for name in (parts.scheme, "all"):
        address = proxies.get(name, "").strip()
        if address and not _is_direct(host, port, proxies.get("no", "")):
            is_url = "://" in address
            return Proxy(f"{name}_proxy".upper(), address if is_url else f"http://{address}")
    return None


def _is_direct(host: str, port: int | None, no_proxy: str) -> bool:
    names = [name.strip().lower() for name in no_proxy.split(",")]
    address = None
    with suppress(ValueError):
        address = ip_address(host)
    # as Go has it: no proxy leads back to this machine
    if "*" in names or host == "localhost" or (address and address.is_loopback):
        return True
    if address:
        return any(_holds(name, address) for name in names)
    for domain in filter(None, (name.lstrip("*.") for name in names)):
        if f".{host}".endswith(f".{domain}") or domain == f"{host}:{port}":
            return True
    return False


def _holds(network: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:  # the name of a host
        return False


@cache
def _trusted(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Whose certificates are believed: read once for all environments of a process."""
    if file and not os.path.isfile(file):  # noqa: PTH113  a name too long raises nothing here
        raise ConfigurationError(_FILE, "names a file that is not there: correct or unset it")
    if folder and not file and not any(map(os.path.isdir, folder.split(os.pathsep))):
        raise ConfigurationError(_FOLDER, "names a folder that is not there: correct or unset it")
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # one that may not be read, or holds no certificate
        key_log = os.environ.get(_KEY_LOG)
        if key_log and error.filename == key_log:
            text = "names a file that cannot be written: correct or unset it"
            raise ConfigurationError(_KEY_LOG, text) from None
        text = "names a file that cannot be read as certificates in PEM: correct or unset it"
        raise ConfigurationError(_FILE, text) from None
