"""What clients of the gateway saw, as Prometheus counters and histograms with bounded labels."""

import functools
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from droveway.gateway.connections import ServerStatistics
from droveway.otel import names

_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120, 300,
)  # fmt: skip
OTHER = "other"
_CHILDREN = 2_048


class ClientMetrics:
    """`ai_api_*` of one gateway; model names beyond a bound count as `other`."""

    def __init__(self, registry: CollectorRegistry, max_models: int) -> None:
        labels = ("status", "destination", "model")
        self._requests = Counter(
            names.METRIC_REQUESTS, "Requests answered, by status.", labels, registry=registry
        )
        self._duration = Histogram(
            names.METRIC_REQUEST_DURATION,
            "First byte of a request to last byte of its answer.",
            ("destination", "model"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._first_token = Histogram(
            names.METRIC_TIME_TO_FIRST_TOKEN,
            "First byte of a request to the first token of its streamed answer.",
            ("destination", "model"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._models: set[str] = set()
        self._max_models = max_models
        # prometheus_client builds and locks for each look-up of a child.
        self._count = functools.lru_cache(_CHILDREN)(self._count_of)
        self._times = functools.lru_cache(_CHILDREN)(self._times_of)

    def observe(
        self, status: int, destination: str, model: str, duration_s: float, first_s: float | None
    ) -> None:
        """Counts one ended request."""
        model = self._bounded(model)
        self._count(status, destination, model).inc()
        duration, first = self._times(destination, model)
        duration.observe(duration_s)
        if first_s is not None:
            first.observe(first_s)

    def _count_of(self, status: int, destination: str, model: str) -> Counter:
        return self._requests.labels(str(status), destination, model)

    def _times_of(self, destination: str, model: str) -> tuple[Histogram, Histogram]:
        return (
            self._duration.labels(destination, model),
            self._first_token.labels(destination, model),
        )

    def _bounded(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) >= self._max_models:
            return OTHER
        self._models.add(model)
        return model


class EdgeMetrics:
    """Connections, requests and refusals of the HTTP edge, as a scrape reads them."""

    def __init__(self, statistics: Callable[[], ServerStatistics]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        """The families of one snapshot; called by prometheus_client."""
        now = self._statistics()
        opened = GaugeMetricFamily(
            "droveway_http_connections", "Open connections by phase.", labels=["phase"]
        )
        for phase, count in now.phases.items():
            opened.add_metric([phase], count)
        refused = CounterMetricFamily(
            "droveway_http_refused", "Refused or cut at the HTTP edge, by code.", labels=["code"]
        )
        for code, count in now.refused_total.items():
            refused.add_metric([code], count)
        yield opened
        yield refused
        yield CounterMetricFamily(
            "droveway_http_accepted", "Connections accepted.", value=now.accepted_total
        )
        yield CounterMetricFamily(
            "droveway_http_requests",
            "Requests that passed the HTTP edge.",
            value=now.requests_total,
        )

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return ()
