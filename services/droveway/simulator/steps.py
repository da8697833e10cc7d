"""An answer as steps on the wire: wait, head, bytes, end. Pure; `wire` plays them."""

import zlib
from collections.abc import Iterator
from enum import Enum
from typing import Self

import msgspec

from droveway.simulator.faults import Faults
from droveway.simulator.settings import Settings
from droveway.simulator.tokens import MessagesUsage, Usage

Reported = Usage | MessagesUsage | None
"""The usage that some bytes report, in the words of the dialect that they are in."""


class Wait(msgspec.Struct, frozen=True):
    """Let time pass; zero lets others run."""

    ms: float


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Send the status line and the headers; without a length the body is chunked."""

    status: int
    headers: dict[str, str]
    length: int | None = None
    early_hints: int = 0
    """`103 Early Hints` sent before."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """Send bytes of the body."""

    data: bytes
    tokens: int = 0
    """Answer tokens that have left with these bytes."""
    usage: Reported = None
    """The usage that these bytes report."""


class Raw(msgspec.Struct, frozen=True, kw_only=True):
    """Send bytes as they are, past HTTP's framing."""

    data: bytes
    tokens: int = 0
    usage: Reported = None
    status: int | None = None
    """The status that a head has which these bytes are."""


class End(Enum):
    """How it ends."""

    COMPLETE = "the message ends as HTTP has it"
    CLOSED = "FIN, which is how the message ends"
    RESET = "RST"
    CLOSE = "FIN, whatever was promised"
    STALL = "nothing more, until the caller leaves"


Step = Wait | Head | Write | Raw | End


class Timing(msgspec.Struct, frozen=True):
    """When tokens come."""

    first_token_ms: float
    token_interval_ms: float

    @classmethod
    def of(cls, settings: Settings, faults: Faults) -> Self:
        """Take the times of the settings and of a fault that slows the first token."""
        first_token_ms = faults.numbers.get("slow-first-token", settings.first_token_ms)
        return cls(first_token_ms, settings.token_interval_ms)


def body_steps(status: int, headers: dict[str, str], body: bytes) -> Iterator[Step]:
    """Answer with a whole body."""
    yield Head(status=status, headers=headers, length=len(body))
    yield Write(data=body)
    yield End.COMPLETE


def with_wire_faults(
    steps: Iterator[Step], faults: Faults, limits: dict[str, str]
) -> Iterator[Step]:
    """Apply the faults that don't care what the bytes say, and add headers that tell limits."""
    if "gzip" in faults.flags or "gzip-unsaid" in faults.flags:
        steps = _gzipped(steps)
    if "one-byte" in faults.flags:
        steps = _byte_by_byte(steps)
    steps = (
        _with_head_faults(one, faults, limits) if isinstance(one, Head) else one for one in steps
    )
    yield from _unframed(steps) if "unframed" in faults.flags else steps


def _with_head_faults(head: Head, faults: Faults, limits: dict[str, str]) -> Head:
    headers = {**head.headers, **limits}
    if "set-cookie" in faults.flags:
        headers["set-cookie"] = "simulator=1; Path=/"
    if "untyped" in faults.flags:
        headers.pop("content-type", None)
    if "gzip" in faults.flags or faults.encoding:
        headers["content-encoding"] = faults.encoding or "gzip"
    return Head(
        status=head.status,
        headers=headers,
        length=head.length,
        early_hints=faults.numbers.get("1xx", 0),
    )


def _gzipped(steps: Iterator[Step]) -> Iterator[Step]:
    gzip = zlib.compressobj(wbits=zlib.MAX_WBITS + 16)
    for step in steps:
        match step:
            case Head():
                yield Head(status=step.status, headers=step.headers)
            case Write():
                data = gzip.compress(step.data) + gzip.flush(zlib.Z_SYNC_FLUSH)
                yield Write(data=data, tokens=step.tokens, usage=step.usage)
            case End.COMPLETE:
                yield Write(data=gzip.flush())
                yield step
            case _:
                yield step


def _unframed(steps: Iterator[Step]) -> Iterator[Step]:
    for step in steps:
        match step:
            case Head():
                fields = "".join(f"{name}: {value}\r\n" for name, value in step.headers.items())
                head = f"HTTP/1.1 {step.status} Unframed\r\n{fields}connection: close\r\n\r\n"
                yield Raw(data=head.encode(), status=step.status)
            case Write():
                yield Raw(data=step.data, tokens=step.tokens, usage=step.usage)
            case End.COMPLETE:
                yield End.CLOSED
            case _:
                yield step


def _byte_by_byte(steps: Iterator[Step]) -> Iterator[Step]:
    for step in steps:
        if not isinstance(step, Write) or not step.data:
            yield step
            continue
        for byte in step.data[:-1]:
            yield Write(data=bytes([byte]))
        yield Write(data=step.data[-1:], tokens=step.tokens, usage=step.usage)
