"""The judges of the claims about limits: what breaks one is found, and what doesn't isn't."""

import pytest

from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config, Provider, Route, RouteTarget, Tier
from droveway.contracts.limits import Admit, Batch, Charge
from tests.prove.limits_judge import judge_log, judge_told, not_in_log
from tests.prove.limits_plan import Customer, Told
from tests.prove.limits_rules import COMMON, Rules
from tests.support.limits_log import Written

MS = 1_000_000
CUSTOMERS = [Customer("k", "default")]


def rules(limit: Limit) -> Rules:
    route = Route(model="*", tiers=(Tier(targets=(RouteTarget(provider="p"),)),))
    provider = Provider(id="p", base_url="https://p.test")
    key = Key(id="k", sha256="0" * 64, limits=(limit,))
    return Rules(Config(providers=(provider,), routes=(route,), keys=(key,)))


def told(asked_ms: float, answered_ms: float, settled_ms: float = 0, tokens: int = 0) -> Told:
    asked, answered, settled = (round(one * MS) for one in (asked_ms, answered_ms, settled_ms))
    return Told(f"req_{asked_ms}", 0, COMMON, -1, asked, answered, settled, tokens, 0)


def over(limit: Limit, *history: Told) -> bool:
    return bool(judge_told(history, CUSTOMERS, rules(limit)).over)


def test_one_more_than_the_limit_within_a_window_is_found() -> None:
    limit = Limit(requests=2, window_s=1)
    assert not over(limit, told(0, 1), told(500, 501), told(1_001, 1_002))
    assert over(limit, told(5, 6), told(500, 501), told(990, 1_000))


def test_what_may_have_been_decided_in_time_is_no_violation() -> None:
    limit = Limit(requests=1, window_s=1)
    assert not over(limit, told(0, 900), told(950, 1_000)), "the first may be a second older"
    assert over(limit, told(100, 900), told(950, 1_000))


def test_tokens_count_as_many_as_they_are() -> None:
    limit = Limit(tokens=100, window_s=1)
    assert not over(limit, told(0, 1, tokens=60), told(2, 3, tokens=40))
    assert over(limit, told(0, 1, tokens=60), told(2, 3, tokens=41))


def test_a_burst_is_what_passes_beyond_the_rate() -> None:
    limit = Limit(requests=10, window_s=1, burst=2)  # one each 100 ms
    assert not over(limit, *(told(at, at + 1) for at in (0, 1, 100, 200, 300)))
    assert over(limit, *(told(at, at + 1) for at in (0, 1, 50)))


def test_places_are_held_until_the_end_is_told() -> None:
    limit = Limit(concurrency=1)
    assert not over(limit, told(0, 1, 10), told(9, 11, 20))
    assert over(limit, told(0, 1, 10), told(2, 9, 20))


@pytest.mark.parametrize(("count", "broken"), [(2, 0), (3, 1)])
def test_the_log_is_judged_by_its_own_times(count: int, broken: int) -> None:
    ops = tuple(
        Admit(
            at_ms, f"req_{at_ms}", "router-a", 1, 1, "k", "default",
            (Charge("k:k|requests|1000", 1),), (), 0, 0, 0, (), 0, COMMON,
        )
        for at_ms in range(1_000, 1_000 + count)
    )  # fmt: skip
    written = [Written(1, 0, Batch(owner="limiter-a", number=1, at_ms=1_000, ops=ops))]
    found = judge_log(written, rules(Limit(requests=2, window_s=1)).limits())
    assert (found.admitted, len(found.over)) == (count, broken)
    assert not_in_log([told(1_000, 1_001)], written) == []
    assert not_in_log([told(5, 6)], written) == ["req_5"]
