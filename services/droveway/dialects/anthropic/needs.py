"""What a target must be able to do for an Anthropic request: read from its shape."""

from collections.abc import Iterator
from typing import Any

from droveway.contracts.inference import Needs


def needs_of_messages(request: dict[str, Any]) -> Needs:
    """Of a request that has passed its checks."""
    output = request.get("output_config")
    shape = output.get("format") if isinstance(output, dict) else None
    messages = request["messages"]
    return Needs(
        tools=bool(request.get("tools")),
        images=any(block.get("type") == "image" for block in _blocks(messages)),
        json_schema=isinstance(shape, dict) and shape.get("type") == "json_schema",
        files=any(block.get("type") == "document" for block in _blocks(messages)),
        prefill=messages[-1].get("role") == "assistant",
    )


def _blocks(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every block of every message, those inside of tool results too."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            for block in content:
                yield block
                inner = block.get("content")
                if isinstance(inner, list):
                    yield from (one for one in inner if isinstance(one, dict))
