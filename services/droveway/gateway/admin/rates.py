"""How fast each admin may change keys and tenants: every change is an event in the audit trail."""

import math
from collections.abc import Iterable

from droveway.gateway.leaking_buckets import LeakingBuckets
from droveway.gateway.refusal import refuse


class ChangeRates:
    """A leaking bucket for each admin of the configuration."""

    def __init__(self, per_s: int) -> None:
        self._buckets = LeakingBuckets(per_s)

    def configure(self, admin_ids: Iterable[str]) -> None:
        """Forgets admins that are gone."""
        self._buckets.keep(admin_ids)

    def count(self, admin_id: str, now_s: float) -> None:
        """One more change, at `now_s` of a clock that never steps back.

        Raises:
            Refusal: 429: too many; they don't count.
        """
        per_s, burst = self._buckets.per_s, self._buckets.burst
        excess = self._buckets.excess(admin_id, now_s)
        if excess > 0:
            text = f"The admin key {admin_id} may make {per_s} changes a second, {burst} at once"
            wait_ms = math.ceil(excess / per_s * 1_000)
            raise refuse("rate_limit_exceeded", text, retry_after_ms=wait_ms)
        self._buckets.count(admin_id, now_s)
