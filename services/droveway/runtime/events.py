"""Tells whoever listens what happens here: at most so many events of a kind per second, no more.

An event is worth less than the work beside it: it is never waited for, kept or sent again.
"""

import logging
import time
from collections import Counter
from typing import NamedTuple

import msgspec

from droveway.contracts.events import (
    ConfigAdopted,
    ConfigRefused,
    Event,
    encode_json,
    events_subject,
)
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.config.live import LiveConfig
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)


class EventStatistics(NamedTuple):
    """A snapshot for gauges."""

    exported: int
    """Events that were told."""
    dropped: int
    """Events beyond the bound per second, or without a connection."""


class Events:
    """One process's voice.

    Args:
        bus: Its connection.
        per_s: Events of one kind that are told within a second; further ones are counted only.
    """

    def __init__(self, bus: Bus, per_s: int) -> None:
        self._bus = bus
        self._subject = events_subject(bus.service)
        self._per_s = per_s
        self._second = 0
        self._this_second: Counter[type[msgspec.Struct]] = Counter()
        self._unsaid: Counter[type[msgspec.Struct]] = Counter()
        self._exported = self._dropped = 0

    def tell(self, event: Event) -> None:
        """Tells it now or never."""
        kind = type(event)
        if not self._may_tell(kind):
            self._leave_out(kind)
            return
        told = msgspec.structs.replace(
            event,
            at_ms=time.time_ns() // 1_000_000,
            instance=self._bus.instance,
            unsaid=self._unsaid[kind],
        )
        try:
            self._bus.publish(self._subject, encode_json(told))
        except BusError as error:
            self._leave_out(kind)
            log_event(log, "event_untold", level=logging.DEBUG, reason=str(error))
        else:
            self._exported += 1
            self._unsaid[kind] = 0

    def follow(self, live: LiveConfig) -> None:
        """Tells from now on whether a new configuration was adopted."""

        def read(findings: int) -> None:
            self.tell(ConfigRefused(findings=findings) if findings else ConfigAdopted())

        live.on_reload = read

    def statistics(self) -> EventStatistics:
        """A snapshot for gauges."""
        return EventStatistics(exported=self._exported, dropped=self._dropped)

    def _may_tell(self, kind: type[msgspec.Struct]) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._this_second.clear()
        self._this_second[kind] += 1
        return self._this_second[kind] <= self._per_s

    def _leave_out(self, kind: type[msgspec.Struct]) -> None:
        self._unsaid[kind] += 1
        self._dropped += 1
