"""Seeded text and examples of schemas."""

import json
from typing import Any

import jsonschema
import pytest

from droveway.simulator import text
from droveway.simulator.examples import example


def test_the_same_seed_and_question_give_the_same_words() -> None:
    first = text.prose("1/0", "why?", 32)
    assert first == text.prose("1/0", "why?", 32)
    assert first != text.prose("2/0", "why?", 32)
    assert first != text.prose("1/0", "why not?", 32)
    assert text.prose("1/0", "why?", 8) == first[:8]


def test_counting_goes_as_far_as_asked() -> None:
    question = "Please count to 5!"
    assert text.natural_tokens(question, 32) == 5
    assert "".join(text.prose("k", question, 5)) == "1 2 3 4 5"


def test_numbered_tokens_tell_their_places() -> None:
    assert text.numbered(2) == ["t0 ", "t1 "]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {}},
        {
            "type": "object",
            "properties": {
                "city": {"type": "string", "minLength": 20, "maxLength": 30},
                "unit": {"enum": ["c", "f"]},
                "days": {"type": "integer", "minimum": 3, "maximum": 5},
                "scale": {"type": "number", "minimum": 0, "maximum": 1},
                "deep": {"type": "boolean"},
                "tags": {"type": "array", "items": {"type": "string"}, "minItems": 3},
                "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
                "kind": {"const": "weather"},
                "either": {"type": ["string", "null"]},
            },
            "required": ["city"],
        },
        {
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "next": {"$ref": "#/$defs/node"},
                    },
                    "required": ["name"],
                }
            },
            "$ref": "#/$defs/node",
        },
    ],
    ids=["empty", "flat", "recursive"],
)
def test_an_example_is_valid_for_its_schema(schema: dict[str, Any]) -> None:
    jsonschema.validate(example(schema, "key"), schema)
    assert json.loads("".join(text.json_pieces("key", schema))) == example(schema, "key")
