"""IP addresses and networks: what they are, and whether one lies in others."""

import functools
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAX_CHARACTERS = 64
_MAPPED = IPv6Network("::ffff:0:0/96")


def parse_network(text: str) -> Network:
    """`10.0.0.0/8`, `2001:db8::/32`, or one address.

    Raises:
        ValueError: It is neither; the message says what would be right.
    """
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError(
            f"{text[:_MAX_CHARACTERS]!r} is no IP address or network; write for example "
            "192.0.2.7 or 10.0.0.0/8, without bits behind the prefix"
        ) from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise ValueError(
            f"{text[:_MAX_CHARACTERS]!r} is an IPv4 network as IPv6 and would hold no address; "
            "write it as IPv4"
        )
    return network


def parse_address(text: str) -> Address | None:
    """The address, an IPv4 one that came over an IPv6 socket as IPv4; None if it is none.

    The zone of a link-local one says which of our interfaces it came by, not whose it is.
    """
    if not 2 <= len(text) <= _MAX_CHARACTERS:
        return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def site_of(text: str) -> str:
    """What is counted as one sender: an IPv4 address, or 64 bits of IPv6, which one host has.

    What is no address is counted as it is.
    """
    address = parse_address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return text if address is None else str(address)


class Networks:
    """A few networks; `text in networks` tells whether the address lies in one of them.

    Raises:
        ValueError: From the constructor: one of them is no network.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._networks = tuple(map(parse_network, texts))
        self._holds = functools.lru_cache(1_024)(self._find)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        return self._holds(address)

    def _find(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(address in network for network in self._networks)
