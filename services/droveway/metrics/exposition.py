"""What the ledger has counted, as Prometheus counters: mirrors of the database.

They begin with what the hours add up to and grow by what each transaction newly counts, so that a
process that dies loses and repeats nothing. While a ledger is made again from the stream they stay
as they are until the sums are past them: a counter that falls is a new one to Prometheus.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from droveway.metrics.ledger.sums import AttemptSum
from droveway.metrics.ledger.totals import Spent, Totals
from droveway.metrics.ledger.writer import Counted
from droveway.metrics.mirror import Labels, Mirror, Names
from droveway.otel import names

_SECONDS = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120, 300)
_BOUNDS_US = tuple(round(one * 1e6) for one in _SECONDS)
_NANO = 1e-9
_PAIR = ("destination", "model")
_KINDS = ("input", "output", "cache_read", "cache_write")

Yuan = Callable[[str], float]
"""Yuan for a dollar, by tenant."""


class UsageMetrics(Collector):
    """The counters; there are none while another replica counts."""

    def __init__(self, registry: CollectorRegistry, yuan: Yuan, max_labels: int) -> None:
        self._yuan = yuan
        self._pairs = Names(max_labels)
        self._tenants = Names(max_labels)
        self._counting = False
        self._tokens = Mirror(names.METRIC_TOKENS, "Tokens, by type.", ("type", *_PAIR))
        self._cost = Mirror(names.METRIC_COST, "Cost in US dollars.", _PAIR, _NANO)
        self._cny = Mirror(names.METRIC_COST_CNY, "Cost in yuan.", _PAIR, _NANO)
        self._tenant_cost = Mirror(
            names.METRIC_TENANT_COST, "Cost in US dollars, by tenant.", ("tenant",), _NANO
        )
        self._unpriced = Mirror(names.METRIC_UNPRICED_TOKENS, "Tokens at the default price.", _PAIR)
        self._attempts = Mirror(
            names.METRIC_UPSTREAM_REQUESTS,
            "Upstream attempts, by outcome and status.",
            ("destination", "outcome", "status"),
        )
        self._failovers = Mirror(
            names.METRIC_FAILOVERS,
            "Attempts that a request needed beyond its first.",
            ("destination",),
        )
        self._requests = Mirror(
            names.METRIC_RECORDED_REQUESTS, "Accepted requests, by outcome.", ("outcome",)
        )
        self._durations: dict[Labels, list[int]] = {}
        registry.register(self)

    def begin(self, so_far: Totals) -> None:
        """This process counts from here on."""
        for mirror in self._mirrors():
            mirror.begin()
        for one in so_far.spent:
            self._spent(one)
        for (destination, outcome, status), (attempts, further) in so_far.outcomes.items():
            self._attempts.add((destination, outcome, str(status)), attempts)
            self._failovers.add((destination,), further)
        for outcome, requests in so_far.requests.items():
            self._requests.add((outcome,), requests)
        self._counting = True

    def count(self, counted: Counted) -> None:
        """A transaction is committed."""
        for one in counted.replaced:
            self._attempt(one, -1)
        for one in counted.attempts:
            self._attempt(one)
            self._observe(one)
        for group, requests, _, _ in counted.requests:
            self._requests.add((group.outcome,), requests)

    def end(self) -> None:
        """Another process counts now."""
        self._counting = False
        for mirror in self._mirrors():
            mirror.forget()

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads."""
        if self._counting:
            for mirror in self._mirrors():
                yield mirror.family()
        yield self._duration_family()

    def describe(self) -> Iterator[Metric]:
        """Nothing is known before the first scrape."""
        return iter(())

    def _mirrors(self) -> tuple[Mirror, ...]:
        return (
            self._tokens, self._cost, self._cny, self._tenant_cost, self._unpriced,
            self._attempts, self._failovers, self._requests,
        )  # fmt: skip

    def _attempt(self, one: AttemptSum, sign: int = 1) -> None:
        group, attempts, added, _ = one
        fresh, output, read, written, _, _, cost, *_ = (sign * each for each in added)
        unpriced = fresh + output if group.unpriced else 0
        whose = (group.tenant, group.provider, group.model)
        self._spent(Spent(*whose, fresh, output, read, written, cost, unpriced))
        self._attempts.add((group.provider, group.outcome, str(group.status)), sign * attempts)
        if group.further:
            self._failovers.add((group.provider,), sign * attempts)

    def _spent(self, one: Spent) -> None:
        pair = self._pairs.bounded((one.destination, one.model))
        for kind, tokens in zip(_KINDS, one[3:7], strict=True):
            if tokens:
                self._tokens.add((kind, *pair), tokens)
        self._cost.add(pair, one.cost_nano_usd)
        self._cny.add(pair, one.cost_nano_usd * self._yuan(one.tenant))
        self._tenant_cost.add(self._tenants.bounded((one.tenant,)), one.cost_nano_usd)
        if one.unpriced_tokens:
            self._unpriced.add(pair, one.unpriced_tokens)

    def _observe(self, one: AttemptSum) -> None:
        """Of this process alone: hours keep no buckets."""
        pair = self._pairs.bounded((one.group.provider, one.group.model))
        counts = self._durations.get(pair)
        if counts is None:
            counts = self._durations[pair] = [0] * (len(_BOUNDS_US) + 2)
        for ended_us in one.ended_us:
            counts[bisect_left(_BOUNDS_US, ended_us)] += 1
        counts[-1] += sum(one.ended_us)

    def _duration_family(self) -> Metric:
        family = HistogramMetricFamily(
            names.METRIC_UPSTREAM_DURATION, "Upstream attempts: dispatch to end.", labels=_PAIR
        )
        bounds = [*map(str, map(float, _SECONDS)), "+Inf"]
        for pair, counts in self._durations.items():
            *buckets, sum_us = counts
            cumulative = zip(bounds, map(float, accumulate(buckets)), strict=True)
            family.add_metric(pair, [*cumulative], sum_us / 1e6)
        return family
