"""Which addresses an outgoing webhook may be sent to: those of the public internet. Pure.

https://www.iana.org/assignments/iana-ipv4-special-registry and its sibling for IPv6 say which are.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

REFUSED: Final = "its host has an address that is not public; allow_private allows it"

_REFUSED_NETWORKS: Final = tuple(
    ip_network(network)
    for network in (
        # what `is_global` of some versions of Python lets through
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
        # what stands for an address of version 4: its translator would lead there
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "::ffff:0:0/96",
        "::/96",
    )
)


def is_public(text: str) -> bool:
    """Whether a numeric address is one of the public internet; False for what is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return _is_global(address) and not any(address in network for network in _REFUSED_NETWORKS)


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not (special or address.is_link_local or address.is_loopback)
