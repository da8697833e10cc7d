"""Thinking: shown as the provider gives it, and replayed byte for byte."""

from typing import Any

import pytest

from tests.sdks.anthropic.client import Client
from tests.sdks.marks import TO_ANTHROPIC, TO_OPENAI
from tests.sdks.server import Book
from tests.sdks.tools import TOOLS

pytestmark = pytest.mark.sdks

REDACTED = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING"
"""Makes the provider keep a part of its thoughts to itself."""
ASKED: dict[str, Any] = {
    "model": "sim-small",
    "max_tokens": 4096,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "messages": [{"role": "user", "content": "hello"}],
}


def with_tool(question: str) -> dict[str, Any]:
    """A question that is answered by a tool call after some thought."""
    tools = [{"name": "get_time", "input_schema": TOOLS["get_time"]}]
    return {**ASKED, "tools": tools, "messages": [{"role": "user", "content": question}]}


def replied(asked: dict[str, Any], message: Any) -> dict[str, Any]:
    """The next request: the model's turn as it came, and the tool's result."""
    call_id = message.content[-1].id
    result = {"type": "tool_result", "tool_use_id": call_id, "content": "noon"}
    turn = {"role": "assistant", "content": message.content}
    return {**asked, "messages": [*asked["messages"], turn, {"role": "user", "content": [result]}]}


@TO_ANTHROPIC
async def test_thinking_comes_before_the_text_with_its_signature(sdk: Client) -> None:
    message = await sdk.message(**ASKED)
    thought, said = message.content
    assert (thought.type, said.type) == ("thinking", "text")
    assert thought.thinking
    assert thought.signature
    events, helped = await sdk.helper(**ASKED)
    assert helped.to_dict()["content"] == message.to_dict()["content"]
    assert "".join(one.thinking for one in events if one.type == "thinking") == thought.thinking
    streamed = await sdk.stream(**ASKED)
    starts = [one.content_block.type for one in streamed.of("content_block_start")]
    assert starts == ["thinking", "text"]
    [signed] = streamed.deltas("signature_delta")
    assert signed.signature == thought.signature


@TO_ANTHROPIC
@pytest.mark.parametrize("question", ["the time?", REDACTED], ids=["shown", "redacted"])
@pytest.mark.parametrize("helped", [False, True], ids=["whole", "helper"])
async def test_thinking_is_replayed_byte_for_byte(
    sdk: Client, book: Book, question: str, helped: bool
) -> None:
    asked = with_tool(question)
    message = (await sdk.helper(**asked))[1] if helped else await sdk.message(**asked)
    kinds = [block.type for block in message.content]
    assert kinds == [
        *(["redacted_thinking"] if question == REDACTED else []),
        "thinking",
        "tool_use",
    ]
    final = await sdk.message(**replied(asked, message))
    assert final.stop_reason == "end_turn"
    for sent, block in zip(book.last()["messages"][1]["content"], message.content, strict=True):
        own = block.to_dict()
        assert {name: sent[name] for name in ("thinking", "signature", "data") if name in own} == {
            name: own[name] for name in ("thinking", "signature", "data") if name in own
        }


@TO_OPENAI
async def test_earlier_thinking_is_no_obstacle_at_a_provider_of_the_other_dialect(
    sdk: Client, book: Book
) -> None:
    blocks = [
        {"type": "thinking", "thinking": "Let me see …", "signature": "c2ln+/=="},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": "Hello."},
    ]
    turns = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": "go on"},
    ]
    message = await sdk.message(messages=turns)
    assert message.stop_reason == "end_turn"
    assert "c2ln" not in str(book.last())
