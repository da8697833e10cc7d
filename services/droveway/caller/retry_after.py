"""When a provider says to come back: `retry-after-ms`, or `Retry-After` as seconds or a date."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_MS = 3_600_000
"""Longer waits are told as an hour: a provider's typo must not bench it for a week."""


def retry_after_ms(headers: Mapping[str, str], now: datetime | None = None) -> int | None:
    """Milliseconds until the provider wants to be asked again; None when it doesn't say.

    Garbage, negative and non-finite values count as not said. Source: RFC 9110 10.2.3.
    """
    if (exact := _number(headers.get("retry-after-ms"))) is not None:
        return min(MAX_MS, math.ceil(exact))
    text = headers.get("retry-after")
    if (seconds := _number(text)) is not None:
        return min(MAX_MS, math.ceil(seconds * 1000))
    if text is None:
        return None
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    wait_s = (when - (now or datetime.now(UTC))).total_seconds()
    return min(MAX_MS, max(0, math.ceil(wait_s * 1000)))


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
