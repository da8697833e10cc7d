"""No conversation that a door takes costs time beyond its size, however its pieces repeat."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from droveway.dialects.anthropic import to_chat as anthropic_to_chat
from droveway.dialects.anthropic.from_chat import from_chat
from droveway.dialects.responses import request as responses_request

LIMIT_S = 0.5
"""Each took seconds or minutes when something was copied for each piece."""
ASKED = {"role": "user", "content": "x"}


def to_messages(request: dict[str, Any]) -> object:
    return from_chat(request, max_output_tokens=9, sampling=True, version_2026=False)


def to_chat(request: dict[str, Any]) -> object:
    return anthropic_to_chat.to_chat(request)


def respond(request: dict[str, Any]) -> object:
    return responses_request.to_chat(request, [])


def thoughts() -> dict[str, Any]:
    blocks = [{"type": "thinking", "thinking": "t" * 400, "signature": "s"}] * 20_000
    return {"messages": [ASKED, {"role": "assistant", "content": blocks}]}


def short_turns() -> dict[str, Any]:
    return {"messages": [ASKED, *[{"role": "assistant", "content": "a"}] * 40_000]}


def same_ids() -> dict[str, Any]:
    use = {"type": "tool_use", "id": "call_0", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "call_0", "content": "r"}
    turn = [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    return {"messages": turn * 6_000}


def same_chat_ids() -> dict[str, Any]:
    call = {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "call_0", "content": "r"}
    turn = [{"role": "assistant", "tool_calls": [call]}, result]
    return {"messages": [ASKED, *turn * 4_900]}


def items(one: dict[str, Any]) -> dict[str, Any]:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    return {"model": "m", "input": [call, *[one] * 9_900]}


def said() -> dict[str, Any]:
    part = {"type": "output_text", "text": "t"}
    return items({"type": "message", "role": "assistant", "content": [part]})


@pytest.mark.parametrize(
    ("translate", "request_of"),
    [
        (to_chat, thoughts), (to_chat, short_turns), (to_chat, same_ids),
        (to_messages, same_chat_ids), (respond, said),
    ],
    ids=lambda one: one.__name__,
)  # fmt: skip
def test_a_conversation_of_many_pieces_is_translated_at_once(
    translate: Callable[[dict[str, Any]], object], request_of: Callable[[], dict[str, Any]]
) -> None:
    request = request_of()
    began_s = time.process_time()
    translate(request)
    assert time.process_time() - began_s < LIMIT_S
