"""Whether limits were kept: by what askers were told, and by the limiter's log. Integers only.

An asker's admission was decided somewhere between question and answer. More than `N` of them whose
questions and answers all lie within less than the window broke the limit, wherever they were
decided: so a violation found here is one, and clocks of processes don't matter. The limiter's time
has steps of a millisecond, so a window is judged as that much shorter.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from droveway.contracts.limits import Admit
from tests.prove.limits_plan import Customer, Told
from tests.prove.limits_rules import Rule, Rules
from tests.support.limit_model import LimitModel
from tests.support.limits_log import Written

_MS_NS = 1_000_000
_LOOKED_BACK = 200
"""Admissions of a counter with a burst that one more is judged with."""


class Taken(NamedTuple):
    """So much of one limit, between two moments."""

    answered_ns: int
    asked_ns: int
    settled_ns: int
    amount: int


class Judged(NamedTuple):
    """What was found; `over` is in words."""

    admitted: int
    counters: int
    fullest_percent: float
    """Of the limit that was nearest to broken: far below 100 the claim would say nothing."""
    over: list[str]


def judge_told(told: Iterable[Told], customers: Sequence[Customer], rules: Rules) -> Judged:
    """By what askers were told."""
    by_counter: dict[Rule, list[Taken]] = {}
    admitted = 0
    for one in told:
        admitted += 1
        for rule in rules.of(customers[one.customer], one.model, one.place):
            amount = rule.amount(one.input_tokens, one.output_tokens)
            taken = Taken(one.answered_ns, one.asked_ns, one.settled_ns, amount)
            by_counter.setdefault(rule, []).append(taken)
    over: list[str] = []
    fullest = 0.0
    for rule, all_taken in by_counter.items():
        most = _most(rule, sorted(all_taken))
        fullest = max(fullest, most / (rule.burst or rule.limit))
        if most > (rule.burst or rule.limit):
            over.append(f"{rule.counter}: {most} admitted where {rule.limit} are allowed")
    return Judged(admitted, len(by_counter), 100 * fullest, over)


def judge_log(written: Iterable[Written], limits: Mapping[str, int]) -> Judged:
    """By the log's own times."""
    model = LimitModel(limits)
    for one in written:
        model.feed(one.batch.ops)
    over = [
        f"log: {one.counter} had {one.counted} of {one.limit} at {one.at_ms}" for one in model.over
    ]
    return Judged(model.admissions, 0, 0.0, over)


def not_in_log(told: Iterable[Told], written: Iterable[Written]) -> list[str]:
    """Admissions that an asker was told and that don't stand in the log exactly once."""
    counts: dict[str, int] = {}
    for one in written:
        for op in one.batch.ops:
            if isinstance(op, Admit):
                counts[op.request_id] = counts.get(op.request_id, 0) + 1
    return [one.request_id for one in told if counts.get(one.request_id) != 1]


def _most(rule: Rule, taken: list[Taken]) -> int:
    """The most that surely stood at one moment, or within one window; `taken` as answered."""
    if rule.kind == "concurrency":
        return _most_at_once(taken)
    if rule.burst:
        return _most_of_burst(rule, taken)
    window_ns = (rule.window_ms - 1) * _MS_NS
    within: list[tuple[int, int]] = []
    most = counted = 0
    for one in taken:
        heapq.heappush(within, (one.asked_ns, one.amount))
        counted += one.amount
        while within[0][0] <= one.answered_ns - window_ns:
            counted -= heapq.heappop(within)[1]
            if not within:
                break
        most = max(most, counted)
    return most


def _most_of_burst(rule: Rule, taken: list[Taken]) -> int:
    """The most beyond what drains: `burst + rate x time` may pass in any time."""
    recent: deque[Taken] = deque(maxlen=_LOOKED_BACK)
    most = 0
    for one in taken:
        recent.append(one)
        counted = 0
        for other in sorted(recent, key=lambda each: -each.asked_ns):
            counted += other.amount
            drained = (one.answered_ns - other.asked_ns + _MS_NS) * rule.limit
            most = max(most, counted - drained // (rule.window_ms * _MS_NS))
    return most


def _most_at_once(taken: list[Taken]) -> int:
    """Places that were surely held at the same time: from the answer to the word of the end."""
    moments: list[tuple[int, int]] = []
    for one in taken:
        if one.settled_ns:
            moments += ((one.answered_ns, 1), (one.settled_ns, -1))
    held = most = 0
    for _, change in sorted(moments):
        held += change
        most = max(most, held)
    return most
