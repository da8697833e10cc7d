import re

import pytest

from droveway.contracts.access import Key
from droveway.runtime.api_key import KeyFormatError, checksum, hash_key, make_key, parse_key

SECRET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"
BODY = f"dw_live_k3v9q0t1m2zx_{SECRET}"
KEY = f"{BODY}_{checksum(BODY)}"


def test_a_new_key_has_the_documented_form() -> None:
    key = make_key("test")
    assert re.fullmatch(r"dw_test_[a-z0-9]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", key)
    assert parse_key(key).environment == "test"
    assert parse_key(key).id == key.split("_")[2]


def test_no_two_keys_are_alike() -> None:
    keys = {make_key() for _ in range(200)}
    assert len({parse_key(key).id for key in keys}) == len(keys) == 200


def test_the_format_never_changes() -> None:
    assert checksum(BODY) == "2tl2U9"
    assert parse_key(KEY).id == "k3v9q0t1m2zx"


@pytest.mark.parametrize("place", range(len("dw_live_"), len(KEY)))
def test_a_mistyped_character_is_noticed(place: int) -> None:
    wrong = "1" if KEY[place] != "1" else "2"
    with pytest.raises(KeyFormatError):
        parse_key(KEY[:place] + wrong + KEY[place + 1 :])


@pytest.mark.parametrize(
    "text",
    ["", "sk-abc", KEY[:-1], KEY + "0", KEY.upper(), f" {KEY}", KEY + "\n", "dw_" * 10_000,
     KEY.replace("k3v9", "кэ́v9"), "dw_live_\ud800"],
)  # fmt: skip
def test_other_strings_are_no_keys_and_are_not_repeated(text: str) -> None:
    with pytest.raises(KeyFormatError) as caught:
        parse_key(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("environment", ["", "Live", "a_b", "x" * 17])
def test_an_environment_must_fit_into_a_key(environment: str) -> None:
    with pytest.raises(KeyFormatError, match="a-z0-9"):
        make_key(environment)


def test_the_hash_is_what_the_configuration_takes() -> None:
    Key(id=parse_key(KEY).id, sha256=hash_key(KEY))
    assert re.fullmatch("[0-9a-f]{64}", hash_key(KEY))
