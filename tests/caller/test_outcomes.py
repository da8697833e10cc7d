"""What a caller counts of its attempts, for whom, and when it can't wait to tell."""

from typing import Any

import msgspec

from droveway.caller.outcomes import MAX_MODEL_CHARS, Outcomes
from droveway.contracts.dispatch import CallRouted
from droveway.contracts.health import MAX_TARGETS, PoolHealth, health_decoder
from tests.contracts.samples import SHORT

SAMPLE = next(one for one in SHORT if isinstance(one, CallRouted))


def call(model: str = "fast", router: str = "router-1") -> CallRouted:
    target = msgspec.structs.replace(SAMPLE.target, provider="openai", model=model)
    return msgspec.structs.replace(SAMPLE, target=target, router=router)


def told(outcomes: Outcomes, router: str = "router-1") -> dict[str, Any]:
    (one,) = (row for row in outcomes.digest() if row.router == router)
    fields = msgspec.structs.asdict(one)
    return {name: fields[name] for name in ("good", "slow", "cut", "failed", "first_token_ms")}


def test_it_tells_good_slow_cut_and_failed_ones_by_code() -> None:
    outcomes = Outcomes()
    outcomes.slow_s = 5.0
    outcomes.committed(call(), 0.2)
    outcomes.committed(call(), 0.4)
    outcomes.committed(call(), 0.0)
    outcomes.committed(call(), 28.0)
    outcomes.interrupted(call(), "stream_stalled")
    outcomes.failed(call(), "provider_timeout")
    outcomes.failed(call(), "provider_unavailable")
    outcomes.failed(call(), "provider_timeout")
    assert told(outcomes) == {
        "good": 3, "slow": 1, "cut": 1,
        "failed": {"provider_timeout": 2, "provider_unavailable": 1},
        "first_token_ms": 9_533,
    }  # fmt: skip


def test_what_is_no_fault_of_the_provider_is_not_told() -> None:
    outcomes = Outcomes()
    for code in ("provider_rate_limited", "provider_rejected", "client_closed_request"):
        outcomes.failed(call(), code)
        outcomes.interrupted(call(), code)
    assert outcomes.digest() == ()


def test_each_router_has_its_own_attempts_told_and_each_is_told_once() -> None:
    outcomes = Outcomes()
    outcomes.committed(call(router="router-1"), 0.1)
    outcomes.failed(call(router="router-2"), "provider_timeout")
    assert told(outcomes, "router-1")["good"] == 1
    assert told(outcomes, "router-2")["failed"] == {"provider_timeout": 1}
    outcomes.told()
    assert outcomes.digest() == ()


def test_it_calls_once_when_a_target_begins_to_fail_and_again_after_it_was_well() -> None:
    outcomes, calls = Outcomes(), list[int]()
    outcomes.on_failing = lambda: calls.append(len(calls))
    for _ in range(5):
        outcomes.failed(call(), "provider_timeout")
    outcomes.told()
    outcomes.failed(call(), "provider_timeout")
    assert len(calls) == 1
    outcomes.failed(call("other"), "provider_timeout")
    assert len(calls) == 2, "another target"
    outcomes.told()
    outcomes.told()
    outcomes.interrupted(call(), "stream_interrupted")
    assert len(calls) == 3


def test_what_has_no_room_is_left_out_and_the_digest_stays_readable() -> None:
    outcomes = Outcomes()
    outcomes.committed(call("m" * (MAX_MODEL_CHARS + 1)), 0.1)
    for number in range(MAX_TARGETS + 5):
        outcomes.committed(call(f"m-{number}".ljust(MAX_MODEL_CHARS, "x")), 0.1)
    digest = outcomes.digest()
    assert len(digest) == MAX_TARGETS
    packed = msgspec.msgpack.encode(PoolHealth(caller="caller-1", targets=digest))
    assert len(health_decoder.decode(packed).targets) == MAX_TARGETS
    assert len(packed) < 1024 * 1024
