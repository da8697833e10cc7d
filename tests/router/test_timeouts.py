"""Each phase of an attempt has a limit: the target's, before its route's, its provider's."""

import msgspec
import pytest

from droveway.contracts.config import (
    Canary,
    Config,
    PhaseTimeouts,
    Provider,
    Route,
    RouteTarget,
    Tier,
    Timeouts,
)
from droveway.router.routes import Candidate, RoutingTable
from tests.support.requested import by_chance, requested

REQUEST = requested()
ORDER = by_chance()
PROVIDER = Provider(
    id="a", base_url="http://127.0.0.1:9/v1", timeouts=Timeouts(first_token_s=9, idle_s=8)
)


def _candidate(route: PhaseTimeouts, target: PhaseTimeouts) -> Candidate:
    tier = Tier(targets=(RouteTarget(provider="a", timeouts=target),))
    return _first(Route(model="m", tiers=(tier,), timeouts=route))


def _first(route: Route) -> Candidate:
    table = RoutingTable(Config(providers=(PROVIDER,), routes=(route,)))
    found = table.route("m")
    assert found is not None
    return table.candidates(found, "m", REQUEST, ORDER)[0]


@pytest.mark.parametrize(
    ("route", "target", "expected"),
    [
        ({}, {}, (9_000, 8_000)),
        ({"first_token_s": 3}, {}, (3_000, 8_000)),
        ({}, {"idle_s": 0.5}, (9_000, 500)),
        ({"first_token_s": 3, "idle_s": 2}, {"first_token_s": 4}, (4_000, 2_000)),
    ],
    ids=["provider", "route", "target", "target-over-route"],
)
def test_the_nearest_word_holds(
    route: dict[str, float], target: dict[str, float], expected: tuple[int, int]
) -> None:
    found = _candidate(PhaseTimeouts(**route), PhaseTimeouts(**target))
    assert (found.first_token_ms, found.idle_ms) == expected


@pytest.mark.parametrize("phase", ["connect", "write", "first_token", "idle", "total"])
def test_each_phase_can_be_set(phase: str) -> None:
    found = _candidate(PhaseTimeouts(), PhaseTimeouts(**{f"{phase}_s": 0.25}))
    assert getattr(found, f"{phase}_ms") == 250
    others = {"connect", "write", "first_token", "idle", "total"} - {phase}
    plain = _candidate(PhaseTimeouts(), PhaseTimeouts())
    for other in others:
        assert getattr(found, f"{other}_ms") == getattr(plain, f"{other}_ms")


def test_a_canary_has_its_routes_time_outs() -> None:
    tier = Tier(targets=(RouteTarget(provider="a", model="old"),))
    new = RouteTarget(provider="a", model="new")
    canary = Canary(targets=(new,), percent=100)
    route = Route(model="m", tiers=(tier,), canary=canary, timeouts=PhaseTimeouts(idle_s=1))
    table = RoutingTable(Config(providers=(PROVIDER,), routes=(route,)))
    found = table.route("m")
    assert found is not None
    assert found.canary is not None
    assert found.canary.targets[0].timeouts == PhaseTimeouts(idle_s=1)


def test_a_time_out_of_nothing_is_none() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"idle_s": 0}, PhaseTimeouts)
