"""Values of a metric's label: so many, then one for all the rest."""

from collections.abc import Iterable

OTHER = "other"


class BoundedLabels:
    """Lets the first `limit` values through as they are; each further one is `other`.

    Args:
        limit: Values besides those of `own`.
    """

    __slots__ = ("_limit", "_own", "_seen")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._own: frozenset[str] = frozenset()
        self._seen: set[str] = set()

    def own(self, values: Iterable[str]) -> None:
        """Names of the operator's configuration: they never count as `other`."""
        self._own = frozenset(values)

    def __call__(self, value: str) -> str:
        """The value, or `other`."""
        if value in self._own or value in self._seen:
            return value
        if len(self._seen) >= self._limit:
            return OTHER
        self._seen.add(value)
        return value
