"""Rows as Prometheus counters: tokens, cost and what upstream attempts came to."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from droveway.contracts.usage import AttemptRecorded, RequestRecorded
from droveway.metrics.price_book import PriceBook
from droveway.otel import names

_SECONDS = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120, 300)
_OTHER = ("other", "other")
_NANO = 1e9
_OUTCOMES = frozenset({"completed", "failed", "interrupted", "cancelled"})
"""What a row may say of its end; a label has no room for other words of a sender."""


class UsageMetrics:
    """What the rows add up to since this process began."""

    def __init__(self, registry: CollectorRegistry, prices: PriceBook, max_labels: int) -> None:
        self._prices = prices
        pair = ("destination", "model")
        self._tokens = Counter(
            names.METRIC_TOKENS, "Tokens, by type.", ("type", *pair), registry=registry
        )
        self._cost = Counter(names.METRIC_COST, "Cost in US dollars.", pair, registry=registry)
        self._unpriced = Counter(
            names.METRIC_UNPRICED_TOKENS, "Tokens at the default price.", pair,
            registry=registry,
        )  # fmt: skip
        self._attempts = Counter(
            names.METRIC_UPSTREAM_REQUESTS,
            "Upstream attempts, by outcome and status.",
            ("destination", "outcome", "status"),
            registry=registry,
        )
        self._duration = Histogram(
            names.METRIC_UPSTREAM_DURATION,
            "Upstream attempts: dispatch to end.",
            pair,
            buckets=_SECONDS,
            registry=registry,
        )
        self._requests = Counter(
            names.METRIC_RECORDED_REQUESTS, "Accepted requests, by outcome.", ("outcome",),
            registry=registry,
        )  # fmt: skip
        self._pairs: set[tuple[str, str]] = set()
        self._max_labels = max_labels

    def count_attempt(self, row: AttemptRecorded) -> None:
        """Adds one attempt's row."""
        pair = self._bounded(row.provider, row.model)
        used = row.usage
        self._attempts.labels(pair[0], _outcome(row.outcome), _status(row.status)).inc()
        self._duration.labels(*pair).observe(row.times.ended_us / 1e6)
        for kind, tokens in (
            ("input", used.input_tokens),
            ("output", used.output_tokens),
            ("cache_read", used.cache_read_tokens),
            ("cache_write", used.cache_write_tokens),
        ):
            if tokens > 0:
                self._tokens.labels(kind, *pair).inc(tokens)
        price = self._prices.price(row.provider, row.model, row.began_ns)
        self._cost.labels(*pair).inc(max(0.0, price.cost_nano_usd(used) / _NANO))
        if price.source == "default":
            self._unpriced.labels(*pair).inc(max(0, used.input_tokens + used.output_tokens))

    def count_request(self, row: RequestRecorded) -> None:
        """Adds one request's row."""
        self._requests.labels(_outcome(row.outcome)).inc()

    def _bounded(self, destination: str, model: str) -> tuple[str, str]:
        pair = (destination, model)
        if pair in self._pairs:
            return pair
        if len(self._pairs) >= self._max_labels:
            return _OTHER
        self._pairs.add(pair)
        return pair


def _outcome(said: str) -> str:
    return said if said in _OUTCOMES else "other"


def _status(said: int) -> str:
    return str(said) if 0 <= said < 1000 else "other"
