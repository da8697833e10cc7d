"""Who is believed about a client's address: nobody, unless the operator says so."""

import pytest

from droveway.gateway.trusted_proxies import MAX_HOPS, TrustedProxies
from droveway.runtime.errors import SettingsError

PEER = "10.0.0.1"


def client(networks: str, *values: str, peer: str = PEER) -> str:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in values]
    return TrustedProxies(networks).client(peer, headers)


@pytest.mark.parametrize("networks", ["", " , ", "10.0.0.2", "10.1.0.0/16, 2001:db8::/32"])
def test_a_peer_that_is_not_trusted_is_the_client(networks: str) -> None:
    assert client(networks, "192.0.2.7") == PEER


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("192.0.2.7",), "192.0.2.7"),
        (("203.0.113.9, 192.0.2.7",), "192.0.2.7"),
        (("203.0.113.9", "192.0.2.7"), "192.0.2.7"),
        (("192.0.2.7, 10.0.0.9,10.0.0.8",), "192.0.2.7"),
        (("192.0.2.7", "10.0.0.9"), "192.0.2.7"),
        (("10.0.0.9, 10.0.0.8",), "10.0.0.9"),
        (("made up, 192.0.2.7",), "192.0.2.7"),
        (("192.0.2.7:4711",), "192.0.2.7"),
        (("[2001:db8::7]:4711",), "2001:db8::7"),
        (("2001:db8::7",), "2001:db8::7"),
        (("::ffff:192.0.2.7",), "192.0.2.7"),
        ((), PEER),
    ],
    ids=str,
)
def test_the_client_is_the_right_most_that_is_no_proxy(
    values: tuple[str, ...], expected: str
) -> None:
    assert client("10.0.0.0/8", *values) == expected


@pytest.mark.parametrize(
    "value",
    ["", ",", "192.0.2.7,", "unknown", "_hidden", "192.0.2.7, x", "1.2.3.4.5", "192.0.2.7 10.0.0.8",
     "127.1", "0x7f.1", "\xff", "10.0.0.8," * 2, "1" * 60_000],
)  # fmt: skip
def test_garbage_means_the_peer(value: str) -> None:
    assert client("10.0.0.0/8", value) == PEER


def test_a_long_chain_is_read_from_the_right_and_never_means_the_proxy_itself() -> None:
    made_up = ",".join(["10.0.0.8"] * 1_000)
    assert client("10.0.0.0/8", made_up, "192.0.2.7") == "192.0.2.7"
    hidden = ["192.0.2.7", *["10.0.0.8"] * MAX_HOPS]
    assert client("10.0.0.0/8", ",".join(hidden)) == "10.0.0.8"


def test_a_zone_makes_no_other_address() -> None:
    assert client("10.0.0.0/8", "fe80::7%made-up") == "fe80::7"


def test_an_ipv4_peer_on_an_ipv6_socket_is_the_same_peer() -> None:
    assert client("10.0.0.1", "192.0.2.7", peer="::ffff:10.0.0.1") == "192.0.2.7"


@pytest.mark.parametrize(
    "networks", ["10.0.0.1/8", "proxy.example", "10.0.0.0/33", "*", "::ffff:10.0.0.0/104"]
)
def test_a_wrong_setting_is_named(networks: str) -> None:
    with pytest.raises(SettingsError, match="DROVEWAY_GATEWAY_TRUSTED_PROXIES"):
        TrustedProxies(networks)
