"""Digests of many callers as one view: the longest word counts, the dead and the hostile don't."""

import time

from droveway.contracts.envelope import encode
from droveway.contracts.health import (
    MAX_COOLDOWN_MS,
    RATE_LIMITED,
    REFUSED,
    CredentialHealth,
    PoolHealth,
)
from droveway.runtime.heard_health import MAX_CALLERS, SILENT_S, HeardHealth

KEY = ("openai", "main")


def digest(caller: str, cooldown_ms: int = 0, why: str = RATE_LIMITED) -> bytes:
    one = CredentialHealth(provider=KEY[0], credential=KEY[1], cooldown_ms=cooldown_ms, why=why)
    return encode(PoolHealth(caller=caller, credentials=(one,)))


def left_s(heard: HeardHealth) -> float:
    now_s = time.monotonic()
    found = heard.cooldown(KEY, now_s)
    return 0.0 if found is None else found.until_s - now_s


def test_a_cooldown_lasts_as_long_as_was_told() -> None:
    heard = HeardHealth()
    heard.on_digest(digest("caller-1", 2_000))
    found = heard.cooldown(KEY, time.monotonic())
    assert found is not None
    assert found.why == RATE_LIMITED
    assert 1.9 < left_s(heard) <= 2.0
    assert heard.cooldown(KEY, found.until_s) is None
    assert heard.cooldown(("openai", "other"), time.monotonic()) is None


def test_of_two_callers_the_longer_word_counts_and_each_takes_back_its_own() -> None:
    heard = HeardHealth()
    heard.on_digest(digest("caller-1", 5_000))
    heard.on_digest(digest("caller-2", 2_000))
    assert left_s(heard) > 4
    heard.on_digest(encode(PoolHealth(caller="caller-2")))
    assert left_s(heard) > 4
    heard.on_digest(digest("caller-1"))
    assert left_s(heard) == 0


def test_a_caller_does_not_hear_itself() -> None:
    heard = HeardHealth(but="caller-1")
    heard.on_digest(digest("caller-1", 5_000))
    assert heard.statistics() == (0, 0, 0)


def test_what_was_found_refused_is_forgotten_with_its_caller() -> None:
    heard = HeardHealth()
    heard.on_digest(digest("caller-1", 60_000, REFUSED))
    assert SILENT_S - 0.1 < left_s(heard) <= SILENT_S
    heard.on_digest(digest("caller-1", 60_000))
    assert left_s(heard) > 59, "a rate limit stays to its end"


def test_a_lie_is_capped_and_garbage_is_counted() -> None:
    heard = HeardHealth()
    heard.on_digest(digest("caller-1", 2**52))
    assert left_s(heard) <= MAX_COOLDOWN_MS / 1000
    for payload in (b"", b"\xc1", b"\x81\xa1t\xa4nope", encode({"t": "pool.health.v1"})):
        heard.on_digest(payload)
    assert heard.statistics() == (1, 1, 4)


def test_news_of_an_attempt_count_until_the_next_digest() -> None:
    heard = HeardHealth()
    heard.learn("caller-1", KEY, RATE_LIMITED, 3_000)
    assert 2.9 < left_s(heard) <= 3.0
    heard.on_digest(encode(PoolHealth(caller="caller-1")))
    assert left_s(heard) == 0


def test_no_more_callers_are_remembered_than_the_bound() -> None:
    heard = HeardHealth()
    for number in range(MAX_CALLERS + 10):
        heard.on_digest(digest(f"caller-{number}", 5_000))
    assert heard.statistics().callers == MAX_CALLERS


def test_a_silent_caller_is_forgotten_once_its_cooldowns_are_over() -> None:
    heard = HeardHealth(silent_s=0.001)
    heard.on_digest(digest("caller-1", 1))
    time.sleep(0.002)
    heard.on_digest(digest("caller-2", 5_000))
    assert heard.statistics().callers == 1
