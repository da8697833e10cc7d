"""An Anthropic message, whole or one event of a stream, as far as it is translated.

Source: Anthropic API reference, messages and streaming, 2026-11.
"""

from typing import Any

import msgspec

from droveway.contracts.errors import Failure, failure
from droveway.dialects.chat.passing import error_parts
from droveway.dialects.events import InBandError
from droveway.dialects.usage_shapes import AnthropicUsage

KNOWN_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
"""Blocks of other kinds are what the provider does by itself, such as its search results."""
KNOWN_EVENTS = frozenset(
    {"message_start", "content_block_start", "content_block_delta", "content_block_stop"}
    | {"message_delta", "message_stop"}
)
"""Events that belong to an answer; others (`ping` and what is new) say nothing of it."""
_KNOWN_DELTAS = frozenset({"text_delta", "input_json_delta", "thinking_delta", "signature_delta"})
_ERROR_CODES = {
    "overloaded_error": "provider_unavailable",
    "rate_limit_error": "provider_rate_limited",
}
_ABSENT = msgspec.Raw()


class Block(msgspec.Struct, frozen=True):
    """A content block; in a stream as it begins."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _ABSENT

    def input_text(self) -> str:
        """A call's arguments as JSON text."""
        return bytes(self.input).decode() or "{}"


class Delta(msgspec.Struct, frozen=True):
    """What an event adds to a block, or to the message."""

    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class Message(msgspec.Struct, frozen=True):
    """A whole message; in a stream as it begins."""

    id: str | None = None
    model: str | None = None
    usage: AnthropicUsage | None = None


class StreamEvent(msgspec.Struct, frozen=True):
    """One event of a stream: each kind has some of the fields."""

    type: str
    index: int | None = None
    delta: Delta | None = None
    content_block: Block | None = None
    message: Message | None = None
    usage: AnthropicUsage | None = None


class WholeMessage(msgspec.Struct, frozen=True):
    """A whole answer."""

    type: str
    content: list[msgspec.Raw] | None = None
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: AnthropicUsage | None = None

    def blocks(self) -> list[Block]:
        """Its content; of a block of an unknown kind only the kind.

        Raises:
            msgspec.DecodeError: One of them isn't of this dialect.
        """
        return [_block(raw) for raw in self.content or ()]


class _Kind(msgspec.Struct, frozen=True):
    type: str = ""


class _Event(msgspec.Struct, frozen=True):
    type: str = ""
    error: Any = None


class _Outline(msgspec.Struct, frozen=True):
    """What kinds of things it is about, whatever else is in it."""

    index: int | None = None
    delta: _Kind | None = None
    content_block: _Kind | None = None


_events = msgspec.json.Decoder(StreamEvent)
_kinds = msgspec.json.Decoder(_Event)
_outlines = msgspec.json.Decoder(_Outline)
_messages = msgspec.json.Decoder(WholeMessage)
_blocks = msgspec.json.Decoder(Block)
_block_kinds = msgspec.json.Decoder(_Kind)


def decode_event(data: bytes) -> StreamEvent:
    """Reads one event of a stream.

    Raises:
        InBandError: It is an error.
        msgspec.DecodeError: It isn't of this dialect.
    """
    try:
        event = _events.decode(data)
    except msgspec.ValidationError:
        new = _new_event(data)
        if new is None:
            raise
        return new
    if event.type == "error":
        raise InBandError(_failure(data))
    if event.content_block is not None:
        data.decode()  # a call's input passes undecoded: nothing else notices what isn't UTF-8
    return event


def decode_message(body: bytes) -> WholeMessage:
    """Reads a whole answer.

    Raises:
        InBandError: It is an error.
        msgspec.DecodeError: It isn't of this dialect.
    """
    message = _messages.decode(body)
    if message.type == "error":
        raise InBandError(_failure(body))
    if message.type != "message" or message.content is None:
        raise msgspec.ValidationError("An answer needs `content` and the type `message`")
    body.decode()  # as above
    return message


def _block(raw: msgspec.Raw) -> Block:
    try:
        return _blocks.decode(raw)
    except msgspec.ValidationError:
        kind = _block_kinds.decode(raw).type
        if kind in KNOWN_BLOCKS:
            raise
        return Block(kind)


def _new_event(data: bytes) -> StreamEvent | None:
    """An event of a kind, or about a kind of block, that came after this was written.

    Those may use known names for something else. None if it is no such event.

    Raises:
        InBandError: It is an error in a shape of another dialect.
    """
    event = _kinds.decode(data)
    kind = event.type
    if kind == "error" or event.error:
        raise InBandError(_failure(data))
    if kind not in KNOWN_EVENTS:
        return StreamEvent(kind) if kind else None
    outline = _outlines.decode(data)
    block, delta = outline.content_block, outline.delta
    if kind == "content_block_start" and block and block.type not in KNOWN_BLOCKS:
        return StreamEvent(kind, outline.index, content_block=Block(block.type))
    if kind == "content_block_delta" and delta and delta.type not in _KNOWN_DELTAS:
        return StreamEvent(kind, outline.index, Delta(delta.type))
    return None


def _failure(data: bytes) -> Failure:
    message, kind, code, _ = error_parts(data)
    return failure(
        _ERROR_CODES.get(kind, "provider_unavailable"),
        f"The provider reported an error: {message}" if message else "",
        provider_code=kind or code,
    )
