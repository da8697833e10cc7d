"""Log lines of what a peer can cause at will: few, however often it happens."""

import logging
import time
from typing import Any

from droveway.otel.logs import log_event

EVERY_S = 1.0
"""At most one line of an event in this time, unless told otherwise: a line costs more than the
message that caused it."""


class RareLog:
    """One event's lines; each says how many were left out before it."""

    def __init__(
        self, log: logging.Logger, event: str, *, every_s: float = EVERY_S, **fields: Any
    ) -> None:
        self._every_s = every_s
        self._log = log
        self._event = event
        self._fields = fields
        self._quiet_until_s = 0.0
        self._unsaid = 0

    def warn(self, **fields: Any) -> None:
        """It has happened once more."""
        now_s = time.monotonic()
        if now_s < self._quiet_until_s:
            self._unsaid += 1
            return
        self._quiet_until_s = now_s + self._every_s
        unsaid, self._unsaid = self._unsaid, 0
        log_event(
            self._log, self._event, level=logging.WARNING, unsaid=unsaid, **self._fields, **fields
        )
