"""Where in a trace we are: W3C trace context and the clock that spans share.

Pure Python on the hot path: the SDK's propagator costs 3 µs to extract and its unsampled span 3 to
6 µs; here a hop costs one parse and one random number. An unsampled request has ids too, since its
rows carry them and a span may be built from them afterwards.

Source: https://www.w3.org/TR/trace-context/ (level 1), OpenTelemetry's ParentBased(TraceIdRatio).
"""

import random
import re
import time
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

TRACESTATE_LIMIT_BYTES = 512
"""A longer `tracestate` is dropped whole: it is opaque, so it can't be cut."""

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<rest>-.*)?"
)
_TRACESTATE = re.compile(r"[\x20-\x7e]+")
_ZERO_TRACE = "0" * 32
_ZERO_SPAN = "0" * 16
_ANCHOR_TRIES = 5

SpanKind = Literal["internal", "server", "client", "producer", "consumer"]
AttributeValue = str | bool | int | float | Sequence[str] | Sequence[int] | Sequence[float]
Attributes = Mapping[str, AttributeValue | None]
"""Attribute names to values; an attribute whose value is None is left out."""
SpanEvent = tuple[str, int, Attributes]
"""A name, the time in ns since 1970, and attributes."""


class TraceContext(NamedTuple):
    """One span's place in its trace, as it travels from hop to hop."""

    trace_id: bytes
    """16 bytes, never all zero."""
    span_id: bytes
    """8 bytes, never all zero."""
    sampled: bool
    """Whether the hops of this trace leave spans."""
    tracestate: str = ""
    """Other vendors' state, carried as it came."""


def parse_traceparent(value: str | None, tracestate: str | None = None) -> TraceContext | None:
    """Reads a `traceparent` from outside; whatever the standard doesn't allow counts as absent.

    A version that we don't know is read as far as version 00 goes. `baggage` is never read.
    """
    if value is None or (match := _TRACEPARENT.fullmatch(value)) is None:
        return None
    version, trace, span, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if trace == _ZERO_TRACE or span == _ZERO_SPAN:
        return None
    sampled = int(flags, 16) & 1 == 1
    return TraceContext(
        bytes.fromhex(trace), bytes.fromhex(span), sampled, _accepted_tracestate(tracestate)
    )


def format_traceparent(context: TraceContext) -> str:
    """The 55 characters of a version 00 `traceparent`."""
    flags = "01" if context.sampled else "00"
    return f"00-{context.trace_id.hex()}-{context.span_id.hex()}-{flags}"


def new_trace(ratio: float) -> TraceContext:
    """Starts a trace and decides whether it is sampled.

    The decision is a function of the trace id, the same one that OpenTelemetry's TraceIdRatioBased
    makes, so every hop with the same ratio would decide alike.

    Args:
        ratio: The share of traces to sample, 0 to 1.
    """
    # Ids are names, not secrets; the generator is seeded by the system, again after each fork.
    trace_bits = random.getrandbits(128) or 1
    low_bits = trace_bits & 0xFFFF_FFFF_FFFF_FFFF
    return TraceContext(trace_bits.to_bytes(16, "big"), _span_id(), low_bits < round(ratio * 2**64))


def child(context: TraceContext) -> TraceContext:
    """The context of a new span under `context`: same trace, same decision, own span id."""
    return TraceContext(context.trace_id, _span_id(), context.sampled, context.tracestate)


def continue_trace(parent: TraceContext | None, ratio: float) -> TraceContext:
    """The first context of ours: the parent's decision when there is a parent, else the ratio's."""
    return new_trace(ratio) if parent is None else child(parent)


def keep(context: TraceContext) -> TraceContext:
    """The same context as sampled: for spans built afterwards of a failed or slow request."""
    return context._replace(sampled=True)


class Clock:
    """Time since 1970 that never steps: one reading of the wall clock, then the monotonic clock.

    A child's start would otherwise precede its parent's whenever the host's clock is set back.
    """

    __slots__ = ("_offset_ns",)

    def __init__(self) -> None:
        # The narrowest of some readings: a thread switch between two clocks would shift all spans.
        self._offset_ns = min(_anchor() for _ in range(_ANCHOR_TRIES))[1]

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return time.monotonic_ns() + self._offset_ns

    def at_ns(self, monotonic_s: float) -> int:
        """The time of an earlier reading of `time.monotonic()` (or of the event loop's clock)."""
        return int(monotonic_s * 1e9) + self._offset_ns


def _anchor() -> tuple[int, int]:
    before = time.monotonic_ns()
    wall = time.time_ns()
    after = time.monotonic_ns()
    return after - before, wall - (before + after) // 2


def _span_id() -> bytes:
    return (random.getrandbits(64) or 1).to_bytes(8, "big")


def _accepted_tracestate(value: str | None) -> str:
    if not value or len(value) > TRACESTATE_LIMIT_BYTES or _TRACESTATE.fullmatch(value) is None:
        return ""
    return value
