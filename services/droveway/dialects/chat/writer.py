"""Writes the events of an answer as a chat completion, whole or as a stream.

A stream's chunks have one id, one `created` and one model; each choice begins with its role and
ends with its `finish_reason`. Source: OpenAI API reference, chat completions, 2026-11.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from droveway.contracts.relay import Usage
from droveway.dialects import finish_words
from droveway.dialects.chat.message import ChatMessage, ThinkingBlocks
from droveway.dialects.events import (
    Begun,
    Context,
    Counted,
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
from droveway.dialects.usage_shapes import chat_usage

_json = msgspec.json.Encoder().encode
_NULL = b"null"


class ChatWriter:
    """Writes one answer for a client that speaks OpenAI's chat completions."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._id = f"chatcmpl-{context.response_id}"
        self._model = context.model
        self._begun: set[int] = set()
        self._thinking = ThinkingBlocks()
        self._head = self._built_head()
        self._tail = b'}],"usage":null}' if context.include_usage else b"}]}"
        self._after_text = b'},"logprobs":null,"finish_reason":null' + self._tail
        self._before_text = b""
        """What stands before the first choice's text, where only text has come of late."""

    def write(self, events: Sequence[Event]) -> list[bytes]:
        """The stream's next chunks."""
        chunks: list[bytes] = []
        for event in events:
            if type(event) is not Text:
                self._write(event, chunks)
            elif self._before_text and not event.choice and event.text and event.logprobs is None:
                chunks.append(self._before_text + _json(event.text) + self._after_text)
            else:
                self._write_text(event, chunks)
        return chunks

    def close(self, usage: Usage) -> list[bytes]:
        """The usage chunk, for clients that want it."""
        if not self._context.include_usage:
            return []
        return [self._head[: -len(b'{"index":')] + b'],"usage":' + _json(chat_usage(usage)) + b"}"]

    def whole(self, events: Sequence[Event], usage: Usage) -> bytes:
        """All of it as one `chat.completion`."""
        messages = {0: ChatMessage(0)}
        for event in events:
            if isinstance(event, Begun):
                self._model = event.model or self._model
            else:
                index = _choice(event)
                messages.setdefault(index, ChatMessage(index)).take(event)
        return _json(
            {
                "id": self._id,
                "object": "chat.completion",
                "created": self._context.created_s,
                "model": self._model,
                "choices": [message.as_choice() for _, message in sorted(messages.items())],
                "usage": chat_usage(usage),
            }
        )

    def _write(self, event: Event, chunks: list[bytes]) -> None:
        if isinstance(event, Begun):
            self._begin(event, chunks)
            return
        if isinstance(event, Counted):
            return
        index = _choice(event)
        if index not in self._begun:
            self._tell_role(index, chunks)
        if isinstance(event, Thinking):
            self._before_text = b""  # the text that follows ends it
        block = self._thinking.take(event) if index == 0 else None
        if block is not None:
            self._put(index, {"thinking_blocks": [block]}, chunks)
        elif isinstance(event, Finished):
            reason = _json(finish_words.to_chat(event.reason))
            self._put(index, {}, chunks, finish_reason=reason)
        elif delta := _delta(event):
            self._put(index, delta, chunks)

    def _write_text(self, event: Text, chunks: list[bytes]) -> None:
        if event.choice not in self._begun:
            self._tell_role(event.choice, chunks)
        if event.choice == 0:
            self._thinking.take(event)
            self._before_text = self._head + b'0,"delta":{"content":'
        logprobs = _NULL if event.logprobs is None else bytes(event.logprobs)
        if event.text or event.logprobs is not None:
            self._put(event.choice, {"content": event.text}, chunks, logprobs=logprobs)

    def _begin(self, event: Begun, chunks: list[bytes]) -> None:
        if event.model:
            self._model = event.model
            self._head = self._built_head()
        self._tell_role(0, chunks)

    def _tell_role(self, index: int, chunks: list[bytes]) -> None:
        self._begun.add(index)
        self._put(index, {"role": "assistant", "content": ""}, chunks)

    def _built_head(self) -> bytes:
        named = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._context.created_s,
            "model": self._model,
        }
        return _json(named)[:-1] + b',"choices":[{"index":'

    def _put(
        self,
        index: int,
        delta: dict[str, Any],
        chunks: list[bytes],
        *,
        finish_reason: bytes = _NULL,
        logprobs: bytes = _NULL,
    ) -> None:
        chunks.append(
            b'%b%d,"delta":%b,"logprobs":%b,"finish_reason":%b%b'
            % (self._head, index, _json(delta), logprobs, finish_reason, self._tail)
        )


def _choice(event: Event) -> int:
    """Which of the answers it adds to; what only some providers know belongs to the first."""
    if isinstance(event, (Begun, Signature, RedactedThinking, Counted)):
        return 0
    return event.choice


def _delta(event: Event) -> dict[str, Any]:
    """What an event adds to its choice's message; nothing if it adds nothing."""
    match event:
        case Thinking(text=text):
            return {"reasoning_content": text} if text else {}
        case Refusal(text=text):
            return {"refusal": text} if text else {}
        case ToolBegun(tool=tool, call_id=call_id, name=name):
            function = {"name": name, "arguments": ""}
            call = {"index": tool, "id": call_id, "type": "function", "function": function}
            return {"tool_calls": [call]}
        case ToolArguments(tool=tool, piece=piece) if piece:
            return {"tool_calls": [{"index": tool, "function": {"arguments": piece}}]}
        case _:
            return {}
