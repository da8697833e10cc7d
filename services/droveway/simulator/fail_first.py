"""Counts for faults that strike some requests only: the first, those after, or a share of them."""

from collections import OrderedDict

from droveway.simulator.faults import Faults

_CHOOSING = frozenset({"times", "skip", "percent", "permille"})


class FailFirst:
    """Counts the requests of each spec, model and scope; knows at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    def strikes(self, faults: Faults, model: str, scope: str) -> bool:
        """Say whether the faults strike this request, which counts."""
        if not faults.numbers.keys() & _CHOOSING:
            return True
        key = (faults.spec, model, scope)
        count = self._counts.pop(key, 0) + 1
        self._counts[key] = count
        if len(self._counts) > self._limit:
            self._counts.popitem(last=False)
        number = count - faults.numbers.get("skip", 0)
        share = faults.numbers.get("permille", 10 * faults.numbers.get("percent", 100))
        if number <= 0 or number > faults.numbers.get("times", number):
            return False
        return number * share // 1000 > (number - 1) * share // 1000

    def clear(self) -> None:
        """Forget every count."""
        self._counts.clear()
