"""What somebody tries who wants into the administration, or out of its trail."""

import hashlib

import msgspec
import pytest

from droveway.contracts.access import Admin
from droveway.contracts.config import Config
from droveway.gateway.admin.admins import MIN_SECRET_BYTES, Admins
from droveway.gateway.admin.rates import ChangeRates
from droveway.gateway.auth import RawHeaders, Throttle
from droveway.gateway.refusal import Refusal
from droveway.gateway.trusted_proxies import TrustedProxies
from droveway.runtime.api_key import hash_key, make_key
from tests.support.nats import droveway_config

ADDRESS = "192.0.2.1"


def admins(*hashes: str, failed_logins_per_s: int = 1) -> Admins:
    made = tuple(
        Admin(id=f"a{number}", sha256=one, role="admin") for number, one in enumerate(hashes)
    )
    base: Config = droveway_config("http://127.0.0.1:9/v1")
    found = Admins(failed_logins_per_s, TrustedProxies())
    found.configure(msgspec.structs.replace(base, admins=made))
    return found


def bearer(secret: str) -> RawHeaders:
    return [(b"authorization", f"Bearer {secret}".encode())]


def refused(found: Admins, headers: RawHeaders, address: str = ADDRESS) -> str:
    with pytest.raises(Refusal) as caught:
        found.authenticate(headers, address)
    return caught.value.failure.code


@pytest.mark.parametrize(
    "headers",
    [[], bearer(""), [(b"x-api-key", b"")], [(b"authorization", b"Basic YTpi")],
     [*bearer("a"), *bearer("b")], bearer("x" * 600)],
    ids=["none", "blank", "empty", "basic", "two", "long"],
)  # fmt: skip
def test_the_hash_of_nothing_lets_nobody_in(headers: RawHeaders) -> None:
    found = admins(hashlib.sha256(b"").hexdigest())
    assert refused(found, headers) == "invalid_api_key"


def test_a_short_secret_lets_nobody_in_whatever_the_file_says() -> None:
    short = "x" * (MIN_SECRET_BYTES - 1)
    found = admins(hash_key(short), hash_key(short + "x"))
    assert refused(found, bearer(short)) == "invalid_api_key"
    assert found.authenticate(bearer(short + "x"), ADDRESS).id == "a1"


def test_who_guesses_from_the_same_address_locks_no_admin_out() -> None:
    mine = make_key("admin")
    found = admins(hash_key(mine))
    codes = [refused(found, bearer(f"guess-{number:020}")) for number in range(7)]
    assert codes == ["invalid_api_key"] * 5 + ["too_many_failed_logins"] * 2
    assert refused(found, bearer(make_key("admin"))) == "too_many_failed_logins"
    assert found.authenticate(bearer(mine), ADDRESS).id == "a0"


def test_a_secret_of_another_form_is_not_looked_at_from_an_address_that_guesses() -> None:
    chosen = "correct horse battery staple"
    found = admins(hash_key(chosen))
    for number in range(5):
        refused(found, bearer(f"guess-{number:020}"))
    assert refused(found, bearer(chosen)) == "too_many_failed_logins"


def test_addresses_of_one_ipv6_host_are_slowed_together() -> None:
    throttle = Throttle(per_s=1)
    for number in range(5):
        throttle.count(f"2001:db8:0:1::{number:x}", 0.0)
    assert throttle.exceeded("2001:db8:0:1:ffff::1", 0.0)
    assert not throttle.exceeded("2001:db8:0:2::1", 0.0)
    assert throttle.addresses == 1


def test_ipv4_clients_of_an_ipv6_socket_are_slowed_each_by_itself() -> None:
    throttle = Throttle(per_s=1)
    for _ in range(5):
        throttle.count("::ffff:192.0.2.1", 0.0)
    assert throttle.exceeded("192.0.2.1", 0.0)
    assert not throttle.exceeded("::ffff:192.0.2.2", 0.0)


def test_a_zone_makes_no_new_sender() -> None:
    throttle = Throttle(per_s=1)
    for number in range(5):
        throttle.count(f"fe80::1%eth{number}", 0.0)
    assert throttle.exceeded("fe80::1", 0.0)


def test_an_admin_who_waits_as_told_may_change_again_and_not_before() -> None:
    rates = ChangeRates(per_s=10)
    for _ in range(50):
        rates.count("ann", 7.0)
    with pytest.raises(Refusal) as caught:
        rates.count("ann", 7.0)
    assert caught.value.failure.retry_after_ms == 100
    rates.count("bob", 7.0)
    with pytest.raises(Refusal):
        rates.count("ann", 7.09)
    rates.count("ann", 7.11)
    rates.configure(["bob"])
    for _ in range(50):
        rates.count("ann", 7.11)
