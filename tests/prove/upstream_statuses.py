"""Providers that refuse: which statuses are tried elsewhere or again, and what opens a breaker."""

import msgspec

from droveway.contracts.config import Config, Health, RetryBudget
from droveway.simulator.book import Entry
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, open_loop, reasons
from tests.prove.plant import Shape, broker, plant
from tests.prove.upstream_world import (
    TOKENS,
    UNSPARED,
    WELL,
    Case,
    ask_each,
    misfated,
    misrouted,
    route,
    untold,
    world,
)
from tests.support.history import Request
from tests.support.history_clients import ask_raw

BACK_WITHIN_S = 5.0
_CODES = {
    "404": "model_not_found",
    "409": "conflict",
    "context-length": "context_length_exceeded",
}
"""Of refusals that the provider gives one."""

PASSED = {"400": 400, "404": 404, "409": 409, "413": 413, "422": 422, "context-length": 400}
"""The request itself is wrong: nobody else is asked, and it isn't repeated."""
ELSEWHERE = {
    **dict.fromkeys(("401", "402", "403", "insufficient-quota"), "502 provider_auth_error"),
    **dict.fromkeys(("408", "504"), "504 provider_timeout"),
    "429": "429 provider_rate_limited",
    **dict.fromkeys(("500", "502", "503", "529"), "503 provider_unavailable"),
}
REPEATED = ("429", "500", "502", "503", "529")
"""Asked once more at the same provider, where there is no other."""
CASES = (
    *(
        Case(name, "passed", "passed", f"{status} {_CODES.get(name, 'provider_rejected')}")
        for name, status in PASSED.items()
    ),
    *(Case(name, "elsewhere", "elsewhere", said) for name, said in ELSEWHERE.items()),
)
OPENING = ("500", "502", "503", "529", "reset-before-headers")
_PER_S = 10.0
"""Of each."""
_FLIGHT_S = 0.1
"""What started until so long after the failure that opened it didn't know of that."""


def _again(case: Case) -> str:
    return f"fault-numbered-{TOKENS + 1}+{case.fault}"


def _both() -> Shape:
    """The table's world, and routes on which the standard policy repeats."""
    table = world(CASES)

    def configure(config: Config) -> Config:
        config = table.configure(config)
        (first, *_) = (one.id for one in config.providers)
        again = (route(_again(case), (first, "")) for case in CASES)
        named = (msgspec.structs.replace(one, retry="standard") for one in again)
        return msgspec.structs.replace(config, routes=(*named, *config.routes))

    return Shape(simulators=2, interval_ms=1, environment=UNSPARED, configure=configure)


async def _refused(run: Run) -> Result:
    times = run.count(20, 2)
    async with broker(run) as nats, plant(run, nats, _both()) as it:
        with run.history() as history:
            asked = await ask_each(it, history, CASES, times, run.random())
            for case in CASES:
                for number in range(times):
                    body = it.body(_again(case), stream=number % 2 == 0)
                    await ask_raw(history, it.port, it.key, body)
            await it.judge(history)
            unsaid = await untold(it, history)
        entries = await it.entries()
    seen = [one.model for one in entries]
    repeats = {case.fault: seen.count(_again(case)) / times for case in CASES}
    once = {_again(case) for case in CASES}
    routed = misrouted(asked, [one for one in entries if one.model not in once])
    wrong = [*misfated(asked)]
    otherwise = {
        fault: per_request
        for fault, per_request in repeats.items()
        if per_request != 1 + (fault in REPEATED)
    }
    for violation in (*wrong, *unsaid):
        run.blame(violation)
    facts = {
        "requests": len(asked),
        "came_out_otherwise": wrong,
        "attempts_too_many_or_few": routed,
        "attempts_alone": repeats,
        "rows_that_differ": unsaid,
    }
    held = not (wrong or routed or unsaid or otherwise)
    miscounted = sum(map(abs, routed.values()))
    return Result(f"{len(wrong)} of {len(asked)}; {miscounted}; {len(otherwise)}", held, facts)


async def _opened(run: Run) -> Result:
    times, for_s = run.count(9, 5), run.count(40, 12)
    models = {fault: f"fault-{WELL}+{fault}+times-{times}" for fault in OPENING}

    def configure(config: Config) -> Config:
        first, second = (one.id for one in config.providers)
        routes = (
            route(f"opened-{fault}", (first, model), (second, f"numbered-{10 + number}"))
            for number, (fault, model) in enumerate(models.items())
        )
        budget = RetryBudget(per_s=1_000_000)  # they all fail in the same second
        return msgspec.structs.replace(config, routes=tuple(routes), retry_budget=budget)

    shape = Shape(simulators=2, interval_ms=1, environment=UNSPARED, configure=configure)
    async with broker(run) as nats, plant(run, nats, shape) as it:
        with run.history() as history:

            async def ask(number: int) -> Request:
                body = it.body(f"opened-{OPENING[number % len(OPENING)]}", stream=number % 2 == 0)
                return await ask_raw(history, it.port, it.key, body)

            got = await open_loop(_PER_S * len(OPENING), for_s, ask)
            await it.judge(history)
        entries = await it.entries()
    unserved = failed(got)
    early, back_s = 0, 0.0
    for number, model in enumerate(models.values()):
        first = [one for one in entries if one.model == model]
        second = [one for one in entries if one.model == f"numbered-{10 + number}"]
        early += too_early(first, Health())
        back_s = max(back_s, _back_s(first, second))
    facts = {"requests": len(got), "failures": reasons(got), "failing_attempts": times}
    held = not unserved and not early and back_s <= BACK_WITHIN_S
    return Result(f"{len(unserved)} of {len(got)}; {early}; {back_s:.1f} s", held, facts)


def too_early(attempts: list[Entry], rules: Health) -> int:
    """Attempts at a failing target that a breaker of these rules would have kept from it."""
    bad = [one for one in attempts if one.fault]
    early = 0
    waits, opened_ms = 0, 0.0
    for number, one in enumerate(bad):
        if number >= rules.consecutive and one.started_ms > opened_ms + _FLIGHT_S * 1000:
            wait_s = min(rules.open_cap_s, rules.open_s * 2.0 ** max(0, waits - 1))
            early += one.started_ms < opened_ms + (wait_s - _FLIGHT_S) * 1000
        if number + 1 >= rules.consecutive:
            waits += 1
            opened_ms = one.ended_ms or one.started_ms
    return early


def _back_s(first: list[Entry], second: list[Entry]) -> float:
    """From the first good answer after the bad ones until the other one gets its last request."""
    good = [one.started_ms for one in first if not one.fault]
    last = max((one.started_ms for one in second), default=0.0)
    return max(0.0, last - min(good)) / 1000 if good else float("inf")


CLAIMS = (
    Claim(
        id="B35",
        text=f"{len(CASES)} refusals (400 to 529), streamed and whole, with and without another "
        "provider: requests that come out otherwise than they should (400s are passed on, 401s "
        "never are); attempts too many or too few by the providers' books; statuses that are "
        "repeated at the same provider and shouldn't be, or the other way round",
        bound="0; 0; 0",
        run=_refused,
    ),
    Claim(
        id="B34",
        text=f"a provider fails in {len(OPENING)} ways, another doesn't: requests that fail; "
        "attempts at it that its breaker should have kept away; from its first good answer until "
        "all traffic is back",
        bound=f"0; 0; ≤ {BACK_WITHIN_S:g} s",
        run=_opened,
    ),
)
