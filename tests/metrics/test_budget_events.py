"""What the limiter tells of budgets, as a counter."""

from prometheus_client import CollectorRegistry

from droveway.contracts.events import BudgetCrossed, encode_json, events_subject
from droveway.metrics.budget_events import MAX_SHARES, BudgetEvents
from tests.support.flows import eventually
from tests.support.nats import NatsServer


def crossed(soft_nano: int, scope: str = "key") -> bytes:
    return encode_json(
        BudgetCrossed(
            scope=scope, id="k1", period="day", period_start_ms=1, soft_nano=soft_nano,
            limit_nano=1_000, spent_nano=soft_nano,
        )
    )  # fmt: skip


async def test_thresholds_are_counted_by_scope_and_share(nats: NatsServer) -> None:
    registry = CollectorRegistry()
    async with nats.bus("metrics") as bus, nats.bus("limiter") as limiter:
        await BudgetEvents(bus, registry).listen()
        for payload in (crossed(800), crossed(800), b"junk", crossed(1_000, "tenant")):
            limiter.publish(events_subject("limiter"), payload)
        for number in range(MAX_SHARES):
            limiter.publish(events_subject("limiter"), crossed(number * 10))
        limiter.publish(events_subject("limiter"), crossed(800, "somebody"))

        def value(scope: str, share: str) -> float:
            labels = {"scope": scope, "share": share}
            return registry.get_sample_value("droveway_budget_events_total", labels) or 0.0

        await eventually(lambda: value("key", "other") == 2)
        assert (value("key", "0.8"), value("tenant", "1")) == (2, 1)
        assert value("somebody", "0.8") == 0
