"""How quick a target lately was: a mean in which what is old counts less."""

import math

_HALF_LIFE_S = 10.0
_FORGOTTEN_S = 60.0
"""A target of which nothing was heard for so long is tried as if it were new."""


class Speed:
    """An exponentially weighted mean of seconds to a first token, by time instead of by count.

    Source: Finagle, "Peak EWMA".
    """

    __slots__ = ("_at_s", "_mean_s")

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._at_s = -math.inf

    def note(self, now_s: float, took_s: float) -> None:
        """One more first token: a slower one counts at once, a quicker one by and by."""
        if now_s - self._at_s > _FORGOTTEN_S or took_s > self._mean_s:
            self._mean_s = took_s
        else:
            kept = 0.5 ** (max(now_s - self._at_s, 0.1) / _HALF_LIFE_S)
            self._mean_s = kept * self._mean_s + (1 - kept) * took_s
        self._at_s = now_s

    def value_s(self, now_s: float) -> float:
        """The mean; 0 where nothing is known."""
        return 0.0 if now_s - self._at_s > _FORGOTTEN_S else self._mean_s
