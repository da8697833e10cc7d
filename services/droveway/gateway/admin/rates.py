"""How fast each admin may change keys and tenants: every change is an event in the audit trail."""

import math
from collections.abc import Iterable

from droveway.gateway.refusal import refuse

BURST_S = 5
"""Changes of so many seconds may come at once."""


class ChangeRates:
    """A leaking bucket for each admin of the configuration."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._levels: dict[str, tuple[float, float]] = {}

    def configure(self, admin_ids: Iterable[str]) -> None:
        """Forgets admins that are gone."""
        known = frozenset(admin_ids)
        self._levels = {one: level for one, level in self._levels.items() if one in known}

    def count(self, admin_id: str, now_s: float) -> None:
        """One more change, at `now_s` of a clock that never steps back.

        Raises:
            Refusal: 429: too many; they don't count.
        """
        level, at_s = self._levels.get(admin_id, (0.0, now_s))
        level = max(0.0, level - (now_s - at_s) * self._per_s)
        excess = level + 1 - self._per_s * BURST_S
        if excess > 0:
            text = (
                f"The admin key {admin_id} may make {self._per_s} changes a second, "
                f"{self._per_s * BURST_S} at once"
            )
            wait_ms = math.ceil(excess / self._per_s * 1_000)
            raise refuse("rate_limit_exceeded", text, retry_after_ms=wait_ms)
        self._levels[admin_id] = (level + 1, now_s)
