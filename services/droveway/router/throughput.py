"""How fast a line moves, as far as that can be told: who would wait in vain is told at once."""

from collections import deque

_WINDOW_S = 2.0
_LEAST_S = 0.25
_LEAST_SERVED = 3
"""With less to go by nothing is said: a line that has just begun may move at any rate."""


class Throughput:
    """Tokens that were let pass lately."""

    __slots__ = ("_began_s", "_passed", "_tokens")

    def __init__(self, now_s: float) -> None:
        self._began_s = now_s
        self._passed: deque[tuple[float, int]] = deque()
        self._tokens = 0

    def note(self, now_s: float, tokens: int) -> None:
        """One request has found room."""
        self._passed.append((now_s, tokens))
        self._tokens += tokens
        self._forget(now_s)

    def wait_s(self, now_s: float, ahead_tokens: int) -> float | None:
        """How long so many tokens will take; None: not known."""
        self._forget(now_s)
        over_s = min(_WINDOW_S, now_s - self._began_s)
        if over_s < _LEAST_S or len(self._passed) < _LEAST_SERVED:
            return None
        return ahead_tokens * over_s / self._tokens

    def _forget(self, now_s: float) -> None:
        while self._passed and self._passed[0][0] <= now_s - _WINDOW_S:
            self._tokens -= self._passed.popleft()[1]
