"""How a provider is reached is checked before it is tried: its proxy and its authorities."""

import pytest

from droveway.contracts.config import Provider
from droveway.runtime.config.file import parse
from droveway.runtime.config.ways import way_findings
from droveway.runtime.errors import SettingsError

FAR = "https://api.far.test/v1"
PLAIN = "http://127.0.0.1:8000/v1"


def findings(proxy: str = "", ca_file: str = "", base_url: str = FAR) -> list[str]:
    provider = Provider(id="far", base_url=base_url, proxy=proxy, ca_file=ca_file)
    return list(way_findings("providers[0]", provider))


@pytest.mark.parametrize(
    "proxy",
    ["", "http://proxy.test:3128", "http://10.0.0.7:3128/", "http://[::1]:3128", "http://proxy",
     "${PROXY}", "file:/run/secrets/proxy"],
)  # fmt: skip
def test_what_leads_to_a_proxy_is_taken(proxy: str) -> None:
    assert findings(proxy, "/etc/ssl/own.pem") == []


@pytest.mark.parametrize(
    ("proxy", "advice"),
    [
        ("http://caller:s3cret@proxy.test:3128", "a user or password in clear text; write ${NAME}"),
        ("caller:s3cret@proxy.test:3128", "a user or password in clear text"),
        ("https://proxy.test:3128", "write http://host:port"),
        ("socks5://proxy.test:1080", "write http://host:port"),
        ("proxy.test:3128", "write http://host:port"),
        ("http://proxy.test:3128/path", "write http://host:port"),
        ("http://proxy.test:3128\nhttp://other.test:1", "write http://host:port"),
        ("${PROXY}/path", "write http://host:port"),
        ("$PROXY", "write http://host:port"),
        ("file:relative", "write http://host:port"),
    ],
)
def test_what_is_no_proxy_is_refused_with_place_and_advice(proxy: str, advice: str) -> None:
    (finding,) = findings(proxy)
    assert finding.startswith("providers[0].proxy: ")
    assert advice in finding
    assert "s3cret" not in finding


def test_a_proxy_reads_no_keys_and_authorities_need_tls() -> None:
    found = findings("${PROXY}", "/etc/ssl/own.pem", PLAIN)
    assert [finding.split(":")[0] for finding in found] == [
        "providers[0].proxy", "providers[0].ca_file",
    ]  # fmt: skip
    assert all("plain http" in finding for finding in found)


def test_authorities_are_a_file_wherever_a_caller_was_started() -> None:
    (finding,) = findings(ca_file="own.pem")
    assert "'own.pem' must begin with a slash" in finding


def test_a_file_is_refused_for_it() -> None:
    text = (
        f"providers: [{{id: far, base_url: '{FAR}', proxy: 'http://a:s3cret@proxy.test:1'}}]\n"
        "routes: [{model: '*', tiers: [{targets: [{provider: far}]}]}]\n"
    )
    with pytest.raises(SettingsError, match=r"f: providers\[0\]\.proxy: a user") as refused:
        parse(text.encode(), "f")
    assert "s3cret" not in str(refused.value)
