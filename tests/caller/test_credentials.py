"""Where a provider's key comes from, and that it shows nowhere."""

from pathlib import Path

import pytest

from droveway.caller.credentials import Secret, resolve
from droveway.contracts.config import Credential, Provider
from droveway.runtime.errors import SettingsError

PROVIDER = Provider(id="openai", base_url="https://api.openai.test/v1")
KEY = "sk-canary-1"
BEARER = (b"authorization", b"Bearer sk-canary-1")


def _resolve(reference: str, environment: dict[str, str] | None = None) -> Secret:
    return resolve(PROVIDER, Credential(id="main", api_key=reference), environment or {})


def test_a_key_comes_from_the_environment() -> None:
    assert _resolve("${OPENAI_API_KEY}", {"OPENAI_API_KEY": KEY}).header("bearer") == BEARER


@pytest.mark.parametrize("text", [KEY, KEY + "\n", f"  {KEY}\r\n"])
def test_a_key_comes_from_a_file_without_its_line_end(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    assert _resolve(f"file:{file}").header("bearer") == BEARER


def test_no_reference_is_no_key() -> None:
    assert not _resolve("")


@pytest.mark.parametrize("environment", [{}, {"KEY": ""}, {"KEY": "  \n"}])
def test_a_missing_or_blank_variable_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"'openai'.*'main'.*no KEY"):
        _resolve("${KEY}", environment)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'openai'.*No such file"):
        _resolve(f"file:{tmp_path}/missing")


def test_a_blank_file_is_no_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(" \n")
    with pytest.raises(SettingsError, match="empty"):
        _resolve(f"file:{file}")


@pytest.mark.parametrize("value", ["sk-canary\nx: y", "sk canary", "sk-canary\x00", "sk-canäry"])
def test_a_key_that_no_header_may_carry_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _resolve("${KEY}", {"KEY": value})
    assert "canary" not in str(caught.value)
    assert "no header may carry" in str(caught.value)


def test_a_file_that_is_no_text_is_refused_without_showing_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"sk-canary\xff\xfe")
    with pytest.raises(SettingsError) as caught:
        _resolve(f"file:{file}")
    assert "canary" not in str(caught.value)


def test_a_secret_shows_in_no_text() -> None:
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {[secret]}"
