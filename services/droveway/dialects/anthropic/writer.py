"""Writes the events of an answer as an Anthropic message, whole or as a stream.

message_start → (content_block_start → content_block_delta* → content_block_stop)* →
message_delta → message_stop; no block begins before the one before it has ended.
Every event starts with its type, from which the door names it.
Source: Anthropic API reference, messages and streaming, 2026-11.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from droveway.contracts.relay import Usage
from droveway.dialects import finish_words
from droveway.dialects.anthropic.answer_blocks import Block, Contents
from droveway.dialects.events import Begun, Context, Event
from droveway.dialects.usage_shapes import anthropic_usage

_json = msgspec.json.Encoder().encode
_MESSAGE_STOP = b'{"type":"message_stop"}'
_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}
"""Each kind of block's delta, and the field that has the piece."""


class AnthropicWriter:
    """Writes one answer for a client that speaks Anthropic's messages."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._begun = False
        self._contents = Contents()
        self._index = 0
        """Of the first block that hasn't ended."""
        self._open = False
        """It has begun."""
        self._only: Block | None = None
        """The block that is open, while none waits for its end."""
        self._before = b""
        """What stands before its pieces."""

    def write(self, events: Sequence[Event]) -> list[bytes]:
        """The stream's next events."""
        out: list[bytes] = []
        for event in events:
            if self._only is not None and (piece := self._only.continued(event)):
                out.append(self._before + _json(piece) + b"}}")
            else:
                self._write(event, out)
        return out

    def close(self, usage: Usage) -> list[bytes]:
        """Ends what is open, tells why the answer ended and what it took."""
        out: list[bytes] = []
        if not self._begun:
            self._begin(Begun("", ""), out)
        self._send_blocks(out, final=True)
        delta = {
            "type": "message_delta",
            "delta": self._ending(self._contents),
            "usage": anthropic_usage(usage),
        }
        return [*out, _json(delta), _MESSAGE_STOP]

    def whole(self, events: Sequence[Event], usage: Usage) -> bytes:
        """All of it as one message."""
        contents = Contents()
        model = ""
        for event in events:
            contents.take(event)
            if isinstance(event, Begun):
                model = event.model
        content = [block.whole() for block in contents.blocks]
        return _json(
            {
                **self._named(model),
                "content": content,
                **self._ending(contents),
                "usage": anthropic_usage(usage),
            }
        )

    def _write(self, event: Event, out: list[bytes]) -> None:
        if not self._begun:
            self._begin(event if isinstance(event, Begun) else Begun("", ""), out)
        self._contents.take(event)
        self._send_blocks(out, final=self._contents.finished is not None)

    def _begin(self, begun: Begun, out: list[bytes]) -> None:
        """The input isn't known yet unless the provider told it: an estimate stands in for it."""
        self._begun = True
        usage = begun.usage or Usage(self._context.input_estimate_tokens)
        message = {
            **self._named(begun.model),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**anthropic_usage(usage), "output_tokens": 1},
        }
        out.append(_json({"type": "message_start", "message": message}))

    def _named(self, model: str) -> dict[str, Any]:
        return {
            "id": f"msg_{self._context.response_id}",
            "type": "message",
            "role": "assistant",
            "model": model or self._context.model,
        }

    def _ending(self, contents: Contents) -> dict[str, Any]:
        finished = contents.finished
        reason = finish_words.to_anthropic(
            finished, refused=contents.refused, calls=contents.has_calls
        )
        sequence = finished.stop_sequence if finished and reason == "stop_sequence" else None
        return {"stop_reason": reason, "stop_sequence": sequence}

    def _send_blocks(self, out: list[bytes], *, final: bool) -> None:
        """Sends what the first block has, and what those after it have once it may end."""
        blocks = self._contents.blocks
        while blocks:
            block = blocks[0]
            self._send_block(block, out)
            ends = final or block.ends_itself or (len(blocks) > 1 and block.may_end())
            if not ends:
                break
            out.append(b'{"type":"content_block_stop","index":%d}' % self._index)
            blocks.popleft()
            self._index += 1
            self._open = False
        self._only = blocks[0] if len(blocks) == 1 else None
        if self._only is not None:
            self._before = self._before_piece(*_DELTAS[self._only.kind])

    def _send_block(self, block: Block, out: list[bytes]) -> None:
        if not self._open:
            self._open = True
            begun = _json(block.begun())
            out.append(
                b'{"type":"content_block_start","index":%d,"content_block":%b}'
                % (self._index, begun)
            )
        if block.pieces:
            before = self._before_piece(*_DELTAS[block.kind])
            out.extend(before + _json(piece) + b"}}" for piece in block.pieces)
            block.sent()
        if block.signature is not None:
            before = self._before_piece("signature_delta", "signature")
            out.append(before + _json(block.signature) + b"}}")

    def _before_piece(self, delta: str, field: str) -> bytes:
        start = '{"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":'
        return (start % (self._index, delta, field)).encode()
