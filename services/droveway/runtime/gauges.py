"""Statistics snapshots as Prometheus metrics: a bound is a NamedTuple's field, and is seen."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from droveway.runtime.gauge_texts import TEXTS

COUNTERS = frozenset(
    {
        "accepted", "admitted", "answered", "appended_ops", "appends", "called", "changes",
        "commit_s", "committed", "deleted", "denied", "doubts", "dropped", "dropped_frames",
        "dropped_sums", "expired", "exported", "failed", "fenced", "found", "handled", "held",
        "invalid", "left", "loads", "lost", "malformed", "misaddressed", "missed", "overruns",
        "passed", "peers_dead", "probes", "reconnects", "recorded", "refused", "refused_full",
        "refused_late", "rejected", "reloaded", "repeated", "retried", "rolled_back", "rows",
        "settled", "shadowed_files", "spans", "spared", "stale", "stored", "stored_bytes",
        "taken_over", "takeovers", "too_large", "tried", "unanswerable", "unpriced", "unreadable",
        "unsent",
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
        """Exposes each field of the snapshot as `droveway_<noun>_<field>`.

        A field in seconds, `…_s`, is exposed as `…_seconds`; a snapshot of None as nothing.
        """
        self._sources.append((noun, labels or {}, statistics))

    def replace(
        self, noun: str, sources: Iterable[tuple[dict[str, str], Callable[[], Any]]]
    ) -> None:
        """As `add` for each of `sources`, in place of all that was exposed under the noun.

        What was removed from the configuration isn't exposed any more.
        """
        self._sources = [source for source in self._sources if source[0] != noun]
        self._sources += [(noun, labels, statistics) for labels, statistics in sources]

    def collect(self) -> Iterator[Metric]:
        """What a scrape reads; called by prometheus_client."""
        families: dict[tuple[str, str], GaugeMetricFamily | CounterMetricFamily] = {}
        for noun, labels, statistics in self._sources:
            snapshot = statistics()
            if snapshot is None:
                continue
            own = {"service": self._service, **labels}
            for field in getattr(snapshot, "_fields", None) or snapshot.__struct_fields__:
                family = families.get((noun, field))
                if family is None:
                    family = families[noun, field] = _family(noun, field, sorted(own))
                value = float(getattr(snapshot, field))
                family.add_metric([own[label] for label in sorted(own)], value)
        yield from families.values()

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return ()


class SettingGauges:
    """Every number that an operator may turn, beside what it bounds: `droveway_setting`."""

    def __init__(self, service: str, settings: msgspec.Struct) -> None:
        self._service = service
        told = msgspec.structs.asdict(settings)
        self._values = {
            name: float(value)
            for name, value in told.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }

    def collect(self) -> Iterator[Metric]:
        """One sample for each of them; called by prometheus_client."""
        family = GaugeMetricFamily(
            "droveway_setting",
            "A setting of the service that is a number, in the unit of its name.",
            labels=["service", "setting"],
        )
        for name, value in self._values.items():
            family.add_metric([self._service, name], value)
        yield family

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return ()


def _family(noun: str, field: str, labels: list[str]) -> GaugeMetricFamily | CounterMetricFamily:
    kind = CounterMetricFamily if field in COUNTERS else GaugeMetricFamily
    name = f"droveway_{noun}_{field}"
    if field.endswith("_s"):
        name += "econds"
    text = TEXTS.get(noun, {}).get(field) or f"{field} of {noun}".replace("_", " ")
    return kind(name, text, labels=labels)
