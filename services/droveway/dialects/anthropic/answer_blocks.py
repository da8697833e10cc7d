"""The content blocks of an Anthropic message, put together from the events of an answer.

Blocks stand in the order in which they began, and one ends before the next begins, however the
events of several interleave. Source: Anthropic API reference, messages, 2026-11.
"""

from collections import deque
from typing import Any, Literal

import msgspec

from droveway.contracts.envelope import MALFORMED
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

Kind = Literal["text", "thinking", "redacted_thinking", "tool_use"]

_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Block:
    """One content block, as its events add to it."""

    __slots__ = ("_fields", "_incomplete", "_sent", "_tool", "kind", "pieces", "signature")

    def __init__(self, kind: Kind, tool: int = -1, **fields: str) -> None:
        self.kind = kind
        self._tool = tool
        self.pieces: list[str] = []
        """Its text or arguments, without what has been sent."""
        self.signature: str | None = None
        self._fields = fields
        self._sent: list[str] = []
        self._incomplete = 0
        """So many pieces are known to be no whole arguments."""

    def begun(self) -> dict[str, Any]:
        """As a stream begins it, without its content."""
        match self.kind:
            case "text":
                return {"type": "text", "text": ""}
            case "thinking":
                return {"type": "thinking", "thinking": "", "signature": ""}
            case "redacted_thinking":
                return {"type": "redacted_thinking", **self._fields}
            case "tool_use":
                return {"type": "tool_use", **self._fields, "input": {}}

    def whole(self) -> dict[str, Any]:
        """As it stands in a whole message."""
        content = "".join(self.pieces)
        match self.kind:
            case "text":
                return {"type": "text", "text": content}
            case "thinking":
                signature = self.signature or ""
                return {"type": "thinking", "thinking": content, "signature": signature}
            case "redacted_thinking":
                return self.begun()
            case "tool_use":
                return {**self.begun(), "input": tool_input(content)}

    def continued(self, event: Event) -> str:
        """Takes in what only adds a piece to it, which counts as sent; empty if it doesn't."""
        if type(event) is Text:
            return event.text if self.kind == "text" and not event.choice else ""
        if type(event) is Thinking:
            return event.text if self.kind == "thinking" and not event.choice else ""
        if type(event) is not ToolArguments or event.tool != self._tool or event.choice:
            return ""
        if event.piece:
            self._sent.append(event.piece)
        return event.piece

    def sent(self) -> None:
        """Its pieces have been sent; of arguments they are kept, to see when they are complete."""
        if self.kind == "tool_use":
            self._sent.extend(self.pieces)
        self.pieces.clear()

    @property
    def ends_itself(self) -> bool:
        """Nothing can be added to it."""
        return self.kind == "redacted_thinking" or self.signature is not None

    def may_end(self) -> bool:
        """Now that another block has begun: nothing will be added to it.

        Arguments may go on after another call began, but not after the brace that closes them.
        """
        if self.kind != "tool_use":
            return True
        if len(self._sent) == self._incomplete:
            return False
        self._incomplete = len(self._sent)
        last = next((piece for piece in reversed(self._sent) if not piece.isspace()), "")
        if not last.rstrip().endswith("}"):
            return False
        try:
            msgspec.json.decode("".join(self._sent))
        except MALFORMED:
            return False
        return True


class Contents:
    """The blocks of one answer; of several choices an Anthropic message shows the first."""

    def __init__(self) -> None:
        self.blocks: deque[Block] = deque()
        """In order; a stream takes from the left what it has ended."""
        self.finished: Finished | None = None
        self.refused = False
        """Some of the text is that of a refusal."""
        self._tools: dict[int, Block] = {}

    @property
    def has_calls(self) -> bool:
        """The model called a tool."""
        return bool(self._tools)

    def take(self, event: Event) -> None:
        """Takes in one event."""
        match event:
            case Text(text=text, choice=0) if text:
                self._at_end("text").pieces.append(text)
            case Refusal(text=text, choice=0) if text:
                self._at_end("text").pieces.append(text)
                self.refused = True
            case Thinking(text=text, choice=0) if text:
                self._at_end("thinking").pieces.append(text)
            case Signature(signature=signature):
                self._at_end("thinking").signature = signature
            case RedactedThinking(data=data):
                self.blocks.append(Block("redacted_thinking", data=data))
            case ToolBegun(tool=tool, call_id=call_id, name=name, choice=0):
                self._tools[tool] = Block("tool_use", tool, id=call_id, name=name)
                self.blocks.append(self._tools[tool])
            case ToolArguments(tool=tool, piece=piece, choice=0) if piece:
                self._tools[tool].pieces.append(piece)
            case Finished(choice=0):
                self.finished = event
            case _:
                pass

    def _at_end(self, kind: Kind) -> Block:
        """The last block if it is one of these and not complete, else a new one."""
        if not self.blocks or self.blocks[-1].kind != kind or self.blocks[-1].ends_itself:
            self.blocks.append(Block(kind))
        return self.blocks[-1]


def tool_input(arguments: str) -> dict[str, Any] | msgspec.Raw:
    """A call's arguments as the object that a whole message has: its own text where it is one.

    What is no JSON object, as when the answer was cut in the middle of it, is kept under `_raw`.
    """
    text = arguments.strip()
    if text in ("", "null"):
        return {}
    try:
        _objects.decode(text)
    except MALFORMED:
        return {"_raw": arguments}
    return msgspec.Raw(text.encode())
