"""One counter family that mirrors sums of the ledger, and the bound on its labels."""

from prometheus_client.core import CounterMetricFamily

Labels = tuple[str, ...]
OTHER = "other"
"""The label of what is beyond the bound."""


class Names:
    """The first so many label sets keep their names; further ones are `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[Labels] = set()

    def bounded(self, labels: Labels) -> Labels:
        """The same, or as many times `other`."""
        if labels in self._known:
            return labels
        if len(self._known) >= self._limit:
            return (OTHER,) * len(labels)
        self._known.add(labels)
        return labels


class Mirror:
    """Values by labels. What is told never falls, even when the sums are made anew below it."""

    def __init__(self, name: str, text: str, labels: Labels, unit: float = 1.0) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._unit = unit
        self._sums: dict[Labels, float] = {}
        self._told: dict[Labels, float] = {}

    def begin(self) -> None:
        """The sums are read anew; what was told stands until they are past it."""
        self._sums.clear()

    def forget(self) -> None:
        """Nothing is told any more."""
        self._sums.clear()
        self._told.clear()

    def add(self, labels: Labels, more: float) -> None:
        """The sum has grown."""
        now = self._sums[labels] = self._sums.get(labels, 0) + more
        if now > self._told.get(labels, -1):
            self._told[labels] = now

    def family(self) -> CounterMetricFamily:
        """What a scrape reads."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._told.items():
            family.add_metric(labels, value * self._unit)
        return family
