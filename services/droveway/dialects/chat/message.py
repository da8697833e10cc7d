"""One choice of a whole chat completion, put together from the events of its answer.

Source: OpenAI API reference, chat completions, 2026-11.
"""

from typing import Any

import msgspec

from droveway.dialects import finish_words
from droveway.dialects.events import (
    Event,
    Finished,
    RedactedThinking,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolArguments,
    ToolBegun,
)


class _Logprobs(msgspec.Struct):
    content: list[msgspec.Raw] | None = None
    refusal: list[msgspec.Raw] | None = None


_logprobs = msgspec.json.Decoder(_Logprobs)


class _Call:
    def __init__(self, call_id: str, name: str) -> None:
        self.call_id = call_id
        self.name = name
        self.arguments: list[str] = []


class ThinkingBlocks:
    """Reasoning with what must be replayed byte for byte: the extension `thinking_blocks`.

    Reasoning without a signature is no block; it is shown as `reasoning_content` alone.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def take(self, event: Event) -> dict[str, str] | None:
        """Takes in one event; the block that it ends."""
        match event:
            case Thinking(text=text):
                self._pieces.append(text)
            case Signature(signature=signature):
                thinking = "".join(self._pieces)
                self._pieces.clear()
                return {"type": "thinking", "thinking": thinking, "signature": signature}
            case RedactedThinking(data=data):
                return {"type": "redacted_thinking", "data": data}
            case Text() | ToolBegun():
                self._pieces.clear()
            case _:
                pass
        return None


class ChatMessage:
    """A choice, as its events add to it."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._reasoning: list[str] = []
        self._logprobs: list[msgspec.Raw] = []
        self._thinking = ThinkingBlocks()
        self._thinking_blocks: list[dict[str, str]] = []
        self._calls: dict[int, _Call] = {}
        self._finish_reason: str | None = None

    def take(self, event: Event) -> None:
        """Takes in an event of this choice."""
        block = self._thinking.take(event)
        if block is not None:
            self._thinking_blocks.append(block)
        match event:
            case Text(text=text, logprobs=logprobs):
                self._texts.append(text)
                if logprobs is not None:
                    self._logprobs.append(logprobs)
            case Refusal(text=text):
                self._refusals.append(text)
            case Thinking(text=text):
                self._reasoning.append(text)
            case ToolBegun(tool=tool, call_id=call_id, name=name):
                self._calls[tool] = _Call(call_id, name)
            case ToolArguments(tool=tool, piece=piece):
                self._calls[tool].arguments.append(piece)
            case Finished(reason=reason):
                self._finish_reason = finish_words.to_chat(reason)
            case _:
                pass

    def as_choice(self) -> dict[str, Any]:
        """As it stands in `choices`."""
        return {
            "index": self._index,
            "message": self._message(),
            "logprobs": self._joined_logprobs(),
            "finish_reason": self._finish_reason,
        }

    def _message(self) -> dict[str, Any]:
        text = "".join(self._texts)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if not text and (self._calls or self._refusals) else text,
            "refusal": "".join(self._refusals) or None,
        }
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        if self._thinking_blocks:
            message["thinking_blocks"] = self._thinking_blocks
        if self._calls:
            message["tool_calls"] = [
                {
                    "id": call.call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": "".join(call.arguments)},
                }
                for _, call in sorted(self._calls.items())
            ]
        return message

    def _joined_logprobs(self) -> msgspec.Raw | _Logprobs | None:
        if len(self._logprobs) < 2:
            return self._logprobs[0] if self._logprobs else None
        joined = _Logprobs()
        for raw in self._logprobs:
            try:
                piece = _logprobs.decode(raw)
            except msgspec.ValidationError:
                return self._logprobs[-1]  # not OpenAI's shape: nothing says how to join them
            if piece.content:
                joined.content = [*(joined.content or ()), *piece.content]
            if piece.refusal:
                joined.refusal = [*(joined.refusal or ()), *piece.refusal]
        return joined
