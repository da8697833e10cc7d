"""Joins streams of Anthropic messages: see `dialects.joining`.

One message_start; a text that goes on stays in its block, all other blocks are counted on; the
usage of all of them at the end.
"""

from typing import Any

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.contracts.relay import Usage
from droveway.dialects.anthropic.answer import StreamEvent, decode_event
from droveway.dialects.events import InBandError
from droveway.dialects.joining import Said
from droveway.dialects.usage_shapes import AnthropicUsage, added, anthropic_usage

_THOUGHT = frozenset({"thinking", "redacted_thinking"})
_any = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode


class MessagesJoin:
    """One client's stream of events."""

    def __init__(self) -> None:
        self.said = Said()
        self._before: Usage | None = None
        """What the answers before took; None: the first one is at hand."""
        self._started = False
        self._sealed = False
        """It has said what nobody can go on with: a call, another kind of block, its end."""
        self._thought = False
        self._usage = AnthropicUsage()
        """Of the answer at hand."""
        self._open: int | None = None
        """The block that is open, as the client counts; it is one of text if `_open_text`."""
        self._open_text = False
        self._blocks = 0
        self._shown_as: dict[int, int] = {}
        """Blocks of the answer at hand, as the client counts them."""

    @property
    def can_go_on(self) -> bool:
        """See `Join`; thoughts alone are shown already and can't be handed on."""
        if self._sealed or self.said.full:
            return False
        return bool(self.said.prefill) or not self._thought

    def take(self, data: bytes) -> list[bytes]:
        """See `Join`."""
        try:
            event = decode_event(data)
        except (InBandError, *MALFORMED):
            self._sealed = True  # its caller lets through what it can't read either
            return [data]
        match event.type:
            case "message_start":
                self._usage = (event.message and event.message.usage) or AnthropicUsage()
                shown, self._started = [] if self._started else [data], True
                return shown
            case "content_block_start":
                return self._begin(data, event)
            case "content_block_delta":
                return self._piece(data, event)
            case "content_block_stop":
                self._open = None
                return [self._numbered(data, event)]
            case "message_delta":
                return [*(self._close() if self._is_untouched else ()), self._end(data, event)]
            case _:
                return [data]

    def go_on(self, before: Usage) -> None:
        """See `Join`."""
        self._before = before
        self._shown_as = {}
        self.said.go_on()

    @property
    def _is_untouched(self) -> bool:
        """What was open when the answer broke off is as it was."""
        return self._before is not None and not self._shown_as

    def _close(self) -> list[bytes]:
        open_, self._open = self._open, None
        return [] if open_ is None else [_stop(open_)]

    def _begin(self, data: bytes, event: StreamEvent) -> list[bytes]:
        index, block = event.index or 0, event.content_block
        kind = block.type if block is not None else ""
        first = self._is_untouched
        text = (block.text if block is not None else "") or ""
        self._sealed |= kind != "text" and kind not in _THOUGHT
        self._thought |= kind in _THOUGHT
        if first and kind == "text" and self._open is not None and self._open_text:
            self._shown_as[index] = self._open
            rest = self.said.rest(text)
            self.said.add(rest)
            return [_text_delta(self._open, rest)] if rest else []
        ended = self._close() if first else []
        self.said.add(text)
        self._shown_as[index] = self._open = index if self._before is None else self._blocks
        self._open_text = kind == "text"
        self._blocks = self._open + 1
        return [*ended, self._numbered(data, event)]

    def _piece(self, data: bytes, event: StreamEvent) -> list[bytes]:
        delta = event.delta
        if delta is not None and delta.text:
            text = self.said.rest(delta.text)
            self.said.add(text)
            if text != delta.text:
                index = self._shown_as.get(event.index or 0, 0)
                return [_text_delta(index, text)] if text else []
        return [self._numbered(data, event)]

    def _end(self, data: bytes, event: StreamEvent) -> bytes:
        self._sealed |= event.delta is not None and bool(event.delta.stop_reason)
        if event.usage is None:
            return data
        self._usage = self._usage.merged(event.usage)
        if self._before is None:
            return data
        fields = _any.decode(data)
        fields["usage"] |= anthropic_usage(added(self._before, self._usage.counted()))
        return _encode(fields)

    def _numbered(self, data: bytes, event: StreamEvent) -> bytes:
        index = event.index or 0
        shown = self._shown_as.get(index, index)
        return data if shown == index else _encode(_any.decode(data) | {"index": shown})


def _text_delta(index: int, text: str) -> bytes:
    delta = {"type": "text_delta", "text": text}
    return _encode({"type": "content_block_delta", "index": index, "delta": delta})


def _stop(index: int) -> bytes:
    return _encode({"type": "content_block_stop", "index": index})
