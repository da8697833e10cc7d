"""Embeddings answers: what they say, and their vectors in the form that was asked for."""

import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.errors import Failure
from droveway.contracts.relay import Usage
from droveway.dialects.embeddings.answer import (
    EmbeddingFacts,
    answer,
    from_base64,
    read,
    to_base64,
)

USAGE = Usage(input_tokens=7)
TOLD = {"prompt_tokens": 5, "total_tokens": 5}
VECTOR = [0.5, -0.25, 1.0]
AS_TEXT = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
VECTORS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1)


def item(embedding: Any = VECTOR, index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": embedding, **fields}


def body(*items: Any, **fields: Any) -> bytes:
    whole = {"object": "list", "data": list(items), "model": "m", "usage": TOLD}
    kept = {name: value for name, value in (whole | fields).items() if value is not ...}
    return json.dumps(kept).encode()


# What an answer says


def test_an_answer_tells_usage_model_and_count() -> None:
    assert read(body(item(), item(AS_TEXT))) == EmbeddingFacts(Usage(input_tokens=5), "m", 2)


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        (..., None),
        (None, None),
        ({}, None),
        ({"total_tokens": 3}, 3),
        ({"prompt_tokens": 4, "total_tokens": 9}, 4),
        ({"prompt_tokens": -4}, 0),
        ({"prompt_tokens": 2**60}, 2**53),
    ],
)
def test_usage_is_what_was_told(usage: Any, counted: int | None) -> None:
    facts = read(body(item(), usage=usage, model=None))
    assert isinstance(facts, EmbeddingFacts)
    assert facts.model == ""
    assert facts.usage == (None if counted is None else Usage(input_tokens=counted))


@pytest.mark.parametrize(
    "broken",
    [
        b"", b"[]", b"<html>", b'{"data":5}', b"[" * 100_000, b'{"data":"\xff"}', b"{}",
        body(), body(item(None)), body(item(5)), body(item({})), body({"index": 0}), body(5),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_the_providers_failure(broken: bytes) -> None:
    found = read(broken)
    assert isinstance(found, Failure)
    assert found.code == "bad_upstream"


def test_an_error_in_band_is_the_providers_own() -> None:
    found = read(b'{"error":{"message":"no such model","code":"model_gone"}}')
    assert isinstance(found, Failure)
    assert (found.code, found.provider_code) == ("provider_unavailable", "model_gone")
    assert "no such model" in found.message
    assert isinstance(read(body(item(), error=None)), EmbeddingFacts)


# The answer as asked


@pytest.mark.parametrize(
    ("encoding_format", "embedding"), [(None, VECTOR), ("float", VECTOR), ("base64", AS_TEXT)]
)
def test_an_answer_that_fits_is_untouched(encoding_format: str | None, embedding: Any) -> None:
    fits = body(item(embedding), item(embedding, 1), created=5).replace(b", ", b" ,  ")
    assert answer(fits, encoding_format, USAGE) is fits


@pytest.mark.parametrize(
    ("encoding_format", "came", "shown"),
    [("base64", VECTOR, AS_TEXT), ("float", AS_TEXT, VECTOR), (None, AS_TEXT, VECTOR)],
)
def test_vectors_take_the_form_that_was_asked_for(
    encoding_format: str | None, came: Any, shown: Any
) -> None:
    whole = body(item(came), item(shown, 1, note=[1]), created=5)
    assert json.loads(answer(whole, encoding_format, USAGE)) == json.loads(
        body(item(shown), item(shown, 1, note=[1]), created=5)
    )


def test_what_is_missing_is_added() -> None:
    bare = json.dumps({"data": [{"embedding": VECTOR}, {"embedding": VECTOR, "index": None}]})
    assert json.loads(answer(bare.encode(), None, USAGE, model="shown")) == {
        "data": [item(), item(index=1)],
        "object": "list",
        "model": "shown",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


def test_half_of_a_usage_is_completed_from_what_was_told() -> None:
    whole = answer(body(item(), usage={"total_tokens": 3}), None, USAGE)
    assert json.loads(whole)["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


@pytest.mark.parametrize(
    ("encoding_format", "broken"),
    [
        ("float", "not base64!"),
        ("float", ""),
        ("float", "AAAA"),
        ("float", "AADAf/==" * 2),
        ("float", base64.b64encode(struct.pack("<f", float("nan"))).decode()),
        ("base64", ["x"]),
        ("base64", [[1.0]]),
        ("base64", [None]),
    ],
)
def test_a_vector_that_is_none_is_no_answer(encoding_format: str, broken: Any) -> None:
    with pytest.raises(msgspec.DecodeError):
        answer(body(item(broken)), encoding_format, USAGE)


# Numbers and bytes


@given(VECTORS)
def test_base64_and_numbers_are_the_same_bytes(numbers: list[float]) -> None:
    packed = struct.pack(f"<{len(numbers)}f", *numbers)
    text = base64.b64encode(packed).decode()
    assert to_base64(numbers) == text
    there = answer(body(item(text)), "float", USAGE)
    assert isinstance(read(there), EmbeddingFacts)
    back = answer(there, "base64", USAGE)
    assert json.loads(back)["data"][0]["embedding"] == text
    assert base64.b64decode(to_base64(from_base64(text))) == packed


@given(st.dictionaries(st.sampled_from(["data", "model", "usage", "object", "error"]), JSON), JSON)
def test_an_arbitrary_answer_is_read_or_a_failure(fields: dict[str, Any], embedding: Any) -> None:
    for whole in (msgspec.json.encode(fields), msgspec.json.encode({"data": [item(embedding)]})):
        if isinstance(read(whole), Failure):
            continue
        for encoding_format in (None, "base64"):
            try:
                shown = answer(whole, encoding_format, USAGE, model="m")
            except msgspec.DecodeError:
                continue
            assert answer(shown, encoding_format, USAGE, model="m") == shown
