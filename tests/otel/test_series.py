"""What is added to a series is what an exporter is given: each number once, by its attributes."""

import math
import time
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import AggregationTemporality as Temporality
from opentelemetry.sdk.metrics.export import Metric, Sum

from droveway.otel import series as module
from droveway.otel.series import Series


def points(metric: Metric | None) -> list[Any]:
    return [] if metric is None else list(metric.data.data_points)


def test_a_number_on_a_bound_is_within_it() -> None:
    series = Series("duration", "s", (1, 2))
    for value in (0, 1, 1.5, 2, 2.5):
        series.add(value, "a", lambda: {"x": "a"})
    (point,) = points(series.metric(Temporality.CUMULATIVE))
    assert (point.bucket_counts, point.explicit_bounds) == ((2, 2, 1), (1, 2))
    assert (point.count, point.sum, point.min, point.max) == (5, 7.0, 0, 2.5)
    assert point.attributes == {"x": "a"}
    assert series.kind is Histogram


def test_sums_go_on_unless_deltas_are_wanted() -> None:
    series = Series("tokens", "{token}")
    assert series.kind is Counter
    assert series.metric(Temporality.CUMULATIVE) is None, "nothing was added"
    series.add(3, "a", dict)
    first = series.metric(Temporality.CUMULATIVE)
    series.add(4, "a", dict)
    second = series.metric(Temporality.DELTA)
    series.add(5, "a", dict)
    third = series.metric(Temporality.DELTA)
    assert [point.value for one in (first, second, third) for point in points(one)] == [3, 7, 5]
    assert isinstance(second and second.data, Sum)
    (before,), (after,) = points(second), points(third)
    assert before.time_unix_nano == after.start_time_unix_nano
    assert series.metric(Temporality.DELTA) is None


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_what_is_no_amount_is_left_out(value: float) -> None:
    series = Series("duration", "s", (1,))
    series.add(value, "a", dict)
    assert series.metric(Temporality.CUMULATIVE) is None


def test_keys_beyond_the_bound_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_POINTS", 3)
    series = Series("tokens", "{token}")
    for number in range(10):
        series.add(1, number, lambda number=number: {"n": number})  # type: ignore[misc]
    found = {tuple(one.attributes): one.value for one in points(series.metric(Temporality.DELTA))}
    assert found == {("n",): 1, ("otel.metric.overflow",): 7}
    assert len(series._points) == 0


def test_attributes_are_made_once_for_each_key() -> None:
    made: list[str] = []
    series = Series("duration", "s", (1,))
    for key in "abab":
        series.add(1, key, lambda key=key: made.append(key) or {"x": key})  # type: ignore[misc, func-returns-value]
    assert made == ["a", "b"]


def test_an_addition_is_cheap() -> None:
    """A tenth of what the SDK's instruments take; the bound is for a busy machine."""
    series, count = Series("duration", "s", tuple(range(1, 15))), 20_000
    began_s = time.process_time()
    for _ in range(count):
        series.add(3.5, ("chat", "p", "m", "", "", 0, ""), dict)
    assert (time.process_time() - began_s) / count < 8e-6
