"""Puts the rows of one request together: its own, and one for each of its attempts."""

import time
from collections.abc import Callable
from typing import NamedTuple

from droveway.contracts.envelope import MAX_NUMBER
from droveway.contracts.usage import AttemptRecorded, RequestRecorded, Row

JOIN_WITHIN_S = 2.0
"""A request that has ended waits so long for rows of its attempts."""
LONGEST_REQUEST_S = 900.0
"""So long an attempt waits for its request's row; the door has died if it doesn't come."""
MAX_WAITING = 20_000
"""Requests whose rows aren't complete; beyond it the oldest is shown as it is."""
MAX_SHOWN = 20_000
"""Requests that were shown, remembered against rows that come late or twice."""


class Ended(NamedTuple):
    """A request that has ended, with all that is known of it."""

    request: RequestRecorded | None
    """None: its door has left no row."""
    attempts: tuple[AttemptRecorded, ...]
    """In their order."""

    @property
    def complete(self) -> bool:
        """No row is missing."""
        return self.request is not None and len(self.attempts) >= self.request.attempts


class _Waiting:
    """The rows of one request so far."""

    __slots__ = ("attempts", "request", "until_s")

    def __init__(self, until_s: float) -> None:
        self.request: RequestRecorded | None = None
        self.attempts: dict[bytes, AttemptRecorded] = {}
        self.until_s = until_s

    def take(self, row: Row, join_until_s: float) -> None:
        """Adds a row; what a witness says gives way to an attempt's own caller."""
        if isinstance(row, RequestRecorded):
            self.request = row
            self.until_s = join_until_s
        elif row.attempt_id not in self.attempts or not row.witness:
            self.attempts[row.attempt_id] = row

    def ended(self) -> Ended:
        """What there is."""
        attempts = sorted(self.attempts.values(), key=lambda row: row.attempt)
        return Ended(self.request, tuple(attempts))


class RequestJoiner:
    """Calls `show` once for each request, when its rows are complete or time is up."""

    def __init__(
        self,
        show: Callable[[Ended], None],
        join_within_s: float = JOIN_WITHIN_S,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._show = show
        self._join_within_s = join_within_s
        self._max_waiting = max_waiting
        self._waiting: dict[str, _Waiting] = {}
        self._shown: dict[str, None] = {}
        self._next_due_s = float(MAX_NUMBER)

    def take(self, row: Row) -> None:
        """Takes a row."""
        request_id, now_s = row.request_id, time.monotonic()
        if request_id in self._shown:
            return
        found = self._waiting.get(request_id)
        if found is None:
            found = self._waiting[request_id] = _Waiting(now_s + LONGEST_REQUEST_S)
        found.take(row, now_s + self._join_within_s)
        self._next_due_s = min(self._next_due_s, found.until_s)
        if found.ended().complete:
            self._finish(request_id)
        elif len(self._waiting) > self._max_waiting:
            self._finish(next(iter(self._waiting)))

    def tick(self) -> None:
        """Shows what has waited for long enough."""
        now_s = time.monotonic()
        if now_s < self._next_due_s:
            return
        for request_id, found in list(self._waiting.items()):
            if found.until_s <= now_s:
                self._finish(request_id)
        waiting = self._waiting.values()
        self._next_due_s = min((one.until_s for one in waiting), default=float(MAX_NUMBER))

    def __len__(self) -> int:
        return len(self._waiting)

    def _finish(self, request_id: str) -> None:
        self._shown[request_id] = None
        if len(self._shown) > MAX_SHOWN:
            del self._shown[next(iter(self._shown))]
        self._show(self._waiting.pop(request_id).ended())
