"""Answers operators who ask which services run: the wire form of `nats micro`, for every service.

Answered in the read loop, a bounded number of times per second. nats-py's own `nats.micro` would
put a queue and a task between each message and its handler.
Source: NATS ADR-32, revision 6.
"""

import asyncio
import importlib.metadata
import logging
import os
import re
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from droveway.contracts import discovery
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus, Subscription
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)

PACKAGE = "droveway"
DESCRIPTIONS = {
    "gateway": "Takes requests in, gives answers out.",
    "router": "Chooses the target, retries until an attempt commits.",
    "limiter": "Decides what may run now.",
    "caller": "Calls the providers.",
    "metrics": "Counts usage rows.",
}
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:\.?((?:a|b|rc|dev)\d+))?")


class DiscoveryStatistics(NamedTuple):
    """A snapshot for gauges."""

    handled: int
    refused: int
    """Questions whose answer would have gone elsewhere than to an operator."""
    dropped: int
    """Questions beyond the bound of answers per second, or without a connection."""


class Discovery:
    """One process's answers."""

    def __init__(self, bus: Bus, answers_per_s: int) -> None:
        self._bus = bus
        self._answers_per_s = answers_per_s
        self._second = 0
        self._answered_this_second = 0
        self._handled = self._refused = self._dropped = 0
        self._identity: dict[str, Any] = {
            "name": discovery.name_of(bus.service),
            "id": bus.instance,
            "version": semantic_version(importlib.metadata.version(PACKAGE)),
            "metadata": {
                "service": bus.service,
                "host": socket.gethostname(),
                "pid": str(os.getpid()),
            },
        }
        self.facts: dict[str, Callable[[], bool | int | str]] = {}
        """What a process tells of itself besides, each time that it is asked how it fares."""
        self._started = datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"

    async def listen(self) -> None:
        """Answers from the return on, for the life of the bus."""
        builders: dict[discovery.Verb, Callable[[], bytes]] = {
            "PING": self._pong,
            "INFO": self._info,
            "STATS": self._stats,
        }
        await asyncio.gather(
            *(
                self._bus.subscribe(subject, self._answerer(build))
                for verb, build in builders.items()
                for subject in discovery.subjects(verb, self._bus.service, self._bus.instance)
            )
        )

    def statistics(self) -> DiscoveryStatistics:
        """A snapshot for gauges."""
        return DiscoveryStatistics(self._handled, self._refused, self._dropped)

    def _answerer(self, build: Callable[[], bytes]) -> Callable[[bytes, str], None]:
        def answer(_payload: bytes, reply: str) -> None:
            if not discovery.OPERATOR_INBOX.fullmatch(reply):
                self._refused += 1
                return
            if not self._may_answer():
                self._dropped += 1
                return
            try:
                self._bus.publish(reply, build())
            except BusError as error:
                self._dropped += 1
                log_event(log, "discovery_unsent", level=logging.DEBUG, reason=str(error))
            else:
                self._handled += 1

        return answer

    def _may_answer(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._answered_this_second = second, 0
        self._answered_this_second += 1
        return self._answered_this_second <= self._answers_per_s

    def _pong(self) -> bytes:
        return discovery.encode_json(discovery.Pong(**self._identity))

    def _info(self) -> bytes:
        endpoints = tuple(
            discovery.EndpointInfo(
                name=discovery.endpoint_name(one.subject),
                subject=one.subject,
                queue_group=one.queue,
            )
            for one in self._listed()
        )
        description = DESCRIPTIONS.get(self._bus.service, "")
        return discovery.encode_json(
            discovery.Info(**self._identity, description=description, endpoints=endpoints)
        )

    def _stats(self) -> bytes:
        endpoints = tuple(_numbers(one) for one in self._listed())
        facts = {name: _text(fact()) for name, fact in self.facts.items()}
        identity = {**self._identity, "metadata": self._identity["metadata"] | facts}
        return discovery.encode_json(
            discovery.Stats(**identity, started=self._started, endpoints=endpoints)
        )

    def _listed(self) -> list[Subscription]:
        root = f"{discovery.ROOT}."
        return [one for one in self._bus.subscriptions() if not one.subject.startswith(root)]


def _text(fact: bool | int | str) -> str:
    return str(fact).lower() if isinstance(fact, bool) else str(fact)


def _numbers(endpoint: Subscription) -> discovery.EndpointStats:
    meter = endpoint.meter
    return discovery.EndpointStats(
        name=discovery.endpoint_name(endpoint.subject),
        subject=endpoint.subject,
        queue_group=endpoint.queue,
        num_requests=meter.requests,
        num_errors=meter.errors,
        last_error=meter.last_error,
        processing_time=meter.processing_ns,
        average_processing_time=meter.processing_ns // max(1, meter.requests),
    )


def semantic_version(version: str) -> str:
    """A Python package's version as a semantic one: `1.2.0rc1` is `1.2.0-rc1`.

    Raises:
        ValueError: It isn't of the form 1.2.3, 1.2.3rc1 or 1.2.3.dev1.
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ValueError(f"{version[:40]!r} is no version: expected 1.2.3, 1.2.3rc1 or 1.2.3.dev1")
    major, minor, patch, before = match.groups()
    return f"{int(major)}.{int(minor)}.{int(patch)}" + (f"-{before}" if before else "")
