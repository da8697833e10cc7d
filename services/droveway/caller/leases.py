"""What running attempts have reserved at the limiter: renewed each second, settled at the end.

Both are said once: a limiter that misses a `Settled` frees the reservation when its lease is over.
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import NamedTuple

from droveway.caller.attempt import AttemptRecord
from droveway.contracts.admission import PARTITION
from droveway.contracts.envelope import MAX_NUMBER, encode
from droveway.contracts.settlement import (
    MAX_LEASES,
    Lease,
    Renewed,
    Settled,
    Settlement,
    settlement_subject,
)
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

RENEW_EVERY_S = 1.0


class LeaseStatistics(NamedTuple):
    """A snapshot for gauges."""

    open: int
    settled: int
    unsent: int
    """Messages that the broker didn't take."""


class Leases:
    """Of attempts whose `CallRouted` says that something is reserved."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._open: dict[bytes, AttemptRecord] = {}
        self._settled = 0
        self._unsent = 0
        self._unsent_line = RareLog(log, "settlement_unsent")

    def begin(self, record: AttemptRecord) -> None:
        """The attempt runs from now on."""
        if record.call.lease_ms:
            self._open[record.call.attempt_id] = record

    def settle(self, record: AttemptRecord) -> None:
        """The attempt has ended: says what it used, before its client can ask for more."""
        call = record.call
        if self._open.pop(call.attempt_id, None) is None:
            return
        self._settled += 1
        self._say(
            Settled(
                request_id=call.request_id,
                attempt_id=call.attempt_id,
                caller=self._bus.instance,
                provider=call.target.provider,
                credential=call.target.credential,
                model=call.target.model,
                usage=record.used(),
                committed=record.committed,
            )
        )

    async def run(self) -> None:
        """Renews all, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            for message in self._renewals():
                self._say(message)

    def statistics(self) -> LeaseStatistics:
        """A snapshot for gauges."""
        return LeaseStatistics(open=len(self._open), settled=self._settled, unsent=self._unsent)

    def _renewals(self) -> Iterator[Renewed]:
        for records in _batches(list(self._open.values())):
            yield Renewed(caller=self._bus.instance, leases=tuple(map(_lease, records)))

    def _say(self, message: Settlement) -> None:
        try:
            self._bus.publish(settlement_subject(PARTITION), encode(message))
        except BusError as error:
            self._unsent += 1
            self._unsent_line.warn(reason=str(error))


def _lease(record: AttemptRecord) -> Lease:
    """A provider's arithmetic mustn't make a message that nobody reads: others are in it, too."""
    told = record.used().output_tokens
    return Lease(record.call.request_id, min(MAX_NUMBER - 1, max(0, told)))


def _batches(records: list[AttemptRecord]) -> Iterator[list[AttemptRecord]]:
    for start in range(0, len(records), MAX_LEASES):
        yield records[start : start + MAX_LEASES]
