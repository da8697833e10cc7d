"""(4) Caller to door: the answer as frames, and the control messages that steer it.

Frames carry a sequence number from 0 without gaps and end with exactly one terminal. Control
messages go to `control.<service>.<instance>` of the process that holds the other end. Frames are
array-like: they are the hot ones.
"""

from typing import Annotated

import msgspec

from droveway.contracts.dispatch import AttemptFailed, Running
from droveway.contracts.envelope import AttemptId, Bytes, Id, RelayId, service_of
from droveway.contracts.envelope import subject as _subject
from droveway.contracts.errors import Failure
from droveway.contracts.inference import Accepted, Held, Refused, Waiting

Sequence = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Attempt = Annotated[int, msgspec.Meta(ge=0)]
"""Which attempt a frame belongs to: one that started late must not mix with its successor."""

WINDOW_BYTES = 32 * 1024
"""How far a sender may run ahead of what its receiver has taken; also its resend buffer."""
INLINE_BYTES = 256 * 1024
"""A body or an answer up to this size travels as one message."""
HEARTBEAT_MS = 500
"""Peers tell each other about their live relays this often."""
PEER_PROBE_MS = 1_250
"""A peer that was silent for this long is looked for: nobody on its subject means dead at once."""
PEER_DEAD_MS = 5_000
"""A peer that was silent for this long is dead: its relays are cut."""


def control_subject(instance: str) -> str:
    """`droveway.v1.control.<service>.<instance>`: the service is a token for permissions' sake."""
    return _subject("control", service_of(instance), instance)


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of one answer; `input_tokens` includes the cached and written ones."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    """Counted by us since the provider told nothing."""
    cache_write_1h_tokens: int = 0
    """Of the written ones, those that are kept for an hour."""


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """Who answers: sent with the first frame, for response headers and rows."""

    caller: Id
    attempt_id: AttemptId
    attempt: int
    provider: str
    model: str
    """The model name as the provider reported it; else the one that was asked of it."""
    router_us: int = 0
    """Receipt by the router to dispatch of this attempt, in microseconds."""
    upstream_us: int = 0
    """Request sent to first content, or to the whole answer, in microseconds."""
    warnings: tuple[str, ...] = ()
    """What the provider didn't get of what the client asked for, one sentence for each."""
    channel: str = ""
    """As in `CallRouted`."""
    target: str = ""
    """`provider/model` as it was routed: what `InferenceRequested.avoid` names."""
    continuable: bool = False
    """As in `CallRouted`."""


class Chunk(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """Whole events in the answer's dialect, or a piece of a body, in order."""

    seq: Sequence
    events: tuple[bytes, ...]
    origin: Origin | None = None
    attempt: Attempt = 0


class Completed(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """Terminal: the upstream finished as its protocol says. `body` ends a non-streamed answer."""

    seq: Sequence
    usage: Usage
    finish_reason: str = ""
    body: bytes = b""
    origin: Origin | None = None
    attempt: Attempt = 0


class Interrupted(msgspec.Struct, frozen=True, array_like=True, tag="i"):
    """Terminal: cut after commit. The client is told; it is never a success."""

    seq: Sequence
    failure: Failure
    usage: Usage = Usage()
    attempt: Attempt = 0


Frame = Chunk | Completed | Interrupted


class Credit(msgspec.Struct, frozen=True, array_like=True, tag="cr"):
    """The receiver took all frames below `next_seq`; the sender may reach `limit_bytes` in all."""

    relay_id: RelayId
    next_seq: Sequence
    limit_bytes: Bytes


class Taken(msgspec.Struct, frozen=True, array_like=True, tag="tk"):
    """The receiver has the terminals of these relays: nothing needs to be kept for them."""

    relay_ids: tuple[RelayId, ...]


class Resend(msgspec.Struct, frozen=True, array_like=True, tag="rs"):
    """Frames from `from_seq` on are missing: send them again."""

    relay_id: RelayId
    from_seq: Sequence


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cx"):
    """Nobody wants the answer `relay_id` any more; sent to its router, its caller or both.

    Also the answer to a heartbeat that lists a relay which its receiver doesn't have.
    """

    relay_id: RelayId
    reason: str = "client_gone"
    attempt: Attempt = 0
    """Only this attempt of a request; 0: whichever runs."""


class Inquiry(msgspec.Struct, frozen=True, array_like=True, tag="iq"):
    """What became of it? The latest news goes to `answer_to` again.

    Asked of a caller it is about an attempt, asked of a router about a request.
    """

    about: AttemptId | RelayId
    answer_to: str


class Pull(msgspec.Struct, frozen=True, array_like=True, tag="pl"):
    """Send me the body `relay_id` as frames to `answer_to`; `peer` takes part in heartbeats."""

    relay_id: RelayId
    answer_to: str
    peer: Id
    pull_id: RelayId
    """Made by whoever pulls: names this relay, since several may pull one body at once."""


class Sending(msgspec.Struct, frozen=True, array_like=True):
    """One live relay as its sender sees it."""

    relay_id: RelayId
    next_seq: Sequence
    blocked: bool


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag="hb"):
    """One process to one peer, each half second while they share a relay."""

    peer: Id
    sending: tuple[Sending, ...] = ()
    receiving: tuple[RelayId, ...] = ()


MAX_ROOM = 10_000
"""Calls; of more nobody needs to know."""


class Room(msgspec.Struct, frozen=True, array_like=True, tag="rm"):
    """To a router that was told `Busy` lately: a call has ended, the provider takes calls again."""

    provider: Id
    free: Annotated[int, msgspec.Meta(ge=1, le=MAX_ROOM)]
    """So many at least; other routers may have heard the same."""


Control = Credit | Taken | Resend | Cancel | Inquiry | Pull | Heartbeat | Room

News = Accepted | Waiting | Refused | Held | Running | AttemptFailed
"""What a door hears before the first frame: of its router, and of a caller without one."""

news_decoder = msgspec.msgpack.Decoder(News)
frame_decoder = msgspec.msgpack.Decoder(Frame)
control_decoder = msgspec.msgpack.Decoder(Control)


def is_frame(payload: bytes) -> bool:
    """Whether a message to a door is a frame: those are arrays, a router's news is a map."""
    return payload[:1] >= b"\x90" and payload[:1] <= b"\x9f"
