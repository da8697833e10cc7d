"""What rows add up to by the hour: gathered in groups while a page is read, written once per group.

A group is more than an hour's key: with outcome and status in it, all its rows count alike, and
only tokens, money and times are left to be added.
"""

from collections import defaultdict
from collections.abc import Iterable
from operator import itemgetter
from typing import Any, NamedTuple

from droveway.metrics.ledger.rows import (
    ATTEMPT_COLUMNS,
    OUTCOMES,
    REQUEST_COLUMNS,
    AttemptValues,
    RequestValues,
)

HOUR_MS = 3_600_000
_A = {column: index for index, column in enumerate(ATTEMPT_COLUMNS)}
_R = {column: index for index, column in enumerate(REQUEST_COLUMNS)}
_STORED = _A["stored_ms"]
_NUMBER, _FIRST_TOKEN = _A["attempt"], _A["first_token_us"]
_whose_attempt = itemgetter(
    *(_A[name] for name in ("tenant", "key_id", "provider", "asked_model", "model")),
    *(_A[name] for name in ("stream", "outcome", "status", "estimated")),
)
_whose_request = itemgetter(
    *(_R[name] for name in ("tenant", "key_id", "provider", "model", "stream", "outcome"))
)
_request_times = itemgetter(_R["ended_us"], _R["first_byte_us"])
_ADDED = slice(_A["input_tokens"], _FIRST_TOKEN)
_ADDED_TIMED = slice(_A["input_tokens"], _FIRST_TOKEN + 1)
_ENDED = 7
"""Among what is added: six kinds of tokens and the cost come before it."""
MAX_SUM = 2**53 - 1
"""No sum grows over it, so that no row makes one overflow, and every language reads it."""


class AttemptGroup(NamedTuple):
    """Attempts that are alike."""

    hour: int
    tenant: str
    key_id: str
    provider: str
    model: str
    """The client's name."""
    target: str
    """The provider's."""
    stream: bool
    outcome: str
    status: int
    estimated: bool
    further: bool
    """Their request's second attempt, third, ..."""
    unpriced: bool
    timed: bool
    """They had a first token."""


class RequestGroup(NamedTuple):
    """Requests that are alike."""

    hour: int
    tenant: str
    key_id: str
    provider: str
    model: str
    stream: bool
    outcome: str
    timed: bool


class AttemptSum(NamedTuple):
    """What a group of attempts comes to."""

    group: AttemptGroup
    attempts: int
    added: list[int]
    """Six kinds of tokens, nano-dollars, µs to the end, and µs to the first token if timed."""
    ended_us: tuple[int, ...]
    """Of each."""


class RequestSum(NamedTuple):
    """What a group of requests comes to."""

    group: RequestGroup
    requests: int
    ended_us: int
    first_byte_us: int


class Sums:
    """Rows of one transaction; `from_hour`: earlier ones are in the sums already."""

    def __init__(self, from_hour: int = 0) -> None:
        self._from_hour = from_hour
        self._attempts: dict[Any, list[Any]] = defaultdict(list)
        self._requests: dict[Any, list[Any]] = defaultdict(list)

    def add_attempt(self, values: AttemptValues, *, unpriced: bool) -> None:
        """Counts one attempt."""
        row: tuple[Any, ...] = values
        timed = row[_FIRST_TOKEN] is not None
        hour = row[_STORED] // HOUR_MS
        group = (hour, *_whose_attempt(row), row[_NUMBER] > 1, unpriced, timed)
        self._attempts[group].append(row[_ADDED_TIMED if timed else _ADDED])

    def add_request(self, values: RequestValues) -> None:
        """Counts one request."""
        row: tuple[Any, ...] = values
        ended_us, first_us = _request_times(row)
        group = (row[_STORED] // HOUR_MS, *_whose_request(row), first_us is not None)
        self._requests[group].append((ended_us, first_us or 0))

    def attempts(self) -> list[AttemptSum]:
        """Those of attempts."""
        found = []
        for key, rows in self._attempts.items():
            if key[0] >= self._from_hour:
                columns = (*zip(*rows, strict=True),)
                sums = [*map(sum, columns)]
                found.append(AttemptSum(AttemptGroup(*key), len(rows), sums, columns[_ENDED]))
        return found

    def requests(self) -> list[RequestSum]:
        """Those of requests."""
        found = []
        for key, rows in self._requests.items():
            if key[0] >= self._from_hour:
                ended_us, first_us = (sum(column) for column in zip(*rows, strict=True))
                found.append(RequestSum(RequestGroup(*key), len(rows), ended_us, first_us))
        return found


def attempt_hours(sums: Iterable[AttemptSum], sign: int = 1) -> list[tuple[Any, ...]]:
    """What is added to `attempt_hours`, a tuple per row in the order of its columns."""
    hours: dict[Any, list[int]] = {}
    for group, count, added, _ in sums:
        tokens = added[0] + added[1]
        more = (
            count,
            *(count if group.outcome == one else 0 for one in OUTCOMES),
            count if group.estimated else 0,
            *added[:_ENDED],
            tokens if group.unpriced else 0,
            added[_ENDED + 1] if group.timed else 0,
            count if group.timed else 0,
            added[_ENDED],
        )
        _fold(hours, group[:7], more, sign)
    return _bounded(hours)


def outcome_hours(sums: Iterable[AttemptSum], sign: int = 1) -> list[tuple[Any, ...]]:
    """What is added to `outcome_hours`."""
    hours: dict[Any, list[int]] = {}
    for group, count, _, _ in sums:
        key = (group.hour, group.provider, group.outcome, group.status)
        _fold(hours, key, (count, count if group.further else 0), sign)
    return _bounded(hours)


def request_hours(sums: Iterable[RequestSum]) -> list[tuple[Any, ...]]:
    """What is added to `request_hours`."""
    hours: dict[Any, list[int]] = {}
    for group, count, ended_us, first_us in sums:
        key = (*group[:5], "", group.stream)
        more = (
            count,
            *(count if group.outcome == one else 0 for one in OUTCOMES),
            first_us,
            count if group.timed else 0,
            ended_us,
        )
        _fold(hours, key, more, 1)
    return _bounded(hours)


def _bounded(hours: dict[Any, list[int]]) -> list[tuple[Any, ...]]:
    return [
        (*key, *(min(MAX_SUM, max(-MAX_SUM, count)) for count in counts))
        for key, counts in hours.items()
    ]


def _fold(hours: dict[Any, list[int]], key: Any, more: tuple[int, ...], sign: int) -> None:
    before = hours.get(key)
    if before is None:
        hours[key] = [sign * one for one in more]
    else:
        hours[key] = [one + sign * another for one, another in zip(before, more, strict=True)]
