"""The ledger says when it falls behind, and when it has caught up."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec

from droveway.contracts.events import LedgerBehind, LedgerCaughtUp
from droveway.metrics.feed import UsageFeed
from droveway.metrics.lag import LagWatch
from droveway.runtime.events import Events


class Place:
    """A feed's place in the stream."""

    def __init__(self) -> None:
        self.position = 0
        self.stream = SimpleNamespace(last_sequence=0)

    @property
    def lag_rows(self) -> int:
        return int(self.stream.last_sequence) - self.position


class Listener:
    """Hears events."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def tell(self, event: msgspec.Struct) -> None:
        self.told.append(event)


def test_a_ledger_that_keeps_up_says_nothing_and_one_that_does_not_says_so_once() -> None:
    place, listener = Place(), Listener()
    watch = LagWatch(cast(UsageFeed, place), cast(Events, listener), 10.0)
    for second in range(0, 60, 2):  # always some rows to count, never old ones
        place.stream.last_sequence += 100
        watch.judge(second)
        place.position = place.stream.last_sequence - 50
    assert listener.told == []
    for second in range(60, 100, 2):
        watch.judge(second)
    assert listener.told == [LedgerBehind(rows=50)]
    place.position = place.stream.last_sequence
    watch.judge(100)
    assert listener.told == [LedgerBehind(rows=50), LedgerCaughtUp()]
