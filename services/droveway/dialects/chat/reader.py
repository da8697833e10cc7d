"""Reads a chat completion, whole or as a stream, into the events that all dialects share.

OpenAI's relatives differ in what they leave out and where they put it; `chat_answer` and
`chat_calls` know how. Source: OpenAI API reference, chat completions, 2026-11.
"""

import msgspec

from droveway.contracts.relay import Usage
from droveway.dialects import finish_words
from droveway.dialects.chat.answer import Call, ChatAnswer, Choice, Message, decode
from droveway.dialects.chat.calls import ToolCalls
from droveway.dialects.events import (
    MAX_NAME_CHARS,
    Begun,
    Counted,
    Event,
    Finished,
    RedactedThinking,
    Refusal,
    Signature,
    Text,
    Thinking,
)


class ChatReader:
    """Reads one answer of a provider that speaks OpenAI's chat completions."""

    ended = False
    """`[DONE]` says so here, and comes to no reader."""

    def __init__(self) -> None:
        self._begun = False
        self._response_id = ""
        self._finished: set[int] = set()
        self._calls: dict[int, ToolCalls] = {}
        self._usage: Usage | None = None
        self._reasoned = False
        """Reasoning came as plain text that no signature has ended yet."""

    def read(self, data: bytes) -> list[Event]:
        """Takes in one chunk of a stream."""
        return self._read(decode(data))

    def read_whole(self, body: bytes) -> list[Event]:
        """Takes in a whole answer."""
        answer = decode(body)
        if not answer.choices:
            raise msgspec.ValidationError("A chat completion needs at least one of `choices`")
        return self._read(answer)

    def _read(self, answer: ChatAnswer) -> list[Event]:
        events: list[Event] = []
        choices = answer.choices or ()
        usage = answer.usage
        if not self._begun:
            if not (choices or answer.id or usage):
                return events  # Azure first tells how it judges the prompt
            self._begun = True
            self._response_id = answer.id or ""
            events.append(
                Begun(self._response_id[:MAX_NAME_CHARS], (answer.model or "")[:MAX_NAME_CHARS])
            )
        for choice in choices:
            self._read_choice(choice, events)
            usage = usage or choice.usage
        counted = usage.counted() if usage else None
        if counted is not None and counted != self._usage:
            self._usage = counted
            events.append(Counted(counted))
        return events

    def _read_choice(self, choice: Choice, events: list[Event]) -> None:
        index = choice.index or 0
        if index in self._finished:
            return
        if choice.delta is not None:
            self._read_message(choice, choice.delta, events)
        elif choice.message is not None:
            self._read_message(choice, choice.message, events)
        if choice.finish_reason:
            self._finish(choice, choice.finish_reason, events)

    def _read_message(self, choice: Choice, message: Message, events: list[Event]) -> None:
        index = choice.index or 0
        if message.reasoning_content or message.reasoning or message.thinking_blocks:
            self._read_thinking(index, message, events, whole=choice.delta is None)
        text = message.content if isinstance(message.content, str) else message.text()
        logprobs = None if choice.logprobs is None else choice.some_logprobs()
        if text or logprobs is not None:
            events.append(Text(text, index, logprobs))
        if message.refusal:
            events.append(Refusal(message.refusal, index))
        if message.tool_calls or message.function_call:
            self._read_calls(index, message, events, whole=choice.delta is None)

    def _read_thinking(
        self, index: int, message: Message, events: list[Event], *, whole: bool
    ) -> None:
        blocks = (message.thinking_blocks or ()) if index == 0 else ()
        reasoning = message.reasoning_text()
        if reasoning and not (whole and any(block.thinking for block in blocks)):
            events.append(Thinking(reasoning, index))
            self._reasoned = True
        for block in blocks:
            if block.data:
                events.append(RedactedThinking(block.data))
            if block.thinking and not self._reasoned:
                events.append(Thinking(block.thinking))
            if block.signature:
                events.append(Signature(block.signature))
                self._reasoned = False

    def _read_calls(
        self, index: int, message: Message, events: list[Event], *, whole: bool
    ) -> None:
        calls = self._calls.get(index)
        if calls is None:
            calls = self._calls[index] = ToolCalls(index, self._response_id)
        pieces = message.tool_calls or [Call(0, None, message.function_call)]
        for piece in pieces:
            events.extend(calls.read_call(piece) if whole else calls.read_piece(piece))

    def _finish(self, choice: Choice, word: str, events: list[Event]) -> None:
        index = choice.index or 0
        self._finished.add(index)
        reason, native = finish_words.from_chat(word)
        if index in self._calls and reason != "length":
            events.extend(self._calls[index].close())
        stop_sequence = choice.stop_reason if isinstance(choice.stop_reason, str) else None
        events.append(Finished(reason, index, native, stop_sequence))
