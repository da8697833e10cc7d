"""A provider's certificate is checked against the file that was named, as it is now."""

from pathlib import Path

import pytest

from droveway.caller.transport import TransportSettings, UpstreamTransport
from droveway.caller.trust import tls_context
from droveway.caller.upstream_errors import ConnectFailed
from droveway.runtime.errors import SettingsError
from tests.support.calls import called
from tests.support.certificates import Authority
from tests.support.tunnels import TlsFront
from tests.support.upstream import ScriptedUpstream


def subjects(file: str) -> list[str]:
    return [str(one["subject"]) for one in tls_context(file).get_ca_certs()]


def test_only_the_named_authorities_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = Authority(tmp_path / "own"), Authority(tmp_path / "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.file))
    assert ["own ca" in subject for subject in subjects(str(own.file))] == [True]
    assert not [subject for subject in subjects("") if "other ca" in subject]


def test_a_file_is_loaded_once_until_it_changes(tmp_path: Path) -> None:
    own, other = Authority(tmp_path / "own"), Authority(tmp_path / "other")
    first = tls_context(str(own.file))
    assert tls_context(str(own.file)) is first
    other.file.replace(own.file)
    assert ["other ca" in subject for subject in subjects(str(own.file))] == [True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("", "no certificates"),
        ("not PEM", "no certificates"),
        ("-----BEGIN CERTIFICATE-----\nzz\n-----END CERTIFICATE-----\n", "no certificates"),
    ],
)
def test_a_file_without_authorities_is_refused_by_name(
    tmp_path: Path, text: str | None, message: str
) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=message) as refused:
        UpstreamTransport(TransportSettings(base_url="https://api.far.test", ca_file=str(file)))
    assert str(file) in str(refused.value)


async def test_a_provider_with_an_authority_of_its_own_is_reached(tmp_path: Path) -> None:
    own = Authority(tmp_path / "own")
    async with ScriptedUpstream() as upstream, TlsFront(upstream.port, own.server()) as front:
        url = f"https://127.0.0.1:{front.port}"
        async with UpstreamTransport(
            TransportSettings(base_url=url, ca_file=str(own.file))
        ) as transport:
            assert await called(transport) == b"{}"
        async with UpstreamTransport(TransportSettings(base_url=url)) as transport:
            with pytest.raises(ConnectFailed) as failed:
                await called(transport)
            assert (failed.value.cause, failed.value.retry_safe) == ("tls", True)
