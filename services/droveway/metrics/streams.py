"""How full the streams are: JetStream is asked, so that alerts come before refusals."""

import asyncio
import functools
import math
import time
from datetime import datetime
from typing import Any, NamedTuple

from droveway.contracts.fill import FillTold, StreamFill
from droveway.contracts.jetstream import STREAMS
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.gauges import Gauges

EVERY_S = 15.0
"""As often as metrics are scraped."""
_ANSWER_WITHIN_S = 5.0
_TOLD_WITHIN_S = 1.0
"""Each stream's answer while an operator waits for all of them."""


class StreamStatistics(NamedTuple):
    """A snapshot for gauges; zeros before the first answer, limits of a stream without one +Inf."""

    answering: bool = False
    """JetStream told of the stream when it was last asked."""
    age_s: float = -1.0
    """Seconds since it last did; -1: not yet."""
    messages: int = 0
    limit_messages: float = math.inf
    bytes: int = 0
    limit_bytes: float = math.inf
    first_sequence: int = 0
    last_sequence: int = 0
    consumers: int = 0


class _Answer(NamedTuple):
    """What JetStream tells of one stream, and by how much the broker's clock is ahead."""

    statistics: StreamStatistics
    broker_ahead_ms: int | None


class StreamWatch:
    """What JetStream last told of each of our streams, those behind buckets among them."""

    def __init__(self, bus: Bus, every_s: float = EVERY_S) -> None:
        self._bus = bus
        self._every_s = every_s
        self._told: dict[str, StreamStatistics] = {}
        self._told_at_s: dict[str, float] = {}

    async def run(self) -> None:
        """Asks about each stream in turn, until cancelled."""
        while True:
            for stream in STREAMS:
                answer = await self._ask(stream, _ANSWER_WITHIN_S)
                if answer is None:
                    self._told[stream] = self._unanswered(stream)
                else:
                    self._told[stream] = answer.statistics
                    self._told_at_s[stream] = time.monotonic()
            await asyncio.sleep(self._every_s)

    def show(self, gauges: Gauges) -> None:
        """Exposes them as `droveway_stream_…`."""
        for stream in STREAMS:
            gauges.add("stream", functools.partial(self.statistics, stream), {"stream": stream})

    def statistics(self, stream: str) -> StreamStatistics:
        """A snapshot for gauges; what an answer once said holds until the next one."""
        told = self._told.get(stream, StreamStatistics())
        at_s = self._told_at_s.get(stream)
        return told if at_s is None else told._replace(age_s=time.monotonic() - at_s)

    async def told(self) -> FillTold:
        """What JetStream tells of all of them now, for an operator; gauges stay as they are."""
        answers = await asyncio.gather(*(self._ask(one, _TOLD_WITHIN_S) for one in STREAMS))
        ahead = (answer.broker_ahead_ms for answer in answers if answer is not None)
        return FillTold(
            at_ms=time.time_ns() // 1_000_000,
            broker_ahead_ms=next((ms for ms in ahead if ms is not None), None),
            streams=tuple(
                _fill(stream, answer.statistics if answer else self._unanswered(stream))
                for stream, answer in zip(STREAMS, answers, strict=True)
            ),
        )

    def _unanswered(self, stream: str) -> StreamStatistics:
        """What it last said, as of one that doesn't answer now."""
        return self.statistics(stream)._replace(answering=False)

    async def _ask(self, stream: str, within_s: float) -> _Answer | None:
        """What JetStream tells of it; None: nothing."""
        began_s = time.time()
        try:
            info = await self._bus.jetstream(f"STREAM.INFO.{stream}", {}, within_s)
        except BusError:
            return None
        ahead_ms = _ahead_ms(info.get("ts", ""), (began_s + time.time()) / 2)
        return _Answer(_statistics(info), ahead_ms)


def _statistics(info: dict[str, Any]) -> StreamStatistics:
    config, state = info["config"], info["state"]
    return StreamStatistics(
        answering=True,
        messages=state["messages"],
        limit_messages=_limit(config.get("max_msgs", -1)),
        bytes=state["bytes"],
        limit_bytes=_limit(config.get("max_bytes", -1)),
        first_sequence=state["first_seq"],
        last_sequence=state["last_seq"],
        consumers=state["consumer_count"],
    )


def _fill(stream: str, seen: StreamStatistics) -> StreamFill:
    return StreamFill(
        name=stream,
        answering=seen.answering,
        bytes=seen.bytes,
        limit_bytes=0 if math.isinf(seen.limit_bytes) else int(seen.limit_bytes),
        messages=seen.messages,
        limit_messages=0 if math.isinf(seen.limit_messages) else int(seen.limit_messages),
    )


def _ahead_ms(stamp: str, ours_s: float) -> int | None:
    """By how much a clock that shows `stamp` (RFC 3339) is ahead of ours."""
    try:
        return round((datetime.fromisoformat(stamp).timestamp() - ours_s) * 1_000)
    except ValueError:
        return None  # of a server that doesn't say


def _limit(told: int) -> float:
    """JetStream says -1 for no limit."""
    return told if told > 0 else math.inf
