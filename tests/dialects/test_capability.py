"""What a request needs, and which target can't give it."""

from typing import Any

import msgspec
import pytest

from droveway.contracts.inference import Needs
from droveway.dialects.capability import _SAID, missing, needs_of
from droveway.dialects.models import ModelFacts, ModelTable

USER = {"role": "user", "content": "hello"}
CALLED = {"role": "assistant", "tool_calls": [{"id": "c"}]}
ALL_NEEDS = [name for name in Needs.__struct_fields__ if name != "embeddings"]


def part(kind: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text"}, {"type": kind}]}]}


ROWS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, set()),
    "tools": ({"tools": [{"type": "function"}]}, {"tools"}),
    "functions": ({"functions": [{"name": "f"}]}, {"tools"}),
    "no tools": ({"tools": []}, set()),
    "image": (part("image_url"), {"images"}),
    "audio in": (part("input_audio"), {"audio"}),
    "audio out": ({"modalities": ["text", "audio"]}, {"audio"}),
    "text out": ({"modalities": ["text"]}, set()),
    "file": (part("file"), {"files"}),
    "document": (part("document"), {"files"}),
    "another part": (part("video_url"), set()),
    "schema": ({"response_format": {"type": "json_schema"}}, {"json_schema"}),
    "any json": ({"response_format": {"type": "json_object"}}, set()),
    "prefill": ({"messages": [USER, {"role": "assistant", "content": "{"}]}, {"prefill"}),
    "a call at the end": ({"messages": [USER, CALLED]}, set()),
    "logprobs": ({"logprobs": True}, {"logprobs"}),
    "no logprobs": ({"logprobs": False, "top_logprobs": None}, set()),
    "top_logprobs": ({"top_logprobs": 2}, {"logprobs"}),
    "one choice": ({"n": 1}, set()),
    "choices": ({"n": 2}, {"choices"}),
    "no number": ({"n": None}, set()),
}


@pytest.mark.parametrize(("request_", "needed"), ROWS.values(), ids=ROWS)
def test_needs_are_read_from_the_request(request_: dict[str, Any], needed: set[str]) -> None:
    needs = needs_of({"messages": [USER], **request_})
    assert {name for name in Needs.__struct_fields__ if getattr(needs, name)} == needed


def test_every_need_has_its_fact_and_its_words() -> None:
    assert set(Needs.__struct_fields__) == set(_SAID)
    assert set(Needs.__struct_fields__) <= set(ModelFacts.__struct_fields__)


@pytest.mark.parametrize("need", Needs.__struct_fields__)
def test_an_unknown_model_is_missing_nothing(need: str) -> None:
    assert missing(Needs(**{need: True}), ModelFacts(name="m"), "openai") is None


@pytest.mark.parametrize("need", ALL_NEEDS)
def test_a_model_that_cannot_is_told_with_the_parameter(need: str) -> None:
    needs = Needs(**{need: True})
    facts = msgspec.structs.replace(ModelFacts(name="small"), **{need: False})
    found = missing(needs, facts, "openai")
    assert found is not None
    assert found[0] in ("tools", "messages", "response_format", "logprobs", "n")
    assert found[1].startswith("`small` doesn't support ")
    assert missing(Needs(), facts, "openai") is None


@pytest.mark.parametrize("need", ["audio", "choices", "embeddings", "logprobs"])
def test_anthropics_api_has_no_words_for_it(need: str) -> None:
    found = missing(Needs(**{need: True}), ModelFacts(name="m"), "anthropic")
    assert found is not None
    assert found[1].startswith("The provider of `m` doesn't support ")


def test_a_provider_may_lack_what_its_model_can() -> None:
    needs, facts = Needs(json_schema=True), ModelFacts(name="deepseek-chat")
    assert missing(needs, facts, "openai") is None
    assert missing(needs, facts, "openai", ("json_schema",)) == (
        "response_format",
        "The provider of `deepseek-chat` doesn't support a `json_schema` response format.",
    )


def test_models_for_chats_and_for_embeddings_are_not_mixed_up() -> None:
    table = ModelTable()
    assert missing(Needs(), table.facts("text-embedding-3-small"), "openai") == (
        "model", "`text-embedding-3-small` makes embeddings; it doesn't chat.",
    )  # fmt: skip
    embeddings = Needs(embeddings=True)
    assert missing(embeddings, table.facts("text-embedding-3-small"), "openai") is None
    assert missing(embeddings, table.facts("gpt-4o"), "openai") == (
        "model", "`gpt-4o` doesn't support embeddings.",
    )  # fmt: skip
