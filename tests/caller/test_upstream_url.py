"""A base URL that could lead a provider's key astray is refused before any call."""

import pytest

from droveway.caller.upstream_url import CheckedResolver, checked_base_url
from droveway.runtime.errors import SettingsError


@pytest.mark.parametrize(
    ("base_url", "built"),
    [
        ("https://api.provider.test/v1/", "https://api.provider.test/v1"),
        ("https://api.provider.test", "https://api.provider.test"),
        ("https://10.0.0.7:8443/v1", "https://10.0.0.7:8443/v1"),
        ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"),
        ("http://localhost:9", "http://localhost:9"),
        ("http://[::1]:9", "http://[::1]:9"),
    ],
)
def test_base_url_is_accepted(base_url: str, built: str) -> None:
    assert str(checked_base_url(base_url, allow_http=False)).rstrip("/") == built


@pytest.mark.parametrize(
    ("base_url", "message"),
    [
        ("http://api.provider.test/v1", "use https, or set allow_http: true"),
        ("http://10.0.0.7", "plain http"),
        ("http://127.0.0.1.evil.test", "plain http"),
        ("http://localhost.evil.test", "plain http"),
        ("ftp://api.provider.test", "must be https://"),
        ("file:///etc/passwd", "must be https://"),
        ("api.provider.test/v1", "must be https://"),
        ("", "must be https://"),
        ("https://user:secret@api.provider.test", "must not hold a user"),
        ("https://api.provider.test/v1?key=1", "must not hold a user, a query"),
        ("https://169.254.169.254/latest", "not one of a provider"),
        ("https://[fe80::1]", "not one of a provider"),
        ("https://[::ffff:169.254.169.254]", "not one of a provider"),
        ("https://0.0.0.0", "not one of a provider"),
        ("https://api.provider.test:port", "can't be parsed"),
    ],
)
def test_base_url_is_refused(base_url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        checked_base_url(base_url, allow_http=False)


def test_operator_may_allow_plain_http_but_not_metadata_addresses() -> None:
    assert checked_base_url("http://vllm.internal:8000", allow_http=True).host == "vllm.internal"
    with pytest.raises(SettingsError, match="not one of a provider"):
        checked_base_url("http://169.254.169.254", allow_http=True)


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1"])
async def test_name_never_resolves_to_an_address_that_no_provider_has(address: str) -> None:
    with pytest.raises(OSError, match="no provider has"):
        await CheckedResolver().resolve(address, 443)


async def test_name_resolves_to_where_providers_are() -> None:
    found = await CheckedResolver().resolve("localhost", 443)
    assert "127.0.0.1" in [result["host"] for result in found]
