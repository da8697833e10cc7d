"""The request for the rest of an answer, and how providers are told that it is one."""

import json
from typing import Any

import msgspec
import pytest

from droveway.contracts.config import PROVIDER_KINDS
from droveway.dialects.continuation import continued, is_structured
from droveway.dialects.models import ModelTable
from droveway.dialects.quirks import QUIRKS, going_on

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BEGUN = {"role": "assistant", "content": "one two"}


def _continued(**fields: Any) -> dict[str, Any]:
    body = json.dumps({**ASKED, **fields}).encode()
    asked: dict[str, Any] = json.loads(continued(body, " two", 10))
    return asked


def test_the_beginning_becomes_the_last_turn() -> None:
    messages = [*ASKED["messages"], {"role": "assistant", "content": " two"}]
    assert _continued() == {**ASKED, "messages": messages}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("one", "one two"),
        ([{"type": "text", "text": "one"}], [{"type": "text", "text": t} for t in ("one", " two")]),
        (None, " two"),
    ],
    ids=["text", "parts", "nothing"],
)  # fmt: skip
def test_a_beginning_of_the_clients_own_is_lengthened(content: object, expected: object) -> None:
    messages = [*ASKED["messages"], {"role": "assistant", "content": content}]
    assert _continued(messages=messages)["messages"][1:] == [
        {"role": "assistant", "content": expected}
    ]


def test_calls_of_the_client_are_answered_and_not_lengthened() -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}
    assert _continued(messages=[called])["messages"] == [
        called, {"role": "assistant", "content": " two"},
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(("bound", "left"), [(25, 15), (10, 1), (3, 1)])
def test_what_was_spent_is_not_to_be_had_again(name: str, bound: int, left: int) -> None:
    assert _continued(**{name: bound})[name] == left


def test_a_bound_that_is_null_stays_so() -> None:
    assert _continued(max_tokens=None)["max_tokens"] is None


def test_nobody_is_asked_to_think_again() -> None:
    fields = _continued(
        thinking={"type": "enabled", "budget_tokens": 2_000}, reasoning_effort="low"
    )
    assert fields.keys() == {"model", "messages"}


def test_what_the_client_sent_keeps_its_bytes() -> None:
    body = b'{ "messages": [ {"role":"user", "content":"\\u00e9"} ], "x": 1.50 }'
    asked = continued(body, "a", 0)
    assert b'{"role":"user", "content":"\\u00e9"}' in asked
    assert b'"x":1.50' in asked


@pytest.mark.parametrize(
    ("fields", "structured"),
    [
        ({}, False),
        ({"response_format": None}, False),
        ({"response_format": {"type": "text"}}, False),
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, True),
        ({"output_config": {"effort": "low"}}, False),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, True),
    ],
)
def test_a_form_to_be_kept_is_recognised(fields: dict[str, Any], structured: bool) -> None:
    assert is_structured(json.dumps({**ASKED, **fields}).encode()) is structured


@pytest.mark.parametrize(
    ("kind", "message", "top"),
    [
        ("openai", {}, {}),
        ("llama-cpp", {}, {}),
        ("deepseek", {"prefix": True}, {}),
        ("moonshot", {"partial": True}, {}),
        ("dashscope", {"partial": True}, {}),
        ("vllm", {}, {"add_generation_prompt": False, "continue_final_message": True}),
    ],
)
def test_a_provider_is_told_in_its_own_words(
    kind: str, message: dict[str, bool], top: dict[str, bool]
) -> None:
    body = json.dumps({**ASKED, "messages": [*ASKED["messages"], BEGUN]})
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    told = json.loads(msgspec.json.encode(going_on(QUIRKS[kind], fields)))
    assert told == {**ASKED, **top, "messages": [*ASKED["messages"], BEGUN | message]}
    assert json.loads(msgspec.json.encode(fields))["messages"][-1] == BEGUN, "nothing is changed"


def test_only_providers_of_openais_dialect_need_to_be_told() -> None:
    marked = {kind for kind, quirk in QUIRKS.items() if quirk.going_on or quirk.going_on_top}
    assert {PROVIDER_KINDS[kind] for kind in marked} == {"openai"}


@pytest.mark.parametrize(
    ("model", "continues"),
    [("gpt-5", False), ("openai/gpt-4o-mini", False), ("o3", False), ("claude-sonnet-4-5", True)],
)
def test_models_that_answer_anew_are_known(model: str, continues: bool) -> None:
    assert ModelTable().facts(model).continues is continues
