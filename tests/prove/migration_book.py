"""What the providers' books say of a migration: who was where, and what a comparison should say."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from droveway.contracts.config import Price
from droveway.contracts.usage import AttemptRecorded
from droveway.simulator.book import Entry, fingerprint
from tests.prove.migration_days import part_of
from tests.support.history import Request

SLACK_MS = 25.0
SLACK_SHARE = 0.1
"""A caller's median may be longer than its provider's by so much: it has the way in it."""
EARLY_MS = 5.0
"""So much sooner than by the book a call may end: clocks that stand still while a loop works."""
PACE_SHARE = 0.02
"""A month's cost is told from times that the comparison shows to the second."""
_CLOCK_S = 0.02
"""The simulator's clock stands still while it works."""
N = TypeVar("N", int, float)


class Asked(NamedTuple):
    """One request of a day."""

    user: str
    day: int
    record: Request


class Placed(NamedTuple):
    """One request, and which of the models its provider was asked for, in order."""

    asked: Asked
    tried: tuple[str, ...]

    @property
    def first(self) -> str:
        """Where it was sent first; empty: nowhere."""
        return self.tried[0] if self.tried else ""


def placed(asked: Sequence[Asked], entries: Sequence[Entry]) -> list[Placed]:
    """Each request with its entries: those of its user from its beginning to the next one's."""
    seen: dict[str | None, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda one: one.started_ms):
        seen[entry.user_fingerprint].append(entry)
    by_user: dict[str, list[Asked]] = defaultdict(list)
    for one in sorted(asked, key=lambda one: one.record.invoked_s):
        by_user[one.user].append(one)
    found = []
    for user, own in by_user.items():
        begins_s = [one.record.invoked_s - _CLOCK_S for one in own]
        tried: list[list[str]] = [[] for _ in own]
        for entry in seen[fingerprint(user)]:
            number = sum(begin_s <= entry.started_ms / 1000 for begin_s in begins_s) - 1
            tried[max(number, 0)].append(entry.model)
        found += [Placed(one, tuple(models)) for one, models in zip(own, tried, strict=True)]
    return found


def widest_gap(found: Sequence[Placed], canary: str, percents: Sequence[float]) -> float:
    """The most that the canary's share of a day's users or requests differs from what was ordered.

    In percentage points.
    """
    gaps = []
    for number, percent in enumerate(percents):
        today = [one for one in found if one.asked.day == number]
        users = {one.asked.user for one in today}
        there = {one.asked.user for one in today if one.first == canary}
        requests = sum(one.first == canary for one in today)
        gaps += [100 * requests / len(today) - percent, 100 * len(there) / len(users) - percent]
    return max(map(abs, gaps))


def strays(found: Sequence[Placed], canary: str, percents: Sequence[float]) -> list[str]:
    """Users who were in both channels in one day, left the canary, or weren't where they belong."""
    days: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in found:
        days[one.asked.user][one.asked.day].add(one.first)
    wrong = []
    for user, own in days.items():
        inside = [own[number] == {canary} for number in sorted(own)]
        expected = [part_of(user) < 100 * percents[number] for number in sorted(own)]
        both = any(len(firsts) > 1 for firsts in own.values())
        if both or inside != sorted(inside) or inside != expected:
            wrong.append(user)
    return wrong


def wrong_figures(
    told: dict[str, Any],
    line: dict[str, Any],
    entries: Sequence[Entry],
    rows: Sequence[AttemptRecorded],
    price: Price,
) -> Iterator[str]:
    """What a channel's line has otherwise than the rows of its calls, and these than the book.

    Args:
        told: The whole comparison, as `--format json` has it.
        line: Of the channel.
        entries: Of its provider.
        rows: Of its calls.
        price: Of its model.
    """
    done = [row for row in rows if row.outcome == "completed"]
    left = sum(row.outcome == "cancelled" for row in rows)
    usages = [row.usage for row in rows]
    guessed = [one for one in usages if one.estimated]
    inputs = sum(one.input_tokens for one in usages)
    outputs = sum(one.output_tokens for one in usages)
    usd = (inputs * Decimal(str(price.input)) + outputs * Decimal(str(price.output))) / 1_000_000
    exact = {
        "attempts": len(rows),
        "attempts_completed": len(done),
        "attempts_cancelled": left,
        "success_rate": round(len(done) / (len(rows) - left), 6),
        "input_tokens": inputs,
        "output_tokens": outputs,
        "estimated_tokens": sum(one.input_tokens + one.output_tokens for one in guessed),
        "cost_usd": f"{usd:.6f}",
        "errors": len(rows) - len(done) - left,
    }
    for name, value in exact.items():
        found = sum(line[name].values()) if name == "errors" else line[name]
        if found != value:
            yield f"{line['channel']}: {name} is {found}, by the rows {value}"
    good = [one for one in entries if one.outcome == "answered" and one.status == 200]
    yield from _unlike_the_book(line["channel"], entries, good, rows)
    yield from _wrong_times(line, good, rows)
    if line["projected_month_usd"] is not None:
        yield from _wrong_month(told, line, usd)


def _unlike_the_book(
    channel: str, entries: Sequence[Entry], good: Sequence[Entry], rows: Sequence[AttemptRecorded]
) -> Iterator[str]:
    """What we took back, on a busy machine, a provider may have answered, or never seen."""
    left = sum(row.outcome == "cancelled" for row in rows)
    known = [row.usage for row in rows if not row.usage.estimated]
    usages = [one.usage for one in entries if one.usage is not None]
    done = sum(row.outcome == "completed" for row in rows)
    most_inputs = max(one.prompt_tokens for one in usages)
    most_outputs = max(one.completion_tokens for one in usages)
    inputs = sum(one.input_tokens for one in known)
    outputs = sum(one.output_tokens for one in known)
    booked_inputs = sum(one.prompt_tokens for one in usages)
    booked_outputs = sum(one.completion_tokens for one in usages)
    for name, counted, booked, slack in (
        ("calls", len(rows), len(entries), left),
        ("answers", done, len(good), left),
        ("input tokens", inputs, booked_inputs, left * most_inputs),
        ("output tokens", outputs, booked_outputs, left * most_outputs),
    ):
        if abs(counted - booked) > slack:
            yield f"{channel}: rows have {counted} {name}, the book {booked}"


def _wrong_times(
    line: dict[str, Any], good: Sequence[Entry], rows: Sequence[AttemptRecorded]
) -> Iterator[str]:
    """Beyond the median the book is a lower bound: the way takes what a busy machine makes it."""
    took_ms = sorted(one.ended_ms - one.started_ms for one in good if one.ended_ms is not None)
    rows_us = sorted(row.times.ended_us for row in rows if row.outcome == "completed")
    for percent in (50, 95, 99):
        book_ms, told_us = _rank(took_ms, percent), line[f"total_p{percent}_us"]
        if told_us != (row_us := _rank(rows_us, percent)):
            yield f"{line['channel']}: p{percent} is {told_us} us, by the rows {row_us} us"
        more_ms = told_us / 1000 - book_ms
        most_ms = max(SLACK_MS, SLACK_SHARE * book_ms) if percent == 50 else math.inf
        if not -EARLY_MS <= more_ms <= most_ms:
            told_ms = told_us / 1000
            yield f"{line['channel']}: p{percent} is {told_ms:.0f} ms, by the book {book_ms:.0f} ms"


def _rank(values: Sequence[N], percent: int) -> N:
    """The nearest rank of sorted values."""
    return values[(len(values) * percent + 99) // 100 - 1]


def _wrong_month(told: dict[str, Any], line: dict[str, Any], usd: Decimal) -> Iterator[str]:
    since, until = (datetime.fromisoformat(told[name]) for name in ("since", "until"))
    together = sum(one["requests"] for one in told["channels"])
    begin = until.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0)
    month_s = ((begin + timedelta(days=32)).replace(day=1) - begin).total_seconds()
    share = Decimal(together) / line["requests"]
    month = usd * share * Decimal(month_s) / Decimal((until - since).total_seconds())
    told_usd = line["projected_month_usd"]
    if abs(Decimal(told_usd) / month - 1) > Decimal(str(PACE_SHARE)):
        yield f"{line['channel']}: a month is {told_usd}, by the book {month:.2f}"


def outcomes(entries: Sequence[Entry]) -> dict[str, int]:
    """How calls ended, for the facts."""
    return dict(Counter(f"{one.model} {one.outcome}" for one in entries))
