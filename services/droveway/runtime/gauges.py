"""Statistics snapshots as Prometheus metrics: a bound is a NamedTuple's field, and is seen."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

COUNTERS = frozenset(
    {
        "accepted", "admitted", "appended_ops", "appends", "changes", "commit_s", "committed",
        "deleted", "denied", "doubts", "dropped", "dropped_frames", "expired", "exported",
        "failed", "fenced", "found", "handled", "held", "invalid", "left", "loads", "lost",
        "malformed", "misaddressed", "missed", "overruns", "peers_dead", "reconnects", "recorded",
        "refused", "refused_full", "rejected", "reloaded", "repeated", "retried", "rows",
        "settled", "spans", "stale", "stored", "stored_bytes", "taken_over", "takeovers",
        "too_large", "tried", "unanswerable", "unpriced", "unreadable", "unsent",
    }
)  # fmt: skip
"""Fields that only grow; all others are gauges."""


class Gauges:
    """A prometheus_client collector over named `statistics()` functions."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._sources: list[tuple[str, dict[str, str], Callable[[], Any]]] = []

    def add(
        self, noun: str, statistics: Callable[[], Any], labels: dict[str, str] | None = None
    ) -> None:
        """Exposes each field of the snapshot as `droveway_<noun>_<field>`."""
        self._sources.append((noun, labels or {}, statistics))

    def replace(self, noun: str, statistics: Callable[[], Any], labels: dict[str, str]) -> None:
        """As `add`, in place of what was exposed under the same noun and labels."""
        self._sources = [
            source for source in self._sources if (source[0], source[1]) != (noun, labels)
        ]
        self.add(noun, statistics, labels)

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads; called by prometheus_client."""
        families: dict[str, Metric] = {}
        for noun, labels, statistics in self._sources:
            snapshot = statistics()
            if snapshot is None:
                continue
            for field in getattr(snapshot, "_fields", None) or snapshot.__struct_fields__:
                _add_sample(
                    families,
                    f"droveway_{noun}_{field}",
                    field in COUNTERS,
                    {"service": self._service, **labels},
                    float(getattr(snapshot, field)),
                )
        yield from families.values()

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return ()


def _add_sample(
    families: dict[str, Metric], name: str, counter: bool, labels: dict[str, str], value: float
) -> None:
    family = families.get(name)
    if family is None:
        kind = CounterMetricFamily if counter else GaugeMetricFamily
        family = kind(name, name.replace("_", " "), labels=sorted(labels))
        families[name] = family
    assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
    family.add_metric([labels[key] for key in sorted(labels)], value)
