"""How full the streams are, as JetStream tells metrics: asked and answered on `report`.

Operators have no right to ask JetStream itself. The answer also tells how clocks stand.
"""

from typing import Annotated

import msgspec

from droveway.contracts.envelope import MAX_NUMBER, Text

UnixMs = Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]
"""Milliseconds since 1970."""
Count = Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]


class FillAsked(msgspec.Struct, frozen=True, kw_only=True, tag="fill.asked.v1", tag_field="t"):
    """How full are the streams, those behind buckets among them?"""


class StreamFill(msgspec.Struct, frozen=True, kw_only=True):
    """One stream."""

    name: Text
    """As in `jetstream.STREAMS`."""
    answering: bool
    """False: it is missing, or has no leader; the numbers are those before."""
    bytes: Count = 0
    limit_bytes: Count = 0
    """0: none."""
    messages: Count = 0
    limit_messages: Count = 0
    """0: none."""


class FillTold(msgspec.Struct, frozen=True, kw_only=True, tag="fill.told.v1", tag_field="t"):
    """All of them, just now."""

    at_ms: UnixMs
    """By the clock of metrics, when it answered."""
    broker_ahead_ms: int | None = None
    """By how much the broker's clock is ahead of that of metrics; None: it doesn't say."""
    streams: Annotated[tuple[StreamFill, ...], msgspec.Meta(max_length=1_000)]
