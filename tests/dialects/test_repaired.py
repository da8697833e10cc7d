"""JSON of providers that is nearly right."""

import json

import pytest

from droveway.dialects.repaired import MAX_BYTES, is_text, repaired


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a":"x\xe4\xbd"}', "x\ufffd"),
        (b'{"a":"\xc0\xaf"}', "\ufffd\ufffd"),
        (b'{"a":"\xed\xa0\x80"}', "\ufffd\ufffd\ufffd"),
        (b'{"a":"\xff\xfe"}', "\ufffd\ufffd"),
        (b'{"a":"x\x00y\x1f\n"}', "x\x00y\x1f\n"),
        (b'{"a":"\\ud83d"}', "\ufffd"),
        (b'{"a":"\\ude00\\ud83d"}', "\ufffd\ufffd"),
    ],
    ids=["cut", "overlong", "surrogate", "no-utf8", "control", "first-half", "halves-swapped"],
)
def test_odd_pieces_of_strings_are_replaced(data: bytes, said: str) -> None:
    better = repaired(data)
    assert better is not None
    assert is_text(better)
    assert b"\n" not in better
    assert json.loads(better) == {"a": said}


def test_what_is_right_stays() -> None:
    data = '{"a":"\u2028\U0001f600\\u0000\\ud83d\\ude00","n":12345678901234567890,"f":0.1}'
    better = repaired(data.encode())
    assert better is not None
    assert json.loads(better) == json.loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":"%s"}' % (b" " * MAX_BYTES),
        b"",
        b"{",
        b"\xff",
        b'{"a":NaN}',
        b'{"a":1e400}',
        b"[" * 100_000,
        b"9" * 10_000,
    ],
    ids=["large", "empty", "cut", "no-utf8", "nan", "infinite", "deep", "long"],
)
def test_what_is_no_json_or_too_large_is_left(data: bytes) -> None:
    assert repaired(data) is None


@pytest.mark.parametrize("kind", ["\u4f60", "a", ""])
def test_utf_8_is_text(kind: str) -> None:
    assert is_text(kind.encode())
    assert not is_text(kind.encode() + b"\xe4\xbd")
