"""A chat completion, whole or one chunk of a stream, as providers of that dialect write it.

All that they disagree on may be absent or null. Source: OpenAI API reference, chat completions,
2026-11, and the references of its relatives.
"""

from typing import Any

import msgspec

from droveway.dialects.chat.passing import failure_in_band
from droveway.dialects.events import InBandError
from droveway.dialects.usage_shapes import ChatUsage

_NOTHING: tuple[object, ...] = ("", [])


class Function(msgspec.Struct, frozen=True):
    """What is called, as far as one piece tells it."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    """JSON text; some providers send the object itself."""

    def arguments_text(self) -> str:
        """The piece of JSON text; empty if there is none."""
        if isinstance(self.arguments, dict):
            return msgspec.json.encode(self.arguments).decode()
        return self.arguments or ""


class Call(msgspec.Struct, frozen=True):
    """A tool call, or a piece of one."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class ThinkingBlock(msgspec.Struct, frozen=True):
    """Extension: reasoning as Anthropic has it, with what must be replayed byte for byte."""

    type: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class _Part(msgspec.Struct, frozen=True):
    text: str | None = None


class Message(msgspec.Struct, frozen=True):
    """A choice's message, or what one chunk adds to it."""

    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    """DeepSeek's, which most took over."""
    reasoning: Any = None
    """OpenRouter's and newer vLLM's: a string; with others something else."""
    thinking_blocks: list[ThinkingBlock] | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    """As before there were tools."""

    def text(self) -> str:
        """The content's text, whatever stands between its parts."""
        content = self.content
        if isinstance(content, list):
            return "".join(part.text or "" for part in content)
        return content or ""

    def reasoning_text(self) -> str:
        """The reasoning where it is shown."""
        other = self.reasoning if isinstance(self.reasoning, str) else ""
        return self.reasoning_content or other


class Choice(msgspec.Struct, frozen=True):
    """One of the answers, or what one chunk adds to it."""

    index: int | None = None
    delta: Message | None = None
    message: Message | None = None
    logprobs: Any = None
    finish_reason: str | None = None
    stop_reason: Any = None
    """VLLM's: the stop sequence that ended the answer, or a token's number."""
    usage: ChatUsage | None = None
    """Moonshot counts here."""

    def some_logprobs(self) -> msgspec.Raw | None:
        """The logprobs of at least one token, as they were but for the spelling of numbers."""
        told = isinstance(self.logprobs, dict) and any(self.logprobs.values())
        return msgspec.Raw(msgspec.json.encode(self.logprobs)) if told else None


class ChatAnswer(msgspec.Struct, frozen=True):
    """What is read of it; all else isn't translated."""

    choices: list[Choice] | None = None
    usage: ChatUsage | None = None
    id: str | None = None
    model: str | None = None
    object: str | None = None
    error: Any = None


_answers = msgspec.json.Decoder(ChatAnswer)


def decode(data: bytes) -> ChatAnswer:
    """Reads a whole answer or a chunk.

    Raises:
        InBandError: It is an error.
        msgspec.DecodeError: It isn't of this dialect.
    """
    answer = _answers.decode(data)
    if (answer.error is not None and answer.error not in _NOTHING) or answer.object == "error":
        raise InBandError(failure_in_band(data))
    return answer
