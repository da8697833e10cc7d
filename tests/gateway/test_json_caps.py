import contextlib
import json
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from droveway.gateway.json_caps import BadRequest, JsonCaps, read_json_object

CAPS = JsonCaps()


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        pytest.param(b"", "invalid_json", "empty", id="empty"),
        pytest.param(b" \r\n", "invalid_json", "blank", id="blank"),
        pytest.param(b"null", "invalid_request", "object; it is null", id="null"),
        pytest.param(b"[]", "invalid_request", "object; it is an array", id="array"),
        pytest.param(b'"x"', "invalid_request", "object; it is a string", id="string"),
        pytest.param(b"true", "invalid_request", "object; it is a boolean", id="boolean"),
        pytest.param(b"5", "invalid_request", "object; it is an integer", id="number"),
        pytest.param(b"{} x", "invalid_json", "trailing", id="trailing-garbage"),
        pytest.param(b"{}{}", "invalid_json", "trailing", id="two-objects"),
        pytest.param(b"\xef\xbb\xbf{}", "invalid_json", "byte order mark", id="bom"),
        pytest.param("{}".encode("utf-16"), "invalid_json", "byte 0", id="utf-16"),
        pytest.param(b"[" * 50_000, "invalid_request", "deeper than 64", id="50k-brackets"),
        pytest.param(b'{"a":' * 50_000, "invalid_request", "deeper than 64", id="50k-braces"),
        pytest.param(b"[" * 50_001, "invalid_request", "more than 50000", id="too-many-brackets"),
        pytest.param(b'{"a":"\xff"}', "invalid_json", "UTF-8", id="invalid-utf8"),
        pytest.param(b'{"\xff":1}', "invalid_json", "UTF-8", id="invalid-utf8-in-key"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', "invalid_json", "UTF-8", id="surrogate-as-utf8"),
        pytest.param(b'{"a":"\xc0\xaf"}', "invalid_json", "UTF-8", id="overlong-utf8"),
        pytest.param(b'{"a":NaN}', "invalid_json", "NaN", id="nan"),
        pytest.param(b'{"a":Infinity}', "invalid_json", "Infinity", id="infinity"),
        pytest.param(b'{"a":-Infinity}', "invalid_json", "Infinity", id="minus-infinity"),
        pytest.param(b'{"a":1e999999}', "invalid_json", "out of range", id="1e999999"),
        pytest.param(b'{"a":%b}' % (b"9" * 5000), "invalid_json", "out of range", id="5000-digits"),
        pytest.param(b'{"a":"\\ud800"}', "invalid_json", "surrogate", id="lone-high-surrogate"),
        pytest.param(b'{"a":"\\udc00"}', "invalid_json", "surrogate", id="lone-low-surrogate"),
        pytest.param(b'{"\\uD800x":1}', "invalid_json", "surrogate", id="lone-surrogate-in-key"),
        pytest.param(b'{"a":"\x00"}', "invalid_json", "byte 6", id="raw-nul"),
        pytest.param(b'{"a":1,}', "invalid_json", "trailing comma", id="trailing-comma"),
        pytest.param(b'{"a":', "invalid_json", "truncated", id="truncated"),
    ],
)
def test_hostile_body_is_refused_with_a_reason(body: bytes, code: str, says: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_json_object(body, CAPS)
    assert (refused.value.code, refused.value.param) == (code, None)
    assert says in refused.value.message
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\u2028", id="line-separator"),
        pytest.param("\u202e", id="right-to-left-override"),
        pytest.param("\x00", id="escaped-nul"),
        pytest.param("\U0001f600", id="astral"),
        pytest.param("data: [DONE]\n\n", id="sse-end"),
        pytest.param("\\ud800", id="backslash-and-letters"),
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "utf-8"])
def test_unusual_text_passes_unchanged(text: str, ascii_only: bool) -> None:
    body = json.dumps({"a": text}, ensure_ascii=ascii_only).encode()
    decoded = read_json_object(body, CAPS)
    assert decoded == {"a": text}
    assert json.loads(msgspec.json.encode(decoded)) == {"a": text}


def test_a_duplicate_key_has_its_last_reading() -> None:
    assert read_json_object(b'{"model":"a","model":"b"}', CAPS) == {"model": "b"}


@pytest.mark.parametrize("pair", ["[]", "{}"], ids=["arrays", "objects"])
def test_depth_cap_counts_the_outermost_object(pair: str) -> None:
    opening = {"[]": "[", "{}": '{"a":'}[pair]

    def nested(levels: int) -> bytes:
        return f'{{"a":{opening * (levels - 1)}1{pair[1] * (levels - 1)}}}'.encode()

    assert read_json_object(nested(CAPS.max_depth), CAPS)
    with pytest.raises(BadRequest, match="deeper than 64 levels"):
        read_json_object(nested(CAPS.max_depth + 1), CAPS)


def test_brackets_and_commas_in_strings_do_not_count() -> None:
    text = json.dumps({"a": '[{,"\\' * 20}).encode()
    assert read_json_object(text, JsonCaps(max_brackets=5, max_values=5))
    with pytest.raises(BadRequest, match="more than 5 objects"):
        read_json_object(text[:-1] + b',"b":[[],[],[],[]]}', JsonCaps(max_brackets=5))


@pytest.mark.parametrize("unit", [b"[]", b"[[]]", b'""', b'{"":0}', b"1"])
def test_a_body_of_tiny_values_is_refused_before_it_is_decoded(unit: bytes) -> None:
    body = b'{"a":[' + (unit + b",") * 1_000_000 + b"1]}"
    assert best_of(3, lambda: refused_for(body)) < 0.3


def best_of(times: int, run: Callable[[], None]) -> float:
    """The shortest of some runs, in seconds: others use the processor as well."""
    spent_s = []
    for _ in range(times):
        began_s = time.perf_counter()
        run()
        spent_s.append(time.perf_counter() - began_s)
    return min(spent_s)


def refused_for(body: bytes) -> None:
    with pytest.raises(BadRequest, match="more than"):
        read_json_object(body, CAPS)


def test_number_of_values_is_capped() -> None:
    caps = JsonCaps(max_values=10)
    assert read_json_object(b'{"a":[1,2,3,4,5,6,7,8,9]}', caps)
    with pytest.raises(BadRequest, match="more than 10 values"):
        read_json_object(b'{"a":[1,2,3,4,5,6,7,8,9,10]}', caps)


def test_depth_and_values_are_counted_whether_or_not_the_bytes_already_tell() -> None:
    dice = random.Random(4)
    told = set()
    for _ in range(1_000):
        tree = {str(number): _tree(dice) for number in range(dice.randrange(5))}
        levels = _levels(tree)
        values = sum(len(one) for level in levels for one in level)
        caps = JsonCaps(max_depth=dice.randint(1, 8), max_values=dice.randint(1, 40))
        fits = len(levels) <= caps.max_depth and values <= caps.max_values
        told.add(fits)
        with contextlib.nullcontext() if fits else pytest.raises(BadRequest):
            assert read_json_object(msgspec.json.encode(tree), caps) == tree
    assert told == {True, False}


def _tree(dice: random.Random) -> Any:
    kind = dice.randrange(6)
    if kind == 0:
        return [_tree(dice) for _ in range(dice.randrange(5))]
    if kind == 1:
        return {str(number): _tree(dice) for number in range(dice.randrange(5))}
    return dice.choice([0, None, "", "[{", "a,b"])


def _levels(tree: Any) -> list[list[Any]]:
    """All objects and arrays, level by level."""
    levels = [[tree]]
    while True:
        children = [
            child
            for one in levels[-1]
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not children:
            return levels
        levels.append(children)
