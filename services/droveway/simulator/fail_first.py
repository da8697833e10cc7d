"""Counts for faults that strike the first requests only."""

from collections import OrderedDict

from droveway.simulator.faults import Faults


class FailFirst:
    """Counts the requests of each spec, model and scope; knows at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    def strikes(self, faults: Faults, model: str, scope: str) -> bool:
        """Say whether the faults strike this request, which counts."""
        times = faults.numbers.get("times")
        if times is None:
            return True
        key = (faults.spec, model, scope)
        count = self._counts.pop(key, 0) + 1
        self._counts[key] = count
        if len(self._counts) > self._limit:
            self._counts.popitem(last=False)
        return count <= times

    def clear(self) -> None:
        """Forget every count."""
        self._counts.clear()
