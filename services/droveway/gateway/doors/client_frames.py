"""From a relay's frames to those of a client on the bus, in JSON or msgpack. Pure functions.

JSON frames carry JSON values, as they came and undecoded; msgpack frames carry their bytes.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from droveway.contracts import client, relay
from droveway.contracts.errors import Failure, status_of
from droveway.contracts.inference import TriedTarget
from droveway.gateway import answers
from droveway.gateway.answers import Headers

_json = msgspec.json.Encoder().encode
_msgpack = msgspec.msgpack.Encoder().encode
_MAX_CONTINUATION_BYTES = 3
"""Of one character in UTF-8."""


class FrameCoder:
    """Writes one client's frames; `headers` go with the first of an answer, whichever it is."""

    def __init__(self, request_id: str, *, packed: bool) -> None:
        self.packed = packed
        self.in_pieces = False
        """Chunks carry pieces of one body, not events."""
        self.tried: tuple[TriedTarget, ...] = ()
        self.spent = False
        """The gateway has done what its retries can."""
        self._request_id = request_id
        self.headers: dict[str, str] = {}

    def set_headers(self, headers: Headers) -> None:
        """What HTTP would answer as headers beside those of every answer."""
        pairs = answers.with_base(headers, self._request_id)
        self.headers = {name.decode(): value.decode("latin-1") for name, value in pairs}

    def encode(self, frame: client.Frame) -> bytes:
        """A frame that is a client's already."""
        return _msgpack(frame) if self.packed else _json(frame)

    def __call__(self, frame: relay.Frame) -> bytes:
        """The payload for one frame of the relay to this client."""
        headers = self.headers if frame.seq == 0 else {}
        match frame:
            case relay.Chunk():
                return self.encode(self._chunk(frame, headers))
            case relay.Completed():
                return self.encode(self._completed(frame, headers))
            case relay.Interrupted() if frame.seq == 0:
                told = failed(frame.failure, self.tried, headers, spent=self.spent)
                return self.encode(told)
            case relay.Interrupted():
                error = answers.error_object(frame.failure, self.tried, self._request_id)
                return self.encode(
                    client.Interrupted(seq=frame.seq, error=error, usage=usage_of(frame.usage))
                )

    def _chunk(self, frame: relay.Chunk, headers: dict[str, str]) -> client.Chunk:
        if self.in_pieces:
            piece = b"".join(frame.events)
            return client.Chunk(
                seq=frame.seq, piece=piece if self.packed else _text(piece), headers=headers
            )
        events = frame.events if self.packed else tuple(map(_value, frame.events))
        return client.Chunk(seq=frame.seq, events=events, headers=headers)

    def _completed(self, frame: relay.Completed, headers: dict[str, str]) -> client.Completed:
        body: Any = None
        if frame.body:
            body = frame.body if self.packed else _value(frame.body)
        return client.Completed(
            seq=frame.seq,
            finish_reason=frame.finish_reason,
            usage=usage_of(frame.usage),
            body=body,
            headers=headers,
        )


def failed(
    failure: Failure, tried: Iterable[TriedTarget], headers: dict[str, str], *, spent: bool = False
) -> client.Failed:
    """The terminal of a request of which nothing was delivered."""
    return client.Failed(
        status=status_of(failure),
        error=answers.error_object(failure, tried),
        should_retry=answers.should_retry(failure, spent=spent),
        retry_after_ms=answers.retry_after_ms(failure, spent=spent),
        headers=headers,
    )


def usage_of(usage: relay.Usage) -> client.Usage:
    """The same figures by their names."""
    return client.Usage(**msgspec.structs.asdict(usage))


def pieces(body: bytes) -> Iterator[bytes]:
    """A body in parts of at most `PIECE_BYTES`, none of which cuts a character in two."""
    start = 0
    while start < len(body):
        end = min(start + client.PIECE_BYTES, len(body))
        for _ in range(_MAX_CONTINUATION_BYTES):
            if end < len(body) and body[end] & 0xC0 == 0x80:
                end -= 1
        yield body[start:end]
        start = end


def batches(events: list[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Events in groups that each fit one message; one that is larger has it to itself."""
    batch: list[bytes] = []
    size_bytes = 0
    for event in events:
        if batch and size_bytes + len(event) > relay.INLINE_BYTES:
            yield tuple(batch)
            batch, size_bytes = [], 0
        batch.append(event)
        size_bytes += len(event)
    if batch:
        yield tuple(batch)


def _value(event: bytes) -> msgspec.Raw:
    """A provider's JSON inside of ours: what isn't UTF-8 would make the whole frame unreadable."""
    if event.isascii():
        return msgspec.Raw(event)
    return msgspec.Raw(_text(event).encode())


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").replace("\N{REPLACEMENT CHARACTER}", "?")
