"""Answers as legacy completions: text only, the same object whole or as a stream's events.

Reasoning and tool calls have no place in it; a text by which the model declines is text.
Source: OpenAI API reference, completions (legacy), 2026-11.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from droveway.contracts.relay import Usage
from droveway.dialects.events import Begun, Context, Event, Finished, Refusal, Text
from droveway.dialects.finish_words import to_chat
from droveway.dialects.usage_shapes import chat_usage

_encode = msgspec.json.Encoder().encode
_HERE = {"tool_calls": "stop", "function_call": "stop"}
"""Reasons to finish that a text completion doesn't know."""
_USAGE = b',"usage":null}'


class CompletionsWriter:
    """Writes one answer; a `Writer` of `droveway.dialects.events`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._model = context.model
        self._prefix, self._suffix = self._around()

    def write(self, events: Sequence[Event]) -> list[bytes]:
        """The stream's next events: one for each piece of text, one for each end."""
        written = []
        for event in events:
            match event:
                case Text(text, choice) | Refusal(text, choice) if text:
                    written.append(self._piece(text, choice, b"null"))
                case Finished(reason, choice):
                    written.append(self._piece("", choice, _encode(_finish(reason))))
                case Begun(model=model):
                    self._begin(model)
        return written

    def close(self, usage: Usage) -> list[bytes]:
        """The usage event, where the client asked for it."""
        if not self._context.include_usage:
            return []
        return [_encode({**self._head(), "choices": [], "usage": chat_usage(usage)})]

    def whole(self, events: Sequence[Event], usage: Usage) -> bytes:
        """One text completion with all choices in order."""
        texts: dict[int, list[str]] = {}
        finishes: dict[int, str] = {}
        for event in events:
            match event:
                case Text(text, choice) | Refusal(text, choice):
                    texts.setdefault(choice, []).append(text)
                case Finished(reason, choice):
                    finishes.setdefault(choice, _finish(reason))
                case Begun(model=model):
                    self._begin(model)
        choices = [
            {
                "text": "".join(texts.get(index, ())),
                "index": index,
                "logprobs": None,
                "finish_reason": finishes.get(index),
            }
            for index in sorted(texts.keys() | finishes.keys() or {0})
        ]
        return _encode({**self._head(), "choices": choices, "usage": chat_usage(usage)})

    def _begin(self, model: str) -> None:
        if model and model != self._model:
            self._model = model
            self._prefix, self._suffix = self._around()

    def _head(self) -> dict[str, Any]:
        return {
            "id": f"cmpl-{self._context.response_id}",
            "object": "text_completion",
            "created": self._context.created_s,
            "model": self._model,
        }

    def _around(self) -> tuple[bytes, bytes]:
        """The bytes of an event before its text and after its finish reason."""
        prefix = _encode(self._head())[:-1] + b',"choices":[{"text":'
        return prefix, b"}]" + (_USAGE if self._context.include_usage else b"}")

    def _piece(self, text: str, choice: int, finish: bytes) -> bytes:
        index = b',"index":%d,"logprobs":null,"finish_reason":' % choice
        return b"".join((self._prefix, _encode(text), index, finish, self._suffix))


def _finish(reason: str) -> str:
    return _HERE.get(reason) or to_chat(reason)
