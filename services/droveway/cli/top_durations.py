"""Percentiles of durations in bounded memory: counts of steps that grow by two percent each.

Steps of several seconds add up exactly, and a percentile is at most one percent from the true one.
A digest library would be a compiled dependency of one command.
Source: Masson, Rim and Lee, "DDSketch", VLDB 2019.
"""

import math
from collections import Counter

_RATIO = 1.02
_LOG = math.log(_RATIO)
_SMALLEST_MS = 0.1
_LONGEST_MS = 3_600_000.0


class Durations:
    """Durations in milliseconds, from 0.1 ms to an hour; others count as the nearest of these."""

    __slots__ = ("count", "counts")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        """By step: the n-th ends at 1.02^n milliseconds."""
        self.count = 0

    def add(self, duration_ms: float) -> None:
        """Counts one."""
        bounded_ms = min(_LONGEST_MS, max(_SMALLEST_MS, duration_ms))
        self.counts[math.ceil(math.log(bounded_ms) / _LOG)] += 1
        self.count += 1

    def merge(self, other: "Durations") -> None:
        """Counts all that `other` has counted."""
        self.counts.update(other.counts)
        self.count += other.count

    def percentile(self, share: float) -> float | None:
        """The duration in milliseconds that `share` of all don't exceed; None: there are none."""
        wanted = max(1, math.ceil(share * self.count))
        for step in sorted(self.counts):
            wanted -= self.counts[step]
            if wanted <= 0:
                return 2 * math.exp(step * _LOG) / (1 + _RATIO)  # the middle of the step
        return None
