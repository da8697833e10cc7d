"""Several limits at once, repeats, and new configurations."""

from typing import Any

from droveway.contracts.access import Key, Limit
from droveway.contracts.admission import AdmissionRequested, Admitted, Denied, Held
from droveway.contracts.config import Config, Provider, Route, RouteTarget, Tier
from droveway.limiter.book import Book
from droveway.limiter.decisions import Decisions, DecisionSettings

NOW_MS = 1_790_000_000_000


def _config(**limits: tuple[tuple[int, float], ...]) -> Config:
    keys = tuple(
        Key(
            id=key_id,
            sha256=f"{index:064x}",
            limits=tuple(Limit(requests=number, window_s=window_s) for number, window_s in wanted),
        )
        for index, (key_id, wanted) in enumerate(limits.items())
    )
    tier = Tier(targets=(RouteTarget(provider="p"),))
    return Config(
        providers=(Provider(id="p", base_url="https://p.test"),),
        routes=(Route(model="*", tiers=(tier,)),),
        keys=keys,
    )


def _decisions(remembered: int = 100, **limits: Any) -> Decisions:
    decisions = Decisions(Book(), DecisionSettings(remembered_holds=remembered))
    decisions.configure(_config(**limits))
    return decisions


def _ask(
    decisions: Decisions, number: int, key: str = "a", now_ms: int = NOW_MS, **hold: Any
) -> Any:
    question = AdmissionRequested(
        request_id=f"req_{number}",
        key_id=key,
        tenant="t",
        model="m",
        remaining_ms=1000,
        **{"router": "router-a", **hold},
    )
    decision, _ = decisions.decide(question, now_ms)
    return decision


def test_a_repeated_question_counts_once() -> None:
    decisions = _decisions(a=((2, 60.0),))
    assert [_ask(decisions, 1) for _ in range(5)] == [_ask(decisions, 1)] * 5
    assert isinstance(_ask(decisions, 2), Admitted)
    assert isinstance(_ask(decisions, 3), Denied)
    assert decisions.statistics().repeated == 5


def test_a_denied_question_is_asked_anew() -> None:
    decisions = _decisions(a=((1, 60.0),))
    _ask(decisions, 1)
    denied = _ask(decisions, 2)
    assert isinstance(denied, Denied)
    wait_ms = denied.failure.retry_after_ms or 0
    assert isinstance(_ask(decisions, 2, now_ms=NOW_MS + wait_ms - 1), Denied)
    assert isinstance(_ask(decisions, 2, now_ms=NOW_MS + wait_ms), Admitted)


def test_what_one_limit_denies_no_other_counts() -> None:
    decisions = _decisions(a=((1, 1.0), (5, 60.0)))
    _ask(decisions, 1)
    for number in range(2, 20):
        denied = _ask(decisions, number)
        assert isinstance(denied, Denied)
        assert denied.requests is not None
        assert denied.requests.window_ms == 1_000
    passed = [_ask(decisions, 100 + n, now_ms=NOW_MS + 2_000 * (n + 1)) for n in range(5)]
    assert [isinstance(one, Admitted) for one in passed] == [True, True, True, True, False]


def test_the_tightest_limit_is_told() -> None:
    decisions = _decisions(a=((10, 60.0), (3, 1.0)))
    admitted = _ask(decisions, 1)
    assert admitted.requests is not None
    assert (admitted.requests.limit, admitted.requests.remaining) == (3, 2)


def test_a_denial_says_limit_model_and_wait() -> None:
    decisions = _decisions(a=((1, 60.0),))
    _ask(decisions, 1)
    failure = _ask(decisions, 2).failure
    assert failure.code == "rate_limit_exceeded"
    assert failure.message.startswith("Rate limit exceeded for model m: 1 requests per 60 s ")
    assert f"{failure.retry_after_ms / 1000:.3f} seconds" in failure.message


def test_keys_do_not_share_a_window() -> None:
    decisions = _decisions(a=((1, 60.0),), b=((1, 60.0),))
    assert isinstance(_ask(decisions, 1, "a"), Admitted)
    assert isinstance(_ask(decisions, 2, "b"), Admitted)
    assert isinstance(_ask(decisions, 3, "a"), Denied)


def test_a_key_without_limits_passes_and_an_unknown_one_does_not() -> None:
    decisions = _decisions(a=())
    assert isinstance(_ask(decisions, 1), Admitted)
    denied = _ask(decisions, 2, "unknown")
    assert denied.failure.code == "limiter_unavailable"


def test_a_reload_keeps_what_was_counted() -> None:
    decisions = _decisions(a=((3, 60.0),))
    for number in range(3):
        _ask(decisions, number)
    decisions.configure(_config(a=((4, 60.0),)))
    assert isinstance(_ask(decisions, 10), Admitted)
    assert isinstance(_ask(decisions, 11), Denied)
    decisions.configure(_config(a=((2, 60.0),)))
    assert isinstance(_ask(decisions, 12), Denied)


def test_two_limits_of_one_length_stay_apart_over_reloads() -> None:
    decisions = _decisions(a=((4, 60.0), (6, 60.0)))
    for _ in range(3):
        decisions.configure(_config(a=((4, 60.0), (6, 60.0))))
    passed = [isinstance(_ask(decisions, number), Admitted) for number in range(6)]
    assert passed == [True] * 4 + [False] * 2
    later = [
        isinstance(_ask(decisions, 10 + n, now_ms=NOW_MS + 62_000), Admitted) for n in range(6)
    ]
    assert later == passed


def test_remembered_answers_are_bounded() -> None:
    decisions = _decisions(remembered=3, a=((100, 60.0),))
    for number in range(10):
        _ask(decisions, number)
    assert decisions.statistics().remembered == 3


def test_a_second_router_hears_who_has_the_request() -> None:
    decisions = _decisions(a=((2, 60.0),))
    assert isinstance(_ask(decisions, 1), Admitted)
    held = _ask(decisions, 1, router="router-b", ask=2)
    assert held == Held(request_id="req_1", router="router-a", ask=1)
    assert isinstance(_ask(decisions, 2, router="router-b"), Admitted), "it has counted once"


def test_the_same_router_hears_it_too_when_its_door_asks_anew() -> None:
    decisions = _decisions(a=())
    _ask(decisions, 1)
    assert isinstance(_ask(decisions, 1, ask=2), Held)


def test_what_a_dead_router_held_passes_on_and_counts_once() -> None:
    decisions = _decisions(a=((1, 60.0),))
    first = _ask(decisions, 1)
    assert _ask(decisions, 1, router="router-b", ask=2, instead_of="router-a") == first
    assert isinstance(_ask(decisions, 1), Held), "the dead one, should it wake"
    assert _ask(decisions, 1, router="router-b", ask=2, instead_of="router-a") == first
    assert decisions.statistics().taken_over == 1


def test_a_hold_passes_only_from_whoever_has_it_and_only_to_a_later_publication() -> None:
    decisions = _decisions(a=())
    _ask(decisions, 1, ask=2)
    assert isinstance(_ask(decisions, 1, router="router-b", ask=3, instead_of="router-c"), Held)
    assert isinstance(_ask(decisions, 1, router="router-b", ask=1, instead_of="router-a"), Held)


def test_a_denied_request_is_held_by_nobody() -> None:
    decisions = _decisions(a=((1, 60.0),))
    _ask(decisions, 1)
    assert isinstance(_ask(decisions, 2), Denied)
    assert isinstance(_ask(decisions, 2, router="router-b", ask=2), Denied)
