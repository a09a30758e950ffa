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

from msgspec import Struct

from rindle_sync.errors import ConfigurationError

_FILE: Final = "SSL_CERT_FILE"
_FOLDER: Final = "SSL_CERT_DIR"
_KEY_LOG: Final = "SSLKEYLOGFILE"
_PORTS: Final = {"http": 80, "https": 443}
SOCKS: Final = ("socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP or SOCKS proxy, and the variable that names it."""

    variable: str
    url: str = field(repr=False)
    """May hold a password."""

    @property
    def scheme(self) -> str:
        """How the proxy itself is reached."""
        return self.url.partition(":")[0].lower()


class Route(Struct, frozen=True):
    """How a URL is reached: through a proxy or not, by TLS or not."""

    proxy: Proxy | None
    uses_tls: bool

    def trusted(self) -> ssl.SSLContext | None:
        """Whose certificates are believed on the way; None where none is shown."""
        return trusted_certificates() if self.uses_tls else None


def trusted_certificates() -> ssl.SSLContext:
    """Whose certificates are believed; raises `ConfigurationError` for a variable that is wrong."""
    return _trusted(os.environ.get(_FILE), os.environ.get(_FOLDER))


def route_to(url: str) -> Route:
    """The route to `url`; raises `ConfigurationError` for a variable that is wrong."""
    proxy = proxy_for(url)
    if proxy:
        _check(proxy)
    route = Route(proxy, url.startswith("https:") or bool(proxy and proxy.scheme == "https"))
    if any(os.environ.get(name) for name in (_FILE, _FOLDER, _KEY_LOG)):
        route.trusted()  # told at the start; the other certificates are read at the first call
    return route


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


def _check(proxy: Proxy) -> None:
    is_address = False
    with suppress(ValueError):  # its text would show the address and its password
        address = urlsplit(proxy.url)
        is_address = bool(address.hostname) and address.port != 0
    if not is_address or proxy.scheme not in {*_PORTS, *SOCKS}:
        raise ConfigurationError(
            proxy.variable,
            "is no address of a proxy; write http://host:port, "
            f"or {SOCKS[0]}://host:port with the extra socks installed; "
            "a user and password before the host need percent-encoding",
        )


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
        if file or folder:
            return ssl.create_default_context(cafile=file, capath=None if file else folder)
        import certifi

        # not those of the system: many containers have none
        return ssl.create_default_context(cafile=certifi.where())
    except OSError as error:  # one that may not be read, or holds no certificate
        key_log = os.environ.get(_KEY_LOG)
        if key_log and error.filename == key_log:
            text = "names a file that cannot be written: correct or unset it"
            raise ConfigurationError(_KEY_LOG, text) from None
        text = "names a file that cannot be read as certificates in PEM: correct or unset it"
        raise ConfigurationError(_FILE, text) from None
