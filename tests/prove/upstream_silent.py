"""Providers that are slow to begin, or fall silent: before the head, after it, in mid-answer."""

from collections.abc import Iterable

from droveway.contracts.config import Timeouts
from tests.prove.claim import Claim, Result, Run
from tests.prove.plant import broker, plant
from tests.prove.upstream_world import Asked, Case, ask_each, misfated, misrouted, untold, world

LATE_S = 0.5
_LIMITS = Timeouts(first_token_s=1.0, idle_s=1.0, total_s=3.0)
_LATE = "504 provider_timeout"
_EARLY_S = 0.05
"""Clocks of several processes."""
CASES = (
    Case("slow-first-token-500", "served", "served", waits_s=(0.5, 0.5)),
    Case("slow-first-token-60000", "elsewhere", "elsewhere", _LATE, (1.0, 3.0)),
    Case("silence", "elsewhere", "elsewhere", _LATE, (1.0, 3.0)),
    Case("stall-after-0", "elsewhere", "elsewhere", _LATE, (1.0, 1.0)),
    Case("stall-after-2", "told", "elsewhere", _LATE, (1.0, 1.0)),
    Case("unframed+stall-after-2", "told", "elsewhere", _LATE, (1.0, 1.0)),
)


async def _silent(run: Run) -> Result:
    async with broker(run) as nats, plant(run, nats, world(CASES, _LIMITS, callers=2)) as it:
        with run.history() as history:
            asked = await ask_each(it, history, CASES, run.count(40, 3), run.random())
            await it.judge(history)
            unsaid = await untold(it, history)
        routed = misrouted(asked, await it.entries())
    wrong, early = [*misfated(asked)], [one for one in asked if _over_s(one) < -_EARLY_S]
    for violation in (*wrong, *unsaid):
        run.blame(violation)
    late_s = _latest_s(asked)
    facts = {
        "requests": len(asked),
        "came_out_otherwise": wrong,
        "attempts_too_many_or_few": routed,
        "rows_that_differ": unsaid,
        "given_up_early": len(early),
        "late_s": late_s,
    }
    held = not (wrong or routed or unsaid or early) and max(late_s.values()) <= LATE_S
    count = f"{len(wrong) + len(early)} of {len(asked)}; {sum(map(abs, routed.values()))}"
    return Result(f"{count}; {max(late_s.values()):.2f} s", held, facts)


def _latest_s(asked: Iterable[Asked]) -> dict[str, float]:
    """By fault and mode: the longest that a client waited over the limit that holds."""
    found: dict[str, float] = {}
    for one in asked:
        name = f"{one.case.fault} ({'streamed' if one.stream else 'whole'})"
        found[name] = max(found.get(name, 0.0), _over_s(one))
    return found


def _over_s(one: Asked) -> float:
    waits_s = one.case.waits_s[0] if one.stream else one.case.waits_s[1]
    return one.request.duration_s - waits_s


CLAIMS = (
    Claim(
        id="B32+B37",
        text=f"{len(CASES)} ways to be slow or silent (before the head, after it, in mid-answer), "
        "streamed and whole, with and without another provider: requests that come out otherwise "
        "than they should, or are given up too early; attempts too many or too few by the "
        "providers' books; over its time limit until a client has its answer or its error",
        bound=f"0; 0; ≤ {LATE_S:g} s",
        run=_silent,
    ),
)
