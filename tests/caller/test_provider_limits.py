"""Headers that tell a provider's limits: every form, and what hostile ones come to."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.caller.provider_limits import (
    MAX_EXHAUSTED_S,
    MIN_COOLDOWN_S,
    Allowance,
    ToldLimits,
    told_limits,
    told_wait_s,
)

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
CAP_S = 600.0

RESETS_OF_OPENAI = [
    ("1s", 1.0),
    ("120ms", 0.12),
    ("6m0s", 60.0),
    ("0s", 0.0),
    ("1m30s", 60.0),
    ("7.66s", 7.66),
    ("2m59.56s", 60.0),
    ("500µs", 0.0005),
    ("12", 12.0),
    ("59.7", 59.7),
    (" 1s ", 1.0),
    ("9999999999s", None),
    ("999999999h", 60.0),
    ("1e309", None),
    ("-1s", None),
    ("inf", None),
    ("nan", None),
    ("", None),
    ("soon", None),
    ("1s, 2s", None),
    ("1 s", None),
    ("\u0661s", None),
    ("1s" * 50_000, None),
]
RESETS_OF_ANTHROPIC = [
    ("2026-11-22T12:00:30Z", 30.0),
    ("2026-11-22T12:00:30.5+00:00", 30.5),
    ("2026-11-22T13:00:30+01:00", 30.0),
    ("2026-11-22T12:00:30", 30.0),
    ("2026-11-22T11:00:00Z", 0.0),
    ("2099-01-01T00:00:00Z", 60.0),
    ("9999-12-31T23:59:59-23:59", 60.0),
    ("0001-01-01T00:00:00+23:59", 0.0),
    ("99999-01-01T00:00:00Z", None),
    ("2026-13-01T00:00:00Z", None),
    ("30", None),
    ("", None),
    ("x" * 50_000, None),
]
COUNTS = [
    ("0", 0),
    ("59", 59),
    (" 7 ", 7),
    ("999999999999999", 999_999_999_999_999),
    ("9999999999999999", None),
    ("-1", None),
    ("+1", None),
    ("1.5", None),
    ("1e309", None),
    ("inf", None),
    ("\u0663", None),
    ("1, 2", None),
    ("1_000", None),
    ("many", None),
    ("", None),
]
WAITS = [
    ({}, None),
    ({"retry-after": "2"}, 2.0),
    ({"retry-after": "600"}, 600.0),
    ({"retry-after": "601"}, 600.0),
    ({"retry-after": "99999999"}, 600.0),
    ({"retry-after": "0"}, MIN_COOLDOWN_S),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "-1"}, None),
    ({"retry-after": "inf"}, None),
    ({"retry-after": "1e309"}, None),
    ({"retry-after": "Fri, 22 Nov 2030 12:00:00 GMT"}, 600.0),
    ({"retry-after": "Sat, 22 Nov 2025 12:00:00 GMT"}, MIN_COOLDOWN_S),
    ({"retry-after-ms": "1500"}, 1.5),
]
NAMES = [
    *(f"x-ratelimit-{what}-{kind}" for what in ("remaining", "reset") for kind in ("requests",
    "tokens")),
    *(f"anthropic-ratelimit-{kind}-{what}" for what in ("remaining", "reset") for kind in (
    "requests", "tokens", "input-tokens", "output-tokens")),
    "retry-after",
    "retry-after-ms",
]  # fmt: skip
HOSTILE = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(
        st.text(),
        st.from_regex(r"[0-9.e+:hmsnuZTGM, -]{0,40}", fullmatch=True),
        st.integers().map(str),
        st.floats().map(str),
        st.datetimes(timezones=st.timezones() | st.none()).map(datetime.isoformat),
        st.datetimes().map(lambda one: one.strftime("%a, %d %b %Y %H:%M:%S GMT")),
    ),
)


@pytest.mark.parametrize(("text", "expected"), RESETS_OF_OPENAI)
def test_openais_durations(text: str, expected: float | None) -> None:
    headers = {"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": text}
    told = told_limits(headers).requests
    assert told is not None
    assert told == (5, expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("text", "expected"), RESETS_OF_ANTHROPIC)
def test_anthropics_times(text: str, expected: float | None) -> None:
    headers = {
        "anthropic-ratelimit-requests-remaining": "5",
        "anthropic-ratelimit-requests-reset": text,
    }
    assert told_limits(headers, NOW).requests == Allowance(5, expected)


@pytest.mark.parametrize(("text", "expected"), COUNTS)
def test_what_remains(text: str, expected: int | None) -> None:
    told = told_limits({"x-ratelimit-remaining-tokens": text})
    assert told.tokens == (None if expected is None else Allowance(expected, None))


def test_of_anthropics_token_limits_the_scarcest_counts() -> None:
    kinds = {"tokens": 900, "input-tokens": 30, "output-tokens": 500}
    headers = {
        f"anthropic-ratelimit-{kind}-remaining": str(count) for kind, count in kinds.items()
    } | {"anthropic-ratelimit-input-tokens-reset": "2026-11-22T12:00:10Z"}
    assert told_limits(headers, NOW) == ToldLimits(None, Allowance(30, 10.0))


@pytest.mark.parametrize(
    ("remaining", "reset", "exhausted_s"),
    [("0", "1s", 1.0), ("0", "1h", MAX_EXHAUSTED_S), ("0", "junk", 0.0), ("1", "1s", 0.0)],
)
def test_nothing_remains_until_the_reset_if_that_is_told(
    remaining: str, reset: str, exhausted_s: float
) -> None:
    headers = {
        "x-ratelimit-remaining-requests": "10",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-remaining-tokens": remaining,
        "x-ratelimit-reset-tokens": reset,
    }
    assert told_limits(headers).exhausted_s == exhausted_s


@pytest.mark.parametrize(("headers", "expected"), WAITS)
def test_a_wait_is_within_its_bounds(headers: dict[str, str], expected: float | None) -> None:
    assert told_wait_s(headers, CAP_S) == expected


@given(HOSTILE)
def test_whatever_comes_waits_are_finite_and_within_their_caps(headers: dict[str, str]) -> None:
    wait_s, told = told_wait_s(headers, CAP_S), told_limits(headers)
    assert wait_s is None or MIN_COOLDOWN_S <= wait_s <= CAP_S
    assert 0 <= told.exhausted_s <= MAX_EXHAUSTED_S
    for one in (told.requests, told.tokens):
        if one is not None:
            assert 0 <= one.remaining < 10**15
            assert one.reset_s is None or 0 <= one.reset_s <= MAX_EXHAUSTED_S
            assert one.reset_s is None or math.isfinite(one.reset_s)
