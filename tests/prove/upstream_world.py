"""A table of faults at the first of two providers, asked for in every mode, and who judges it.

Each fault is asked for streamed and whole, where only the first provider serves and where the
second may help. Nothing that one fault does keeps the others from the provider: no breaker opens,
no credential cools, retries are free. The judges are pure.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from droveway.contracts.config import (
    Config,
    Health,
    Retry,
    RetryBudget,
    Route,
    RouteTarget,
    Tier,
    Timeouts,
)
from droveway.contracts.usage import AttemptRecorded, RequestRecorded, Row
from droveway.simulator.book import Entry
from tests.prove.clients import at_most
from tests.prove.plant import Plant, Shape
from tests.support.accounts import attempts_of, requests_of, stored_rows
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw

Fate = Literal["served", "elsewhere", "told", "passed"]
"""`served`: the answer is usable as it comes. `elsewhere`: the second provider serves it; without
one the client gets an error's status. `told`: the client has seen some of it and gets an error in
band; on a busy machine it may break before any is shown, which is `elsewhere` then. `passed`: the
client gets the provider's own refusal, whoever else might serve it."""

TOKENS = 5
WELL = f"numbered-{TOKENS}"
UNSPARED = {"DROVEWAY_CALLER_MAX_COOLDOWN_S": "0"}
_AT_ONCE = 16
_INTERVAL_MS = 20
"""Between tokens: what breaks after the second finds the first one read."""
_ROWS_WITHIN_S = 10.0


class Case(NamedTuple):
    """One fault in the simulator's words, and what becomes of who meets it."""

    fault: str
    stream: Fate
    whole: Fate
    said: str = ""
    """Status and code where no other provider helps; empty: any error of a provider's."""
    waits_s: tuple[float, float] = (0.0, 0.0)
    """How long until it is noticed: streamed, whole."""

    @property
    def model(self) -> str:
        """Asks the simulator for it."""
        return f"fault-{WELL}+{self.fault}"

    @property
    def detour(self) -> str:
        """The route on which the second provider may help."""
        return f"detour-{self.fault}-{WELL}"


class Asked(NamedTuple):
    """One request, and what it was meant to meet."""

    case: Case
    stream: bool
    other: bool
    """There is a second provider."""
    request: Request

    @property
    def fate(self) -> Fate:
        """What should become of it."""
        fate = self.case.stream if self.stream else self.case.whole
        seen = self.request
        unshown = seen.terminal == "done" if self.other else seen.status != 200
        return "elsewhere" if fate == "told" and unshown else fate


def world(cases: Sequence[Case], timeouts: Timeouts | None = None, callers: int = 1) -> Shape:
    """Two providers, of which the first plays the faults."""

    def configure(config: Config) -> Config:
        providers = tuple(
            msgspec.structs.replace(one, timeouts=timeouts or one.timeouts)
            for one in config.providers
        )
        first, second = (one.id for one in providers)
        detours = (route(one.detour, (first, one.model), (second, WELL)) for one in cases)
        return msgspec.structs.replace(
            config,
            providers=providers,
            routes=(*detours, route("*", (first, ""))),
            retry=Retry(attempts=2, same_target=0),
            retry_budget=RetryBudget(per_s=1_000_000),
            health=Health(consecutive=1_000, ratio=1.0, min_outcomes=1_000_000),
        )

    return Shape(
        simulators=2,
        interval_ms=_INTERVAL_MS,
        environment=UNSPARED,
        configure=configure,
        callers=callers,
    )


def route(model: str, *targets: tuple[str, str]) -> Route:
    """Tries a provider's model after the other."""
    tiers = (Tier(targets=(RouteTarget(provider=one, model=name),)) for one, name in targets)
    return Route(model=model, tiers=tuple(tiers))


async def ask_each(
    it: Plant, history: History, cases: Iterable[Case], times: int, rng: random.Random
) -> list[Asked]:
    """Each fault so many times in each mode, in the order of chance."""
    modes = [(stream, other) for stream in (True, False) for other in (True, False)]
    plan = [(case, *mode) for case in cases for mode in modes for _ in range(times)]
    rng.shuffle(plan)

    async def ask(case: Case, stream: bool, other: bool) -> Asked:
        body = it.body(case.detour if other else case.model, stream=stream)
        return Asked(case, stream, other, await ask_raw(history, it.port, it.key, body))

    return await at_most(_AT_ONCE, (ask(*one) for one in plan))


def misfated(asked: Iterable[Asked]) -> Iterator[str]:
    """Those that came out otherwise than they should."""
    for one in asked:
        if not _is_as_fated(one):
            seen = one.request
            mode = f"{'streamed' if one.stream else 'whole'}{', with another' * one.other}"
            came = f"{seen.terminal} {seen.status} {seen.error_code or seen.exception}"
            yield f"{one.case.fault} ({mode}) isn't {one.fate}: {came} after {len(seen.tokens)}"


def misrouted(asked: Sequence[Asked], entries: Iterable[Entry]) -> dict[str, int]:
    """Attempts by model that the providers' books have more, or fewer, than there should be."""
    due = Counter(one.case.model for one in asked)
    due[WELL] += sum(one.other and one.fate == "elsewhere" for one in asked)
    seen = Counter(entry.model for entry in entries)
    return {model: seen[model] - due[model] for model in due | seen if seen[model] != due[model]}


async def untold(it: Plant, history: History) -> list[str]:
    """Where rows say otherwise than clients saw, once all are there or after a while."""
    until_s = asyncio.get_running_loop().time() + _ROWS_WITHIN_S
    while True:
        found = [*differences(history.requests, await stored_rows(it.nats))]
        if not found or asyncio.get_running_loop().time() > until_s:
            return found
        await asyncio.sleep(0.2)


def differences(requests: Iterable[Request], rows: Sequence[Row]) -> Iterator[str]:
    """Of each request that has an id: its row and those of its attempts, against its outcome."""
    told = {row.request_id: row for row in requests_of(rows)}
    attempts: dict[str, list[AttemptRecorded]] = {}
    for row in attempts_of(rows):
        attempts.setdefault(row.request_id, []).append(row)
    for one in requests:
        if one.request_id and (reason := _difference(one, told, attempts.get(one.request_id, []))):
            yield f"{one.id} ({one.model}): {reason}"


def _difference(
    seen: Request, told: dict[str, RequestRecorded], attempts: list[AttemptRecorded]
) -> str:
    row = told.get(seen.request_id)
    if row is None:
        return "it has no row"
    outcome = _outcome(seen)
    if (row.outcome, row.status) != (outcome, seen.status):
        return f"{outcome} {seen.status}, but its row says {row.outcome} {row.status}"
    ends = Counter(one.outcome for one in attempts)
    if ends["completed"] != (outcome == "completed"):
        return f"{outcome}, but {ends['completed']} of its attempts completed"
    if ends["interrupted"] != (outcome == "interrupted"):
        return f"{outcome}, but {ends['interrupted']} of its attempts broke off"
    if row.attempts != len(attempts):
        return f"{len(attempts)} attempts have rows, its own says {row.attempts}"
    return ""


def _outcome(seen: Request) -> str:
    if seen.terminal == "done":
        return "completed"
    return "interrupted" if seen.status == 200 else "failed"


def _is_as_fated(one: Asked) -> bool:
    seen, status = one.request, one.request.status or 0
    if one.fate == "served" or (one.fate == "elsewhere" and one.other):
        return seen.terminal == "done" and status == 200
    if seen.terminal != "error":
        return False
    if one.fate == "told":
        return status == 200 and bool(seen.tokens)
    if one.case.said:
        return f"{status} {seen.error_code}" == one.case.said
    return status >= 500 and not seen.tokens
