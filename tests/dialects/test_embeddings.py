"""Embeddings requests: what passes, what a provider is asked, how much that is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.dialects.chat.passing import NEVER_FORWARDED
from droveway.dialects.embeddings.request import (
    check,
    encoding_asked,
    upstream_body,
)
from droveway.dialects.untranslatable import Untranslatable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


def refusal_of(request: dict[str, Any]) -> Untranslatable | None:
    """How it is refused; None if it passes."""
    try:
        check(request)
    except Untranslatable as refused:
        return refused
    return None


def each(param: str, *values: Any) -> list[tuple[str, dict[str, Any]]]:
    """The parameter with each of some wrong values."""
    return [(param, {param: value}) for value in values]


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "hi"},
        {"input": ["hi", "there"]},
        {"input": [1, 2, 0]},
        {"input": [[1], [2, 3]]},
        {"input": ["x"] * 2048},
        {"input": [1] * 8192},
        {"input": "x", "encoding_format": "float", "dimensions": 1, "user": "u"},
        {"input": "x", "encoding_format": "base64", "dimensions": None, "user": None},
        {"input": "x", "encoding_format": None, "input_type": 5},
    ],
)
def test_valid_request_passes(fields: dict[str, Any]) -> None:
    check({"model": "m"} | fields)


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("model", {"model": 5}),
        *each("input", None, "", [], {}, 5, True, ["x"] * 2049),
        ("input", {"input": [[1]] * 2049}),
        ("input[1]", {"input": ["x", ""]}),
        ("input[1]", {"input": ["x", 5]}),
        ("input[0]", {"input": [None]}),
        ("input[0]", {"input": [True]}),
        ("input[1]", {"input": [1, "x"]}),
        ("input[1]", {"input": [1, -1]}),
        ("input[1]", {"input": [1, True]}),
        ("input[1]", {"input": [[1], []]}),
        ("input[1]", {"input": [[1], "x"]}),
        ("input[0][1]", {"input": [[1, 1.5]]}),
        ("encoding_format", {"encoding_format": "hex"}),
        ("encoding_format", {"encoding_format": ["float"]}),
        *each("dimensions", 0, -1, 1.0, "5", True, 10**9),
        ("user", {"user": 5}),
    ],
)
def test_wrong_field_is_named(param: str, fields: dict[str, Any]) -> None:
    refused = refusal_of({"model": "m", "input": "secret"} | fields)
    assert refused is not None
    assert refused.param == param
    assert refused.message.startswith(f"`{param}` must be ")


@given(st.dictionaries(st.sampled_from(["model", "input", "dimensions", "user"]), JSON), JSON)
def test_arbitrary_json_passes_or_is_refused(fields: dict[str, Any], given_input: Any) -> None:
    for request in (fields, {"model": "m", "input": given_input}):
        refused = refusal_of(request)
        assert refused is None or refused.message.startswith(f"`{refused.param}`")


# Upwards


def test_keys_keep_their_order_and_values_their_bytes() -> None:
    asked = b'{"b": 1.50, "input":["\\u00e9",  "x"],"model":"mine", "z" :{"y": 2}}'
    sent = upstream_body(asked, "theirs", base64=False)
    assert sent == b'{"b":1.50,"input":["\\u00e9",  "x"],"model":"theirs","z":{"y": 2}}'


@pytest.mark.parametrize(
    ("asked", "knows_base64", "sent"),
    [
        ({}, False, {}),
        ({"encoding_format": "base64"}, False, {}),
        ({"encoding_format": "float"}, False, {"encoding_format": "float"}),
        ({"encoding_format": None}, False, {}),
        ({}, True, {"encoding_format": "base64"}),
        ({"encoding_format": "float"}, True, {"encoding_format": "base64"}),
        ({"encoding_format": 5}, True, {"encoding_format": "base64"}),
    ],
)
def test_a_provider_is_asked_for_the_form_it_knows(
    asked: dict[str, Any], knows_base64: bool, sent: dict[str, Any]
) -> None:
    request = json.dumps({"model": "m", "input": "x", **asked}).encode()
    upstream = json.loads(upstream_body(request, "m", base64=knows_base64))
    assert upstream == {"model": "m", "input": "x", **sent}


def test_fields_that_could_send_a_key_elsewhere_are_dropped() -> None:
    request = json.dumps({"model": "m", **dict.fromkeys(NEVER_FORWARDED, "http://evil.test")})
    assert upstream_body(request.encode(), "m", base64=False) == b'{"model":"m"}'


def test_our_tenant_label_stays_here() -> None:
    request = b'{"model":"m","metadata":{"tenant":"acme","k":"v"}}'
    assert upstream_body(request, "m", base64=False) == b'{"model":"m","metadata":{"k":"v"}}'
    kept = b'{"model":"m","metadata":{"k": "v"}}'
    assert upstream_body(kept, "m", base64=False) == kept
    odd = b'{"model":"m","metadata":5}'
    assert upstream_body(odd, "m", base64=False) == odd


@pytest.mark.parametrize("form", ["base64", "float", None])
def test_the_form_that_was_asked_for_is_known_from_the_body(form: str | None) -> None:
    assert encoding_asked(json.dumps({"model": "m", "encoding_format": form}).encode()) == form
    assert encoding_asked(b'{"model":"m"}') is None
