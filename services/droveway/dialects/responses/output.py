"""The output items of a response as they come into being: messages, reasoning, function calls.

Each is added, grows and is done; its id and its index are the same all the way.
Source: OpenAI API reference, responses streaming events, 2026-11.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.dialects.responses.parts import Part
from droveway.dialects.responses.reasoning import redacted_block, seal, thinking_block
from droveway.dialects.responses.shapes import Numbering, encode

Status = Literal["in_progress", "completed", "incomplete"]


class Item(ABC):
    """What all items have."""

    prefix: ClassVar[str]

    def __init__(self, response_id: str, index: int) -> None:
        self.id = f"{self.prefix}_{response_id}{index:04x}"
        self.index = index
        self.status: Status = "in_progress"

    def opened(self, numbers: Numbering) -> bytes:
        """The event that adds it, empty."""
        return numbers.event(
            "response.output_item.added", output_index=self.index, item=self.shape()
        )

    def closed(self, numbers: Numbering, status: Status) -> list[bytes]:
        """The events that end what it holds, and itself."""
        events = self._ended(numbers, status)
        self.status = status
        done = numbers.event(
            "response.output_item.done", output_index=self.index, item=self.shape()
        )
        return [*events, done]

    @abstractmethod
    def shape(self) -> dict[str, Any]:
        """As it stands in the response."""

    def replayed(self) -> dict[str, Any]:
        """As it is given back to a provider, with all that it wants back."""
        return self.shape()

    @abstractmethod
    def _ended(self, numbers: Numbering, status: Status) -> list[bytes]: ...


class Message(Item):
    """What the model says: texts, and texts by which it declines."""

    prefix = "msg"

    def __init__(self, response_id: str, index: int) -> None:
        super().__init__(response_id, index)
        self._parts: list[Part] = []

    def say(
        self, numbers: Numbering, kind: Literal["output_text", "refusal"], text: str,
        logprobs: msgspec.Raw | None = None,
    ) -> list[bytes]:  # fmt: skip
        """Adds a piece to the last part, or to a new one of another kind."""
        events: list[bytes] = []
        if not self._parts or self._parts[-1].kind != kind:
            if self._parts:
                events += self._parts[-1].closed(numbers)
            self._parts.append(Part(kind, self.id, self.index, len(self._parts)))
            events.append(self._parts[-1].opened(numbers))
        events.append(self._parts[-1].grown(numbers, text, logprobs))
        return events

    def shape(self) -> dict[str, Any]:
        """As it stands in the response."""
        return {
            "id": self.id,
            "type": "message",
            "status": self.status,
            "role": "assistant",
            "content": [part.shape() for part in self._parts],
        }

    def _ended(self, numbers: Numbering, status: Status) -> list[bytes]:
        return self._parts[-1].closed(numbers) if self._parts else []


class Reasoning(Item):
    """What the model thinks, as a summary; what its provider wants back, only where asked for."""

    prefix = "rs"

    def __init__(self, response_id: str, index: int, *, with_blocks: bool) -> None:
        super().__init__(response_id, index)
        self._with_blocks = with_blocks
        self._part: Part | None = None
        self._blocks: list[dict[str, str]] = []

    def think(self, numbers: Numbering, text: str) -> list[bytes]:
        """Adds a piece."""
        if self._part is not None:
            return [self._part.grown(numbers, text)]
        self._part = Part("summary_text", self.id, self.index, 0)
        return [self._part.opened(numbers), self._part.grown(numbers, text)]

    def sign(self, signature: str) -> None:
        """Takes the provider's signature under all of it."""
        self._blocks.append(thinking_block(self._part.text if self._part else "", signature))

    def redact(self, data: str) -> None:
        """Takes what the provider keeps to itself."""
        self._blocks.append(redacted_block(data))

    def shape(self) -> dict[str, Any]:
        """As it stands in the response."""
        item = {
            "id": self.id,
            "type": "reasoning",
            "summary": [self._part.shape()] if self._part else [],
        }
        return item | self._sealed() if self._with_blocks else item

    def replayed(self) -> dict[str, Any]:
        """With its blocks."""
        return self.shape() | self._sealed()

    def _sealed(self) -> dict[str, Any]:
        return {"encrypted_content": seal(self._blocks)} if self._blocks else {}

    def _ended(self, numbers: Numbering, status: Status) -> list[bytes]:
        return self._part.closed(numbers) if self._part else []


class Call(Item):
    """A function that the model calls."""

    prefix = "fc"

    def __init__(self, response_id: str, index: int, call_id: str, name: str) -> None:
        super().__init__(response_id, index)
        self._call_id = call_id or f"call_{response_id}{index:04x}"
        self._name = name
        self._pieces: list[str] = []
        self._place = {"item_id": self.id, "output_index": index}
        self._before = b'{"type":"response.function_call_arguments.delta","sequence_number":'
        self._after = b"," + encode(self._place)[1:-1] + b',"delta":'

    @property
    def is_whole(self) -> bool:
        """Its arguments are a JSON object, to which nothing can be added."""
        if not self._pieces or not self._pieces[-1].rstrip().endswith("}"):
            return False
        try:
            return isinstance(msgspec.json.decode("".join(self._pieces)), dict)
        except MALFORMED:
            return False

    def pass_arguments(self, numbers: Numbering, piece: str) -> bytes:
        """Adds a piece of the arguments' text."""
        self._pieces.append(piece)
        return numbers.piece(self._before, self._after, piece)

    def shape(self) -> dict[str, Any]:
        """As it stands in the response."""
        return {
            "id": self.id,
            "type": "function_call",
            "status": self.status,
            "arguments": "".join(self._pieces),
            "call_id": self._call_id,
            "name": self._name,
        }

    def _ended(self, numbers: Numbering, status: Status) -> list[bytes]:
        events = []
        if status == "completed" and not "".join(self._pieces).strip():
            events.append(self.pass_arguments(numbers, "{}"))  # clients parse it as JSON
        arguments = "".join(self._pieces)
        name = "response.function_call_arguments.done"
        return [*events, numbers.event(name, **self._place, arguments=arguments)]
