"""What one channel's attempts lately came to: pure counts, bounded whatever comes."""

import math
from collections import Counter, deque
from typing import NamedTuple

from droveway.contracts.config import CanaryGuard

_SLOTS = 20
"""A window is forgotten in so many pieces."""
_GROWTH = math.log(1.05)
"""First tokens are told apart to 5 %."""
_SHORTEST_S = 1e-4


class Seen(NamedTuple):
    """One channel's counts."""

    attempts: int = 0
    completed: int = 0
    first_tokens: int = 0
    p95_first_token_s: float = 0.0

    @property
    def success_percent(self) -> float:
        """Of the attempts; 100 of none."""
        return 100.0 * self.completed / self.attempts if self.attempts else 100.0


class _Slot:
    def __init__(self, number: int) -> None:
        self.number = number
        self.attempts = 0
        self.completed = 0
        self.first_tokens: Counter[int] = Counter()


class ChannelWindow:
    """The last `window_s` seconds before the newest attempt.

    A channel that gets nothing any more keeps what it had: the other one is still held against it.
    """

    def __init__(self, window_s: float) -> None:
        self._slot_s = window_s / _SLOTS
        self._slots: deque[_Slot] = deque()

    def add(self, at_s: float, *, completed: bool, first_token_s: float | None) -> None:
        """Counts one attempt; `first_token_s` only of one that was streamed."""
        number = int(at_s / self._slot_s)
        slot = next((one for one in reversed(self._slots) if one.number == number), None)
        if slot is None:
            newest = self._slots[-1].number if self._slots else number
            if number <= newest - _SLOTS:
                return
            slot = _Slot(number)
            self._slots.append(slot)
            newest = max(newest, number)
            kept = [one for one in self._slots if one.number > newest - _SLOTS]
            self._slots = deque(sorted(kept, key=lambda one: one.number))
        slot.attempts += 1
        slot.completed += completed
        if first_token_s is not None:
            slot.first_tokens[math.ceil(math.log(max(first_token_s, _SHORTEST_S)) / _GROWTH)] += 1

    def seen(self) -> Seen:
        """All of it, added up."""
        first_tokens: Counter[int] = Counter()
        for slot in self._slots:
            first_tokens.update(slot.first_tokens)
        return Seen(
            sum(slot.attempts for slot in self._slots),
            sum(slot.completed for slot in self._slots),
            first_tokens.total(),
            _p95_s(first_tokens),
        )


def verdict(rules: CanaryGuard, canary: Seen, stable: Seen) -> str:
    """Why the canary is to be rolled back; empty: it isn't."""
    if min(canary.attempts, stable.attempts) >= rules.min_requests:
        points = stable.success_percent - canary.success_percent
        if points > rules.success_points:
            return (
                f"success {canary.success_percent:.1f}% of {canary.attempts} attempts, stable "
                f"{stable.success_percent:.1f}% of {stable.attempts}: {points:.1f} points worse, "
                f"{rules.success_points:g} are allowed"
            )
    if min(canary.first_tokens, stable.first_tokens) >= rules.min_requests:
        most_s = max(rules.first_token_floor_s, rules.first_token_factor * stable.p95_first_token_s)
        if canary.p95_first_token_s > most_s:
            return (
                f"P95 first token {canary.p95_first_token_s:.2f} s, stable "
                f"{stable.p95_first_token_s:.2f} s; at most {most_s:.2f} s are allowed"
            )
    return ""


def _p95_s(first_tokens: Counter[int]) -> float:
    rank = -(-first_tokens.total() * 95 // 100)
    for index in sorted(first_tokens):
        rank -= first_tokens[index]
        if rank <= 0:
            return math.exp(index * _GROWTH)
    return 0.0
