"""The normal form of an answer: readers of one dialect make it, writers of another take it.

A whole answer is the same events, all at once. `choice` counts a chat completion's choices; `tool`
counts a choice's tool calls from 0, whatever else stands between them. Pure data.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import msgspec

from droveway.contracts.errors import Failure
from droveway.contracts.relay import Usage

FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
"""Reasons to finish, in the words of OpenAI's chat completions."""


MAX_NAME_CHARS = 256
"""Of a provider's ids and model names: they stand in every event of a stream."""


class Begun(NamedTuple):
    """The provider has begun to answer; comes first and once."""

    response_id: str
    model: str
    usage: Usage | None = None
    """What is known of the input by then."""


class Text(NamedTuple):
    """A piece of the answer's text."""

    text: str
    choice: int = 0
    logprobs: msgspec.Raw | None = None
    """As the chat dialect has them, undecoded."""


class Refusal(NamedTuple):
    """A piece of the text by which the model declines."""

    text: str
    choice: int = 0


class Thinking(NamedTuple):
    """A piece of the model's reasoning, where the provider shows it."""

    text: str
    choice: int = 0


class Signature(NamedTuple):
    """Ends the thinking before it; opaque, to be replayed byte for byte."""

    signature: str


class RedactedThinking(NamedTuple):
    """Reasoning that the provider keeps to itself; opaque, to be replayed byte for byte."""

    data: str


class ToolBegun(NamedTuple):
    """The model calls a tool; its arguments follow."""

    tool: int
    call_id: str
    name: str
    choice: int = 0


class ToolArguments(NamedTuple):
    """A piece of a call's arguments: JSON text."""

    tool: int
    piece: str
    choice: int = 0


class Finished(NamedTuple):
    """A choice is complete; once for each."""

    reason: str
    """One of `FINISHES`, or a provider's own word that fits none of them."""
    choice: int = 0
    native: str = ""
    """The provider's own word, where it differs."""
    stop_sequence: str | None = None


class Counted(NamedTuple):
    """The provider's count, each time complete as of then: the last one is true."""

    usage: Usage


Event = (
    Begun
    | Text
    | Refusal
    | Thinking
    | Signature
    | RedactedThinking
    | ToolBegun
    | ToolArguments
    | Finished
    | Counted
)


class InBandError(Exception):
    """The provider reports an error where an answer was to be."""

    def __init__(self, occurrence: Failure) -> None:
        super().__init__(occurrence.code)
        self.failure = occurrence


class Context(NamedTuple):
    """What a writer knows beside the events."""

    response_id: str
    """Ours, without the dialect's prefix: 32 hexadecimal digits."""
    created_s: int
    """Unix time."""
    model: str
    """The name to show, unless the provider told one."""
    include_usage: bool = False
    """A streaming chat client wants the usage event."""
    input_estimate_tokens: int = 0
    request: Mapping[str, Any] = MappingProxyType({})
    """The client's own request, for dialects that repeat parts of it."""


class Reader(Protocol):
    """Reads one answer of a provider; made anew for each."""

    @property
    def ended(self) -> bool:
        """An event has said that the stream is over; `[DONE]` is none and comes to no reader."""
        ...

    def read(self, data: bytes) -> list[Event]:
        """Takes in one event of a stream (the text after `data:`).

        Raises:
            InBandError: It is an error.
            msgspec.DecodeError: It isn't of this dialect; the reader is as before.
        """
        ...

    def read_whole(self, body: bytes) -> list[Event]:
        """Takes in a whole answer.

        Raises:
            InBandError: It is an error.
            msgspec.DecodeError: It isn't of this dialect.
        """
        ...


class Writer(Protocol):
    """Writes one answer as its client expects it; made anew for each, used for one of two ways."""

    def write(self, events: Sequence[Event]) -> list[bytes]:
        """The stream's next events: JSON texts without framing, none of them empty."""
        ...

    def close(self, usage: Usage) -> list[bytes]:
        """The stream's last events, once all choices have finished; `[DONE]` is the door's."""
        ...

    def whole(self, events: Sequence[Event], usage: Usage) -> bytes:
        """All events of an answer as one body."""
        ...


def one_line(data: bytes) -> bytes:
    """An event's JSON without line feeds: one of them would end the client's event.

    Raises:
        msgspec.DecodeError: It has one and isn't JSON.
    """
    return msgspec.json.format(data, indent=-1) if b"\n" in data else data
