"""The NATS client protocol as far as a proxy needs it: where messages begin and end.

Everything that isn't a message (INFO, CONNECT, SUB, PING, +OK, ...) is a line, kept as it came.
Source: https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

from collections.abc import Callable
from typing import NamedTuple

from droveway.contracts import relay

MAX_LINE_BYTES = 65_536
"""A longer line is no NATS: the server's INFO is the longest, about 1 KB."""
MAX_MESSAGE_BYTES = 16 * 1_048_576
"""A longer message is refused: the server's own limit is far below."""

# Words of the line: the fewest, with a reply one more; and which one the reply would be.
_KINDS = {b"PUB": (3, 2), b"HPUB": (4, 2), b"MSG": (4, 3), b"HMSG": (5, 3)}


class NotNats(Exception):
    """The bytes aren't the NATS protocol, or exceed a bound; the message says which."""


class Message(NamedTuple):
    """One PUB, HPUB, MSG or HMSG."""

    subject: bytes
    reply: bytes
    headers: bytes
    payload: bytes
    raw: bytes
    """All of it as it was on the wire."""


Predicate = Callable[[Message], bool]


class Splitter:
    """Cuts one direction of one connection into messages and everything between them."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message | bytes]:
        """What `data` completes, in order; what is incomplete is kept for the next call.

        Raises:
            NotNats: A line can't be read or is too long.
        """
        data = self._rest + data if self._rest else data
        found: list[Message | bytes] = []
        at = 0
        while (end := data.find(b"\n", at)) >= 0:
            words = data[at:end].split()
            kind = _KINDS.get(words[0].upper()) if words else None
            if kind is None:
                found.append(data[at : end + 1])
                at = end + 1
                continue
            size = _size(words[-1])
            after = end + 1 + size + 2
            if after > len(data):
                break
            found.append(_message(words, kind, data[at:after], end + 1 - at))
            at = after
        self._rest = data[at:]
        if end < 0 and len(self._rest) > MAX_LINE_BYTES:
            raise NotNats(f"a line has over {MAX_LINE_BYTES} bytes")
        return found


def _size(word: bytes) -> int:
    if not word.isdigit() or (size := int(word)) > MAX_MESSAGE_BYTES:
        raise NotNats(f"{word[:20]!r} is no size of a message, which has up to {MAX_MESSAGE_BYTES}")
    return size


def _message(words: list[bytes], kind: tuple[int, int], raw: bytes, body_at: int) -> Message:
    fewest, reply_at = kind
    if len(words) not in (fewest, fewest + 1):
        raise NotNats(f"{raw[:body_at]!r} has {len(words)} words instead of {fewest} or one more")
    reply = words[reply_at] if len(words) > fewest else b""
    headers_end = body_at + (_size(words[-2]) if words[0][:1] in b"Hh" else 0)
    return Message(words[1], reply, raw[body_at:headers_end], raw[headers_end:-2], raw)


def is_frame(message: Message) -> bool:
    """A frame of an answer on its way to a door."""
    return message.subject.startswith(b"_INBOX.gateway.") and relay.is_frame(message.payload)


def is_control(message: Message) -> bool:
    """Credit, resend, cancel, pull or a heartbeat."""
    return message.subject.startswith(b"droveway.v1.control.")


def on(pattern: str) -> Predicate:
    """Messages on subjects that a NATS pattern with `*` and `>` matches."""
    wanted = pattern.encode().split(b".")
    rest = wanted[-1] == b">"
    length = len(wanted) - rest

    def matches(message: Message) -> bool:
        found = message.subject.split(b".")
        fits = len(found) > length if rest else len(found) == length
        pairs = zip(wanted[:length], found, strict=False)
        return fits and all(one in (b"*", other) for one, other in pairs)

    return matches
