"""The standard invariants: pure functions from evidence to violations that can be read.

    violations = check(Evidence(history, books=[simulator.book.totals]))
    assert violations == []

Each invariant has a name and a function; `check` runs those that it is asked for. A test with
evidence of its own adds a function under a name of its own: `check(..., checks={**CHECKS, ...})`.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from droveway.contracts.usage import Row
from droveway.simulator.book import Entry, Totals
from droveway.simulator.book import fingerprint as name_secret
from tests.support.accounts import disagreements
from tests.support.history import History, Request

MANY = 20
"""Violations of one invariant that are told one by one."""
_READ_BYTES = 1_048_576
_ITEM = re.compile(r"t(\d+) ")


class Snapshot(NamedTuple):
    """Sizes by what they are of: `fds of caller`, `tasks of self`, a gauge."""

    sizes: Mapping[str, float]


Growth = Mapping[str, float]
"""How much sizes may grow by pattern: the first that fits counts, for others it's 0."""
USUAL: Growth = {
    "rss_bytes *": 16 * 1_048_576,
    "droveway_*_seconds{*": math.inf,
    "droveway_stream_*": math.inf,
    "droveway_*_sequence{*": math.inf,
    "droveway_health_targets{*": math.inf,
}
"""An allocator keeps some memory; gauges in seconds are ages: they go up and down by themselves;
streams are the broker's, and grow with what happens, and so does a place in one; health is kept of
each target that was asked, of which the configuration has so many."""


class Health(NamedTuple):
    """One process after the faults; `ready_after_s` is none if it never was."""

    name: str
    alive: bool
    ready_after_s: float | None
    within_s: float


@dataclass(frozen=True)
class Evidence:
    """All that a test has seen; an invariant that is asked for needs its part of it."""

    history: History
    books: Sequence[Totals] = ()
    """Of all simulators, once nothing is running."""
    entries: Sequence[Entry] = ()
    """Of all those books."""
    rows: Sequence[Row] = ()
    """All of the stream USAGE."""
    leftovers: Mapping[str, float] | None = None
    """Gauges of work and reservations, once nothing is running."""
    before: Snapshot | None = None
    after: Snapshot | None = None
    allowed: Growth = field(default_factory=lambda: USUAL)
    secrets: Sequence[str] = ()
    paths: Sequence[Path] = ()
    """Files, and folders with files, in which no secret may be."""
    health: Sequence[Health] = ()


Check = Callable[[Evidence], Iterator[str]]


def one_outcome(evidence: Evidence) -> Iterator[str]:
    """I1: every request has exactly one outcome, and nothing comes after it."""
    seen: set[str] = set()
    for request in evidence.history.requests:
        name = _name(request)
        if request.id in seen:
            yield f"{name}: recorded twice"
        seen.add(request.id)
        if request.terminal == "none" and request.body != "left":
            ended = "its body ended well" if request.body == "whole" else "its body didn't end"
            yield f"{name}: no outcome: {ended}, {request.exception or 'without a terminal'}"
        if len(request.terminals) > 1:
            yield f"{name}: {len(request.terminals)} terminals: {', '.join(request.terminals)}"
        if request.late_events:
            yield f"{name}: {request.late_events} events after its terminal"


def tokens_in_order(evidence: Evidence) -> Iterator[str]:
    """I2: what was delivered of numbered tokens is a prefix: no gap, repeat, swap or change."""
    for request in evidence.history.requests:
        if request.expected_tokens is not None and (place := misplaced(request)):
            yield f"{_name(request)}: {place}"
    delivered = sum(len(_ITEM.findall(one.text)) for one in evidence.history.requests)
    sent = sum(totals.tokens_sent for totals in evidence.books)
    if evidence.books and delivered > sent:
        yield f"clients were given {delivered} tokens, providers sent {sent}"


def success_is_complete(evidence: Evidence) -> Iterator[str]:
    """I3: who is told of success has the whole answer, by HTTP too; and a provider gave it."""
    done = evidence.history.with_terminal("done")
    for request in done:
        found = len(_ITEM.findall(request.text))
        if request.status != 200:
            yield f"{_name(request)}: success with status {request.status}"
        if request.body != "whole":
            yield f"{_name(request)}: success, but its body was {request.body}"
        if request.expected_tokens is not None and found < request.expected_tokens:
            yield f"{_name(request)}: success with {found} of {request.expected_tokens} tokens"
    answered = sum(totals.answered for totals in evidence.books)
    if evidence.books and len(done) > answered:
        yield f"{len(done)} requests succeeded, providers answered {answered}"


def accounts_agree(evidence: Evidence) -> Iterator[str]:
    """I4: each attempt that a provider saw has one row, with the tokens that it told."""
    if not evidence.rows:
        raise ValueError("I4 needs the rows of USAGE")
    yield from disagreements(evidence.rows, evidence.entries)


def nothing_left(evidence: Evidence) -> Iterator[str]:
    """I5: nothing is reserved, leased or in flight any more."""
    if evidence.leftovers is None:
        raise ValueError("I5 needs the gauges of what is left")
    for name, value in evidence.leftovers.items():
        if value:
            yield f"{name} is still {value:g}"


def nothing_grew(evidence: Evidence) -> Iterator[str]:
    """I6: no more tasks, descriptors, memory or waiting work than before; nothing open upstream."""
    if evidence.before is None or evidence.after is None:
        raise ValueError("I6 needs the snapshots before and after")
    yield from grown(evidence.before, evidence.after, evidence.allowed)
    for number, totals in enumerate(evidence.books, 1):
        if totals.open_requests:
            yield f"{totals.open_requests} requests are still open at provider {number}"


def no_secret_told(evidence: Evidence) -> Iterator[str]:
    """I7: no secret in any file; a violation names the place, not the secret."""
    if not evidence.secrets or not evidence.paths:
        raise ValueError("I7 needs secrets and paths to look for them")
    for top in evidence.paths:
        files = [top] if top.is_file() else sorted(one for one in top.rglob("*") if one.is_file())
        if not files:
            yield f"{top}: there is nothing to look at"
        for path in files:
            for secret in evidence.secrets:
                if (offset := find_in_file(path, secret.encode())) >= 0:
                    yield f"{path}: secret {name_secret(secret)} at byte {offset}"


def all_ready(evidence: Evidence) -> Iterator[str]:
    """I8: every process lives and was ready in time."""
    if not evidence.health:
        raise ValueError("I8 needs the health of the processes")
    for one in evidence.health:
        if not one.alive:
            yield f"{one.name} has died"
        elif one.ready_after_s is None:
            yield f"{one.name} wasn't ready within {one.within_s:g} s"


CHECKS: Mapping[str, Check] = {
    "I1": one_outcome,
    "I2": tokens_in_order,
    "I3": success_is_complete,
    "I4": accounts_agree,
    "I5": nothing_left,
    "I6": nothing_grew,
    "I7": no_secret_told,
    "I8": all_ready,
}
STREAMS = ("I1", "I2", "I3")
"""The invariants that need nothing but a history."""


def check(
    evidence: Evidence,
    invariants: Sequence[str] = STREAMS,
    checks: Mapping[str, Check] = CHECKS,
) -> list[str]:
    """All violations of the invariants, each with its invariant's name before it.

    Raises:
        ValueError: There is nothing to judge, or evidence that an invariant needs is missing.
    """
    if not evidence.history.requests:
        raise ValueError("the history has no request: it proves nothing")
    violations: list[str] = []
    for name in invariants:
        found = [f"{name} {violation}" for violation in checks[name](evidence)]
        violations += found[:MANY]
        if len(found) > MANY:
            violations.append(f"{name} and {len(found) - MANY} more")
    return violations


def misplaced(request: Request) -> str:
    """Where the text leaves the numbered tokens, and how; empty if it doesn't."""
    numbers: list[int] = []
    end = 0
    for match in _ITEM.finditer(request.text):
        if match.start() != end:
            break
        numbers.append(int(match[1]))
        end = match.end()
    for place, number in enumerate(numbers):
        if number == place:
            continue
        if number < place:
            return f"duplicate: t{number} again at place {place}"
        if place in numbers[place:]:
            return f"reorder: t{number} before t{place} at place {place}"
        return f"gap: t{place} to t{number - 1} are missing at place {place}"
    if end != len(request.text):
        return f"changed: {request.text[end : end + 20]!r} at place {len(numbers)}"
    if request.expected_tokens is not None and len(numbers) > request.expected_tokens:
        return f"excess: {len(numbers)} tokens instead of {request.expected_tokens}"
    return ""


def grown(before: Snapshot, after: Snapshot, allowed: Growth) -> list[str]:
    """The sizes that grew by more than is allowed; one that wasn't there before was 0."""
    found = []
    for name, size in after.sizes.items():
        patterns = (more for pattern, more in allowed.items() if fnmatch(name, pattern))
        more = next(patterns, 0.0)
        if size > before.sizes.get(name, 0.0) + more:
            found.append(f"{name} grew from {before.sizes.get(name, 0):g} to {size:g}")
    return found


def find_in_file(path: Path, needle: bytes) -> int:
    """Where the needle first is in a file, in bytes; -1 if it's nowhere."""
    kept = b""
    offset = 0
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            window = kept + data
            if (at := window.find(needle)) >= 0:
                return offset - len(kept) + at
            kept = window[-(len(needle) - 1) :] if len(needle) > 1 else b""
            offset += len(data)
    return -1


def _name(request: Request) -> str:
    return f"{request.id} ({request.model}, {request.request_id or 'no request id'})"
