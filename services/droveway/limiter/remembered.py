"""What a standby has heard and its owner may leave unanswered."""

import time
from collections import deque

from droveway.limiter.owner import Work
from droveway.limiter.settings import LimiterSettings


class Remembered:
    """Messages of the last second, undecoded, in the order in which they came."""

    def __init__(self, own: LimiterSettings) -> None:
        self._keep_s = own.remember_ms / 1000
        self._messages: deque[tuple[float, bool, Work]] = deque(maxlen=own.max_remembered)

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, work: Work, *, asks: bool) -> None:
        """One more: what its owner would do with it; who `asks` does so again if unanswered."""
        now_s = time.monotonic()
        messages = self._messages
        while messages and now_s - messages[0][0] > self._keep_s:
            messages.popleft()
        messages.append((now_s, asks, work))

    def take(self, answered_s: float) -> list[Work]:
        """All that isn't too old, forgotten here; of questions those that came after `answered_s`.

        What its owner has denied stands nowhere: decided anew it might be admitted, and whoever
        asked is gone.
        """
        oldest_s = time.monotonic() - self._keep_s
        found = [
            work
            for at_s, asks, work in self._messages
            if at_s >= oldest_s and not (asks and at_s < answered_s)
        ]
        self._messages.clear()
        return found
