"""Tells routers, and the other callers of the pool, how targets fare and which keys to spare."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from droveway.caller.credential_limits import CredentialLimits
from droveway.caller.outcomes import Outcomes
from droveway.contracts.envelope import encode
from droveway.contracts.health import CredentialHealth, PoolHealth, health_subject
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

EVERY_S = 1.0
MAX_AT_ONCE_PER_S = 10
"""Digests besides those of each second; what comes beyond waits for the next of these."""


class HealthDigests:
    """One caller's digests: each second, and at once when there is news that can't wait."""

    def __init__(self, bus: Bus, pool: str, limits: CredentialLimits, outcomes: Outcomes) -> None:
        self._bus = bus
        self._subject = health_subject(pool)
        self._limits = limits
        self._outcomes = outcomes
        self._at_once_s: deque[float] = deque(maxlen=MAX_AT_ONCE_PER_S)
        self._unsent_line = RareLog(log, "health_unsent")
        self.on_digest: Callable[[tuple[CredentialHealth, ...]], None] = lambda _digest: None
        limits.on_change = self._changed
        outcomes.on_failing = self._changed

    async def run(self) -> None:
        """Says all that is known once a second, until cancelled."""
        while True:
            self._say()
            await asyncio.sleep(EVERY_S)

    def _changed(self) -> None:
        now_s, sent_s = time.monotonic(), self._at_once_s
        if len(sent_s) == MAX_AT_ONCE_PER_S and now_s - sent_s[0] < EVERY_S:
            return
        sent_s.append(now_s)
        self._say()

    def _say(self) -> None:
        digest = PoolHealth(
            caller=self._bus.instance,
            credentials=self._limits.digest(),
            targets=self._outcomes.digest(),
        )
        self.on_digest(digest.credentials)
        try:
            self._bus.publish(self._subject, encode(digest))
        except BusError as error:
            self._unsent_line.warn(reason=str(error))
        else:
            self._outcomes.told()
