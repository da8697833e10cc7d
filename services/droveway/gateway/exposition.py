"""What clients of the gateway saw, as Prometheus counters and histograms with bounded labels."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from droveway.contracts.config import Config
from droveway.contracts.errors import Failure
from droveway.gateway.connections import ServerStatistics
from droveway.gateway.error_classes import error_class, rejection_kind
from droveway.otel import names
from droveway.otel.bounded_labels import BoundedLabels

_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120, 300,
)  # fmt: skip
_PER_TOKEN_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2, 2.5,
    3, 5,
)  # fmt: skip
_OVERHEAD_SECONDS = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10,
    30,
)  # fmt: skip
_CHILDREN = 2_048
NONE = "none"
"""The label of a request that no router took."""


class Ended(NamedTuple):
    """One request as its client saw it; times in seconds, None where there is no such time."""

    status: int
    destination: str = NONE
    model: str = NONE
    failure: Failure | None = None
    duration_s: float = 0.0
    first_token_s: float | None = None
    per_token_s: float | None = None
    overhead_s: float | None = None
    trace_id: str = ""
    """Of a trace that is kept somewhere; it becomes an exemplar."""


class _Times(NamedTuple):
    duration: Histogram
    first_token: Histogram
    per_token: Histogram
    overhead: Histogram


class ClientMetrics:
    """`ai_api_*` of one gateway; names beyond the bounds count as `other`.

    Names that the configuration has keep their label whatever clients ask for: see `configure`.
    """

    def __init__(
        self, registry: CollectorRegistry, max_models: int, max_destinations: int = 50
    ) -> None:
        self.inflight = 0
        self._models = BoundedLabels(max_models)
        self._destinations = BoundedLabels(max_destinations)
        self._make_counters(registry)
        self._make_histograms(registry)
        inflight = Gauge(names.METRIC_INFLIGHT, "Requests being served.", registry=registry)
        inflight.set_function(lambda: float(self.inflight))
        # prometheus_client builds and locks for each look-up of a child.
        self._count = functools.lru_cache(_CHILDREN)(self._count_of)
        self._times = functools.lru_cache(_CHILDREN)(self._times_of)

    def configure(self, config: Config) -> None:
        """Names of the operator's own, which are so many as stand in the file."""
        self._destinations.own((NONE, *(provider.id for provider in config.providers)))
        routed = (route.model for route in config.routes if not route.model.endswith("*"))
        listed = (model for provider in config.providers for model in provider.models)
        self._models.own((NONE, *routed, *listed, *config.aliases))

    def observe(self, ended: Ended) -> None:
        """Counts one ended request."""
        destination, model = self._destinations(ended.destination), self._models(ended.model)
        self._count(ended.status, destination, model).inc()
        times = self._times(destination, model)
        exemplar = {"trace_id": ended.trace_id} if ended.trace_id else None
        times.duration.observe(ended.duration_s, exemplar)
        if ended.first_token_s is not None:
            times.first_token.observe(ended.first_token_s, exemplar)
        if ended.per_token_s is not None:
            times.per_token.observe(ended.per_token_s)
        if ended.overhead_s is not None:
            times.overhead.observe(ended.overhead_s)
        if name := error_class(ended.status, ended.failure):
            self._errors.labels(name, destination).inc()
            if kind := rejection_kind(ended.failure):
                self._rejections.labels(kind).inc()

    def _make_counters(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            names.METRIC_REQUESTS,
            "Requests that ended, by the HTTP status that the client got; 499 when it left first.",
            ("status", "destination", "model"),
            registry=registry,
        )
        self._errors = Counter(
            names.METRIC_ERRORS,
            "Requests that ended badly, by the class of their status.",
            ("class", "destination"),
            registry=registry,
        )
        self._rejections = Counter(
            names.METRIC_LIMIT_REJECTIONS,
            "Requests that a limit refused, by its kind.",
            ("kind",),
            registry=registry,
        )

    def _make_histograms(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=registry)

        self._duration = histogram(
            names.METRIC_REQUEST_DURATION,
            "First byte of a request to last byte of its answer.",
            _SECONDS, "destination", "model",
        )  # fmt: skip
        self._first_token = histogram(
            names.METRIC_TIME_TO_FIRST_TOKEN,
            "First byte of a request to the first content of its streamed answer.",
            _SECONDS, "destination", "model",
        )  # fmt: skip
        self._per_token = histogram(
            names.METRIC_TIME_PER_OUTPUT_TOKEN,
            "Mean time per output token after the first one of a streamed answer.",
            _PER_TOKEN_SECONDS, "destination", "model",
        )  # fmt: skip
        self._overhead = histogram(
            names.METRIC_OVERHEAD,
            "What an answer waited before its first content beyond its provider's own time.",
            _OVERHEAD_SECONDS, "destination",
        )  # fmt: skip

    def _count_of(self, status: int, destination: str, model: str) -> Counter:
        known = str(status) if 100 <= status < 600 else "other"
        return self._requests.labels(known, destination, model)

    def _times_of(self, destination: str, model: str) -> _Times:
        return _Times(
            self._duration.labels(destination, model),
            self._first_token.labels(destination, model),
            self._per_token.labels(destination, model),
            self._overhead.labels(destination),
        )


class EdgeMetrics:
    """Connections, requests and refusals of the HTTP edge, as a scrape reads them.

    Args:
        statistics: Takes a snapshot.
        max_connections: The bound of connections, shown beside them.
    """

    def __init__(self, statistics: Callable[[], ServerStatistics], max_connections: int) -> None:
        self._statistics = statistics
        self._max_connections = max_connections

    def collect(self) -> Iterator[Metric]:
        """The families of one snapshot; called by prometheus_client."""
        now = self._statistics()
        opened = GaugeMetricFamily(
            "droveway_http_connections", "Open connections by phase.", labels=["phase"]
        )
        for phase, count in now.phases.items():
            opened.add_metric([phase], count)
        refused = CounterMetricFamily(
            "droveway_http_refused",
            "Requests and connections refused or cut at the HTTP edge, by code.",
            labels=["code"],
        )
        for code, count in now.refused_total.items():
            refused.add_metric([code], count)
        yield opened
        yield GaugeMetricFamily(
            "droveway_http_connections_limit",
            "The bound of open connections.",
            value=self._max_connections,
        )
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
