"""Counts what the limiter tells of budgets: which soft thresholds were reached."""

from prometheus_client import CollectorRegistry, Counter

from droveway.contracts.envelope import MALFORMED
from droveway.contracts.events import BudgetCrossed, event_decoder, events_subject
from droveway.otel import names
from droveway.runtime.bus import Bus

_SCOPES = frozenset({"key", "tenant"})
MAX_SHARES = 20
"""Shares of budgets that get a label; a configuration with more has `other`."""


class BudgetEvents:
    """Hears them as they come: one that was told while nobody listened is in the limiter's log."""

    def __init__(self, bus: Bus, registry: CollectorRegistry) -> None:
        self._bus = bus
        self._shares: set[str] = set()
        self._events = Counter(
            names.METRIC_BUDGET_EVENTS,
            "Soft thresholds of budgets that spending has reached.",
            ("scope", "share"),
            registry=registry,
        )

    async def listen(self) -> None:
        """From now on."""
        await self._bus.subscribe(events_subject("limiter"), self._hear)

    def _hear(self, payload: bytes, _reply: str) -> None:
        try:
            event = event_decoder.decode(payload)
        except MALFORMED:
            return  # of a newer limiter
        if isinstance(event, BudgetCrossed) and event.scope in _SCOPES:
            self._events.labels(event.scope, self._share(event)).inc()

    def _share(self, event: BudgetCrossed) -> str:
        share = f"{event.soft_nano / max(1, event.limit_nano):.2g}"
        if share not in self._shares and len(self._shares) >= MAX_SHARES:
            return "other"
        self._shares.add(share)
        return share
