"""Whose request it is when proxies stand before the gateway: by default nobody is believed."""

from droveway.runtime.addresses import Networks, parse_address
from droveway.runtime.errors import SettingsError

RawHeaders = list[tuple[bytes, bytes]]

MAX_HOPS = 32
"""So many entries from the right are looked at: what stands left of them the client made up."""


class TrustedProxies:
    """Proxies by their networks; what they write into `X-Forwarded-For` is believed.

    Each proxy writes the address that it was connected from behind what it was told, so the
    entries are true from the right up to the first one that isn't a trusted proxy's: that is the
    client. What stands left of it the client may have made up.
    Source: MDN, "X-Forwarded-For", "Selecting an IP address".
    """

    def __init__(self, networks: str = "") -> None:
        """`networks` is a list with commas.

        Raises:
            SettingsError: One of them is no network.
        """
        try:
            self._trusted = Networks(filter(None, map(str.strip, networks.split(","))))
        except ValueError as error:
            raise SettingsError(f"DROVEWAY_GATEWAY_TRUSTED_PROXIES: {error}") from None

    def client(self, peer: str, headers: RawHeaders) -> str:
        """The client's address; the peer's when it isn't trusted, or tells what can't be."""
        if not self._trusted or peer not in self._trusted:
            return peer
        values = [value for name, value in headers if name == b"x-forwarded-for"]
        hops = b",".join(values).decode("latin-1").rsplit(",", MAX_HOPS) if values else []
        client = peer
        for hop in reversed(hops[-MAX_HOPS:]):
            address = parse_address(_without_port(hop.strip()))
            if address is None:
                return peer
            client = str(address)
            if client not in self._trusted:
                break
        return client


def _without_port(hop: str) -> str:
    """`192.0.2.7:4711` and `[2001:db8::1]:4711`, as some proxies write them."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    host, _, rest = hop.partition(":")
    return hop if ":" in rest else host
