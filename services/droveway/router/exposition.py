"""How long requests wait for their first attempt, and which providers can be asked at all."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from droveway.contracts.inference import CLASSES
from droveway.otel import names
from droveway.router.providers import Providers
from droveway.router.waiting import WaitingRoom

_SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60,
)  # fmt: skip


class QueueWait:
    """`ai_api_queue_wait_seconds` of one router."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._waited = Histogram(
            names.METRIC_QUEUE_WAIT,
            "A request's receipt by its router to the dispatch of its first attempt.",
            labelnames=["class"],
            buckets=_SECONDS,
            registry=registry,
        )

    def dispatched(self, priority: str, received_ns: int, now_ns: int) -> None:
        """The first attempt of a request went out."""
        self._waited.labels(priority).observe(max(0, now_ns - received_ns) / 1e9)


class QueueDepth:
    """`ai_api_queue_depth` of one router, as a scrape reads it."""

    def __init__(self, waiting: WaitingRoom) -> None:
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        """One sample for each class; called by prometheus_client."""
        depth = GaugeMetricFamily(
            names.METRIC_QUEUE_DEPTH,
            "Requests that wait for room at a provider or in their client's limits.",
            labels=["class"],
        )
        for priority, waiting in zip(CLASSES, self._waiting.queue.depths, strict=True):
            depth.add_metric([priority], waiting)
        yield depth

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return ()


class Destinations:
    """`ai_api_destination_up` of one router, as a scrape reads it.

    Args:
        providers: Knows which can be asked.
    """

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    def collect(self) -> Iterator[Metric]:
        """One sample for each provider; called by prometheus_client."""
        up = GaugeMetricFamily(
            names.METRIC_DESTINATION_UP,
            "0 while it is switched off, all its targets are left alone or credentials spared.",
            labels=["destination"],
        )
        for provider, is_up in self._providers.up():
            up.add_metric([provider], is_up)
        yield up

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return ()
