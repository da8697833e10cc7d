"""All credentials of a caller: what answers teach, what attempts are told, what a digest says."""

import math
import time

import pytest

from droveway.caller.credential_limits import SHORT_REST_S, CredentialLimits
from droveway.contracts.envelope import encode
from droveway.contracts.errors import Failure, failure
from droveway.contracts.health import (
    EXHAUSTED,
    RATE_LIMITED,
    REFUSED,
    CredentialHealth,
    PoolHealth,
)
from droveway.runtime.heard_health import HeardHealth

KEY, OTHER = ("openai", "main"), ("openai", "spare")
LIMITED, UNAUTHORIZED = failure("provider_rate_limited"), failure("provider_auth_error")


def limits(max_s: float = 600.0, heard: HeardHealth | None = None) -> CredentialLimits:
    return CredentialLimits(max_s, 60.0, heard or HeardHealth())


def told(why: str, cooldown_ms: int) -> HeardHealth:
    """What a caller knows that heard another one's digest."""
    heard = HeardHealth()
    one = CredentialHealth(provider=KEY[0], credential=KEY[1], cooldown_ms=cooldown_ms, why=why)
    heard.on_digest(encode(PoolHealth(caller="caller-2", credentials=(one,))))
    return heard


def wait_ms(found: Failure | None) -> int:
    assert found is not None
    assert found.elsewhere
    assert found.retry_after_ms is not None
    return found.retry_after_ms


def test_a_limited_credential_is_refused_with_the_true_wait_and_another_is_not() -> None:
    one = limits()
    assert wait_ms(one.failed(KEY, 429, {"retry-after": "2"}, LIMITED)) == 2_000
    found = one.refusal(KEY)
    assert found is not None
    assert found.code == "provider_rate_limited"
    assert 1_900 < wait_ms(found) <= 2_000
    assert one.refusal(OTHER) is None


def test_other_failures_teach_nothing() -> None:
    one = limits()
    broken = failure("provider_unavailable", retry_after_ms=5_000)
    assert one.failed(KEY, 503, {"retry-after": "5"}, broken) is broken
    assert one.refusal(KEY) is None


def test_what_another_caller_was_told_counts_here_too() -> None:
    assert wait_ms(limits(heard=told(RATE_LIMITED, 5_000)).refusal(KEY)) > 4_900
    assert limits(max_s=0.0, heard=told(RATE_LIMITED, 5_000)).refusal(KEY) is None


def test_a_secret_that_another_caller_found_refused_may_be_another_one() -> None:
    assert limits(heard=told(REFUSED, 60_000)).refusal(KEY) is None


async def test_a_rest_that_is_short_is_waited_for_and_no_longer_one() -> None:
    one = limits(heard=told(RATE_LIMITED, 40))
    one.failed(OTHER, 429, {"retry-after": "2"}, LIMITED)
    began_s = time.monotonic()
    await one.short_rest(OTHER)
    assert time.monotonic() - began_s < SHORT_REST_S
    await one.short_rest(KEY)
    assert one.refusal(KEY) is None
    assert time.monotonic() - began_s >= 0.035


def test_a_digest_names_what_cools_first_and_leaves_out_what_is_fine() -> None:
    one = limits()
    one.answered(OTHER, {"x-ratelimit-remaining-tokens": "70", "x-ratelimit-reset-tokens": "6s"})
    one.answered(("openai", "fine"), {})
    one.failed(KEY, 401, {}, UNAUTHORIZED)
    first, second = one.digest()
    assert (first.credential, first.why) == ("main", REFUSED)
    assert 59_900 < first.cooldown_ms <= 60_000
    assert (second.credential, second.why, second.cooldown_ms) == ("spare", "", 0)
    assert (second.remaining_tokens, second.remaining_requests) == (70, None)
    assert second.tokens_reset_ms is not None
    assert 5_900 < second.tokens_reset_ms <= 6_000


def test_changes_are_told_and_repetitions_are_not() -> None:
    one, changes = limits(), []
    one.on_change = lambda: changes.append(one.digest())
    one.answered(KEY, {})
    one.answered(KEY, {"x-ratelimit-remaining-requests": "5"})
    assert changes == []
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}
    one.answered(KEY, headers)
    assert [digest[0].why for digest in changes] == [EXHAUSTED]
    one.failed(OTHER, 400, {}, failure("provider_rejected"))
    assert len(changes) == 1


def test_a_new_configuration_forgets_refusals_and_not_limits() -> None:
    one = limits()
    one.failed(KEY, 401, {}, UNAUTHORIZED)
    one.failed(OTHER, 429, {"retry-after": "9"}, LIMITED)
    one.failed(("gone", "main"), 429, {"retry-after": "9"}, LIMITED)
    one.keep([KEY, OTHER])
    assert one.refusal(KEY) is None
    assert one.refusal(OTHER) is not None
    assert [each.credential for each in one.digest()] == ["spare"]


def test_a_scrape_shows_what_is_left() -> None:
    one = limits()
    assert one.statistics(KEY).cooldown_seconds == 0
    assert math.isnan(one.statistics(KEY).remaining_requests)
    headers = {"x-ratelimit-remaining-requests": "7", "retry-after": "3"}
    one.failed(KEY, 429, headers, LIMITED)
    assert one.statistics(KEY).cooldown_seconds == pytest.approx(3.0, abs=0.1)
    assert one.statistics(KEY).remaining_requests == 7
