"""Hears of attempts that have ended, while requests wait for room in a credential's limits.

Each settlement of all callers comes here then, so it is listened for only as long as anybody waits.
"""

import asyncio
from collections.abc import Callable

from droveway.contracts.admission import PARTITION
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.settlement import Settled, settlement_decoder, settlement_subject
from droveway.runtime.bus import Bus

KEEP_S = 5.0
"""How long it goes on listening at least, after the last one began to wait."""


class SettlementNews:
    """Calls `on_settled` with provider and credential of each attempt that has settled."""

    def __init__(self, bus: Bus, on_settled: Callable[[str, str], None]) -> None:
        self._bus = bus
        self._on_settled = on_settled
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """Somebody begins to wait."""
        self._wanted.set()

    async def run(self) -> None:
        """Listens whenever that is wanted, until cancelled."""
        subject = settlement_subject(PARTITION)
        while True:
            await self._wanted.wait()
            subscription = await self._bus.subscribe(subject, self._on_settlement)
            try:
                while self._wanted.is_set():
                    self._wanted.clear()
                    await asyncio.sleep(KEEP_S)
            finally:
                subscription.close()

    def _on_settlement(self, payload: bytes, _reply: str) -> None:
        try:
            message = settlement_decoder.decode(payload)
        except MALFORMED:  # the limiter counts it
            return
        if isinstance(message, Settled):
            self._on_settled(message.provider, message.credential)
