"""Where a provider may live: its URL, checked once, and each address that its name resolves to."""

import ipaddress
import socket

import httpx
from aiohttp import ThreadedResolver
from aiohttp.abc import ResolveResult

from droveway.runtime.errors import SettingsError


def checked_base_url(base_url: str, *, allow_http: bool) -> httpx.URL:
    """Parse a provider's base URL, without a slash at the end of its path.

    Plain http is for loopback; elsewhere the operator must say so. Addresses that only metadata
    services and mistakes have (link-local, multicast, unspecified) are refused in any case.

    Raises:
        SettingsError: The URL is not one that we may call; says what would be right.
    """
    try:
        url = httpx.URL(base_url)
        _ = url.host  # decodes it
    except (httpx.InvalidURL, UnicodeError) as error:
        raise SettingsError(f"base_url can't be parsed: {error}") from None
    if url.scheme not in ("https", "http") or not url.host:
        raise SettingsError("base_url must be https://host[:port][/path]")
    if url.userinfo or url.query or url.fragment:
        raise SettingsError("base_url must not hold a user, a query or a fragment")
    if is_forbidden(url.host):
        raise SettingsError(f"base_url's address {url.host} is not one of a provider")
    address = _address(url.host)
    loopback = address.is_loopback if address else url.host == "localhost"
    if url.scheme == "http" and not (loopback or allow_http):
        raise SettingsError(
            f"base_url of {url.host} is plain http: use https, or set allow_http: true where the "
            "network in between is trusted"
        )
    return url.copy_with(raw_path=url.raw_path.rstrip(b"/"))


def is_forbidden(host: str) -> bool:
    """Whether a host is a literal address that only metadata services and mistakes have."""
    address = _address(host)
    return address is not None and _forbidden(address)


class CheckedResolver(ThreadedResolver):
    """Resolves names as the system does, and never to an address that no provider has.

    The connection is made to the addresses checked here: a second, different answer of the name
    server comes too late.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: There is none, or one of them is not that of a provider.
        """
        found = await super().resolve(host, port, family)
        for result in found:
            address = _address(result["host"])
            if address is None or _forbidden(address):
                raise OSError(f"{host} resolves to an address that no provider has")
        return found


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _forbidden(address: Address) -> bool:
    """Whether only metadata services and mistakes have the address; private ones are allowed."""
    return address.is_link_local or address.is_multicast or address.is_unspecified


def _address(host: str) -> Address | None:
    """The literal address in a URL; an IPv4 one in IPv6 clothes is the IPv4 one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
