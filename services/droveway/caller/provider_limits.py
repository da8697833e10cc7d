"""What providers say of their own limits in the headers of an answer.

Hostile or careless values count as not said, and no wait that comes of them is longer than its cap.
Sources: OpenAI, "Rate limits", headers; Anthropic, "Rate limits", response headers.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from droveway.caller.retry_after import retry_after_ms

MIN_COOLDOWN_S = 0.1
MAX_EXHAUSTED_S = 60.0
"""Longer resets are a provider's daily limits, or its clock that differs from ours."""
_MAX_DIGITS = 15
_DURATION_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern}){{1,4}}")
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PLAIN_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_ANTHROPIC_TOKENS = ("tokens", "input-tokens", "output-tokens")


class Allowance(NamedTuple):
    """What is left of one of a provider's limits."""

    remaining: int
    reset_s: float | None
    """Until it is whole again, never below 0 or above `MAX_EXHAUSTED_S`; None: not said."""


class ToldLimits(NamedTuple):
    """What one answer says; None: nothing."""

    requests: Allowance | None = None
    tokens: Allowance | None = None
    """Of several the one of which least is left."""
    exhausted_s: float = 0.0
    """For how long nothing is left of one of them; 0: something is left of each."""


def told_limits(headers: Mapping[str, str], now: datetime | None = None) -> ToldLimits:
    """Reads what is left of requests and tokens.

    Args:
        headers: Of an answer, names in lower case.
        now: The wall clock, for resets that are a time of day.
    """
    requests = list(_requests(headers, now))
    tokens = list(_tokens(headers, now))
    if not requests and not tokens:
        return ToldLimits()
    empty = [one.reset_s or 0.0 for one in (*requests, *tokens) if not one.remaining]
    return ToldLimits(_scarcest(requests), _scarcest(tokens), max(empty, default=0.0))


def told_wait_s(headers: Mapping[str, str], max_s: float) -> float | None:
    """How long a refusal says to wait: at least 0.1 s, at most `max_s`; None: it doesn't say."""
    wait_ms = retry_after_ms(headers)
    return None if wait_ms is None else min(max_s, max(MIN_COOLDOWN_S, wait_ms / 1000))


def _requests(headers: Mapping[str, str], now: datetime | None) -> Iterator[Allowance]:
    yield from _of_openai(headers, "requests")
    yield from _of_anthropic(headers, "requests", now)


def _tokens(headers: Mapping[str, str], now: datetime | None) -> Iterator[Allowance]:
    yield from _of_openai(headers, "tokens")
    for kind in _ANTHROPIC_TOKENS:
        yield from _of_anthropic(headers, kind, now)


def _of_openai(headers: Mapping[str, str], kind: str) -> Iterator[Allowance]:
    remaining = _count(headers.get(f"x-ratelimit-remaining-{kind}"))
    if remaining is not None:
        yield Allowance(remaining, _duration_s(headers.get(f"x-ratelimit-reset-{kind}")))


def _of_anthropic(
    headers: Mapping[str, str], kind: str, now: datetime | None
) -> Iterator[Allowance]:
    remaining = _count(headers.get(f"anthropic-ratelimit-{kind}-remaining"))
    if remaining is not None:
        reset = headers.get(f"anthropic-ratelimit-{kind}-reset")
        yield Allowance(remaining, _until_s(reset, now or datetime.now(UTC)))


def _scarcest(allowances: list[Allowance]) -> Allowance | None:
    return min(allowances, key=lambda one: one.remaining, default=None)


def _count(text: str | None) -> int | None:
    text = (text or "").strip()
    if len(text) > _MAX_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


def _duration_s(text: str | None) -> float | None:
    """OpenAI's durations, as Go writes them: `1s`, `6m0s`, `120ms`; a bare number is seconds."""
    text = (text or "").strip()
    if _PLAIN_SECONDS.fullmatch(text):
        return min(MAX_EXHAUSTED_S, float(text))
    if not _DURATION.fullmatch(text):
        return None
    parts = _DURATION_PART.findall(text)
    return min(MAX_EXHAUSTED_S, sum(float(number) * _UNITS_S[unit] for number, unit in parts))


def _until_s(text: str | None, now: datetime) -> float | None:
    """Anthropic's times, RFC 3339."""
    try:
        when = datetime.fromisoformat((text or "").strip())
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        wait_s = (when - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(MAX_EXHAUSTED_S, max(0.0, wait_s))
