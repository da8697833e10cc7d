"""What a client on the bus sends and gets: the NATS door's side of a request.

A request is published to `request.<key id>.<operation>` with an inbox of that key as its reply
subject; the payload is what one would POST, as JSON or as the same map in msgpack, and frames come
back in the same form. An answer ends with exactly one terminal: `Completed`, `Failed` (nothing was
delivered) or `Interrupted` (a true prefix was). docs/guides/nats.md is the page for clients.
"""

import re
from typing import Annotated, Any

import msgspec

from droveway.contracts.envelope import PREFIX, Bytes, Id, Millis, Tokens
from droveway.contracts.envelope import subject as _subject
from droveway.contracts.relay import Sequence

GATEWAYS = "gateway"
"""The queue group in which gateways take requests."""
ANY_REQUEST = f"{PREFIX}.request.*.*"
"""What gateways subscribe to: any key, any operation."""
MAX_MESSAGE_BYTES = 768 * 1024
"""A request, and a body that comes whole in a terminal; below every broker's `max_payload`."""
PIECE_BYTES = 32 * 1024
"""Of a larger answer that isn't streamed, so much comes with one `Chunk`."""
FLOW = "droveway-flow"
"""The header that asks for frames: `none` for all at once, `credit` for a window of them."""

RelayName = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
"""128 random bits in hex that name one answer, for control messages."""
Content = Any
"""JSON: as a value in JSON frames, as its bytes in msgpack frames."""

_INBOX = re.compile(r"_INBOX\.t\.(?P<key>[a-z0-9_-]{1,64})(?:\.[A-Za-z0-9_-]{1,64}){1,3}")


def request_subject(key_id: str, operation: str) -> str:
    """`droveway.v1.request.<key id>.<operation>`; permissions prove who publishes there."""
    return _subject("request", key_id, operation)


def control_subject(key_id: str, gateway: str) -> str:
    """`droveway.v1.control.t.<key id>.<gateway>`: to the process that holds the answer."""
    return _subject("control", "t", key_id, gateway)


def controls_of(gateway: str) -> str:
    """What one gateway subscribes to: control messages of any key."""
    return f"{PREFIX}.control.t.*.{gateway}"


def inbox_prefix(key_id: str) -> str:
    """`_INBOX.t.<key id>`: what a key's user may subscribe below."""
    return f"_INBOX.t.{key_id}"


def is_inbox_of(reply: str, key_id: str) -> bool:
    """Whether `reply` is an inbox of that key: nothing else is ever answered."""
    match = _INBOX.fullmatch(reply)
    return match is not None and match["key"] == key_id


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of one answer; `input_tokens` includes the cached and written ones."""

    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cache_read_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0
    reasoning_tokens: Tokens = 0
    estimated: bool = False
    """Counted by the gateway since the provider told nothing."""
    cache_write_1h_tokens: Tokens = 0
    """Of the written ones, those that are kept for an hour."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What one target did, for `Error.details`."""

    target: str
    """`provider/model`."""
    code: str
    status: int | None
    """The provider's HTTP status; null when there was none."""
    duration_ms: Millis


class Error(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The error object: of an HTTP error's body, and the same on the bus."""

    message: str
    type: str
    param: str | None
    code: str | None
    details: tuple[Tried, ...] = ()
    request_id: str = ""
    """Where no header can carry it."""


class Opened(
    msgspec.Struct, frozen=True, kw_only=True, tag="opened", tag_field="t", omit_defaults=True
):
    """A gateway has taken the request: the first frame of an answer that comes in frames."""

    request_id: Id
    relay_id: RelayName
    control: str
    """Where control messages of this answer go."""
    heartbeat_ms: Millis


class Chunk(
    msgspec.Struct, frozen=True, kw_only=True, tag="chunk", tag_field="t", omit_defaults=True
):
    """A part of the answer: whole events, or the next piece of a large body."""

    seq: Sequence
    events: tuple[Content, ...] = ()
    piece: Any = None
    """Text in JSON frames, bytes in msgpack frames: to be joined in order, then read as JSON."""
    headers: dict[str, str] = {}
    """With the first frame: what HTTP would have answered as headers."""


class Completed(
    msgspec.Struct, frozen=True, kw_only=True, tag="completed", tag_field="t", omit_defaults=True
):
    """Terminal: the answer is whole."""

    seq: Sequence
    finish_reason: str = ""
    usage: Usage = Usage()
    body: Content = None
    """The answer, when it isn't streamed and came in no pieces."""
    headers: dict[str, str] = {}


class Failed(
    msgspec.Struct, frozen=True, kw_only=True, tag="failed", tag_field="t", omit_defaults=True
):
    """Terminal: nothing of an answer was delivered."""

    seq: Sequence = 0
    status: int
    """What HTTP would have answered."""
    error: Error
    should_retry: bool
    retry_after_ms: Millis | None = None
    headers: dict[str, str] = {}


class Interrupted(
    msgspec.Struct, frozen=True, kw_only=True, tag="interrupted", tag_field="t", omit_defaults=True
):
    """Terminal: the answer was cut; what came before is a true prefix."""

    seq: Sequence
    error: Error
    usage: Usage = Usage()


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat", tag_field="t"):
    """The gateway still holds the answer; sent each half second."""

    next_seq: Sequence
    """All frames below it have been sent."""
    blocked: bool
    """It waits for credit."""


class Credit(msgspec.Struct, frozen=True, kw_only=True, tag="credit", tag_field="t"):
    """All frames below `next_seq` were taken; the gateway may reach `limit_bytes` in all."""

    relay_id: RelayName
    next_seq: Sequence
    limit_bytes: Bytes


class Resend(msgspec.Struct, frozen=True, kw_only=True, tag="resend", tag_field="t"):
    """Frames from `from_seq` on are missing: send them again."""

    relay_id: RelayName
    from_seq: Sequence


class Taken(msgspec.Struct, frozen=True, kw_only=True, tag="taken", tag_field="t"):
    """The terminal has come: nothing needs to be kept."""

    relay_id: RelayName


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel", tag_field="t"):
    """Nobody wants the answer any more."""

    relay_id: RelayName


class Probe(msgspec.Struct, frozen=True, kw_only=True, tag="probe", tag_field="t"):
    """Are you there? Answered with an empty message; "no responders" says that it has ended."""


Terminal = Completed | Failed | Interrupted
Frame = Opened | Chunk | Completed | Failed | Interrupted | Heartbeat
Control = Credit | Resend | Taken | Cancel | Probe

frame_decoder = msgspec.msgpack.Decoder(Frame)
control_decoder = msgspec.msgpack.Decoder(Control)
json_control_decoder = msgspec.json.Decoder(Control)


def is_msgpack(payload: bytes) -> bool:
    """Whether a message is a msgpack map, told by its first byte; JSON begins with a brace."""
    first = payload[:1]
    return b"\x80" <= first <= b"\x8f" or first in (b"\xde", b"\xdf")
