"""Reads an Anthropic message, whole or as a stream, into the events that all dialects share.

Blocks are numbered among all blocks, tool calls among themselves; what the provider does by itself
(searches, code that it runs) has no words in the other dialects and is left out.
Source: Anthropic API reference, messages and streaming, 2026-11.
"""

from droveway.contracts.relay import Usage
from droveway.dialects import finish_words
from droveway.dialects.anthropic.answer import (
    KNOWN_BLOCKS,
    KNOWN_EVENTS,
    Block,
    Delta,
    Message,
    StreamEvent,
    WholeMessage,
    decode_event,
    decode_message,
)
from droveway.dialects.events import (
    MAX_NAME_CHARS,
    Begun,
    Counted,
    Event,
    Finished,
    RedactedThinking,
    Signature,
    Text,
    Thinking,
    ToolArguments,
    ToolBegun,
)
from droveway.dialects.usage_shapes import AnthropicUsage


class _Call:
    __slots__ = ("given", "tool")

    def __init__(self, tool: int, given: str) -> None:
        self.tool = tool
        self.given = given
        """Arguments that the block began with; empty once pieces of them have come."""


class AnthropicReader:
    """Reads one answer of a provider that speaks Anthropic's messages."""

    def __init__(self) -> None:
        self.ended = False
        """The provider has said that its stream is over."""
        self._begun = False
        self._finished = False
        self._usage = AnthropicUsage()
        self._tools = 0
        self._calls: dict[int, _Call] = {}
        """By the index of their block, until it ends."""
        self._signatures: dict[int, str] = {}
        self._foreign: set[int] = set()
        """Blocks of unknown kinds, until they end."""

    def read(self, data: bytes) -> list[Event]:
        """Takes in one event of a stream."""
        event = decode_event(data)
        events: list[Event] = []
        if not self._begun and event.type in KNOWN_EVENTS:
            self._begin(event.message or Message(), events)
        index = event.index or 0
        if event.type == "content_block_delta":
            if event.delta is not None and index not in self._foreign:
                self._read_delta(index, event.delta, events)
        elif event.type == "content_block_start":
            if event.content_block is not None:
                self._end_blocks(events)
                self._begin_block(index, event.content_block, events)
        elif event.type == "content_block_stop":
            self._end_block(index, events)
        elif event.type == "message_delta":
            self._read_message_delta(event, events)
        elif event.type == "message_stop":
            self.ended = True
        return events

    def read_whole(self, body: bytes) -> list[Event]:
        """Takes in a whole answer."""
        message = decode_message(body)
        events: list[Event] = [_begun(message)]
        for index, block in enumerate(message.blocks()):
            self._begin_block(index, block, events)
            self._end_block(index, events)
        if message.stop_reason:
            self._finish(message.stop_reason, message.stop_sequence, events)
        if message.usage is not None:
            events.append(Counted(message.usage.counted()))
        return events

    def _begin(self, message: Message, events: list[Event]) -> None:
        self._begun = True
        usage = None
        if message.usage is not None:
            self._usage = message.usage
            usage = message.usage.counted()
        events.append(_begun(message, usage))

    def _begin_block(self, index: int, block: Block, events: list[Event]) -> None:
        if block.type not in KNOWN_BLOCKS:
            self._foreign.add(index)
        elif block.type == "tool_use":
            self._calls[index] = _Call(self._tools, block.input_text())
            events.append(ToolBegun(self._tools, block.id or "", block.name or ""))
            self._tools += 1
        elif block.type == "redacted_thinking":
            events.append(RedactedThinking(block.data or ""))
        elif block.type == "thinking":
            if block.thinking:
                events.append(Thinking(block.thinking))
            if block.signature:
                self._signatures[index] = block.signature
        elif block.text:
            events.append(Text(block.text))

    def _read_delta(self, index: int, delta: Delta, events: list[Event]) -> None:
        match delta.type:
            case "text_delta":
                if delta.text:
                    events.append(Text(delta.text))
            case "input_json_delta":
                call = self._calls.get(index)
                if delta.partial_json and call is not None:
                    call.given = ""
                    events.append(ToolArguments(call.tool, delta.partial_json))
            case "thinking_delta":
                if delta.thinking:
                    events.append(Thinking(delta.thinking))
            case "signature_delta":
                if delta.signature:
                    self._signatures[index] = delta.signature
            case _:
                pass  # such as citations, which no event has a place for

    def _end_block(self, index: int, events: list[Event]) -> None:
        self._foreign.discard(index)
        call = self._calls.pop(index, None)
        if call is not None and call.given:
            events.append(ToolArguments(call.tool, call.given))
        signature = self._signatures.pop(index, "")
        if signature:
            events.append(Signature(signature))

    def _end_blocks(self, events: list[Event]) -> None:
        """Ends what no event has ended: some imitations of Anthropic just begin the next."""
        for index in sorted({*self._calls, *self._signatures, *self._foreign}):
            self._end_block(index, events)

    def _read_message_delta(self, event: StreamEvent, events: list[Event]) -> None:
        if event.delta is not None and event.delta.stop_reason and not self._finished:
            self._end_blocks(events)
            self._finish(event.delta.stop_reason, event.delta.stop_sequence, events)
        if event.usage is not None:
            self._usage = self._usage.merged(event.usage)
            events.append(Counted(self._usage.counted()))

    def _finish(self, word: str, stop_sequence: str | None, events: list[Event]) -> None:
        self._finished = True
        reason, native = finish_words.from_anthropic(word)
        events.append(Finished(reason, 0, native, stop_sequence))


def _begun(message: Message | WholeMessage, usage: Usage | None = None) -> Begun:
    names = message.id or "", message.model or ""
    return Begun(names[0][:MAX_NAME_CHARS], names[1][:MAX_NAME_CHARS], usage)
