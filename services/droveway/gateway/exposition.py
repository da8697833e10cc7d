"""What clients of the gateway saw, as Prometheus counters and histograms with bounded labels."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from droveway.otel import names

_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120, 300,
)  # fmt: skip
OTHER = "other"


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

    def observe(
        self, status: int, destination: str, model: str, duration_s: float, first_s: float | None
    ) -> None:
        """Counts one ended request."""
        model = self._bounded(model)
        self._requests.labels(str(status), destination, model).inc()
        self._duration.labels(destination, model).observe(duration_s)
        if first_s is not None:
            self._first_token.labels(destination, model).observe(first_s)

    def _bounded(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) >= self._max_models:
            return OTHER
        self._models.add(model)
        return model
