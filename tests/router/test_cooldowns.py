"""The order of candidates while credentials cool, and when a request isn't sent at all."""

import time

from droveway.contracts.dispatch import AttemptFailed, Target
from droveway.contracts.envelope import encode
from droveway.contracts.errors import Failure, failure
from droveway.contracts.health import EXHAUSTED, RATE_LIMITED, REFUSED, CredentialHealth, PoolHealth
from droveway.router.cooldowns import AllCool, Cooldowns, until_cooled
from droveway.router.routes import Candidate
from tests.support.turns import turn, waiting_room

A, B, C = (
    Candidate(Target(provider=name, credential="main", model="m"), "default", 1_000, 1_000)
    for name in ("a", "b", "c")
)


def cooling(**told: tuple[int, str]) -> Cooldowns:
    """After a digest in which these providers' credentials cool."""
    cooldowns = Cooldowns()
    credentials = tuple(
        CredentialHealth(provider=name, credential="main", cooldown_ms=wait_ms, why=why)
        for name, (wait_ms, why) in told.items()
    )
    cooldowns.on_digest(encode(PoolHealth(caller="caller-1", credentials=credentials)))
    return cooldowns


def test_without_news_the_order_stays() -> None:
    assert cooling().order([A, B, C]) == [A, B, C]


def test_what_cools_comes_last_by_its_end() -> None:
    cooldowns = cooling(a=(9_000, RATE_LIMITED), b=(3_000, EXHAUSTED))
    assert cooldowns.order([A, B, C]) == [C, B, A]
    assert cooldowns.statistics() == (1, 2, 0, 0)


def test_when_all_are_limited_the_earliest_wait_is_told() -> None:
    cooldowns = cooling(a=(9_000, RATE_LIMITED), b=(3_000, EXHAUSTED), c=(1_000, REFUSED))
    found = cooldowns.order([A, B, C])
    assert isinstance(found, AllCool)
    assert found.candidates == (A, B, C)
    assert 2.9 < found.wait_s <= 3.0
    assert found.failure.code == "provider_rate_limited"
    assert found.failure.retry_after_ms is not None
    assert 2_900 < found.failure.retry_after_ms <= 3_000
    assert cooldowns.statistics().refused == 1


def test_where_credentials_are_refused_their_callers_decide() -> None:
    cooldowns = cooling(a=(60_000, REFUSED), b=(1_000, REFUSED))
    assert cooldowns.order([A, B]) == [B, A]


async def test_a_cooldown_that_ends_in_time_is_waited_for_and_a_longer_one_is_not() -> None:
    room, cooldowns = waiting_room(), cooling(a=(60, RATE_LIMITED), b=(60_000, RATE_LIMITED))
    began_s = time.monotonic()
    found = await until_cooled(lambda: cooldowns.order([B]), turn(room))
    assert isinstance(found, Failure)
    assert time.monotonic() - began_s < 0.05
    assert await until_cooled(lambda: cooldowns.order([A]), turn(room)) == [A]
    assert time.monotonic() - began_s >= 0.055


def test_a_target_that_was_spared_is_news_and_a_limit_came_by_a_digest_before() -> None:
    told = failure("provider_rate_limited", retry_after_ms=2_000)
    spared = AttemptFailed(attempt_id=bytes(16), caller="caller-1", failure=told)
    sent = AttemptFailed(
        attempt_id=bytes(16), caller="caller-1", failure=told, status=429, request_sent=True
    )
    cooldowns = Cooldowns()
    cooldowns.learn(A.target, sent)
    assert cooldowns.order([A, B]) == [A, B]
    cooldowns.learn(A.target, spared)
    assert cooldowns.order([A, B]) == [B, A]
