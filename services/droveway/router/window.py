"""What was lately seen of a target: good and bad outcomes of a sliding window."""

from collections import deque
from typing import NamedTuple

_SLOTS = 10
"""Parts of the window: outcomes are forgotten by the part."""
_OF_PARTS = 2
"""Parts alone must have so many times the outcomes of a whole window: of few, chance makes many
bad ones too often."""


class Outcomes(NamedTuple):
    """What has been seen of a target."""

    good: int
    bad: int
    """Failed, slow or cut."""


class _Slot:
    __slots__ = ("bad", "good", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.good = 0
        self.bad = 0


class Window:
    """Pure: it is handed the time, and how long the window is."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque()

    def note(self, now_s: float, window_s: float, *, good: int = 0, bad: int = 0) -> None:
        """So many more."""
        self._forget(now_s, window_s)
        number = int(now_s * _SLOTS / window_s)
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(_Slot(number))
        self._slots[-1].good += good
        self._slots[-1].bad += bad

    def worsen(self, answers: int) -> None:
        """So many that had been noted as good were none, the newest first."""
        for slot in reversed(self._slots):
            taken = min(slot.good, answers)
            slot.good -= taken
            answers -= taken

    def clear(self) -> None:
        """All is forgotten."""
        self._slots.clear()

    def outcomes(self, now_s: float, window_s: float) -> Outcomes:
        """Of the whole window."""
        self._forget(now_s, window_s)
        return Outcomes(sum(s.good for s in self._slots), sum(s.bad for s in self._slots))

    def exceeds(self, now_s: float, window_s: float, ratio: float, at_least: int) -> bool:
        """Whether such a share is bad, of the whole window or of its newest parts alone.

        A provider that was well for long would else be used for most of a window after it fell.
        """
        self._forget(now_s, window_s)
        good = bad = 0
        for age, slot in enumerate(reversed(self._slots), 1):
            good, bad = good + slot.good, bad + slot.bad
            needed = at_least * (1 if age == len(self._slots) else _OF_PARTS)
            if good + bad >= needed and bad >= ratio * (good + bad):
                return True
        return False

    def _forget(self, now_s: float, window_s: float) -> None:
        oldest = int(now_s * _SLOTS / window_s) - _SLOTS
        while self._slots and self._slots[0].number <= oldest:
            self._slots.popleft()
