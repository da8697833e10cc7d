"""Where a provider's proxy comes from, and that its password shows nowhere."""

from pathlib import Path

import pytest

from droveway.caller.proxies import Proxy, resolve_proxy
from droveway.caller.upstreams import Upstreams
from droveway.contracts.config import Config, Provider, Route, RouteTarget, Tier
from droveway.contracts.configuration import version_of
from droveway.runtime.errors import SettingsError
from tests.support.certificates import Authority

SECRET = "s3cret-canary"
LOGIN = ("proxy-authorization", "Basic Y2FsbGVyOnMzY3JldC1jYW5hcnk=")  # caller:s3cret-canary


def provider(proxy: str, ca_file: str = "") -> Provider:
    return Provider(id="far", base_url="https://api.far.test/v1", proxy=proxy, ca_file=ca_file)


def configured(own: Provider) -> Config:
    tier = Tier(targets=(RouteTarget(provider="far"),))
    return Config(providers=(own,), routes=(Route(model="*", tiers=(tier,)),))


def resolved(reference: str, environment: dict[str, str] | None = None) -> Proxy:
    found = resolve_proxy(provider(reference), environment or {})
    assert found is not None
    return found


def login(proxy: Proxy) -> list[tuple[str, str]]:
    return list(proxy.for_transport().headers.multi_items())


def test_without_one_calls_go_straight() -> None:
    assert resolve_proxy(provider(""), {"HTTPS_PROXY": "http://127.0.0.1:1"}) is None


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://proxy.test:3128", "http://proxy.test:3128"),
        ("http://10.0.0.7:3128/", "http://10.0.0.7:3128"),
        ("http://[::1]:3128", "http://[::1]:3128"),
        ("http://proxy.test", "http://proxy.test"),
    ],
)
def test_an_address_in_clear_has_no_login(address: str, url: str) -> None:
    found = resolved(address)
    assert (found.url, str(found.for_transport().url), login(found)) == (url, url, [])


def test_an_address_of_the_environment_may_have_a_login() -> None:
    found = resolved("${PROXY}", {"PROXY": f"http://caller:{SECRET}@proxy.test:3128\n"})
    assert (found.url, login(found)) == ("http://proxy.test:3128", [LOGIN])


def test_an_address_of_a_file_may_have_a_login(tmp_path: Path) -> None:
    file = tmp_path / "proxy"
    file.write_text(f"http://caller:{SECRET}@127.0.0.1:3128\n")
    assert login(resolved(f"file:{file}")) == [LOGIN]


def test_a_password_may_have_any_character_if_it_is_written_as_in_addresses() -> None:
    found = resolved("${PROXY}", {"PROXY": "http://al%40ice:p%3A%2F%0D%0A%C3%A4@proxy.test:1"})
    assert login(found) == [("proxy-authorization", "Basic YWxAaWNlOnA6Lw0Kw6Q=")]


def test_a_login_shows_in_no_text() -> None:
    found = resolved("${PROXY}", {"PROXY": f"http://caller:{SECRET}@proxy.test:3128"})
    text = f"{found} {found!r} {[found]} {found.for_transport()!r}"
    assert "proxy.test" in text
    assert not [part for part in (SECRET, "Y2FsbGVy") if part in text]


@pytest.mark.parametrize(
    "address",
    [
        f"https://caller:{SECRET}@proxy.test:3128",
        f"socks5://caller:{SECRET}@proxy.test:1080",
        f"caller:{SECRET}@proxy.test:3128",
        f"http://caller:{SECRET}@",
        f"http://caller:{SECRET}@proxy.test:3128/path",
        f"http://caller:{SECRET}@proxy.test:3128/?x",
        f"http://caller:{SECRET}@proxy.test:3128/#x",
        f"http://caller:{SECRET}@proxy.test:port",
        f"http://caller:{SECRET}@proxy test:3128",
        f"http://caller:{SECRET}@proxy.test:3128\r\nhttp://other.test",
        f"http://caller:{SECRET}@169.254.169.254:3128",
        f"http://caller:{SECRET}@[::ffff:169.254.169.254]:3128",
        SECRET,
    ],
)
def test_what_is_no_proxys_address_is_refused_without_showing_it(address: str) -> None:
    with pytest.raises(SettingsError, match="'far', proxy: ") as refused:
        resolved("${PROXY}", {"PROXY": address})
    assert SECRET not in str(refused.value)


def test_a_reference_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'far', proxy: the environment has no PROXY"):
        resolved("${PROXY}")
    with pytest.raises(SettingsError, match=r"'far', proxy: .*No such file"):
        resolved(f"file:{tmp_path}/missing")


def adopted(own: Provider, pool: str = "default") -> Upstreams:
    upstreams, config = Upstreams(pool, ""), configured(own)
    upstreams.configure(config, version_of(config))
    return upstreams


def test_a_configuration_is_refused_whose_proxy_or_authorities_cant_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROXY", raising=False)
    with pytest.raises(SettingsError, match=r"'far', proxy"):
        adopted(provider("${PROXY}"))
    with pytest.raises(SettingsError, match=r"'far', ca_file .*No such file"):
        adopted(provider("", f"{tmp_path}/missing.pem"))
    assert adopted(provider("${PROXY}"), "another").all() == []
    monkeypatch.setenv("PROXY", f"http://caller:{SECRET}@proxy.test:3128")
    own = str(Authority(tmp_path / "own").file)
    assert len(adopted(provider("${PROXY}", own)).all()) == 1
