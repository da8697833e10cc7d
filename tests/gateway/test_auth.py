from typing import Any

import msgspec
import pytest

from droveway.contracts.access import Key, Tenant
from droveway.contracts.config import Config
from droveway.gateway.auth import (
    MAX_ADDRESSES,
    MAX_KEY_BYTES,
    Authenticator,
    KeyForm,
    RawHeaders,
    Throttle,
    client_key,
    may_use,
)
from droveway.gateway.refusal import Refusal
from droveway.gateway.trusted_proxies import TrustedProxies
from droveway.runtime.access_checks import after
from droveway.runtime.api_key import checksum, hash_key, make_key, parse_key
from tests.support.nats import droveway_config

KEY = make_key("test")
ADDRESS = "192.0.2.1"


def config_with(**fields: Any) -> Config:
    """A configuration with one key, whose fields are these."""
    key = Key(id=parse_key(KEY).id, sha256=hash_key(KEY), **fields)
    return msgspec.structs.replace(droveway_config("http://127.0.0.1:9/v1"), keys=(key,))


def authenticator(failed_logins_per_s: int = 1, **fields: Any) -> Authenticator:
    authenticator = Authenticator(failed_logins_per_s)
    authenticator.configure(config_with(**fields))
    return authenticator


def bearer(key: str = KEY) -> RawHeaders:
    return [(b"authorization", f"Bearer {key}".encode())]


def fields_of(refusal: pytest.ExceptionInfo[Refusal]) -> tuple[str, str]:
    return refusal.value.failure.code, refusal.value.failure.message


def refused(authenticator: Authenticator, headers: RawHeaders, address: str = ADDRESS) -> str:
    with pytest.raises(Refusal) as caught:
        authenticator.authenticate(headers, address)
    return caught.value.failure.code


@pytest.mark.parametrize(
    "headers",
    [
        bearer(),
        [(b"authorization", f"  bearer   {KEY} \t".encode())],
        [(b"x-api-key", f" {KEY}\t ".encode())],
        [*bearer(), (b"x-api-key", KEY.encode())],
    ],
    ids=["bearer", "blanks", "x-api-key", "both the same"],
)
def test_a_key_is_known_however_it_is_sent(headers: RawHeaders) -> None:
    assert authenticator().authenticate(headers, ADDRESS).id == parse_key(KEY).id


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", KEY.encode())],
        [(b"authorization", b"Basic " + KEY.encode())],
        [(b"authorization", b"Basic x"), (b"x-api-key", KEY.encode())],
        bearer() * 2,
        [(b"x-api-key", KEY.encode())] * 2,
        bearer(KEY[:-1]),
        bearer(KEY.upper()),
        bearer(hash_key(KEY)),
        bearer(make_key("test")),
        bearer(KEY + "x" * MAX_KEY_BYTES),
    ],
)
def test_anything_else_is_an_incorrect_key(headers: RawHeaders) -> None:
    assert refused(authenticator(), headers) == "invalid_api_key"


def test_two_different_keys_are_a_conflict() -> None:
    headers = [*bearer(), (b"x-api-key", b"other")]
    assert refused(authenticator(), headers) == "conflicting_credentials"


def test_a_key_longer_than_the_bound_counts_as_none() -> None:
    assert client_key(bearer("k" * MAX_KEY_BYTES)) == b"k" * MAX_KEY_BYTES
    assert client_key(bearer("k" * (MAX_KEY_BYTES + 1))) == b""


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"state": "not_activated"}, "key_not_activated"),
        ({"state": "disabled"}, "key_disabled"),
        ({"expires": "2026-01-01T00:00:00Z"}, "key_expired"),
        ({"expires": "2026-01-01T00:00:00+14:00"}, "key_expired"),
        ({"expires": "2026-01-01T00:00:00Z", "state": "disabled"}, "key_disabled"),
    ],
)
def test_a_key_that_may_not_is_told_why(fields: dict[str, Any], code: str) -> None:
    assert refused(authenticator(**fields), bearer()) == code


def test_a_key_is_good_until_it_expires() -> None:
    assert authenticator(expires="2999-01-01T00:00:00Z").authenticate(bearer(), ADDRESS)


def test_a_key_that_the_configuration_dropped_is_refused_from_then_on() -> None:
    one = authenticator()
    one.authenticate(bearer(), ADDRESS)
    one.configure(droveway_config("http://127.0.0.1:9/v1"))
    assert refused(one, bearer()) == "invalid_api_key"


def test_guessing_is_refused_per_address() -> None:
    one = authenticator(failed_logins_per_s=1)
    codes = [refused(one, bearer(f"guess-{number}")) for number in range(7)]
    assert codes == ["invalid_api_key"] * 5 + ["too_many_failed_logins"] * 2
    assert refused(one, bearer("guess"), "192.0.2.2") == "invalid_api_key"
    assert one.statistics()._asdict() == {
        "accepted": 0,
        "rejected": 8,
        "throttled_addresses": 2,
    }


def test_a_good_key_passes_from_an_address_that_guesses() -> None:
    one = authenticator(failed_logins_per_s=1)
    body = f"dw_test_{parse_key(KEY).id}_{'A' * 43}"
    wrong_secret = f"{body}_{checksum(body)}"
    for _ in range(5):
        refused(one, bearer(wrong_secret))
    assert refused(one, bearer(wrong_secret)) == "too_many_failed_logins"
    assert one.authenticate(bearer(), ADDRESS)


def test_a_disabled_key_is_no_guess() -> None:
    one = authenticator(state="disabled")
    assert {refused(one, bearer()) for _ in range(20)} == {"key_disabled"}


def test_the_throttle_leaks_at_its_rate() -> None:
    throttle = Throttle(per_s=2)
    for _ in range(9):
        throttle.count(ADDRESS, 100.0)
    assert not throttle.exceeded(ADDRESS, 100.0)
    throttle.count(ADDRESS, 100.0)
    assert throttle.exceeded(ADDRESS, 100.0)
    assert throttle.exceeded(ADDRESS, 100.49)
    assert not throttle.exceeded(ADDRESS, 100.5)
    throttle.count(ADDRESS, 100.5)
    assert throttle.exceeded(ADDRESS, 100.5)
    assert not throttle.exceeded(ADDRESS, 200.0)


def test_the_throttle_forgets_the_address_that_was_quiet_longest() -> None:
    throttle = Throttle(per_s=1)
    for number in range(MAX_ADDRESSES):
        throttle.count(f"address-{number}", 0.0)
    for _ in range(5):
        throttle.count("address-0", 0.0)
    throttle.count("one-more", 0.0)
    assert throttle.addresses == MAX_ADDRESSES
    assert throttle.exceeded("address-0", 0.0)


@pytest.mark.parametrize(
    ("allowed", "model", "may"),
    [
        (("*",), "any", True),
        ((), "any", False),
        (("gpt-4.1",), "gpt-4.1", True),
        (("gpt-4.1",), "gpt-4.1-mini", False),
        (("gpt-*", "o3"), "gpt-5", True),
        (("gpt-*", "o3"), "o3-mini", False),
        (("gpt-*",), "GPT-5", False),
    ],
)
def test_a_key_may_use_what_its_models_say(allowed: tuple[str, ...], model: str, may: bool) -> None:
    assert may_use(config_with(models=allowed).keys[0], model) is may


def test_a_key_that_the_broker_has_proven_is_found_by_its_id() -> None:
    known = authenticator()
    key_id = parse_key(KEY).id
    assert known.by_id(key_id).id == key_id
    for other in ("", "nobody", key_id + "x"):
        with pytest.raises(Refusal, match="invalid_api_key"):
            known.by_id(other)
    assert known.statistics()[:2] == (1, 3)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"state": "disabled"}, "key_disabled"),
        ({"state": "not_activated"}, "key_not_activated"),
        ({"expires": "2020-01-01T00:00:00Z"}, "key_expired"),
    ],
)
def test_its_state_is_looked_at_by_whichever_way_it_came(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(Refusal, match=code):
        authenticator(**fields).by_id(parse_key(KEY).id)


def test_a_key_that_was_changed_or_dropped_is_so_from_then_on() -> None:
    one = authenticator()
    key = config_with().keys[0]
    one.take_key(key.id, msgspec.structs.replace(key, state="disabled"))
    assert refused(one, bearer()) == "key_disabled"
    one.take_key(key.id, key)
    assert one.authenticate(bearer(), ADDRESS) == key
    one.take_key(key.id, None)
    assert refused(one, bearer()) == "invalid_api_key"


def test_a_rotated_key_has_two_secrets_until_the_old_ones_time_is_over() -> None:
    new = make_key("test", parse_key(KEY).id)
    rotated = {"sha256": hash_key(new), "previous_sha256": hash_key(KEY)}
    one = authenticator()
    key = msgspec.structs.replace(config_with().keys[0], **rotated, previous_until=after(60))
    one.take_key(key.id, key)
    assert one.authenticate(bearer(), ADDRESS) == one.authenticate(bearer(new), ADDRESS)
    one.take_key(key.id, msgspec.structs.replace(key, previous_until=after(-1)))
    assert refused(one, bearer()) == "invalid_api_key"
    assert one.authenticate(bearer(new), ADDRESS).id == key.id


def test_a_former_secret_never_displaces_another_keys_own() -> None:
    one = authenticator()
    thief = Key(
        id="thief", sha256="0" * 64, previous_sha256=hash_key(KEY), previous_until=after(60)
    )
    one.take_key("thief", thief)
    assert one.authenticate(bearer(), ADDRESS).id == parse_key(KEY).id
    one.take_key("thief", None)
    assert one.authenticate(bearer(), ADDRESS).id == parse_key(KEY).id


def test_keys_of_a_disabled_tenant_are_refused_with_a_code_of_their_own() -> None:
    one = authenticator(tenant="acme")
    one.take_tenant("acme", Tenant(id="acme", state="disabled"))
    assert refused(one, bearer()) == "tenant_disabled"
    with pytest.raises(Refusal, match="tenant_disabled"):
        one.by_id(parse_key(KEY).id)
    one.take_tenant("acme", Tenant(id="acme"))
    assert one.authenticate(bearer(), ADDRESS)
    one.take_tenant("acme", Tenant(id="acme", state="disabled"))
    one.take_tenant("acme", None)
    assert one.authenticate(bearer(), ADDRESS)


def test_a_revoked_key_is_told_so_in_the_words_that_clients_know() -> None:
    with pytest.raises(Refusal) as caught:
        authenticator(state="disabled").authenticate(bearer(), ADDRESS)
    assert "is invalid or has been revoked" in fields_of(caught)[1]


@pytest.mark.parametrize(
    ("address", "passes"),
    [
        ("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("2001:db8::7", True), ("192.0.2.7", True),
        ("11.1.2.3", False), ("192.0.2.8", False), ("2001:db9::7", False), ("", False),
        ("nonsense", False), ("10.1.2", False),
    ],
)  # fmt: skip
def test_a_key_with_addresses_comes_from_one_of_them(address: str, passes: bool) -> None:
    one = authenticator(addresses=("10.0.0.0/8", "2001:db8::/32", "192.0.2.7"))
    if passes:
        assert one.authenticate(bearer(), address)
        return
    with pytest.raises(Refusal) as caught:
        one.authenticate(bearer(), address)
    code, message = fields_of(caught)
    assert code == "address_not_allowed"
    assert address in message


def test_a_key_with_addresses_is_refused_where_none_can_be_known() -> None:
    with pytest.raises(Refusal) as caught:
        authenticator(addresses=("0.0.0.0/0", "::/0")).by_id(parse_key(KEY).id)
    assert fields_of(caught)[0] == "address_not_allowed"
    assert "NATS" in fields_of(caught)[1]


def test_a_trusted_proxy_says_whose_request_it_is() -> None:
    one = Authenticator(1, proxies=TrustedProxies("10.0.0.1"))
    one.configure(config_with(addresses=("192.0.2.7",)))
    forwarded = [*bearer(), (b"x-forwarded-for", b"192.0.2.7")]
    assert one.authenticate(forwarded, "10.0.0.1")
    for peer in ("10.0.0.2", "192.0.2.8"):
        assert refused(one, forwarded, peer) == "address_not_allowed"


def test_guessing_is_counted_for_the_client_and_not_for_its_proxy() -> None:
    one = Authenticator(1, proxies=TrustedProxies("10.0.0.1"))
    one.configure(config_with())

    def guess(client: str) -> str:
        return refused(one, [*bearer("x"), (b"x-forwarded-for", client.encode())], "10.0.0.1")

    assert {guess("192.0.2.7") for _ in range(10)} == {"invalid_api_key", "too_many_failed_logins"}
    assert guess("192.0.2.8") == "invalid_api_key"


@pytest.mark.parametrize(
    ("form", "secret", "passes"),
    [
        (KeyForm(20), "sk-" + "x" * 17, True),
        (KeyForm(21), "sk-" + "x" * 17, False),
        (KeyForm(20, (b"dw_", b"sk-")), "sk-" + "x" * 17, True),
        (KeyForm(20, (b"dw_", b"hsk_")), "sk-" + "x" * 17, False),
    ],
)
def test_an_imported_key_is_taken_if_it_has_an_accepted_form(
    form: KeyForm, secret: str, passes: bool
) -> None:
    one = Authenticator(1, form)
    one.take_key("old", Key(id="old", sha256=hash_key(secret)))
    if passes:
        assert one.authenticate(bearer(secret), ADDRESS).id == "old"
    else:
        assert refused(one, bearer(secret)) == "invalid_api_key"


def test_an_unknown_key_is_asked_to_come_again_while_keys_are_read() -> None:
    one = authenticator()
    one.complete = lambda: False
    assert one.authenticate(bearer(), ADDRESS)
    assert refused(one, bearer(make_key())) == "service_unavailable"
    with pytest.raises(Refusal, match="service_unavailable"):
        one.by_id("other")
    one.complete = lambda: True
    assert refused(one, bearer(make_key())) == "invalid_api_key"
